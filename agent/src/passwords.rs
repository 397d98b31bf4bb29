//! Password rotation: new passwords for local accounts, stored by the server first and set only then.

use crate::errors::with_causes;
use crate::host::{Host, HostError};
use crate::server_client::{ExchangeError, ServerClient};
use oco_protocol::Key;
use oco_protocol::password::{EncryptedPassword, IV_LENGTH, PasswordReport, PasswordsData};
use oco_protocol::rpc::{Method, PasswordRule};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longest password that is made, characters. Some login programs take no more.
const MOST_CHARACTERS: i64 = 256;
/// Random bytes that are fetched at a time.
const RANDOM_BYTES: usize = 64;

/// A rule that makes no password.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The length is out of bounds.
    #[error("the length {0} is out of bounds: expected 1 to {MOST_CHARACTERS}")]
    Length(i64),
    /// There are too few characters to draw from.
    #[error("the alphabet has fewer than two different characters")]
    TooFewCharacters,
    /// Characters that cannot be typed everywhere, or that would end the password.
    #[error("the alphabet has characters other than printable ASCII ones")]
    Character,
    /// Names that cannot belong to an account.
    #[error("the account's name is empty, or has a colon or a control character")]
    Username,
    /// The random source fails.
    #[error("no random numbers")]
    Random(#[from] HostError),
}

/// What came of a rotation: names of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rotation {
    /// Whose password is a new one now.
    pub set: Vec<String>,
    /// Whose password stayed, and which the server was told to forget the new one of.
    pub revoked: Vec<String>,
}

/// A password that was drawn, and its encrypted form.
struct NewPassword {
    username: String,
    password: Zeroizing<String>,
    /// The one that the account has had so far, as far as the server knows.
    old: Option<Key>,
    encrypted: EncryptedPassword,
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPassword")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Makes a new password for each rule, has the server store all of them, and then sets them. A rule that makes no
/// password costs itself only. Without a rule nothing is sent.
///
/// If the server's answer is lost it may have stored passwords that nobody has: it is told to forget them.
pub async fn rotate(
    host: Arc<dyn Host>,
    client: &ServerClient,
    rules: &[PasswordRule],
) -> Result<Rotation, ExchangeError> {
    let passwords = draw_all(host.as_ref(), &client.agent_key().await, rules);
    if passwords.is_empty() {
        return Ok(Rotation::default());
    }
    if let Err(error) = send(client, &passwords, false).await {
        if !matches!(error, ExchangeError::Refused { status: 400..500, .. }) {
            revoke(client, &passwords).await;
        }
        return Err(error);
    }
    let (set, failed) = set_all(host, passwords).await;
    if !failed.is_empty() {
        revoke(client, &failed).await;
    }
    Ok(Rotation {
        set,
        revoked: failed.into_iter().map(|failed| failed.username).collect(),
    })
}

/// Draws a password: each character of the alphabet is as likely as any other, also where one is named twice.
pub fn draw(
    rule: &PasswordRule,
    mut fill_random: impl FnMut(&mut [u8]) -> Result<(), HostError>,
) -> Result<Zeroizing<String>, RuleError> {
    let length = usize::try_from(rule.length)
        .ok()
        .filter(|_| (1..=MOST_CHARACTERS).contains(&rule.length))
        .ok_or(RuleError::Length(rule.length))?;
    if !rule.alphabet.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(RuleError::Character);
    }
    let alphabet: BTreeSet<u8> = rule.alphabet.bytes().collect();
    let alphabet: Zeroizing<Vec<u8>> = Zeroizing::new(alphabet.into_iter().collect());
    if alphabet.len() < 2 {
        return Err(RuleError::TooFewCharacters);
    }
    // Bytes from the largest multiple of the alphabet's size on would favour its beginning.
    let fair = 256 - 256 % alphabet.len();
    // Allocated once: what a reallocation leaves behind would not be wiped.
    let mut password = Zeroizing::new(String::with_capacity(length));
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    while password.len() < length {
        fill_random(&mut *random)?;
        let fair = random
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < fair);
        let drawn = fair.filter_map(|byte| alphabet.get(byte % alphabet.len()));
        for character in drawn.take(length - password.len()) {
            password.push(char::from(*character));
        }
    }
    Ok(password)
}

fn draw_all(host: &dyn Host, agent_key: &Key, rules: &[PasswordRule]) -> Vec<NewPassword> {
    let mut seen = BTreeSet::new();
    let mut passwords = Vec::new();
    for rule in rules {
        if !seen.insert(rule.username.as_str()) {
            tracing::warn!(account = %rule.username, "there are two password rules for one account; the first one holds");
            continue;
        }
        match new_password(host, agent_key, rule) {
            Ok(password) => passwords.push(password),
            Err(error) => {
                tracing::error!(account = %rule.username, error = %with_causes(&error), "a password rule is not followed");
            }
        }
    }
    passwords
}

fn new_password(host: &dyn Host, agent_key: &Key, rule: &PasswordRule) -> Result<NewPassword, RuleError> {
    if rule.username.is_empty() || rule.username.contains(|c: char| c == ':' || c.is_control()) {
        return Err(RuleError::Username);
    }
    let password = draw(rule, |buffer| host.fill_random(buffer))?;
    let mut iv = [0; IV_LENGTH];
    host.fill_random(&mut iv)?;
    Ok(NewPassword {
        username: rule.username.clone(),
        old: rule.old_password.clone(),
        encrypted: EncryptedPassword::encrypt(agent_key, iv, &password),
        password,
    })
}

async fn send(
    client: &ServerClient,
    passwords: &[NewPassword],
    revoke: bool,
) -> Result<Value, ExchangeError> {
    let passwords = passwords.iter().map(|new| PasswordReport {
        username: new.username.clone(),
        password: new.encrypted.clone(),
        revoke,
    });
    let data = PasswordsData {
        passwords: passwords.collect(),
    };
    client.exchange(Method::Passwords, &data).await
}

/// Has the server forget passwords. If that fails, too, the administrator has to know.
async fn revoke(client: &ServerClient, passwords: &[NewPassword]) {
    if let Err(error) = send(client, passwords, true).await {
        let accounts: Vec<&str> = passwords.iter().map(|new| new.username.as_str()).collect();
        tracing::error!(
            accounts = accounts.join(", "),
            error = %with_causes(&error),
            "the server may keep passwords that were never set; rotate them again"
        );
    }
}

/// Sets passwords; the accounts where that worked, and the passwords that are of no use.
async fn set_all(host: Arc<dyn Host>, passwords: Vec<NewPassword>) -> (Vec<String>, Vec<NewPassword>) {
    let work = move || {
        let (mut set, mut failed) = (Vec::new(), Vec::new());
        for new in passwords {
            let old = new.old.as_ref().map(Key::expose).filter(|old| !old.is_empty());
            match host.change_password(&new.username, &new.password, old) {
                Ok(()) => set.push(new.username),
                Err(error) => {
                    tracing::error!(error = %with_causes(&error), "a password stays as it was");
                    failed.push(new);
                }
            }
        }
        (set, failed)
    };
    // Begun once, it runs to its end even if the agent is told to stop.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "setting passwords ended early; the server has passwords that may not be set");
            (Vec::new(), Vec::new())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(alphabet: &str, length: i64) -> PasswordRule {
        PasswordRule {
            username: "admin".into(),
            alphabet: alphabet.into(),
            length,
            old_password: None,
        }
    }

    fn system_random(buffer: &mut [u8]) -> Result<(), HostError> {
        getrandom::fill(buffer).map_err(|error| HostError::new("read", "the random source", error))
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        // All bytes equally often: with 10 characters, 250 of 256 bytes are fair.
        let mut next = 0_u8;
        let every_byte = |buffer: &mut [u8]| {
            for slot in buffer {
                *slot = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        };
        let password = draw(&rule("0123456789", 250), every_byte).unwrap();
        for digit in '0'..='9' {
            assert_eq!(password.matches(digit).count(), 25, "{digit}");
        }
    }

    #[test]
    fn a_character_named_twice_is_not_drawn_more_often() {
        let mut next = 0_u8;
        let every_byte = |buffer: &mut [u8]| {
            for slot in buffer {
                *slot = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        };
        let password = draw(&rule("aaab", 256), every_byte).unwrap();
        assert_eq!(password.matches('a').count(), 128);
    }

    #[test]
    fn rules_that_make_no_password_are_refused() {
        for length in [0, -1, MOST_CHARACTERS + 1, i64::MAX] {
            assert!(matches!(
                draw(&rule("ab", length), system_random),
                Err(RuleError::Length(_))
            ));
        }
        for alphabet in ["", "a", "aaaa"] {
            assert!(matches!(
                draw(&rule(alphabet, 8), system_random),
                Err(RuleError::TooFewCharacters)
            ));
        }
        for alphabet in ["abcä", "ab\n", "ab\0"] {
            assert!(matches!(
                draw(&rule(alphabet, 8), system_random),
                Err(RuleError::Character)
            ));
        }
    }

    #[test]
    fn a_broken_random_source_makes_no_password() {
        let broken = |_: &mut [u8]| Err(HostError::not_found("read", "the random source"));
        assert!(matches!(draw(&rule("ab", 8), broken), Err(RuleError::Random(_))));
    }

    #[test]
    fn debug_output_shows_no_password() {
        let new = NewPassword {
            old: Some(Key::new("0ld")),
            username: "admin".into(),
            password: Zeroizing::new("s3cret".into()),
            encrypted: EncryptedPassword::encrypt(&Key::new("k"), [0; IV_LENGTH], "s3cret"),
        };
        assert_eq!(format!("{new:?}"), "NewPassword { username: \"admin\", .. }");
    }

    #[tokio::test]
    async fn the_password_so_far_reaches_the_machine_where_it_is_known() {
        let mut recording = crate::inventory::macos::tests::recording(&[]);
        let accounts = b"admin:*:501:20::/Users/admin:/bin/zsh\nguest:*:502:20::/:/bin/zsh\n";
        recording
            .files
            .insert("/etc/passwd".to_owned(), accounts.to_vec());
        let host = Arc::new(crate::host::recorded::RecordedHost::new(recording));
        let new = |username: &str, old: Option<&str>| NewPassword {
            username: username.into(),
            password: Zeroizing::new("s3cret".into()),
            old: old.map(Key::new),
            encrypted: EncryptedPassword::encrypt(&Key::new("k"), [0; IV_LENGTH], "s3cret"),
        };
        let passwords = vec![
            new("admin", Some("0ld")),
            new("guest", Some("")),
            new("nobody", None),
        ];
        let (set, failed) = set_all(host.clone(), passwords).await;
        assert_eq!((set.len(), failed.len()), (2, 1));
        let told = [
            ("admin".to_owned(), Some("0ld".to_owned())),
            ("guest".to_owned(), None),
        ];
        assert_eq!(host.old_passwords(), told);
    }

    proptest! {
        #[test]
        fn passwords_have_the_length_and_the_characters_of_their_rule(
            alphabet in "[ -~]{2,80}", length in 1..=MOST_CHARACTERS
        ) {
            prop_assume!(alphabet.bytes().collect::<BTreeSet<_>>().len() > 1);
            let password = draw(&rule(&alphabet, length), system_random).unwrap();
            prop_assert_eq!(password.len(), usize::try_from(length).unwrap());
            prop_assert!(password.chars().all(|character| alphabet.contains(character)));
        }
    }
}
