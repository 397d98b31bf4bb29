//! What an administrator sets up and every request may depend on, in memory.

use crate::policies::PolicyBook;
use crate::store::events::EventRule;
use crate::store::groups::GroupKind;
use crate::store::passwords::StoredPasswordRule;
use crate::store::{Store, StoreError};
use crate::users::User;

/// Rules, policies and users.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) events: Vec<EventRule>,
    pub(crate) passwords: Vec<StoredPasswordRule>,
    pub(crate) policies: PolicyBook,
    pub(crate) users: Vec<User>,
}

impl Rules {
    /// Reads all rules.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let groups = store.groups(GroupKind::Computers).await?;
        Ok(Self {
            events: store.event_rules().await?,
            passwords: store.password_rules().await?,
            policies: store.policies(&groups).await?,
            users: store.users().await?,
        })
    }

    /// The password rules that hold for a computer in `groups`, one an account: of several, the first one.
    pub(crate) fn passwords_for(&self, groups: &[i64]) -> Vec<StoredPasswordRule> {
        let mut rules: Vec<StoredPasswordRule> = Vec::new();
        for rule in &self.passwords {
            let holds = rule
                .computer_group_id
                .is_none_or(|wanted| groups.iter().any(|group| self.policies.is_within(*group, wanted)));
            if holds && rules.iter().all(|other| other.username != rule.username) {
                rules.push(rule.clone());
            }
        }
        rules
    }
}
