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

use ops::{By, Form, Kind, Op, Secret, Window, hello, life};
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
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
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// A life in which nothing may be wrong.
fn lives_well(ops: &[Op]) {
    live(ops).unwrap();
}

#[test]
fn no_life_of_a_server_leads_where_the_specification_does_not() {
    let cases: Option<u32> = std::env::var("OCO_MODEL_CASES")
        .ok()
        .map(|cases| cases.parse().unwrap());
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

/// A package, and a registered computer.
fn beginning() -> Vec<Op> {
    vec![hello(0), package(), package()]
}

fn package() -> Op {
    Op::Package {
        family: 0,
        codes: 0,
        file: false,
        upgrade: 0,
        os: 0,
    }
}

/// Two jobs of a container that ends after a while and gives up after a failure.
fn deploy_both_for_a_while() -> Op {
    Op::Deploy {
        by: By::Rest,
        packages: vec![0, 1],
        computers: vec![0],
        priority: 0,
        abort: true,
        again: true,
        window: Window {
            start: 0,
            length: Some(150),
            ranges: 0,
        },
    }
}

fn report(job: u8, state: i64, code: Option<i64>) -> Op {
    Op::Report {
        agent: 0,
        form: Form::Fitting,
        job,
        state,
        code,
    }
}

fn password(password: u8, revoke: bool) -> Op {
    let (form, secret) = (Form::Fitting, Secret::Encrypted);
    Op::Passwords {
        agent: 0,
        form,
        account: 0,
        password,
        revoke,
        secret,
    }
}

#[test]
fn a_password_that_a_revocation_brings_back_was_not_forgotten() {
    let rule = Op::PasswordRule {
        account: 0,
        group: None,
        valid_for: 60,
        history: Some(0),
    };
    lives_well(&[
        rule,
        hello(0),
        password(0, false),
        Op::Forward { seconds: 301 },
        password(1, false),
        password(1, true),
        hello(0),
        password(2, false),
        password(3, false),
        password(2, true),
    ]);
}

#[test]
fn jobs_that_have_expired_are_not_given_up_by_a_failure_before_them() {
    let mut ops = beginning();
    ops.extend([
        deploy_both_for_a_while(),
        report(0, 2, None),
        Op::Forward { seconds: 150 },
        report(0, 3, Some(3)),
    ]);
    lives_well(&ops);
}

#[test]
fn what_has_only_expired_jobs_is_removed_without_force() {
    let mut ops = beginning();
    ops.extend([
        deploy_both_for_a_while(),
        Op::RemovePackage {
            package: 0,
            by: By::Client,
            force: false,
        },
        Op::Remove {
            agent: 0,
            by: By::Client,
            force: false,
        },
        Op::Forward { seconds: 150 },
        Op::RemovePackage {
            package: 0,
            by: By::Client,
            force: false,
        },
        Op::Remove {
            agent: 0,
            by: By::Client,
            force: false,
        },
    ]);
    lives_well(&ops);
}

#[test]
fn jobs_of_a_rule_are_taken_from_who_leaves_its_group() {
    let member = |kind, belongs| Op::Member {
        kind,
        group: 0,
        member: 0,
        belongs,
    };
    for leaves in [Kind::Computers, Kind::Packages] {
        let mut ops = beginning();
        ops.extend([
            Op::Group {
                kind: Kind::Computers,
                parent: None,
            },
            Op::Group {
                kind: Kind::Packages,
                parent: None,
            },
            member(Kind::Computers, true),
            member(Kind::Packages, true),
            Op::Rule {
                computers: 0,
                packages: 0,
                priority: 0,
                abort: false,
                enabled: true,
            },
            hello(0),
            member(leaves, false),
            hello(0),
            member(leaves, true),
            hello(0),
        ]);
        lives_well(&ops);
    }
}
