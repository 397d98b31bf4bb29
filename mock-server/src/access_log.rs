//! Counts requests and logs each once, without its body and without secrets.

use crate::state::ServerState;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a request was about: the method of the agent API, or the route of another. Set on the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label(pub(crate) &'static str);

/// Label of requests of the agent API whose method is not known.
pub(crate) const UNKNOWN: Label = Label("unknown");
/// Label and status, which was not sent, of requests that ended without an answer.
const ABORTED: Label = Label("aborted");
const CLIENT_GONE: u16 = 499;
const OTHER: Label = Label("other");

/// Address of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Requests by label and status.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<(Label, u16), u64>>);

impl Counters {
    fn count(&self, label: Label, status: u16) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counters.entry((label, status)).or_default() += 1;
    }

    /// Label -> status -> requests.
    pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, BTreeMap<u16, u64>> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((label, status), count) in &*counters {
            snapshot.entry(label.0).or_default().insert(*status, *count);
        }
        snapshot
    }
}

/// Counts a request that ends without an answer, when its client has gone away: dropped with the request.
struct Aborted<'a>(Option<&'a Counters>);

impl Drop for Aborted<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.0 {
            counters.count(ABORTED, CLIENT_GONE);
        }
    }
}

/// Counts and logs one request.
pub(crate) async fn layer(State(state): State<Arc<ServerState>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let logged = tracing::enabled!(target: "oco_mock_server::access", tracing::Level::INFO).then(|| {
        let client = request.extensions().get::<Peer>().map(|peer| peer.0);
        (client, request.method().clone(), request.uri().path().to_owned())
    });
    let mut aborted = Aborted(Some(&state.instruments.counters));
    let response = next.run(request).await;
    aborted.0 = None;
    let label = response.extensions().get::<Label>().copied().unwrap_or(OTHER);
    let status = response.status().as_u16();
    state.instruments.counters.count(label, status);
    let elapsed = started.elapsed();
    state.instruments.latencies.observe(label.0, elapsed);
    if let Some((client, method, path)) = logged {
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "oco_mock_server::access",
            { client = client.map(tracing::field::display), http.method = %method, http.path = path, http.status = status, rpc.method = label.0, elapsed_us },
            "request"
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use crate::{Config, ServerState, router};
    use axum::body::{Body, Bytes};
    use axum::http::Request;
    use futures::FutureExt;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_request_whose_client_goes_away_is_counted() {
        let state = ServerState::open(Config::default()).await.unwrap();
        let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let request = Request::post(oco_protocol::rpc::AGENT_API_PATH)
            .header("content-type", "application/json")
            .body(Body::from_stream(endless))
            .unwrap();
        assert!(router(state.clone()).oneshot(request).now_or_never().is_none());
        assert_eq!(state.instruments.counters.snapshot()["aborted"][&499], 1);
    }
}
