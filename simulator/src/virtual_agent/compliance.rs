//! What an agent has done of what the administrator has set, as its machine shows it: policies that are noted as applied,
//! passwords that are set.

use crate::event::Order;
use crate::scenario::{PolicySet, Scenario};
use crate::simulated_host::SimulatedHost;
use oco_agent::host::{Host, Os};
use oco_protocol::policy::ScopePolicies;

/// What the machine follows after a check-in.
pub(super) fn orders(scenario: &Scenario, host: &SimulatedHost, inventory_sent: bool) -> Vec<Order> {
    let admin = &scenario.admin;
    let mut orders = Vec::new();
    if !admin.policies.is_empty() && inventory_sent {
        let (applied, os) = (host.applied_policies(), host.os());
        let sets = admin.policies.iter().enumerate();
        let followed = sets.filter(|(_, set)| is_applied(set, &applied, os));
        orders.extend(followed.map(|(number, _)| Order::Policies(number)));
    }
    if !admin.password_rules.is_empty() {
        let set = host.passwords();
        let rules = admin.password_rules.iter().enumerate();
        let followed = rules.filter(|(_, rule)| set.iter().any(|(username, _)| *username == rule.username));
        orders.extend(followed.map(|(number, _)| Order::Password(number)));
    }
    orders
}

/// Whether all policies that are for the system are applied, and there are any.
fn is_applied(wanted: &PolicySet, applied: &ScopePolicies, os: Os) -> bool {
    let mut own = wanted.of_system(os);
    wanted.concerns(os) && own.all(|(key, value)| applied.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policies(keys: &[&str]) -> ScopePolicies {
        keys.iter().map(|key| ((*key).to_owned(), json!(1))).collect()
    }

    #[test]
    fn a_set_is_applied_where_each_policy_of_the_system_is() {
        let text = r"name = 'p'
            at = 1
            machine = { 'JSON:/etc/x.json:a' = 1, 'JSON:C:\x.json:a' = 1, 'REGISTRY:Software\X:a' = 1, 'DEFAULTS:x:a' = 1 }";
        let set: PolicySet = toml::from_str(text).unwrap();
        let file = "JSON:/etc/x.json:a";
        for (os, part, all) in [
            (Os::Linux, &[] as &[&str], &[file] as &[&str]),
            (Os::MacOs, &[file], &[file, "DEFAULTS:x:a"]),
            (
                Os::Windows,
                &[r"JSON:C:\x.json:a"],
                &[r"JSON:C:\x.json:a", r"REGISTRY:Software\X:a"],
            ),
        ] {
            assert!(!is_applied(&set, &policies(part), os), "{os}");
            assert!(is_applied(&set, &policies(all), os), "{os}");
            let mut changed = policies(all);
            changed.insert(all[0].to_owned(), json!(2));
            assert!(!is_applied(&set, &changed, os), "{os}");
        }
    }
}
