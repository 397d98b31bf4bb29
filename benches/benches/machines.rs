//! What a virtual machine costs: making one, what a hello asks of it, and a whole inventory of each system.

#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark may end

use criterion::{Criterion, criterion_group, criterion_main};
use oco_agent::host::{Host, Os};
use oco_agent::inventory::{self, Options};
use oco_simulator::generate::Machine;
use oco_simulator::simulated_host::SimulatedHost;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

/// A different machine at each call, so that the figures are those of a fleet.
fn machines(os: Os) -> impl FnMut() -> SimulatedHost {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_329_638);
    let mut index = 0;
    move || {
        index += 1;
        SimulatedHost::at(Machine { seed: 1, index, os }, now)
    }
}

fn generation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("virtual machine");
    for os in Os::ALL {
        let mut machine = machines(os);
        group.bench_function(format!("{os}, made"), |bencher| {
            bencher.iter(|| black_box(machine()));
        });
        let mut machine = machines(os);
        group.bench_function(format!("{os}, asked by a hello"), |bencher| {
            bencher.iter(|| {
                let host: &dyn Host = &machine();
                let options = Options::default();
                black_box((
                    inventory::identity(host, &options),
                    inventory::networks(host),
                    inventory::uptime(host),
                ))
            });
        });
        let mut machine = machines(os);
        group.bench_function(format!("{os}, whole inventory"), |bencher| {
            bencher.iter(|| inventory::collect(&machine(), &Options::default()));
        });
    }
    group.finish();
}

criterion_group!(benches, generation);
criterion_main!(benches);
