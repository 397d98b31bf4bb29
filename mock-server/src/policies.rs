//! Which policies a computer gets: those for all computers, then those of its groups from the top of the tree down, each
//! over the ones before.

use oco_protocol::policy::{MACHINE_SCOPE, ScopePolicies};
use std::collections::{BTreeMap, HashMap};

/// Policies by scope: `machine`, [`EVERY_USER`] or the GUID of a user.
pub(crate) type ScopedPolicies = BTreeMap<String, ScopePolicies>;

/// Scope of policies for each user that has a GUID.
pub(crate) const EVERY_USER: &str = "*";

/// All policies there are.
#[derive(Debug, Default)]
pub(crate) struct PolicyBook {
    /// By group; none: for all computers.
    owners: BTreeMap<Option<i64>, ScopedPolicies>,
    parents: HashMap<i64, Option<i64>>,
}

impl PolicyBook {
    pub(crate) fn new(
        owners: BTreeMap<Option<i64>, ScopedPolicies>,
        parents: HashMap<i64, Option<i64>>,
    ) -> Self {
        Self { owners, parents }
    }

    /// The policies of one group, or those for all computers, as they were set.
    pub(crate) fn of(&self, group: Option<i64>) -> ScopedPolicies {
        self.owners.get(&group).cloned().unwrap_or_default()
    }

    /// Whether any policies are about users, so that one must know which users a computer has.
    pub(crate) fn has_users(&self) -> bool {
        let mut scopes = self.owners.values().flat_map(ScopedPolicies::keys);
        scopes.any(|scope| scope != MACHINE_SCOPE)
    }

    /// All groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = i64> {
        self.parents.keys().copied()
    }

    /// Whether `group` is `ancestor` or inside it.
    pub(crate) fn is_within(&self, group: i64, ancestor: i64) -> bool {
        self.lineage(group).contains(&ancestor)
    }

    /// The policies of a computer in `groups` with users of those GUIDs. The machine's are always among them.
    pub(crate) fn resolve(&self, groups: &[i64], guids: &[String]) -> ScopedPolicies {
        let mut order = vec![None];
        for group in groups {
            order.extend(self.lineage(*group).into_iter().rev().map(Some));
        }
        let mut resolved = ScopedPolicies::from([(MACHINE_SCOPE.to_owned(), ScopePolicies::new())]);
        for scopes in order.iter().filter_map(|owner| self.owners.get(owner)) {
            let mut apply = |from: &str, to: &str| {
                if let Some(policies) = scopes.get(from) {
                    let target = resolved.entry(to.to_owned()).or_default();
                    target.extend(policies.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
            };
            apply(MACHINE_SCOPE, MACHINE_SCOPE);
            for guid in guids {
                apply(EVERY_USER, guid);
                apply(guid, guid);
            }
        }
        resolved
    }

    /// A group and those above it, itself first.
    fn lineage(&self, group: i64) -> Vec<i64> {
        let mut lineage = Vec::new();
        let mut next = Some(group);
        while let Some(group) = next.filter(|group| !lineage.contains(group)) {
            lineage.push(group);
            next = self.parents.get(&group).copied().flatten();
        }
        lineage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn scoped(value: Value) -> ScopedPolicies {
        serde_json::from_value(value).unwrap()
    }

    /// Group 2 is in group 1; group 3 is apart.
    fn book() -> PolicyBook {
        let owners = BTreeMap::from([
            (None, scoped(json!({"machine": {"a": 0, "b": 0}, "*": {"u": 0}}))),
            (Some(1), scoped(json!({"machine": {"b": 1, "c": 1}}))),
            (Some(2), scoped(json!({"machine": {"c": 2}, "G1": {"u": 2}}))),
            (Some(3), scoped(json!({"machine": {"a": 3}}))),
        ]);
        PolicyBook::new(owners, HashMap::from([(1, None), (2, Some(1)), (3, None)]))
    }

    #[test]
    fn groups_inherit_and_the_nearest_one_wins() {
        let machine = |groups: &[i64]| json!(book().resolve(groups, &[])["machine"]);
        assert_eq!(machine(&[]), json!({"a": 0, "b": 0}));
        assert_eq!(machine(&[1]), json!({"a": 0, "b": 1, "c": 1}));
        assert_eq!(machine(&[2]), json!({"a": 0, "b": 1, "c": 2}));
        assert_eq!(machine(&[2, 3]), json!({"a": 3, "b": 1, "c": 2}));
        assert!(book().is_within(2, 1) && !book().is_within(1, 2));
    }

    #[test]
    fn users_get_policies_by_their_guid() {
        let guids = ["G1".to_owned(), "G2".to_owned()];
        let resolved = book().resolve(&[2], &guids);
        assert_eq!(json!(resolved["G1"]), json!({"u": 2}));
        assert_eq!(json!(resolved["G2"]), json!({"u": 0}));
        assert!(book().has_users() && !PolicyBook::default().has_users());
    }

    #[test]
    fn groups_that_contain_each_other_end_nothing() {
        let book = PolicyBook::new(BTreeMap::new(), HashMap::from([(1, Some(2)), (2, Some(1))]));
        assert_eq!(book.resolve(&[1], &[]).len(), 1);
    }
}
