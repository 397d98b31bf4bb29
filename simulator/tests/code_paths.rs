//! Three hundred virtual machines go through everything that the agent asks of a machine: `ci/coverage` measures which
//! lines of the agent's own code that takes.

#![allow(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_agent::host::{Host, Os, PreferenceDomain, Preferences};
use oco_agent::inventory::{self, Options};
use oco_agent::policies::{self, Summary};
use oco_agent::service_checks::{self, Limits};
use oco_agent::{config, events};
use oco_protocol::inventory::UNKNOWN;
use oco_protocol::policy::Policies;
use oco_protocol::rpc::{Event, EventQuery};
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

fn query(log: &str, query: &str, since: &str) -> EventQuery {
    EventQuery {
        since: since.into(),
        log: log.into(),
        query: query.into(),
    }
}

#[test]
fn event_queries_find_what_was_logged_and_wrong_ones_cost_themselves_only() {
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

#[test]
fn event_queries_find_what_windows_has_logged() {
    let start = "1970-01-01 00:00:00";
    let since = "2027-01-10 00:00:00";
    let everything = [
        query("System", "", start),
        query("journalctl", "{}", start),
        query("Application", "*", start),
    ];
    let structured = "<QueryList><Query Path='Application'><Select Path='Application'>*[System[(EventID=1000) and \
                      TimeCreated[@SystemTime&gt;='2027-01-08T00:00:00.000Z']]]</Select></Query></QueryList>";
    let (mut found, mut restarts, mut failures, mut odd) = (0, 0, 0, 0);
    for host in fleet(Os::Windows) {
        let truth = truth::events(host.profile(), now());
        let wanted = |wanted: &dyn Fn(&Event) -> bool| -> Vec<Event> {
            truth.iter().filter(|event| wanted(event)).cloned().collect()
        };
        let collect = |query: EventQuery| events::collect(&host, &[query]);
        assert_eq!(events::collect(&host, &everything), truth);
        assert_eq!(
            collect(query("System", "", since)),
            wanted(&|event| event.log == "System" && event.timestamp.as_str() >= since)
        );
        let of_restarts = wanted(&|event| event.event_id == json!("1074"));
        assert_eq!(
            collect(query("system", "*[System[(EventID=1074)]]", start)).len(),
            of_restarts.len()
        );
        let of_failures = wanted(&|event| {
            event.event_id == json!("1000") && event.timestamp.as_str() >= "2027-01-08 00:00:00"
        });
        assert_eq!(collect(query("Application", structured, start)), of_failures);
        assert!(collect(query("No-Such-Channel/Operational", "", start)).is_empty());
        assert!(collect(query("System", "", "yesterday")).is_empty());
        found += truth.len();
        restarts += of_restarts.len();
        failures += of_failures.len();
        odd += wanted(&|event| event.provider == UNKNOWN || event.data.contains_key("RmSessionId")).len();
    }
    assert!(found > 2000, "{found}");
    assert!(
        restarts > 20 && failures > 10 && odd > 20,
        "{restarts} {failures} {odd}"
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
            "DEFAULTS:com.example.app:Sites": ["a", 2, true, {"b": 0.5}],
            "DEFAULTS:/Library/Preferences/com.example.tool:Level": -3,
            "DEFAULTS:com.example.app:Null": null,
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
            "DEFAULTS:com.example.app:Home": false,
            "DEFAULTS:com.example.app:Sites": {"a": []},
            "DEFAULTS:com.example.app:TooLarge": u64::MAX,
            "DEFAULTS:relative/tool:Level": 1,
        }),
        _ => json!({}),
    };
    let of_user = match round {
        0 | 3 => json!({
            r"REGISTRY:Software\App:Theme": "dark", "DEFAULTS:com.example.app:Theme": "dark",
            "DEFAULTS:/Library/Preferences/com.example.app:Theme": "dark", "JSON:/x.json:y": 1, "NOTHING": 1,
        }),
        1 => json!({
            r"REGISTRY:Software\App:Theme": "light", r"REGISTRY:Software\App:Size": 12,
            "DEFAULTS:com.example.app:Theme": "light", "DEFAULTS:com.example.app:Size": 12,
        }),
        _ => json!([]),
    };
    serde_json::from_value(json!({"machine": machine, user: of_user, "no such user": of_user})).unwrap()
}

const MODULES: [&str; 3] = ["JSON:", "REGISTRY:", "DEFAULTS:"];

/// How many policies of the first document the computer has in force, by what they are about ([`MODULES`]); how many it has
/// for a user whom it knows; and how many it cannot follow.
fn expected(os: Os, knows_user: bool) -> ([usize; 3], usize, usize) {
    let of_user = usize::from(knows_user);
    // Of an unknown module, and of a file without an absolute path.
    let senseless = 2;
    // The unknown module once more, for each user.
    let for_users = 2;
    match os {
        Os::Linux => ([4, 0, 0], 0, senseless),
        // A path of another system is none.
        Os::Windows => ([4, 4, 0], of_user, senseless + 2 * for_users),
        // Settings have no null, and a user's have no path.
        Os::MacOs => ([4, 0, 3], of_user, senseless + for_users + 1 + of_user),
    }
}

#[test]
fn policies_come_into_force_change_and_go() {
    let mut users = 0;
    for host in Os::ALL.into_iter().flat_map(fleet) {
        let os = host.profile().machine.os;
        let accounts = host.profile().accounts();
        let guid = accounts.iter().find_map(|account| match os {
            Os::MacOs => Some(account.uuid.clone()),
            _ => host.profile().profile_guid(account),
        });
        let knows_user = guid.is_some();
        users += usize::from(knows_user && os != Os::Linux);
        let user = guid.unwrap_or_else(|| "{00000000-0000-0000-0000-000000000000}".into());
        let apply = |round| {
            policies::apply(
                &host,
                &paths(os).policies,
                REGISTRATION,
                &policies(os, &user, round),
            )
            .unwrap()
        };
        let settings = |name: &str, user: Option<u32>| {
            let name = name.to_owned();
            host.preferences(&PreferenceDomain { user, name })
                .unwrap_or_default()
        };
        let home = |settings: &Preferences| settings.get("Home").cloned();
        let of_computer = || {
            let applied = host.applied_policies();
            MODULES.map(|module| applied.keys().filter(|key| key.starts_with(module)).count())
        };
        let (modules, of_user, failed) = expected(os, knows_user);
        let in_force = modules.iter().sum::<usize>() + of_user;
        let summary = |in_force, removed, failed| Summary {
            in_force,
            removed,
            failed,
        };
        assert_eq!(apply(0), summary(in_force, 0, failed), "{os} {accounts:?}");
        assert_eq!(of_computer(), modules, "{os}");
        let app = settings("com.example.app", None);
        assert_eq!(app.len(), if os == Os::MacOs { 2 } else { 0 }, "{os}");
        let text = (os == Os::MacOs).then(|| "https://example.org/".into());
        assert_eq!(home(&app), text, "{os}");
        if os == Os::MacOs {
            let his = settings("com.example.app", accounts.first().map(|account| account.number));
            assert_eq!(his.get("Theme"), knows_user.then_some(&"dark".into()));
            assert_eq!(settings("com.example.tool", None).len(), 1);
        }
        assert!(apply(1).in_force > 0, "{os}");
        if os == Os::MacOs {
            assert_eq!(home(&settings("com.example.app", None)), Some(false.into()));
        }
        assert_eq!(apply(2).in_force, 0, "{os}");
        assert_eq!(of_computer(), [0; 3], "{os}");
        assert_eq!(apply(3), summary(in_force, 0, failed), "{os}");
        assert_eq!(of_computer(), modules, "{os}");
        assert_eq!(apply(4), summary(0, in_force, 0), "{os}");
        assert!(
            settings("com.example.app", None).is_empty() && settings("com.example.tool", None).is_empty()
        );
    }
    assert!(users > 100, "{users}");
}
