//! Three hundred virtual machines go through everything that the agent asks of a machine: `ci/coverage` measures which
//! lines of the agent's own code that takes.

#![allow(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_agent::host::Os;
use oco_agent::inventory::{self, Options};
use oco_agent::policies::{self, Summary};
use oco_agent::service_checks::{self, Limits};
use oco_agent::{config, events};
use oco_protocol::policy::Policies;
use oco_protocol::rpc::EventQuery;
use oco_simulator::generate::{Machine, truth};
use oco_simulator::simulated_host::{SimulatedHost, Surroundings};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of each system.
const MACHINES: u64 = 100;
const REGISTRATION: &str = "0123456789abcdef";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn fleet(os: Os) -> impl Iterator<Item = SimulatedHost> {
    (0..MACHINES).map(move |index| SimulatedHost::at(Machine { seed: 1, index, os }, now()))
}

fn paths(os: Os) -> config::Paths {
    Surroundings::installed(os).paths
}

#[test]
fn every_machine_has_an_inventory() {
    let since = Options {
        logins_since: Some("2027-01-10 00:00:00".into()),
        username_with_domain: true,
        ..Options::default()
    };
    for host in Os::ALL.into_iter().flat_map(fleet) {
        let all = inventory::collect(&host, &Options::default());
        let latest = inventory::collect(&host, &since);
        let logins = |inventory: &oco_protocol::inventory::Inventory| inventory.logins.as_ref().map(Vec::len);
        assert!(logins(&latest) <= logins(&all));
        let true_inventory = truth::inventory(host.profile(), now());
        assert_eq!(all.software, true_inventory.software, "{:?}", host.profile());
        assert_eq!(all.printers, true_inventory.printers, "{:?}", host.profile());
        assert_eq!(all.screens, true_inventory.screens, "{:?}", host.profile());
        assert_eq!(
            all.battery_level,
            true_inventory.battery_level,
            "{:?}",
            host.profile()
        );
        assert_eq!(
            inventory::identity(&host, &since).unwrap().hostname,
            all.hostname.unwrap()
        );
    }
}

#[test]
fn service_checks_of_every_system_are_read() {
    for os in Os::ALL {
        let services = fleet(os).map(|host| {
            let services =
                service_checks::collect(&host, &paths(os).service_checks, Limits::default()).unwrap();
            assert_eq!(services, truth::services(host.profile(), now()));
            services.len()
        });
        assert!(services.sum::<usize>() > 10, "{os}");
    }
}

#[test]
fn event_queries_find_what_was_logged_and_wrong_ones_cost_themselves_only() {
    let query = |log: &str, query: &str, since: &str| EventQuery {
        since: since.into(),
        log: log.into(),
        query: query.into(),
    };
    let start = "1970-01-01 00:00:00";
    let queries = [
        query("journalctl", "{}", start),
        query(
            "journalctl",
            r#"{"unit":"ssh.service","priority":[4,"info"],"grep":"(?i)FAILED"}"#,
            start,
        ),
        query(
            "journalctl",
            r#"{"identifier":"sshd,cron","priority":3}"#,
            "2027-01-10 00:00:00",
        ),
        query("journalctl", "{", start),
        query("journalctl", r#"{"grep":"("}"#, start),
        query("journalctl", r#"{"priority":"loud"}"#, start),
        query("journalctl", "{}", "yesterday"),
        query("System", "*[System[(EventID=1074)]]", start),
    ];
    let found = fleet(Os::Linux).map(|host| {
        assert_eq!(
            events::collect(&host, &queries[..1]),
            truth::events(host.profile(), now())
        );
        events::collect(&host, &queries)
    });
    let found: Vec<_> = found.flatten().collect();
    assert!(found.len() > 500, "{}", found.len());
    assert!(
        found.iter().any(|event| event.log == "ssh.service")
            && found.iter().any(|event| event.log == "journalctl")
    );
}

/// A document with values of every kind that a policy may have, or with other ones, or with fewer.
fn policies(os: Os, user: &str, round: usize) -> Policies {
    let folder = if os == Os::Windows {
        r"C:\ProgramData\app\"
    } else {
        "/etc/opt/app/"
    };
    let file = |name: &str, key: &str| format!("JSON:{folder}{name}:{key}");
    let machine: Value = match round {
        0 | 3 => json!({
            file("app.json", r"policies\Homepage"): "https://example.org/",
            file("app.json", r"policies\Limits\Most"): 5,
            file("app.json", r"policies\List"): ["a", {"b": null}],
            file("other.json", "Text"): r#"{"parsed": true}"#,
            r"REGISTRY:Software\Policies\App:Switch": 1,
            r"REGISTRY:Software\Policies\App:Home": "https://example.org/",
            r"REGISTRY:Software\Policies\App:Sites": ["a", "b", "c"],
            r"REGISTRY:Software\Policies\App\Deep:Members": {"x": 1, "y": "zwei"},
            "DEFAULTS:com.example.app:Home": "https://example.org/",
            "NOTHING:x:y": 1,
            "JSON:relative.json:x": 1,
        }),
        1 => json!({
            file("app.json", r"policies\Homepage"): "https://example.net/",
            file("app.json", "policies"): 7,
            r"REGISTRY:Software\Policies\App:Switch": true,
            r"REGISTRY:Software\Policies\App:Sites": ["b"],
            r"REGISTRY:Software\Policies\App:TooLarge": 1_u64 << 40,
            r"REGISTRY:Software\Policies\App:Half": 0.5,
            r"REGISTRY:Software\Policies\App:": [1],
            r"REGISTRY:\Software:x": 1,
        }),
        _ => json!({}),
    };
    let of_user = match round {
        0 | 3 => json!({r"REGISTRY:Software\App:Theme": "dark", "JSON:/x.json:y": 1, "NOTHING": 1}),
        1 => json!({r"REGISTRY:Software\App:Theme": "light", r"REGISTRY:Software\App:Size": 12}),
        _ => json!([]),
    };
    serde_json::from_value(json!({"machine": machine, user: of_user, "no such user": of_user})).unwrap()
}

#[test]
fn policies_come_into_force_change_and_go() {
    for host in Os::ALL.into_iter().flat_map(fleet) {
        let os = host.profile().machine.os;
        let accounts = host.profile().accounts();
        let guid = accounts
            .iter()
            .find_map(|account| host.profile().profile_guid(account));
        let user = guid.unwrap_or_else(|| "{00000000-0000-0000-0000-000000000000}".into());
        let mut applied = |round| {
            policies::apply(
                &host,
                &paths(os).policies,
                REGISTRATION,
                &policies(os, &user, round),
            )
            .unwrap()
        };
        let rounds: Vec<Summary> = (0..5).map(&mut applied).collect();
        let in_force = if os == Os::Windows { 8 } else { 4 };
        assert!(rounds[0].in_force >= in_force, "{os}: {rounds:?}");
        assert_eq!(rounds[0].removed, 0);
        assert_eq!(rounds[3].in_force, rounds[0].in_force, "{os}: {rounds:?}");
        assert_eq!(rounds[2].in_force + rounds[4].in_force, 0);
        assert_eq!(rounds[4].removed, rounds[3].in_force, "{os}: {rounds:?}");
    }
}
