//! What an agent has done of what the administrator has set, as its machine shows it: policies that are noted as applied,
//! passwords that are set.

use crate::event::Order;
use crate::scenario::Scenario;
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
        let followed = sets.filter(|(_, set)| is_applied(&set.machine, &applied, os));
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

/// Whether a machine with such a system follows at least one of these policies.
pub(crate) fn concerns(policies: &ScopePolicies, os: Os) -> bool {
    policies.keys().any(|key| is_for(key, os))
}

/// Whether all policies that are for the system are applied, and there are any.
fn is_applied(wanted: &ScopePolicies, applied: &ScopePolicies, os: Os) -> bool {
    let mut own = wanted.iter().filter(|(key, _)| is_for(key, os));
    concerns(wanted, os) && own.all(|(key, value)| applied.get(key) == Some(value))
}

/// Policies of files are for the system whose paths they have.
fn is_for(key: &str, os: Os) -> bool {
    let Some(path) = key.strip_prefix("JSON:") else {
        return false;
    };
    match os {
        Os::Linux | Os::MacOs => path.starts_with('/'),
        Os::Windows => {
            path.chars().next().is_some_and(|c| c.is_ascii_alphabetic()) && path[1..].starts_with(':')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_are_for_the_system_whose_paths_they_have() {
        let policies = |keys: &[&str]| -> ScopePolicies {
            keys.iter().map(|key| ((*key).to_owned(), json!(1))).collect()
        };
        let wanted = policies(&[
            "JSON:/etc/x.json:a",
            r"JSON:C:\x.json:a",
            r"REGISTRY:Software\X:a",
        ]);
        let applied = policies(&["JSON:/etc/x.json:a"]);
        assert!(is_applied(&wanted, &applied, Os::Linux));
        assert!(!is_applied(&wanted, &applied, Os::Windows));
        assert!(!concerns(&applied, Os::Windows) && !is_applied(&applied, &applied, Os::Windows));
        assert!(!concerns(
            &policies(&["REGISTRY:x:y", "JSON:", "JSON:ü"]),
            Os::Windows
        ));
    }
}
