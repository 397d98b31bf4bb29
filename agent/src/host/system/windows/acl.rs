//! Who can get at files: access control lists.

use super::privilege::Privilege;
use super::text::{check, error, from_pointer, wide};
use crate::host::{Access, HostError, Result};
use std::ffi::c_void;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use windows::Win32::Foundation::{GENERIC_ALL, GENERIC_READ, GENERIC_WRITE, HANDLE, HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetNamedSecurityInfoW,
    SDDL_REVISION_1, SE_FILE_OBJECT, SetSecurityInfo,
};
use windows::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorDacl,
    GetTokenInformation, INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
    PSECURITY_DESCRIPTOR, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser, UNPROTECTED_DACL_SECURITY_INFORMATION,
};
use windows::Win32::Security::{GetSecurityDescriptorControl, SE_DACL_PROTECTED, SetKernelObjectSecurity};
use windows::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_FLAG_BACKUP_SEMANTICS, FILE_READ_DATA, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FILE_WRITE_DATA, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use windows::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;
use windows::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows::core::{BOOL, PCWSTR, PWSTR};

/// The system itself; the administrators; the service that installs Windows' own files.
const SYSTEM: &str = "S-1-5-18";
const ADMINISTRATORS: &str = "S-1-5-32-544";
const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
/// Whoever owns it, whoever that is.
const OWNER_RIGHTS: &str = "S-1-3-4";

/// Rights that let somebody change a file or its name, or give himself the right to.
const WRITING: u32 = FILE_WRITE_DATA.0
    | FILE_APPEND_DATA.0
    | DELETE.0
    | WRITE_DAC.0
    | WRITE_OWNER.0
    | GENERIC_WRITE.0
    | GENERIC_ALL.0;
const READING: u32 = FILE_READ_DATA.0 | GENERIC_READ.0 | GENERIC_ALL.0;

/// What one entry of a list grants to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    sid: String,
    rights: u32,
}

/// A description that the system has allocated.
#[derive(Debug)]
pub(super) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system allocated it so, and nobody else frees it.
        unsafe { LocalFree(Some(HLOCAL(self.0.0))) };
    }
}

/// For administrators, the system and the user that runs this: in folders, also for all that is made in them.
pub(super) fn private() -> io::Result<Descriptor> {
    let own = own_sid()?;
    // The system gives files of an administrator's to all of them, so that the user himself has to be named.
    parse(&format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{own})"))
}

/// What Windows has for the folders of programs: everybody may read and run what is in it, administrators and the system,
/// which own it, may change it.
fn program() -> io::Result<Descriptor> {
    parse("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;GRGX;;;BU)")
}

/// A description in the notation of the system (SDDL).
fn parse(text: &str) -> io::Result<Descriptor> {
    let text = wide(text)?;
    let mut descriptor = PSECURITY_DESCRIPTOR::default();
    // SAFETY: the text has its end mark, and both live until the function returns.
    unsafe {
        let text = PCWSTR(text.as_ptr());
        ConvertStringSecurityDescriptorToSecurityDescriptorW(text, SDDL_REVISION_1, &raw mut descriptor, None)
    }
    .map_err(error)?;
    Ok(Descriptor(descriptor))
}

/// The description of a file as it is.
pub(super) fn of_file(path: &Path) -> io::Result<Descriptor> {
    let path = wide(path)?;
    let mut descriptor = PSECURITY_DESCRIPTOR::default();
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    // SAFETY: the path has its end mark, and both live until the function returns.
    let code = unsafe {
        let path = PCWSTR(path.as_ptr());
        GetNamedSecurityInfoW(
            path,
            SE_FILE_OBJECT,
            what,
            None,
            None,
            None,
            None,
            &raw mut descriptor,
        )
    };
    check(code.0)?;
    Ok(Descriptor(descriptor))
}

impl Descriptor {
    /// Gives a file, which was opened with the right to change that, this description's list, with nothing added that its
    /// folder hands down.
    pub(super) fn apply(&self, file: &impl AsRawHandle) -> io::Result<()> {
        let protection = if self.is_protected()? {
            PROTECTED_DACL_SECURITY_INFORMATION
        } else {
            UNPROTECTED_DACL_SECURITY_INFORMATION
        };
        // SAFETY: the file is open, and the description is valid.
        unsafe {
            let file = HANDLE(file.as_raw_handle());
            SetKernelObjectSecurity(file, DACL_SECURITY_INFORMATION | protection, self.0)
        }
        .map_err(error)
    }

    /// Like [`Self::apply`], for a folder with all that is in it.
    fn hand_down(&self, folder: &impl AsRawHandle) -> io::Result<()> {
        let list = self.list()?;
        // SAFETY: the folder is open, and the list is part of this description.
        let code = unsafe {
            let folder = HANDLE(folder.as_raw_handle());
            let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
            SetSecurityInfo(folder, SE_FILE_OBJECT, what, None, None, Some(list), None)
        };
        check(code.0)
    }

    /// The owner's id.
    pub(super) fn owner(&self) -> io::Result<String> {
        let (mut owner, mut defaulted) = (PSID::default(), BOOL::default());
        // SAFETY: the description is valid, and the pointers live until the function returns.
        unsafe {
            windows::Win32::Security::GetSecurityDescriptorOwner(self.0, &raw mut owner, &raw mut defaulted)
        }
        .map_err(error)?;
        // SAFETY: the owner is part of this description.
        unsafe { sid_text(owner) }
    }

    /// Gives a file this description's owner. Only the system and administrators can.
    pub(super) fn give(&self, file: &impl AsRawHandle) -> io::Result<()> {
        let (mut owner, mut defaulted) = (PSID::default(), BOOL::default());
        // SAFETY: the description is valid; the file is open; the owner is part of the description.
        let code = unsafe {
            windows::Win32::Security::GetSecurityDescriptorOwner(self.0, &raw mut owner, &raw mut defaulted)
                .map_err(error)?;
            let file = HANDLE(file.as_raw_handle());
            SetSecurityInfo(
                file,
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION,
                Some(owner),
                None,
                None,
                None,
            )
        };
        check(code.0)
    }

    fn is_protected(&self) -> io::Result<bool> {
        let (mut control, mut revision) = (0, 0);
        // SAFETY: the description is valid, and the pointers live until the function returns.
        unsafe { GetSecurityDescriptorControl(self.0, &raw mut control, &raw mut revision) }
            .map_err(error)?;
        Ok(control & SE_DACL_PROTECTED.0 != 0)
    }

    /// The list; null where everybody may do everything.
    fn list(&self) -> io::Result<*mut ACL> {
        let (mut present, mut defaulted) = (BOOL::default(), BOOL::default());
        let mut list = ptr::null_mut();
        // SAFETY: the description is valid, and the pointers live until the function returns.
        unsafe { GetSecurityDescriptorDacl(self.0, &raw mut present, &raw mut list, &raw mut defaulted) }
            .map_err(error)?;
        Ok(if present.as_bool() { list } else { ptr::null_mut() })
    }

    /// What the list grants; none: everybody may do everything. Denials are not looked at: they take away only.
    fn grants(&self) -> io::Result<Option<Vec<Grant>>> {
        let list = self.list()?;
        if list.is_null() {
            return Ok(None);
        }
        // SAFETY: the list is part of this description.
        let count = unsafe { (*list).AceCount };
        let mut grants = Vec::new();
        for index in 0..u32::from(count) {
            let mut entry: *mut c_void = ptr::null_mut();
            // SAFETY: the list has so many entries.
            unsafe { GetAce(list, index, &raw mut entry) }.map_err(error)?;
            // SAFETY: every entry begins with this header.
            let header = unsafe { *entry.cast::<ACE_HEADER>() };
            let inherit_only = u32::from(header.AceFlags) & INHERIT_ONLY_ACE.0 != 0;
            if u32::from(header.AceType) == ACCESS_ALLOWED_ACE_TYPE && !inherit_only {
                let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
                // SAFETY: an entry of this type has a mask, and ends with an id.
                let (rights, sid) = unsafe {
                    let sid = PSID((&raw mut (*entry).SidStart).cast());
                    ((*entry).Mask, sid_text(sid)?)
                };
                grants.push(Grant { sid, rights });
            }
        }
        Ok(Some(grants))
    }
}

/// Sees that nobody but administrators and the system can change what is in a folder that a program of theirs runs from.
pub(super) fn protect(folder: &Path) -> Result<()> {
    let before = access(folder)?;
    if !before.others_write && !before.foreign_owner {
        return Ok(());
    }
    let protect = || -> io::Result<()> {
        // Whoever owns it may have kept everybody else out.
        let foreign = before.foreign_owner;
        let _privileges = foreign
            .then(|| Privilege::enable_all(&Privilege::RESTORE))
            .transpose()?;
        let opened = OpenOptions::new()
            .access_mode(READ_CONTROL.0 | WRITE_DAC.0 | WRITE_OWNER.0)
            .share_mode(FILE_SHARE_READ.0 | FILE_SHARE_WRITE.0)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
            .open(folder)?;
        let program = program()?;
        if foreign {
            program.give(&opened)?;
        }
        program.hand_down(&opened)
    };
    protect().map_err(|error| HostError::new("protect", folder.display(), error))
}

/// Who can get at a file or folder.
pub(super) fn access(path: &Path) -> Result<Access> {
    let look = || -> io::Result<Access> {
        let descriptor = of_file(path)?;
        let grants = descriptor.grants()?;
        Ok(judge(&descriptor.owner()?, grants.as_deref(), &own_sid()?))
    };
    look().map_err(|error| HostError::new("look at", path.display(), error))
}

/// What a list means, by the ids in it. `own` is the user that runs this.
fn judge(owner: &str, grants: Option<&[Grant]>, own: &str) -> Access {
    let trusted = |sid: &str| sid == own || [SYSTEM, ADMINISTRATORS, TRUSTED_INSTALLER].contains(&sid);
    let Some(grants) = grants else {
        return Access {
            description: format!("no access control list, owner {owner}"),
            foreign_owner: !trusted(owner),
            others_read: true,
            others_write: true,
        };
    };
    let strangers: Vec<&Grant> = grants
        .iter()
        .filter(|grant| !trusted(&grant.sid) && grant.sid != OWNER_RIGHTS && grant.sid != owner)
        .collect();
    let named = |rights: u32| {
        let sids: Vec<&str> = strangers
            .iter()
            .filter(|grant| grant.rights & rights != 0)
            .map(|grant| grant.sid.as_str())
            .collect();
        if sids.is_empty() {
            "nobody else".to_owned()
        } else {
            sids.join(" ")
        }
    };
    Access {
        description: format!(
            "owner {owner}, read by {}, written by {}",
            named(READING),
            named(WRITING)
        ),
        foreign_owner: !trusted(owner),
        others_read: strangers.iter().any(|grant| grant.rights & READING != 0),
        others_write: strangers.iter().any(|grant| grant.rights & WRITING != 0),
    }
}

/// Of the user that runs this process.
pub(super) fn own_sid() -> io::Result<String> {
    let mut token = HANDLE::default();
    // SAFETY: the pointer is to a handle that lives until the function returns; it is owned by nobody else.
    let token = unsafe {
        OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token).map_err(error)?;
        OwnedHandle::from_raw_handle(token.0)
    };
    let mut length = 0;
    // In words, since what comes has pointers in it. An id has 68 bytes at most.
    let mut buffer = [0_u64; 32];
    let size = u32::try_from(size_of_val(&buffer)).unwrap_or_default();
    // SAFETY: the token is open, the buffer has the size that is said, and what the function leaves there has that type.
    unsafe {
        let token = HANDLE(token.as_raw_handle());
        let start = buffer.as_mut_ptr();
        GetTokenInformation(token, TokenUser, Some(start.cast()), size, &raw mut length).map_err(error)?;
        sid_text((*start.cast::<TOKEN_USER>()).User.Sid)
    }
}

/// An id as people write it.
///
/// # Safety
/// The pointer leads to an id that stays as it is meanwhile.
unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = PWSTR::null();
    // SAFETY: as promised by the caller; the text is the system's until it is freed.
    unsafe {
        ConvertSidToStringSidW(sid, &raw mut text).map_err(error)?;
        let copy = from_pointer(text);
        LocalFree(Some(HLOCAL(text.0.cast())));
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "S-1-5-21-1-2-3-1001";
    const USERS: &str = "S-1-5-32-545";

    fn grant(sid: &str, rights: u32) -> Grant {
        Grant {
            sid: sid.to_owned(),
            rights,
        }
    }

    #[test]
    fn rights_of_the_system_administrators_and_the_owner_are_nobody_elses() {
        let own_only = [
            grant(SYSTEM, GENERIC_ALL.0),
            grant(ADMINISTRATORS, GENERIC_ALL.0),
            grant(OWN, GENERIC_ALL.0),
            grant(OWNER_RIGHTS, GENERIC_ALL.0),
        ];
        let access = judge(ADMINISTRATORS, Some(&own_only), OWN);
        assert!(!access.foreign_owner && !access.others_read && !access.others_write);
        assert!(access.description.contains("read by nobody else"), "{access:?}");
    }

    #[test]
    fn what_users_may_do_is_seen() {
        let read = judge(SYSTEM, Some(&[grant(USERS, FILE_READ_DATA.0)]), OWN);
        assert!(read.others_read && !read.others_write);
        for right in [
            FILE_WRITE_DATA.0,
            DELETE.0,
            WRITE_DAC.0,
            WRITE_OWNER.0,
            GENERIC_WRITE.0,
        ] {
            assert!(
                judge(SYSTEM, Some(&[grant(USERS, right)]), OWN).others_write,
                "{right:x}"
            );
        }
        let open = judge("S-1-5-21-9-9-9-1002", None, OWN);
        assert!(open.foreign_owner && open.others_read && open.others_write);
    }

    #[test]
    fn the_description_of_a_programs_folder_lets_others_read_only() {
        let descriptor = program().unwrap();
        assert!(descriptor.is_protected().unwrap());
        assert_eq!(descriptor.owner().unwrap(), ADMINISTRATORS);
        let access = judge(ADMINISTRATORS, descriptor.grants().unwrap().as_deref(), OWN);
        assert!(access.others_read && !access.others_write, "{access:?}");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_protected_from_them() {
        let folder = tempfile::tempdir().unwrap();
        let opened = OpenOptions::new()
            .access_mode(READ_CONTROL.0 | WRITE_DAC.0)
            .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
            .open(folder.path())
            .unwrap();
        let own = own_sid().unwrap();
        let open = parse(&format!("D:P(A;OICI;FA;;;{own})(A;OICI;FA;;;WD)")).unwrap();
        open.apply(&opened).unwrap();
        drop(opened);
        assert!(access(folder.path()).unwrap().others_write);
        protect(folder.path()).unwrap();
        let access = access(folder.path()).unwrap();
        assert!(!access.others_write, "{access:?}");
    }

    #[test]
    fn a_private_description_is_protected_and_grants_nothing_to_others() {
        let descriptor = private().unwrap();
        assert!(descriptor.is_protected().unwrap());
        let grants = descriptor.grants().unwrap().unwrap();
        let sids: Vec<&str> = grants.iter().map(|grant| grant.sid.as_str()).collect();
        assert_eq!(sids, [SYSTEM, ADMINISTRATORS, own_sid().unwrap().as_str()]);
        let access = judge(SYSTEM, Some(&grants), &own_sid().unwrap());
        assert!(!access.others_read && !access.others_write);
    }
}
