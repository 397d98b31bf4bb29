//! Live figures of a run for Prometheus (`--metrics ADDR`): the newest snapshot at `/metrics`, in the format of
//! OpenMetrics.

use crate::process::ProcessFigures;
use crate::shard::Shard;
use crate::stats::Snapshot;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The media type of the text that is scraped.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuantileLabels {
    method: &'static str,
    quantile: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

/// What says which run this is, on every scrape.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of the fleet.
    pub seed: u64,
    /// Which part of it.
    pub shard: Shard,
}

/// Where a run's figures are served until this is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MetricsServer {
    /// Listens at `address` (port 0: any free one) and answers from then on.
    pub async fn start(
        address: SocketAddr,
        identity: Identity,
        snapshots: watch::Receiver<Snapshot>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(show))
            .with_state((identity, snapshots));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "metrics are not served any longer");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn show(
    State((identity, snapshots)): State<(Identity, watch::Receiver<Snapshot>)>,
) -> impl IntoResponse {
    let snapshot = snapshots.borrow().clone();
    ([(CONTENT_TYPE, OPEN_METRICS)], text(&identity, &snapshot))
}

fn text(identity: &Identity, snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("oco_simulator");
    let info = Info::new(vec![
        ("scenario", identity.scenario.clone()),
        ("seed", identity.seed.to_string()),
        ("shard", identity.shard.to_string()),
    ]);
    registry.register("run", "Which run this is", info);
    agents(snapshot, &mut registry);
    requests(snapshot, &mut registry);
    goals(snapshot, &mut registry);
    process(&mut registry);
    let mut text = String::new();
    // Only a writer that fails makes this fail, and a text does not.
    encode(&mut text, &registry).unwrap_or_default();
    text
}

fn agents(snapshot: &Snapshot, registry: &mut Registry) {
    let agents = Family::<StateLabels, Gauge>::default();
    for (state, number) in [
        ("planned", snapshot.agents),
        ("registered", snapshot.registered),
        ("failing", snapshot.failing),
    ] {
        agents.get_or_create(&StateLabels { state }).set(number.into());
    }
    registry.register(
        "agents",
        "Agents by state; a failing one may be registered",
        agents,
    );
    let jobs = Family::<StateLabels, Gauge>::default();
    let counts = snapshot.jobs;
    for (state, number) in [
        ("waiting", counts.waiting),
        ("downloading", counts.downloading),
        ("executing", counts.executing),
        ("succeeded", counts.succeeded),
        ("failed", counts.failed),
    ] {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        jobs.get_or_create(&StateLabels { state }).set(number);
    }
    registry.register("jobs", "Jobs by state", jobs);
}

fn requests(snapshot: &Snapshot, registry: &mut Registry) {
    let requests = Family::<MethodLabels, Counter>::default();
    let latencies = Family::<QuantileLabels, FloatGauge>::default();
    for figures in &snapshot.methods {
        let method = figures.method.as_str();
        requests
            .get_or_create(&MethodLabels { method })
            .inc_by(figures.count);
        for (quantile, milliseconds) in [("0.5", figures.p50_ms), ("0.99", figures.p99_ms)] {
            let labels = QuantileLabels { method, quantile };
            latencies.get_or_create(&labels).set(milliseconds / 1000.0);
        }
    }
    registry.register("requests", "Requests by method, since the start", requests);
    registry.register_with_unit(
        "latency",
        "Latency since the start, a hello's from the time it was planned for",
        Unit::Seconds,
        latencies,
    );
    let errors = Family::<KindLabels, Counter>::default();
    let shown: u64 = snapshot.top_errors.iter().map(|(_, number)| number).sum();
    let rest = ("other".to_owned(), snapshot.errors.saturating_sub(shown));
    for (kind, number) in snapshot.top_errors.iter().chain([&rest]) {
        let kind = kind.clone();
        errors.get_or_create(&KindLabels { kind }).inc_by(*number);
    }
    registry.register(
        "errors",
        "Failed requests, the most frequent kinds by name",
        errors,
    );
    let rate = FloatGauge::default();
    rate.set(snapshot.check_ins_per_s);
    registry.register("check_in_rate", "Check-ins a second, lately", rate);
}

fn goals(snapshot: &Snapshot, registry: &mut Registry) {
    let reached = Family::<NameLabels, Gauge>::default();
    let wanted = Family::<NameLabels, Gauge>::default();
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for goal in &snapshot.waiting_for {
        let labels = NameLabels {
            name: goal.name.clone(),
        };
        reached.get_or_create(&labels).set(count(goal.agents));
        wanted.get_or_create(&labels).set(count(goal.of));
    }
    registry.register(
        "convergence_agents",
        "Agents that have reached a goal that not all have reached yet",
        reached,
    );
    registry.register(
        "convergence_wanted",
        "Agents that have to reach such a goal",
        wanted,
    );
}

fn process(registry: &mut Registry) {
    let figures = ProcessFigures::read();
    if let Some(bytes) = figures.rss_bytes {
        let memory = Gauge::<i64>::default();
        memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        registry.register("process_resident_memory_bytes", "Memory of the process", memory);
    }
    if let Some(seconds) = figures.cpu_s {
        let time = Counter::<f64, AtomicU64>::default();
        time.inc_by(seconds);
        registry.register_with_unit(
            "process_cpu",
            "Processor time of the process",
            Unit::Seconds,
            time,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::MethodSnapshot;
    use oco_protocol::rpc::Method;
    use std::net::Ipv4Addr;

    fn snapshot() -> Snapshot {
        Snapshot {
            agents: 1000,
            registered: 640,
            methods: vec![MethodSnapshot {
                method: Method::Hello,
                count: 700,
                p50_ms: 2.5,
                p99_ms: 31.0,
            }],
            errors: 5,
            top_errors: vec![("time-out \"x\"".into(), 3)],
            ..Snapshot::default()
        }
    }

    fn identity() -> Identity {
        Identity {
            scenario: "demo".into(),
            seed: 7,
            shard: "1/4".parse().unwrap(),
        }
    }

    #[test]
    fn the_text_says_which_run_it_is_and_how_far() {
        let text = text(&identity(), &snapshot());
        for line in [
            r#"oco_simulator_run_info{scenario="demo",seed="7",shard="1/4"} 1"#,
            r#"oco_simulator_agents{state="registered"} 640"#,
            r#"oco_simulator_requests_total{method="oco.agent.hello"} 700"#,
            r#"oco_simulator_latency_seconds{method="oco.agent.hello",quantile="0.99"} 0.031"#,
            r#"oco_simulator_errors_total{kind="time-out \"x\""} 3"#,
            r#"oco_simulator_errors_total{kind="other"} 2"#,
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[tokio::test]
    async fn the_newest_snapshot_is_served_until_the_run_is_over() {
        // The client wants a TLS provider even where no TLS is spoken; installing it twice is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (publish, snapshots) = watch::channel(Snapshot::default());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = MetricsServer::start(any, identity(), snapshots).await.unwrap();
        publish.send_replace(snapshot());
        let url = format!("http://{}/metrics", server.address());
        let response = reqwest::get(&url).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE.as_str()], OPEN_METRICS);
        let text = response.text().await.unwrap();
        assert!(text.contains("state=\"registered\"} 640"), "{text}");
        let address = server.address();
        drop(server);
        while TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
