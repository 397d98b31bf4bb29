//! People who use the client API: their roles, what they may do, and their passwords.
//!
//! A password is stored as an Argon2id hash. Verifying one takes time and memory on purpose, so it runs beside the
//! threads that serve requests, few at a time, and what has been verified is remembered as a digest under a secret of
//! the process: automation that sends its password with every request pays once.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Verifications at a time; each takes 19 MiB.
const VERIFICATIONS: usize = 2;
/// Verified passwords that are remembered.
const REMEMBERED: usize = 1024;
/// What passwords of unknown users are compared with, so that the time does not tell who is known.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$Zm9yIGEgdXNlciB0aGF0IGRvZXMgbm90IGV4aXN0ISE";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Look.
    Viewer,
    /// Also deploy, and change computers and packages.
    Operator,
    /// Everything, and see the keys of computers.
    Administrator,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }

    /// The role of a stored name; what is not known may do the least.
    pub(crate) fn from_name(name: &str) -> Self {
        [Self::Administrator, Self::Operator]
            .into_iter()
            .find(|role| role.name() == name)
            .unwrap_or(Self::Viewer)
    }
}

/// A user.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) password_hash: String,
    pub(crate) role: Role,
    /// The computer groups that the user is limited to; none: no limit.
    pub(crate) limits: Vec<i64>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A password that cannot be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password: {0}")]
pub(crate) struct HashError(String);

/// Hashes a new password.
pub(crate) async fn hash(password: String) -> Result<String, HashError> {
    let hash = tokio::task::spawn_blocking(move || Argon2::default().hash_password(password.as_bytes()));
    let hash = hash.await.map_err(|error| HashError(error.to_string()))?;
    hash.map(|hash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

/// Verifies passwords.
pub(crate) struct Verifier {
    secret: [u8; 32],
    verified: Mutex<HashSet<[u8; 32]>>,
    permits: Semaphore,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that blinds what it remembers with `secret`.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            verified: Mutex::default(),
            permits: Semaphore::new(VERIFICATIONS),
        }
    }

    /// Whether `password` is that of `user`.
    pub(crate) async fn verify(&self, user: Option<&User>, password: &str) -> bool {
        let hash = user.map_or(NOBODY, |user| &user.password_hash).to_owned();
        let digest = self.digest(&hash, password);
        if self.remembered().contains(&digest) {
            return true;
        }
        // Never closed, so a permit always comes.
        let _permit = self.permits.acquire().await;
        let password = password.to_owned();
        let verified = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        });
        let verified = verified.await.unwrap_or(false) && user.is_some();
        if verified {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(digest);
        }
        verified
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash goes in, so that a changed password is verified again.
    fn digest(&self, hash: &str, password: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        digest.update((hash.len() as u64).to_le_bytes());
        digest.update(hash);
        digest.update(password);
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn user(password: &str) -> User {
        User {
            id: 1,
            name: "admin".into(),
            password_hash: hash(password.into()).await.unwrap(),
            role: Role::Administrator,
            limits: Vec::new(),
        }
    }

    #[tokio::test]
    async fn only_the_right_password_is_verified_and_remembered() {
        let verifier = Verifier::new([7; 32]);
        let user = user("secret").await;
        assert!(user.password_hash.starts_with("$argon2id$"));
        assert!(!verifier.verify(Some(&user), "Secret").await);
        assert!(verifier.remembered().is_empty());
        assert!(verifier.verify(Some(&user), "secret").await);
        assert_eq!(verifier.remembered().len(), 1);
        assert!(verifier.verify(Some(&user), "secret").await);
        assert!(!verifier.verify(Some(&user), "").await);
    }

    #[tokio::test]
    async fn a_changed_password_is_not_what_was_remembered() {
        let verifier = Verifier::new([7; 32]);
        let before = user("secret").await;
        assert!(verifier.verify(Some(&before), "secret").await);
        let after = user("other").await;
        assert!(!verifier.verify(Some(&after), "secret").await);
    }

    #[tokio::test]
    async fn nobody_has_a_password_and_is_as_slow_to_refuse() {
        let verifier = Verifier::new([7; 32]);
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(!verifier.verify(None, "").await);
    }

    #[test]
    fn roles_have_names_and_unknown_ones_may_only_look() {
        for role in [Role::Viewer, Role::Operator, Role::Administrator] {
            assert_eq!(Role::from_name(role.name()), role);
        }
        assert_eq!(Role::from_name("root"), Role::Viewer);
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Administrator);
    }
}
