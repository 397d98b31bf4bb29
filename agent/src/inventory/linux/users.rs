//! Local accounts, from passwd(5) and shadow(5).

use crate::host::Host;
use crate::inventory::field::{Result, field, read_text};
use oco_protocol::inventory::User;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::UNIX_EPOCH;

/// The accounts whose id is in `range`.
pub(super) fn collect(host: &dyn Host, range: &RangeInclusive<u32>) -> Result<Vec<User>> {
    let passwd = read_text(host, "/etc/passwd")?;
    // Only root may read it; without it, nobody counts as disabled.
    let shadow = field("users.disabled", read_text(host, "/etc/shadow")).unwrap_or_default();
    let today = host
        .now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 86_400);
    let disabled = disabled_accounts(&shadow, today);
    Ok(parse_passwd(&passwd, range, &disabled))
}

/// Full names, with whatever stands behind them in that field, by user name.
pub(super) fn full_names(host: &dyn Host) -> Result<BTreeMap<String, String>> {
    let passwd = read_text(host, "/etc/passwd")?;
    let names = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(3)?.to_owned()))
    });
    Ok(names.collect())
}

fn parse_passwd(passwd: &str, range: &RangeInclusive<u32>, disabled: &BTreeMap<&str, bool>) -> Vec<User> {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let mut next = || fields.next();
        let (username, _, uid, gid) = (
            next()?,
            next()?,
            next()?.parse::<u32>().ok()?,
            next()?.parse::<u32>().ok()?,
        );
        let (gecos, home, shell) = (next()?, next()?, next()?);
        range.contains(&uid).then(|| User {
            username: username.to_owned(),
            // Full name, room, telephone numbers.
            display_name: gecos.split(',').next().unwrap_or_default().to_owned(),
            uid: uid.into(),
            gid: gid.into(),
            home: home.to_owned(),
            shell: shell.to_owned(),
            disabled: disabled.get(username).copied().unwrap_or_default(),
        })
    });
    users.collect()
}

fn disabled_accounts(shadow: &str, today: u64) -> BTreeMap<&str, bool> {
    let accounts = shadow.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, password) = (fields.next()?, fields.next()?);
        // Last change, minimum, maximum, warning, inactivity; then the day since 1970 from which on it is expired.
        let expiry = fields.nth(5).and_then(|day| day.parse::<u64>().ok());
        let expired = expiry.is_some_and(|day| day <= today);
        Some((name, expired || is_locked(password)))
    });
    accounts.collect()
}

/// Locking puts `!` in front of the password. `*`, `!` or `!!` alone mean that there never was one: such an account may
/// still be entered with a key.
fn is_locked(password: &str) -> bool {
    let rest = password.trim_start_matches('!');
    rest.len() < password.len() && !matches!(rest, "" | "*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn users_in_the_range_are_reported_with_their_full_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1001:Alice Ä. Example,Room 1,,:/home/alice:/bin/zsh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken:x:1001\n+::::::\n";
        let users = parse_passwd(passwd, &(1000..=60000), &BTreeMap::new());
        assert_eq!(users.len(), 1);
        assert_eq!(users[0].display_name, "Alice Ä. Example");
        assert_eq!(
            (users[0].uid.as_u64(), users[0].gid.as_u64()),
            (Some(1000), Some(1001))
        );
        assert_eq!(
            (users[0].home.as_str(), users[0].shell.as_str()),
            ("/home/alice", "/bin/zsh")
        );
        assert_eq!(parse_passwd(passwd, &(1000..=65534), &BTreeMap::new()).len(), 2);
    }

    #[test]
    fn locked_and_expired_accounts_are_disabled() {
        let shadow = "open:$y$abc:20263:0:99999:7:::\nlocked:!$y$abc:20263:0:99999:7:::\nexpired:$y$abc:1:0:9:7::20000:\n\
             later:$y$abc:1:0:9:7::30000:\nnever:*:1:0:9:7:::\nempty:!:1::::::\nredhat:!!:1::::::\nlocked-empty:!*:1::::::\n";
        let disabled = disabled_accounts(shadow, 20_500);
        let names: Vec<_> = disabled
            .iter()
            .filter(|(_, disabled)| **disabled)
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(names, ["expired", "locked"]);
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "([a-z0-9!*:,\n]|\\PC)*", today: u64) {
            parse_passwd(&text, &(0..=u32::MAX), &disabled_accounts(&text, today));
        }
    }
}
