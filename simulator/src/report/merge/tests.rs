use super::*;
use crate::event::{ErrorKind, Event};
use crate::report::{Circumstances, json};
use crate::scenario::Scenario;
use crate::shard::Shard;
use crate::stats::Stats;
use crate::verdict::Verdict;
use oco_agent::host::Os;
use oco_protocol::rpc::Method;
use proptest::prelude::*;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

const AGENTS: u32 = 9;

/// A request: agent, latency in µs, whether it failed, whether it is an update.
type Recorded = (u32, u64, bool, bool);

/// The result of a shard that has seen these requests.
fn report(shard: Shard, requests: &[Recorded]) -> RunReport {
    let text = format!(
        "description = \"\"\n[fleet]\nsize = {AGENTS}\n[[convergence]]\nname = \"all\"\ngoal = \"registered\"\n\
         within = 5\n[thresholds]\nerror_share = 0.5\n[thresholds.p99]\n\"oco.agent.hello\" = \"1s\""
    );
    let mut scenario = Scenario::parse("x", "x", &text).unwrap();
    scenario.fleet.shard = shard;
    let start = Instant::now();
    let mut stats = Stats::new(&scenario, start);
    for (agent, micros, failed, update) in requests {
        if shard.place(*agent).is_none() {
            continue;
        }
        let latency = Duration::from_micros(*micros);
        let exchange = Event::Exchange {
            method: if *update { Method::Update } else { Method::Hello },
            started: start,
            latency,
            service: Some(latency / 2),
            error: failed.then_some(ErrorKind::AGENT),
        };
        stats.apply(exchange, start);
        let check_in = Event::CheckIn {
            agent: *agent,
            os: Os::Linux,
            registered: true,
            ok: !failed,
        };
        stats.apply(check_in, start + Duration::from_secs(1));
    }
    let circumstances = Circumstances {
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_secs(4),
        interrupted: false,
        server: "http://127.0.0.1:1/".into(),
        server_embedded: false,
        agents_started: shard.size(AGENTS),
        bytes_per_idle_agent: 160,
        process: ProcessFigures {
            rss_bytes: Some(1000 * u64::from(shard.size(AGENTS))),
            peak_rss_bytes: None,
            open_files: None,
            cpu_s: Some(f64::from(2 * shard.size(AGENTS))),
        },
        cpu_before_s: Some(f64::from(shard.size(AGENTS))),
        faults: Vec::new(),
        command: String::new(),
    };
    RunReport::new(&scenario, &stats, circumstances)
}

/// The results of all shards, as they come out of their files.
fn shards(count: u32, requests: &[Recorded]) -> Vec<(String, RunReport)> {
    let shards = (0..count).map(|index| {
        let shard = format!("{index}/{count}").parse().unwrap();
        let text = json::render(&report(shard, requests)).unwrap();
        (format!("{index}.json"), serde_json::from_str(&text).unwrap())
    });
    shards.collect()
}

fn recorded() -> impl Strategy<Value = Vec<Recorded>> {
    let request = (0..AGENTS, 1u64..5_000_000_000, any::<bool>(), any::<bool>());
    prop::collection::vec(request, 1..60)
}

proptest! {
    #[test]
    fn merged_shards_are_exactly_the_run_of_the_whole_fleet(requests in recorded(), count in 2u32..5) {
        let whole = report(Shard::WHOLE, &requests);
        let merged = merge(&shards(count, &requests), String::new()).unwrap();
        for (method, figures) in &merged.methods {
            // The rate is a sum of fractions, all else is exact.
            let per_s = whole.methods[method].per_s;
            prop_assert!((figures.per_s - per_s).abs() < 1e-9);
            let same = MethodFigures { per_s, ..figures.clone() };
            prop_assert_eq!(&same, &whole.methods[method]);
        }
        prop_assert_eq!(merged.methods.len(), whole.methods.len());
        prop_assert_eq!(&merged.errors, &whole.errors);
        prop_assert_eq!(&merged.agents, &whole.agents);
        prop_assert_eq!(merged.check_ins, whole.check_ins);
        prop_assert_eq!(&merged.thresholds, &whole.thresholds);
        prop_assert_eq!(merged.convergence[0].agents, whole.convergence[0].agents);
        prop_assert_eq!(merged.convergence[0].of, u64::from(AGENTS));
        prop_assert_eq!(merged.convergence[0].ok, whole.convergence[0].ok);
        prop_assert_eq!(merged.verdict, whole.verdict);
        prop_assert_eq!(merged.process, whole.process);
    }
}

fn healthy() -> Vec<Recorded> {
    (0..AGENTS).map(|agent| (agent, 1000, false, false)).collect()
}

#[tokio::test]
async fn the_whole_is_judged_not_its_parts() {
    let mut requests = healthy();
    // Most of one shard's requests fail, and few of all.
    for agent in [0, 4] {
        requests[agent].2 = true;
    }
    let mut shards = shards(4, &requests);
    for (_, shard) in &mut shards {
        shard.agents.lost = 0;
    }
    assert_eq!(shards[0].1.verdict, Verdict::Fail);
    let merged = merge(&shards, "again".into()).unwrap();
    assert_eq!(merged.verdict, Verdict::Pass, "{:?}", merged.thresholds);
    assert_eq!((merged.merged, merged.command.as_str()), (Some(4), "again"));
    shards[2].1.convergence[0].seconds = None;
    assert_eq!(merge(&shards, String::new()).unwrap().verdict, Verdict::Fail);
}

#[tokio::test]
async fn what_is_not_one_whole_fleet_is_refused_and_named() {
    let changed = |change: fn(&mut Vec<(String, RunReport)>)| {
        let mut shards = shards(3, &healthy());
        change(&mut shards);
        merge(&shards, String::new()).unwrap_err().to_string()
    };
    for (error, named) in [
        (
            changed(|all| all[1].1.seed = 9),
            "1.json does not belong to 0.json: its seed",
        ),
        (changed(|all| all[2].1.version = "1".into()), "version"),
        (changed(|all| all[2].1.scenario_sha256 = "1".into()), "scenario"),
        (changed(|all| all[1].1.thresholds[0].limit = 0.1), "thresholds"),
        (
            changed(|all| all[1].1.shard = None),
            "1.json is no result of a shard",
        ),
        (
            changed(|all| all[1].1.shard = all[0].1.shard),
            "1.json is shard 0 again",
        ),
        (changed(|all| drop(all.remove(1))), "missing: 1/3"),
        (changed(Vec::clear), "missing"),
        (
            changed(|all| {
                for figures in all[1].1.methods.values_mut() {
                    figures.histogram = "rubbish".into();
                }
            }),
            "1.json has a histogram of oco.agent.hello",
        ),
    ] {
        assert!(error.contains(named), "{error}");
    }
}
