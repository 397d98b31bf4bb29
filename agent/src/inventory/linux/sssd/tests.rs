//! SSSD caches: one that LDB's own tools have made, and damaged and foreign ones.

use super::*;
use proptest::prelude::*;

/// `ldbadd` has made it, `tdbbackup -n 131` has made it small.
const CACHE: &[u8] = include_bytes!(
    "../../../../fixtures/linux/debian-13-desktop-sssd/files/var/lib/sss/db/cache_example.org.ldb"
);

const ALICE: &str = "5a1d4c3e-8c1f-4f6b-9b0e-2f7d1c0a9e11";

fn directory(file: &[u8]) -> Directory {
    Directory::new(parse(file).unwrap())
}

fn user(name: &str, domain: &str) -> User {
    User {
        name: name.to_owned(),
        domain: domain.to_owned(),
        guid: None,
        full_name: String::new(),
    }
}

#[test]
fn users_of_a_cache_have_their_guids() {
    let directory = directory(CACHE);
    assert_eq!(directory.users.len(), 3, "{:?}", directory.users);
    for login in [
        "alice",
        "alice@example.org",
        "ALICE@EXAMPLE.ORG",
        r"EXAMPLE\alice",
        r"example.org\Alice",
    ] {
        let user = directory.find(login).unwrap();
        assert_eq!(user.guid.as_deref(), Some(ALICE));
        assert_eq!(user.full_name, "Alice Ätherton");
    }
    for login in [
        "",
        "alic",
        "alice@other.org",
        r"OTHER\alice",
        "domain users",
        "bob.muller",
    ] {
        assert_eq!(directory.find(login), None, "{login}");
    }
    let bob = directory.find("bob.MÜLLER").unwrap();
    assert_eq!(
        (bob.guid.as_deref(), bob.full_name.as_str()),
        (None, "Bob Müller")
    );
    assert_eq!(directory.find("carol").unwrap().full_name, "Carol Only-Full-Name");
}

#[test]
fn a_name_that_two_domains_have_needs_its_domain() {
    let directory = Directory::new(vec![
        user("eve", "a.example"),
        user("eve", "b.example"),
        user("e@x", "a.example"),
    ]);
    assert_eq!(directory.find("eve"), None);
    assert_eq!(directory.find("eve@b.example").unwrap().domain, "b.example");
    assert_eq!(directory.find(r"A\eve").unwrap().domain, "a.example");
    assert!(directory.find("e@x").is_some() && directory.find("e@x@a.example").is_some());
}

#[test]
fn a_name_that_the_log_has_cut_is_known_by_its_beginning() {
    let long = "maximiliana.example-surname";
    let directory = Directory::new(vec![
        user(long, "corp.example.org"),
        user("max", "corp.example.org"),
    ]);
    let cut = &format!("{long}@corp.example.org")[..32];
    assert_eq!(directory.find(cut).unwrap().name, long);
    assert_eq!(directory.find(&cut[..31]), None);
    let both = Directory::new(vec![
        user(long, "corp.example.org"),
        user(long, "corp.example.net"),
    ]);
    assert_eq!(both.find(cut), None);
}

#[test]
fn only_entries_of_users_are_users_and_their_names_are_unescaped() {
    let value = |dn: &str, name: &str| {
        let mut packed = 0x2601_1967_u32.to_le_bytes().to_vec();
        packed.extend(1_u32.to_le_bytes());
        packed.extend(format!("{dn}\0name\0").bytes());
        packed.extend(1_u32.to_le_bytes());
        packed.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        packed.extend(format!("{name}\0").bytes());
        packed
    };
    let found = |dn: &str, name: &str| {
        let user = super::user(format!("DN={}\0", dn.to_uppercase()).as_bytes(), &value(dn, name));
        user.map(|user| user.name)
    };
    let users = "cn=users,cn=example.org,cn=sysdb";
    let found_in_users = |rdn: &str, name: &str| found(&format!("{rdn},{users}"), name);
    assert_eq!(
        found_in_users("name=a@example.org", "a@example.org").as_deref(),
        Some("a")
    );
    assert_eq!(found_in_users("name=a", "a").as_deref(), Some("a"));
    assert_eq!(
        found_in_users(r"name=x\,y\2Bz@example.org", "x,y+z@example.org").as_deref(),
        Some("x,y+z")
    );
    assert_eq!(found_in_users("name=a", "b"), None);
    assert_eq!(found_in_users("cn=a", "a"), None);
    assert_eq!(found("name=a,cn=groups,cn=example.org,cn=sysdb", "a"), None);
    assert_eq!(found("name=a,cn=example.org,cn=sysdb", "a"), None);
    assert_eq!(found("@INDEX:NAME:a", "a"), None);
    let other_format = [&[0x68], &value(users, "a")[1..]].concat();
    assert_eq!(
        super::user(format!("DN=NAME=A,{users}\0").as_bytes(), &other_format),
        None
    );
}

#[test]
fn what_is_no_cache_is_refused() {
    let reason = |file: &[u8]| parse(file).unwrap_err().to_string();
    assert!(reason(b"").contains("no TDB file"));
    assert!(reason(&CACHE[..20]).contains("version"));
    let changed = |at: usize, byte: u8| {
        let mut file = CACHE.to_vec();
        file[at] ^= byte;
        file
    };
    assert!(reason(&changed(32, 1)).contains("version"));
    assert!(reason(&changed(40, 0x51)).contains("hash function"));
    assert!(reason(&changed(39, 0xff)).contains("hash chains"));
    assert!(reason(&CACHE[..36]).contains("hash"));
}

#[test]
fn a_record_whose_key_or_name_is_torn_is_left_out() {
    let replaced = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut file = CACHE.to_vec();
        let places: Vec<_> = (0..file.len() - from.len())
            .filter(|at| file[*at..].starts_with(from))
            .collect();
        assert!(!places.is_empty());
        for at in places {
            file[at..at + to.len()].copy_from_slice(to);
        }
        directory(&file)
    };
    // The key, then the name in the entry.
    assert_eq!(replaced(b"DN=NAME=alice@", b"DN=NAME=alicf@").find("alice"), None);
    assert_eq!(
        replaced(b"name=alice@example.org,", b"name=alicf@example.org,").find("alice"),
        None
    );
    // What is no UUID is no GUID.
    let changed = replaced(
        b"uniqueID\0\x01\0\0\0\x24\0\0\x005a1d",
        b"uniqueID\0\x01\0\0\0\x24\0\0\x005g1d",
    );
    assert_eq!(changed.find("alice").unwrap().guid, None);
}

#[test]
fn a_circle_of_records_has_an_end() {
    let mut file = CACHE.to_vec();
    // Every record in use points to itself.
    for at in (0..file.len() - 24).step_by(4) {
        if file[at + 20..at + 24] == 0x2601_1999_u32.to_le_bytes() {
            let own = u32::try_from(at).unwrap().to_le_bytes();
            file[at..at + 4].copy_from_slice(&own);
        }
    }
    assert!(tdb::records(&file).unwrap().count() <= file.len() / 24);
}

#[test]
fn a_machine_without_sssd_has_no_directory() {
    let host = crate::host::recorded::RecordedHost::load(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/linux/alpine-vm"
    )));
    assert_eq!(Directory::read(&host.unwrap()).users, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_costs_users_but_invents_none(changes in proptest::collection::vec((0..CACHE.len(), any::<u8>()), 1..40)) {
        let mut file = CACHE.to_vec();
        for (at, byte) in changes {
            file[at] = byte;
        }
        for user in parse(&file).unwrap_or_default() {
            let known = ["alice", "bob.müller", "carol"].contains(&user.name.to_lowercase().as_str());
            prop_assert!(known && same(&user.domain, "example.org"), "{:?}", user);
        }
    }

    #[test]
    fn no_file_panics(cut in 0..CACHE.len(), rest in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut file = CACHE[..cut].to_vec();
        file.extend(rest);
        let _ = parse(&file);
    }
}

#[test]
fn many_logins_of_many_users_are_found_without_looking_at_each_user() {
    let users = (0..50_000).map(|number| user(&format!("user{number}"), "corp.example.org"));
    let directory = Directory::new(users.collect());
    // One by one, this takes minutes.
    for number in 0..50_000 {
        let login = format!(r"CORP\USER{number}");
        assert!(directory.find(&login).is_some(), "{login}");
    }
}
