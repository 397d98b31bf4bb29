//! Who calls, whichever the surface: a user with its role, and what it sees within its limits.

use crate::state::ServerState;
use crate::store::StoreError;
use crate::users::{Role, User};
use std::collections::HashSet;

/// Who calls.
#[derive(Debug)]
pub(crate) struct Caller {
    user: User,
    /// The computers within the user's limits; none: all.
    visible: Option<HashSet<i64>>,
    /// The groups within them.
    groups: Option<HashSet<i64>>,
}

impl Caller {
    /// The user of that name, if the password is its own.
    pub(crate) async fn sign_in(
        state: &ServerState,
        name: &str,
        password: &str,
    ) -> Result<Option<Self>, StoreError> {
        state.follow_others().await?;
        let rules = state.rules();
        let key = name.to_lowercase();
        let user = rules.users.iter().find(|user| user.name.to_lowercase() == key);
        // Verified for nobody, too, so that the time does not tell who is known.
        if !state.verifier.verify(user, password).await {
            return Ok(None);
        }
        match user {
            Some(user) => Self::of(state, user).await.map(Some),
            None => Ok(None),
        }
    }

    /// The user, with what it sees now.
    async fn of(state: &ServerState, user: &User) -> Result<Self, StoreError> {
        let rules = state.rules();
        let (visible, groups) = match user.limits.is_empty() {
            true => (None, None),
            false => {
                let within = |group: i64| {
                    user.limits
                        .iter()
                        .any(|limit| rules.policies.is_within(group, *limit))
                };
                let memberships = memberships(state).await?.into_iter();
                let visible = memberships.filter(|(_, groups)| groups.iter().any(|group| within(*group)));
                let visible = visible.map(|(computer, _)| computer).collect();
                let groups = rules.policies.groups().filter(|group| within(*group)).collect();
                (Some(visible), Some(groups))
            }
        };
        Ok(Self {
            user: user.clone(),
            visible,
            groups,
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.user.id
    }

    pub(crate) fn role(&self) -> Role {
        self.user.role
    }

    /// Whether the user may see the keys of computers.
    pub(crate) fn sees_keys(&self) -> bool {
        self.role() == Role::Administrator
    }

    /// Whether there are computers that the user does not see.
    pub(crate) fn is_limited(&self) -> bool {
        self.visible.is_some()
    }

    /// Whether the user sees a computer.
    pub(crate) fn sees(&self, computer: i64) -> bool {
        self.visible
            .as_ref()
            .is_none_or(|visible| visible.contains(&computer))
    }

    /// Whether the user sees a computer group.
    pub(crate) fn sees_group(&self, group: i64) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(&group))
    }
}

/// The groups of the computers, by computer.
async fn memberships(state: &ServerState) -> Result<Vec<(i64, Vec<i64>)>, StoreError> {
    if state.store.is_shared() {
        return Ok(state.store.memberships().await?.into_iter().collect());
    }
    let computers = state.store.cache.all().into_iter();
    Ok(computers
        .map(|computer| (computer.id, computer.state().groups.clone()))
        .collect())
}
