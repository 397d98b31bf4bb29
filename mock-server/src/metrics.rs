//! What Prometheus scrapes: counts, latencies, and what the process costs.

use crate::error::ApiError;
use crate::state::ServerState;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The media type of the text that is scraped.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

#[derive(Debug, Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    /// From a quarter of a millisecond to four seconds.
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.000_25, 2.0, 15))
    }
}

/// Latencies by method.
pub(crate) struct Latencies(Family<MethodLabels, Histogram, Buckets>);

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies").finish_non_exhaustive()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Family::new_with_constructor(Buckets))
    }
}

impl Latencies {
    /// Adds one.
    pub(crate) fn observe(&self, method: &'static str, elapsed: Duration) {
        self.0
            .get_or_create(&MethodLabels { method })
            .observe(elapsed.as_secs_f64());
    }
}

/// Shows everything in the format of OpenMetrics.
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Result<impl IntoResponse, ApiError> {
    let mut registry = Registry::with_prefix("oco");
    requests(&state, &mut registry);
    instruments(&state, &mut registry);
    let counts = state.store.counts().await?;
    let jobs = Family::<StateLabels, Gauge>::default();
    for (name, count) in counts.jobs {
        let labels = StateLabels {
            state: name.to_string(),
        };
        jobs.get_or_create(&labels).set(count);
    }
    registry.register("jobs", "Jobs by state", jobs);
    let computers = Family::<StateLabels, Gauge>::default();
    for (name, count) in counts.by_state {
        let labels = StateLabels {
            state: name.to_string(),
        };
        computers.get_or_create(&labels).set(count);
    }
    registry.register("computers", "Computers by state", computers);
    let mut text = String::new();
    // Only a writer that fails makes this fail, and a text does not.
    encode(&mut text, &registry).unwrap_or_default();
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}

fn requests(state: &ServerState, registry: &mut Registry) {
    let requests = Family::<RequestLabels, Counter>::default();
    for (method, statuses) in state.instruments.counters.snapshot() {
        for (status, count) in statuses {
            requests
                .get_or_create(&RequestLabels { method, status })
                .inc_by(count);
        }
    }
    registry.register("requests", "Requests by method and status", requests);
    let latencies = state.instruments.latencies.0.clone();
    registry.register(
        "request_duration_seconds",
        "Time from the head of a request to its answer",
        latencies,
    );
}

fn instruments(state: &ServerState, registry: &mut Registry) {
    let faults = Family::<KindLabels, Counter>::default();
    for (kind, count) in state.instruments.faults.committed() {
        faults.get_or_create(&KindLabels { kind }).inc_by(count);
    }
    registry.register(
        "faults_committed",
        "Faults that the server committed on purpose",
        faults,
    );
    let findings = Family::<RuleLabels, Counter>::default();
    for counted in state.instruments.conformance.rules() {
        let rule = counted.rule.id;
        findings.get_or_create(&RuleLabels { rule }).inc_by(counted.count);
    }
    registry.register(
        "conformance_findings",
        "Findings about requests, by rule",
        findings,
    );
    let checked = Counter::<u64>::default();
    checked.inc_by(state.instruments.conformance.checked());
    registry.register("conformance_checked", "Exchanges that were checked", checked);
    let memory = Gauge::<i64>::default();
    if let Some(stats) = memory_stats::memory_stats() {
        memory.set(i64::try_from(stats.physical_mem).unwrap_or(i64::MAX));
    }
    registry.register("process_resident_memory_bytes", "Memory of the process", memory);
    let connections = Gauge::<i64>::default();
    connections.set(state.instruments.connections());
    registry.register("connections", "Open connections", connections);
}
