use super::*;
use crate::event::{Attempt, ErrorKind, Event, JobStep};
use oco_agent::host::Os;
use oco_agent::observer::ExchangeOutcome;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use tokio::time::Instant;

/// A report of a run with a bit of everything, and hostile names in it.
pub(crate) fn sample() -> RunReport {
    let text = "description = \"<script>alert(1)</script>\"\n[fleet]\nsize = 3\nseed = 42\n[[admin.package]]\n\
                name = \"p\"\nprocedure = \"true\"\n[[admin.deployment]]\nname = \"d\"\npackages = [\"p\"]\nat = 1\n\
                [[convergence]]\nname = \"all & <everybody>\"\ngoal = \"registered\"\nwithin = 5\n[[convergence]]\n\
                name = \"installed\"\ngoal = \"succeeded\"\ndeployment = \"d\"\nwithin = 5\n[thresholds]\n\
                error_share = 0.5\n[thresholds.p99]\n\"oco.agent.hello\" = \"1s\"\n[[adversary]]\n\
                name = \"<i>thief</i>\"\nkind = \"wrong-key\"";
    let scenario = Scenario::parse("sample", "sample.toml", text).unwrap();
    let start = Instant::now();
    let mut stats = Stats::new(&scenario, start);
    let refused = ExchangeOutcome::Refused {
        status: 401,
        reason: "<b>no</b>".into(),
    };
    for (agent, os) in (0u32..).zip(Os::ALL) {
        let now = start + Duration::from_millis(700 * u64::from(agent) + 300);
        let error = (agent == 2).then(|| ErrorKind::of(&refused).unwrap());
        let ok = error.is_none();
        let latency = Duration::from_millis(20 + u64::from(agent));
        let exchange = Event::Exchange {
            method: Method::Hello,
            started: now,
            latency,
            service: Some(latency),
            error,
        };
        stats.apply(exchange, now);
        stats.apply(
            Event::CheckIn {
                agent,
                os,
                registered: ok,
                ok,
            },
            now,
        );
    }
    let end = start + Duration::from_secs(4);
    let container = Id::Number(1);
    stats.apply(
        Event::Deployed {
            deployment: 0,
            container: container.clone(),
            jobs: 2,
            computers: 2,
            at: end,
        },
        end,
    );
    let step = JobStep::Ended { succeeded: true };
    stats.apply(
        Event::Job {
            agent: 0,
            job: Id::Number(1),
            container: Some(container),
            step,
        },
        end,
    );
    for outcome in [Attempt::Refused(401), Attempt::Refused(401), Attempt::Unanswered] {
        stats.apply(
            Event::Attack {
                adversary: 0,
                outcome,
            },
            end,
        );
    }
    stats.finish(end);
    RunReport::new(&scenario, &stats, circumstances())
}

fn circumstances() -> Circumstances {
    Circumstances {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_329_638),
        duration: Duration::from_secs(4),
        interrupted: false,
        server: "http://127.0.0.1:1/api-agent.php".into(),
        server_embedded: true,
        agents_started: 3,
        bytes_per_idle_agent: 160,
        process: ProcessFigures {
            rss_bytes: Some(50_000_000),
            peak_rss_bytes: None,
            cpu_s: Some(1.5),
            open_files: Some(17),
        },
        cpu_before_s: Some(0.3),
        faults: vec![FaultFigures {
            name: "<em>busy</em>".into(),
            committed: 3,
            at_least: 1,
        }],
        command: "oco-simulator run sample.toml --seed 42".into(),
    }
}

#[tokio::test]
async fn the_report_holds_what_happened() {
    let report = sample();
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!((report.agents.registered, report.agents.lost), (2, 1));
    assert_eq!(
        report.agents.by_os,
        BTreeMap::from([("linux", 1), ("macos", 1)].map(|(os, count)| (os.to_owned(), count)))
    );
    assert_eq!(report.errors, BTreeMap::from([("401 <b>no</b>".to_owned(), 1)]));
    assert_eq!((report.jobs.succeeded, report.jobs.pending), (1, 1));
    let each = report.process.cpu_ms_per_check_in.unwrap();
    assert!((each - 400.0).abs() < 1e-6, "1.2 s for 3 check-ins: {each} ms");
    assert_eq!(report.started, "2026-11-22T06:40:38Z");
    assert_eq!(report.timeline.len(), 4);
    assert_eq!(
        report.timeline.iter().map(|w| w.registered).collect::<Vec<_>>(),
        [1, 2, 2, 2]
    );
}
