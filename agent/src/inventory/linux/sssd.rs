//! Users of a directory (Active Directory, FreeIPA, LDAP), from the caches of SSSD: one database a domain, a TDB file that
//! LDB stores its entries in.
//!
//! SSSD's own interfaces do not tell a user's GUID to everybody, and opening the database as its libraries do would take
//! locks that SSSD waits for. So the file is read as it stands, and what a writer has just torn apart is left out: a
//! record counts only if its key has the hash that is stored with it, and its content the name that its key has.

use super::block_devices::unescape;
use crate::host::Host;
use crate::inventory::field::{Result, field, optional};
use crate::inventory::is_uuid;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

mod ldb;
mod tdb;

/// Where the databases are, as `cache_DOMAIN.ldb`.
const FOLDER: &str = "/var/lib/sss/db";

/// Length at which `wtmp` cuts a name, bytes.
const CUT_LENGTH: usize = 32;

/// The users that SSSD knows.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Vec<User>,
    /// Which users have a login name, in small letters.
    by_name: HashMap<String, Vec<usize>>,
    /// The users by their whole names, `name@domain` in small letters.
    by_whole_name: BTreeSet<(String, usize)>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Login name, without the domain.
    name: String,
    domain: String,
    /// The directory's UUID of the user, as SSSD writes it.
    pub(super) guid: Option<String>,
    /// Full name, or what else the directory has for it.
    pub(super) full_name: String,
}

impl Directory {
    /// Reads all caches. One that cannot be read, or makes no sense, costs its own users only, and the log says why.
    pub(super) fn read(host: &dyn Host) -> Self {
        let names = field("logins.guid", optional(host.list_folder(Path::new(FOLDER)))).flatten();
        let caches = names
            .iter()
            .flatten()
            .filter(|name| name.starts_with("cache_") && name.ends_with(".ldb"));
        let users = caches.flat_map(|name| {
            let file = host.read_file(Path::new(&format!("{FOLDER}/{name}")));
            let users = file.map_err(Into::into).and_then(|file| parse(&file));
            field("logins.guid", users).unwrap_or_default()
        });
        Self::new(users.collect())
    }

    fn new(users: Vec<User>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, user) in users.iter().enumerate() {
            by_name.entry(user.name.to_lowercase()).or_default().push(index);
        }
        let whole_names = users.iter().map(User::whole_name).zip(0..);
        Self {
            by_whole_name: whole_names.collect(),
            by_name,
            users,
        }
    }

    /// The user of that login name, which may be plain, `name@domain` or `DOMAIN\name`. None where several could be meant.
    pub(super) fn find(&self, login: &str) -> Option<&User> {
        let called = self.named(login).filter(|user| user.is_called(login));
        only(called).or_else(|| only(self.cut_to(login)))
    }

    /// The users whose name may be in a login name, each once.
    fn named(&self, login: &str) -> impl Iterator<Item = &User> {
        let unqualified = login.rsplit_once('@').map(|(name, _)| name);
        let behind_domain = login.split_once('\\').map(|(_, name)| name);
        let names = [Some(login), unqualified, behind_domain].into_iter().flatten();
        let found = names.filter_map(|name| self.by_name.get(&name.to_lowercase()));
        let found: BTreeSet<usize> = found.flatten().copied().collect();
        found.into_iter().filter_map(|index| self.users.get(index))
    }

    /// The users whose whole names begin so, if this may be a name that was cut.
    fn cut_to(&self, login: &str) -> impl Iterator<Item = &User> {
        let begin = login.to_lowercase();
        let names = self.by_whole_name.range((begin.clone(), 0)..);
        let cut = names.take_while(move |(name, _)| name.starts_with(&begin));
        cut.take(if login.len() == CUT_LENGTH { usize::MAX } else { 0 })
            .filter_map(|(_, index)| self.users.get(*index))
    }
}

/// The only one, if it is.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

impl User {
    fn is_called(&self, login: &str) -> bool {
        let is_named = |name: &str| same(name, &self.name);
        // The name's part of a qualified name may itself hold an @.
        if let Some((name, domain)) = login.rsplit_once('@')
            && is_named(name)
        {
            return same(domain, &self.domain);
        }
        match login.split_once('\\') {
            Some((domain, name)) => {
                let first_label = self.domain.split('.').next().unwrap_or_default();
                is_named(name) && (same(domain, &self.domain) || same(domain, first_label))
            }
            None => is_named(login),
        }
    }

    fn whole_name(&self) -> String {
        format!("{}@{}", self.name, self.domain).to_lowercase()
    }
}

/// Directories do not care about the case of names.
fn same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// The users in one cache.
fn parse(file: &[u8]) -> Result<Vec<User>> {
    let records = tdb::records(file)?;
    Ok(records.filter_map(|(key, value)| user(key, value)).collect())
}

/// The user in a record, if it is one of a user: `DN=NAME=alice@example.org,CN=USERS,CN=example.org,CN=SYSDB`.
fn user(key: &[u8], value: &[u8]) -> Option<User> {
    let key = str::from_utf8(key.strip_prefix(b"DN=")?.strip_suffix(b"\0")?).ok()?;
    if !key.get(..5)?.eq_ignore_ascii_case("name=") {
        return None;
    }
    let entry = ldb::Entry::parse(value)?;
    // Keys are in upper case where the attribute's case does not matter.
    if !same(entry.dn, key) {
        return None;
    }
    let (rdn, domain) = in_users(entry.dn)?;
    let text = |attribute| {
        let text = entry.text(attribute).map(str::trim);
        text.filter(|text| !text.is_empty())
    };
    let name = text("name").filter(|name| same(name, &unescape_rdn(rdn)))?;
    // From version 1.14 on, the name is qualified with the domain.
    let short = name
        .rsplit_once('@')
        .filter(|(_, qualifier)| same(qualifier, domain))
        .map_or(name, |(short, _)| short);
    Some(User {
        name: short.to_owned(),
        domain: domain.to_owned(),
        guid: text("uniqueID").filter(|id| is_uuid(id)).map(str::to_owned),
        full_name: text("gecos")
            .or_else(|| text("fullName"))
            .unwrap_or_default()
            .to_owned(),
    })
}

/// The value of the first part, still escaped, and the domain of a name such as `name=VALUE,cn=users,cn=DOMAIN,cn=sysdb`.
fn in_users(dn: &str) -> Option<(&str, &str)> {
    let mut parts = dn.rsplitn(4, ',');
    let mut value = |key: &str| {
        let (name, value) = parts.next()?.split_once('=')?;
        (name.eq_ignore_ascii_case(key) && !value.is_empty()).then_some(value)
    };
    let (sysdb, domain, users, rdn) = (value("cn")?, value("cn")?, value("cn")?, value("name")?);
    (sysdb.eq_ignore_ascii_case("sysdb") && users.eq_ignore_ascii_case("users")).then_some((rdn, domain))
}

/// Undoes LDAP's escapes: a backslash before a character, or before two hexadecimal digits.
fn unescape_rdn(value: &str) -> String {
    unescape(value, |rest| {
        let hexadecimal = rest
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| Some((u8::from_str_radix(digits, 16).ok()?, 2)));
        hexadecimal.or_else(|| rest.bytes().next().filter(u8::is_ascii).map(|byte| (byte, 1)))
    })
}

#[cfg(test)]
mod tests;
