//! What every exchange costs on either side before any I/O: signing, writing and reading bodies.

#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark may end

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use oco_protocol::inventory::Inventory;
use oco_protocol::rpc::{Method, Params, Request};
use oco_protocol::{Key, Timestamp, signature};
use serde_json::json;
use std::hint::black_box;

/// An inventory with as many packages as a large desktop has.
fn inventory() -> Inventory {
    let software: Vec<_> = (0..1_800)
        .map(|index| json!({"name": format!("lib-package-{index}"), "version": format!("1.{index}-2"), "description": "a library of some kind"}))
        .collect();
    serde_json::from_value(json!({"hostname": "bench", "os": "Debian GNU/Linux", "software": software}))
        .unwrap()
}

fn request(inventory: Inventory) -> Request<Params<Inventory>> {
    let timestamp = Timestamp::from_micros(1_795_329_638_173_100);
    Request::new(
        Method::Update,
        Params {
            uid: "u".into(),
            hostname: "h".into(),
            timestamp,
            data: inventory,
        },
    )
}

fn signing(criterion: &mut Criterion) {
    let key = Key::new("j2oijn45xofcfg68tfbcj7oliidlz3");
    let mut group = criterion.benchmark_group("sign");
    for (name, length) in [("hello, 1 kB", 1_000), ("inventory, 138 kB", 138_000)] {
        let body = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| signature::sign(&key, black_box(&body)));
        });
    }
    group.finish();
}

fn serialisation(criterion: &mut Criterion) {
    let update = request(inventory());
    let body = serde_json::to_vec(&update).unwrap();
    let mut group = criterion.benchmark_group("inventory of 1,800 packages");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(&update)).unwrap());
    });
    group.bench_function("read", |bencher| {
        bencher.iter_batched(
            || body.clone(),
            |body| serde_json::from_slice::<Request<Params<Inventory>>>(&body).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, signing, serialisation);
criterion_main!(benches);
