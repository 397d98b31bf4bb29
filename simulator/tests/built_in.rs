//! The built-in scenarios, each with a few dozen agents and in a few seconds: times are compressed, limits are not.

#![allow(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_simulator::duration::Span;
use oco_simulator::progress::Progress;
use oco_simulator::report::RunReport;
use oco_simulator::run::{Options, ServerChoice, run};
use oco_simulator::scenario::{Compression, FleetSize, Interval, Scenario, Share, Thresholds};
use oco_simulator::verdict::Verdict;
use std::time::SystemTime;

/// What agents say of a server that is not there, or that goes away.
const GONE: &[&str] = &[
    "connect",
    "reset",
    "transport",
    "incomplete",
    "timeout",
    "unfinished",
];

/// No faster than a busy machine that runs unoptimised code keeps up with.
const SHORTEST_INTERVAL: Interval = Interval(Span::from_secs(2));

/// Runs a built-in scenario with so many agents, so many times faster. What depends on the machine that runs this
/// (latencies, throughput, memory, check-ins that it has no time for) is not judged; every other error has to be `expected`.
async fn small(name: &str, agents: u32, compress: &str, expected: &[&str]) -> RunReport {
    let mut scenario = Scenario::load(name).unwrap();
    scenario.fleet.size = FleetSize(agents);
    scenario.compress(Compression::from_argument(compress).unwrap());
    if scenario.pacing.interval.0 < SHORTEST_INTERVAL.0 {
        scenario.pacing.interval = SHORTEST_INTERVAL;
    }
    scenario.thresholds = Thresholds {
        error_share: Share(1.0),
        agents_lost: scenario.thresholds.agents_lost,
        ..Thresholds::default()
    };
    #[allow(clippy::disallowed_methods)] // a test stands where `main` does
    let now = SystemTime::now();
    let options = Options::new(scenario, ServerChoice::Embedded, now);
    let report = run(options, Progress::Silent, std::future::pending())
        .await
        .unwrap()
        .report;
    let text = oco_simulator::report::text::Summary(&report).to_string();
    assert_eq!(report.verdict, Verdict::Pass, "{text}");
    for kind in report.errors.keys().filter(|kind| *kind != "missed") {
        assert!(
            expected.iter().any(|expected| kind.starts_with(expected)),
            "{kind}: {text}"
        );
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_machines_check_in_again_and_again() {
    let report = small("steady-10k", 20, "40", &[]).await;
    assert_eq!((report.agents.registered, report.agents.lost), (20, 0));
    assert!(report.check_ins.ok >= 40, "{:?}", report.check_ins);
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_machines_check_in_and_never_register() {
    for (name, size, compress, hellos) in [("steady-100k", 20, "40", 40), ("million", 200, "300", 10)] {
        let report = small(name, size, compress, &[]).await;
        let agents = (report.agents.registered, report.agents.lost);
        assert_eq!(agents, (size, 0), "{name}");
        assert!(report.check_ins.ok >= hellos, "{name}: {:?}", report.check_ins);
        let updates = report.methods.get("oco.agent.update");
        // A registration would be followed by an inventory of each.
        let updates = updates.map_or(0, |figures| figures.ok);
        assert!(updates < 20, "{name}: {updates}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_registers_at_once() {
    let report = small("cold-start", 40, "10", &[]).await;
    assert_eq!((report.agents.registered, report.agents.lost), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_come_back_to_a_server_that_was_gone() {
    let report = small("reconnect-storm", 20, "8", GONE).await;
    assert_eq!(report.faults[0].committed, 1);
    assert!(report.check_ins.failed > 0, "{:?}", report.check_ins);
    assert_eq!(report.agents.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_ends_on_every_machine_and_restarts_those_where_it_succeeds() {
    let report = small("rollout", 40, "10", &[]).await;
    assert_eq!(report.jobs.succeeded + report.jobs.failed, 80);
    assert!(
        report.jobs.failed <= 20 && report.jobs.failed % 2 == 0,
        "{:?}",
        report.jobs
    );
    assert!(report.check_ins.away > 0, "machines that restart are away");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_survives_everything_and_no_adversary_gets_through() {
    let report = small("hostile", 40, "4", &[GONE, &["503", "untrusted"]].concat()).await;
    assert_eq!(report.attacks.len(), 7);
    assert!(
        report.attacks.iter().all(|attack| attack.held()),
        "{:?}",
        report.attacks
    );
    assert!(
        report.faults.iter().all(|fault| fault.committed > 0),
        "{:?}",
        report.faults
    );
    assert!(
        report.strangers.agents > 0 && report.strangers.refused > 0,
        "{:?}",
        report.strangers
    );
    assert!(report.check_ins.away > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_generations_follow_packages_policies_and_password_rules() {
    let report = small("mixed-generations", 30, "5", &[]).await;
    let reached: Vec<_> = report
        .convergence
        .iter()
        .map(|one| (one.ok, one.agents == one.of))
        .collect();
    assert_eq!(reached, [(true, true); 4]);
    assert!(report.methods.contains_key("oco.agent.passwords"));
    assert_eq!(report.jobs.repeated, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_day_passes() {
    let report = small("soak", 30, "1500", GONE).await;
    assert_eq!(report.deployments_missing, 0);
    assert!(report.attacks[0].held() && report.faults[0].committed == 1);
}
