//! Lives of a server, drawn at random and compared step by step with a plain reference of the specification: what is
//! answered, what is refused and how, which jobs are sent and in what order, and what is stored in the end.
//!
//! `OCO_MODEL_CASES` says how many lives are lived instead of a few.

mod admin;
mod agents;
mod ops;
mod reference;
mod wire;
mod world;

use ops::{Op, life};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use world::World;

/// Steps of a life at most, after its beginning.
const STEPS: usize = 60;
/// Lives that are lived where nobody says how many, if there is the time.
const LIVES: u32 = 150;
/// Time after which no further life begins where nobody says how many.
const TIME: Duration = Duration::from_secs(25);

/// Lives a life; what is wrong with it.
fn live(ops: &[Op]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut world = World::new().await;
            for op in ops {
                world.step(op).await;
            }
            world.finish().await;
        });
    }));
    lived.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// A life in which nothing may be wrong.
fn lives_well(ops: &[Op]) {
    live(ops).unwrap();
}

#[test]
fn no_life_of_a_server_leads_where_the_specification_does_not() {
    let cases: Option<u32> = std::env::var("OCO_MODEL_CASES").ok().map(|cases| cases.parse().unwrap());
    let config = Config {
        cases: cases.unwrap_or(LIVES),
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..Config::default()
    };
    let started = Instant::now();
    let result = TestRunner::new(config).run(&life(STEPS), |ops| {
        if cases.is_none() && started.elapsed() > TIME {
            return Ok(());
        }
        live(&ops).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
