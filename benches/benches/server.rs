//! A hello through the mock server's handler, durable, beside a bare handler that only parses, verifies and answers: what
//! the server's own work adds.
//!
//! Requests are made and signed before the time is taken. A hello alone waits for its own commit; batches of 64 at a time share one, as those of a fleet do.

#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark may end

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request as HttpRequest, StatusCode};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use oco_mock_server::{Config, ServerState, router};
use oco_protocol::rpc::{
    AGENT_API_PATH, CONTENT_TYPE, HelloAnswer, HelloData, Method, Params, Request, Response,
};
use oco_protocol::signature::{self, AGENT_SIGNATURE_HEADER};
use oco_protocol::{Key, Timestamp};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::ServiceExt;

const REGISTRATION_KEY: &str = "regkey-of-the-bench";
const COMPUTERS: u64 = 64;

/// A computer with the key that the server gave it.
#[derive(Clone)]
struct Computer {
    name: String,
    key: Key,
}

/// Timestamps that grow, whatever the clock does.
static CLOCK: AtomicU64 = AtomicU64::new(1_795_329_638_000_000);

fn hello(name: &str, key: &Key) -> HttpRequest<Body> {
    let data: HelloData = serde_json::from_value(json!({
        "agent_version": "2.0.0", "services": null, "uptime": 1493.17, "battery_level": false, "battery_status": false,
        "networks": [{"addr": "192.0.2.2", "netmask": "255.255.255.0", "broadcast": "192.0.2.255",
                      "mac": "02:fc:00:00:00:01", "interface": "eth0"}],
        "force_update": false
    }))
    .unwrap();
    let timestamp = Timestamp::from_micros(CLOCK.fetch_add(1_000, Ordering::Relaxed));
    let params = Params {
        uid: name.to_owned(),
        hostname: name.to_owned(),
        timestamp,
        data,
    };
    let body = serde_json::to_vec(&Request::new(Method::Hello, params)).unwrap();
    HttpRequest::post(AGENT_API_PATH)
        .header("content-type", CONTENT_TYPE)
        .header(AGENT_SIGNATURE_HEADER, signature::sign(key, &body))
        .body(body.into())
        .unwrap()
}

async fn call(service: Router, request: HttpRequest<Body>) -> Bytes {
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap()
}

/// The mock server, which checks requests against the protocol or not, on a database in a file, and computers that have registered there.
async fn registered(folder: &std::path::Path, conformance: bool) -> (Router, Vec<Computer>) {
    let config = Config {
        database: format!("sqlite:{}", folder.join(format!("{conformance}.db")).display()),
        conformance,
        agent_key: Some(Key::new(REGISTRATION_KEY)),
        ..Config::default()
    };
    let service = router(ServerState::open(config).await.unwrap());
    let mut computers = Vec::new();
    for index in 0..COMPUTERS {
        let name = format!("computer-{index}");
        let answer = call(service.clone(), hello(&name, &Key::new(REGISTRATION_KEY))).await;
        let answer: Response<HelloAnswer> = serde_json::from_slice(&answer).unwrap();
        computers.push(Computer {
            name,
            key: answer.result.params.agent_key.unwrap(),
        });
    }
    (service, computers)
}

/// The handler that keeps nothing.
fn bare() -> (Router, Vec<Computer>) {
    let key = Key::new("j2oijn45xofcfg68tfbcj7oliidlz3");
    let computer = Computer {
        name: "computer".into(),
        key: key.clone(),
    };
    (
        oco_benches::bare::router(key),
        vec![computer; usize::try_from(COMPUTERS).unwrap()],
    )
}

fn hellos(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    // Beside the build rather than in /tmp, which may be memory, where commits cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut group = criterion.benchmark_group("hello");
    let durable = runtime.block_on(registered(folder.path(), true));
    let unchecked = runtime.block_on(registered(folder.path(), false));
    for (name, (service, computers)) in [
        ("mock server, durable", durable),
        ("mock server, durable, no checks", unchecked),
        ("bare handler", bare()),
    ] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, one at a time"), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || hello(&computers[0].name, &computers[0].key),
                |request| call(service.clone(), request),
                BatchSize::LargeInput,
            );
        });
        group.throughput(Throughput::Elements(COMPUTERS));
        group.bench_function(format!("{name}, {COMPUTERS} at a time"), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || {
                    computers
                        .iter()
                        .map(|computer| hello(&computer.name, &computer.key))
                        .collect()
                },
                |requests: Vec<_>| {
                    let mut calls = JoinSet::new();
                    for request in requests {
                        calls.spawn(call(service.clone(), request));
                    }
                    calls.join_all()
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, hellos);
criterion_main!(benches);
