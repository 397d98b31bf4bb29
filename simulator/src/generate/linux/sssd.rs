//! SSSD's cache of a directory: entries as LDB packs them, in a TDB file (see tdb(3)). Written after the formats'
//! descriptions and not with the agent's reader, so that an error in one of them shows.

use crate::generate::Profile;
use crate::generate::directory::DirectoryUser;
use std::io;

/// Where SSSD keeps its databases.
pub(super) const FOLDER: &str = "/var/lib/sss/db";

/// Hash chains of the file. LDB makes 10,000, which would be most of it.
const CHAINS: u32 = 17;
/// Bytes of the header, and of the head of a record.
const HEADER: usize = 168;
const RECORD: usize = 24;

/// Names in the folder; there is none without SSSD.
pub(super) fn list(profile: &Profile) -> io::Result<Vec<String>> {
    if profile.directory_users().is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if profile.defects.unprivileged {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let domain = profile.domain.unwrap_or_default();
    Ok(vec![
        format!("cache_{domain}.ldb"),
        format!("ccache_{}", domain.to_uppercase()),
        "config.ldb".to_owned(),
        "sssd.ldb".to_owned(),
        format!("timestamps_{domain}.ldb"),
    ])
}

/// Content of a file in the folder.
pub(super) fn read_file(profile: &Profile, name: &str) -> io::Result<Vec<u8>> {
    let names = list(profile)?;
    if names.first().is_none_or(|cache| cache != name) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(cache(
        &profile.directory_users(),
        profile.domain.unwrap_or_default(),
    ))
}

fn cache(users: &[DirectoryUser], domain: &str) -> Vec<u8> {
    let mut file = Database::new();
    file.put("@BASEINFO", &[("sequenceNumber", "7")]);
    file.put(&format!("cn={domain},cn=sysdb"), &[("cn", domain)]);
    for user in users {
        let name = format!("{}@{domain}", user.name);
        file.put(
            &format!("name={name},cn=users,cn={domain},cn=sysdb"),
            &[
                ("gecos", &user.full_name),
                ("name", &name),
                ("objectCategory", "user"),
                ("uidNumber", &user.number.to_string()),
                ("uniqueID", &user.uuid),
            ],
        );
        // Everybody is in a group, whose UUID is nobody's.
        let group = format!("{}-team@{domain}", user.name);
        file.put(
            &format!("name={group},cn=groups,cn={domain},cn=sysdb"),
            &[
                ("name", &group),
                ("objectCategory", "group"),
                ("uniqueID", "0b0e0d0c-0000-4000-8000-00000000abcd"),
            ],
        );
    }
    file.0
}

/// A TDB file that grows.
struct Database(Vec<u8>);

impl Database {
    fn new() -> Self {
        let mut file = b"TDB file\n".to_vec();
        file.resize(32, 0);
        file.extend((0x2601_1967_u32 + 6).to_le_bytes());
        file.extend(CHAINS.to_le_bytes());
        file.resize(HEADER, 0);
        // The list of free records, and the heads of the chains.
        file.resize(HEADER + 4 * (1 + CHAINS as usize), 0);
        Self(file)
    }

    /// Adds an entry, in front of its chain.
    fn put(&mut self, dn: &str, attributes: &[(&str, &str)]) {
        let key = format!("DN={}\0", upper_case_names(dn));
        let value = packed(dn, attributes);
        let hash = hash(key.as_bytes());
        let head = HEADER + 4 * (1 + (hash % CHAINS) as usize);
        let at = self.0.len();
        let next = self.0[head..head + 4].to_vec();
        self.0[head..head + 4].copy_from_slice(&number(at));
        let room = (key.len() + value.len()).next_multiple_of(4);
        self.0.extend(next);
        for length in [room, key.len(), value.len()] {
            self.0.extend(number(length));
        }
        self.0.extend(hash.to_le_bytes());
        self.0.extend(0x2601_1999_u32.to_le_bytes());
        self.0.extend(key.as_bytes());
        self.0.extend(value);
        self.0.resize(at + RECORD + room, 0x42);
    }
}

/// LDB's keys have names of attributes in upper case, and so the values of attributes whose case does not matter.
fn upper_case_names(dn: &str) -> String {
    let parts = dn.split(',').map(|part| match part.split_once('=') {
        Some(("name", value)) => format!("NAME={value}"),
        _ => part.to_uppercase(),
    });
    parts.collect::<Vec<_>>().join(",")
}

fn packed(dn: &str, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut packed = 0x2601_1967_u32.to_le_bytes().to_vec();
    packed.extend(number(attributes.len()));
    packed.extend(format!("{dn}\0").bytes());
    for (name, value) in attributes {
        packed.extend(format!("{name}\0").bytes());
        packed.extend(number(1));
        packed.extend(number(value.len()));
        packed.extend(format!("{value}\0").bytes());
    }
    packed
}

fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// TDB's hash function.
fn hash(key: &[u8]) -> u32 {
    let mut value = 0x238f_13af_u32.wrapping_mul(u32::try_from(key.len()).unwrap_or(u32::MAX));
    let mut shift = 0;
    for byte in key {
        value = value.wrapping_add(u32::from(*byte) << shift);
        shift = (shift + 5) % 24;
    }
    value.wrapping_mul(1_103_515_243).wrapping_add(12_345)
}
