//! What the production collectors report about virtual machines is the truth about them.

use super::super::{Machine, truth};
use super::*;
use crate::simulated_host::{SimulatedHost, Surroundings};
use oco_agent::inventory::{self as agent_inventory, Options};
use oco_agent::{events, service_checks};
use oco_protocol::rpc::EventQuery;
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

/// Field by field, so that a failure shows what differs and not two inventories of a thousand packages.
fn differences(collected: &Inventory, truth: &Inventory) -> Vec<String> {
    let fields = |inventory: &Inventory| match serde_json::to_value(inventory) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("{other:?}"),
    };
    let (collected, truth) = (fields(collected), fields(truth));
    let names: std::collections::BTreeSet<&String> = collected.keys().chain(truth.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| collected.get(*name) != truth.get(*name));
    differing
        .map(|name| difference(name, collected.get(name), truth.get(name)))
        .collect()
}

fn difference(field: &str, collected: Option<&Value>, truth: Option<&Value>) -> String {
    if let (Some(Value::Array(collected)), Some(Value::Array(truth))) = (collected, truth) {
        let only = |these: &[Value], others: &[Value]| {
            these
                .iter()
                .filter(|item| !others.contains(item))
                .take(3)
                .map(Value::to_string)
                .collect::<Vec<_>>()
        };
        return format!(
            "{field}: collected only {:?}, truth only {:?}",
            only(collected, truth),
            only(truth, collected)
        );
    }
    format!("{field}: collected {collected:?}, truth {truth:?}")
}

fn compare(machine: Machine, now: SystemTime) -> Vec<String> {
    let profile = Profile::draw(machine);
    let (options, host) = (Options::default(), SimulatedHost::at(machine, now));
    let mut truth = inventory(&profile, now);
    truth.agent_version = Some(options.agent_version.clone());
    let collected = agent_inventory::collect(&host, &options);
    let mut differences = differences(&collected, &truth);
    let identity = agent_inventory::identity(&host, &options).unwrap();
    let folder = Surroundings::installed(machine.os).paths.service_checks;
    let services = service_checks::collect(&host, &folder, service_checks::Limits::default());
    if services.as_ref() != Some(&truth::services(&profile, now)) {
        differences.push(format!(
            "services: {services:?}, truth {:?}",
            truth::services(&profile, now)
        ));
    }
    let everything = [("journalctl", "{}"), ("System", ""), ("Application", "*")];
    let everything = everything.map(|(log, query)| EventQuery {
        since: "1970-01-01 00:00:00".into(),
        log: log.into(),
        query: query.into(),
    });
    let (events, true_events) = (events::collect(&host, &everything), events(&profile, now));
    if events != true_events {
        differences.push(format!("events: {} of {}", events.len(), true_events.len()));
    }
    if identity.uid != uid(&profile) || Some(&identity.hostname) != truth.hostname.as_ref() {
        differences.push(format!("identity: {identity:?}, truth {:?}", uid(&profile)));
    }
    differences
}

#[test]
fn fleet_of_three_hundred_is_collected_without_a_loss() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let machines = Os::ALL
        .into_iter()
        .flat_map(|os| (0..100).map(move |index| Machine { seed: 1, index, os }));
    let wrong: Vec<_> = machines
        .map(|machine| (machine, compare(machine, now)))
        .filter(|(_, d)| !d.is_empty())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} machines: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(8)]
    );
}

#[test]
fn fleet_has_users_of_directories_machines_with_wtmpdb_and_shares() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let collected = |index| {
        let machine = Machine {
            seed: 1,
            index,
            os: Os::Linux,
        };
        agent_inventory::collect(&SimulatedHost::at(machine, now), &Options::default())
    };
    let fleet: Vec<Inventory> = (0..100).map(collected).collect();
    let guids = fleet
        .iter()
        .flat_map(|inventory| inventory.logins.iter().flatten());
    let guids = guids.filter(|login| login.guid.is_some() && !login.display_name.is_empty());
    assert!(guids.count() > 20);
    let is_13 = |inventory: &&Inventory| inventory.os_version.as_deref() == Some("13");
    let on_13 = fleet
        .iter()
        .filter(is_13)
        .flat_map(|inventory| inventory.logins.iter().flatten());
    assert!(on_13.count() > 20);
    let partitions = fleet
        .iter()
        .flat_map(|inventory| inventory.partitions.iter().flatten());
    assert!(
        partitions
            .filter(|partition| partition.filesystem == "nfs4")
            .count()
            > 0
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn collectors_report_the_truth(seed: u64, index in 0u64..2_000_000, os in 0usize..3, seconds in 0u64..4_000_000_000) {
        let machine = Machine { seed, index, os: Os::ALL[os] };
        let differences = compare(machine, UNIX_EPOCH + Duration::from_secs(seconds));
        prop_assert!(differences.is_empty(), "{:?}: {:#?}", machine, differences);
    }
}

#[test]
fn lost_package_and_wrong_serial_number_are_noticed() {
    let profile = Profile::draw(Machine {
        seed: 1,
        index: 1,
        os: Os::MacOs,
    });
    let truth = inventory(&profile, UNIX_EPOCH);
    let mut wrong = truth.clone();
    wrong.serial = Some("wrong".into());
    wrong.software.as_mut().unwrap().pop();
    assert_eq!(differences(&truth, &truth), Vec::<String>::new());
    assert_eq!(differences(&wrong, &truth).len(), 2);
}

#[test]
fn inventory_changes_with_time_in_the_documented_facts_only() {
    let at = |days: u64| UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * 24 * 3600);
    let profile = Profile::draw(Machine {
        seed: 1,
        index: 3,
        os: Os::Windows,
    });
    let mut names = std::collections::BTreeSet::new();
    for days in 1..60 {
        for difference in differences(&inventory(&profile, at(days)), &inventory(&profile, at(0))) {
            names.insert(difference.split(':').next().unwrap_or_default().to_owned());
        }
    }
    let allowed = [
        "battery_level",
        "battery_status",
        "logins",
        "networks",
        "partitions",
        "software",
        "uptime",
    ];
    assert!(
        names.contains("software") && names.contains("uptime"),
        "{names:?}"
    );
    assert!(
        names.iter().all(|name| allowed.contains(&name.as_str())),
        "{names:?}"
    );
}
