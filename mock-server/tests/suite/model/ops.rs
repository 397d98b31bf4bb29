//! What may happen to a server: operations of agents, of administrators and of time, drawn at random.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Agents that there are.
pub(super) const AGENTS: usize = 3;
/// One of the things of a kind that there are, counted around.
pub(super) type Pick = u8;

/// Of which generation a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The one that the server has to expect.
    Fitting,
    Other,
}

/// Which key a request is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The one that the server gave last, or the registration key before.
    Own,
    Registration,
    /// That of the next agent.
    Another,
    /// None at all.
    Missing,
}

/// What timestamp a hello has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    Newer,
    /// An hour ahead: what comes after has to be newer still.
    Ahead,
    /// That of the hello before.
    Same,
    Missing,
}

/// The administrator's way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rest,
    Client,
}

/// What groups hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Computers,
    Packages,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Computers => "computers",
            Self::Packages => "packages",
        }
    }
}

/// How a password is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    Encrypted,
    Plain,
    Broken,
}

/// One step.
#[derive(Debug, Clone)]
#[rustfmt::skip]
pub(super) enum Op {
    Hello { agent: usize, form: Form, old: bool, proof: Proof, time: Time, force: bool, service: Option<u8> },
    Update { agent: usize, form: Form, proof: Proof, os: u8 },
    Report { agent: usize, form: Form, job: Pick, state: i64, code: Option<i64> },
    Download { agent: usize, form: Form, proof: Proof, package: Pick },
    Events { agent: usize, form: Form, first: u8, count: u8 },
    Passwords { agent: usize, form: Form, account: u8, password: u8, revoke: bool, secret: Secret },
    Create { agent: usize, by: By },
    Remove { agent: usize, by: By, force: bool },
    Force { agent: usize, on: bool },
    Package { family: u8, codes: u8, file: bool, upgrade: u8, os: u8 },
    RemovePackage { package: Pick, by: By, force: bool },
    Group { kind: Kind, parent: Option<Pick> },
    RemoveGroup { kind: Kind, group: Pick },
    Member { kind: Kind, group: Pick, member: Pick, belongs: bool },
    Deploy { by: By, packages: Vec<Pick>, computers: Vec<Pick>, priority: i64, abort: bool, again: bool, window: Window },
    Uninstall { installation: Pick, abort: bool },
    RemoveContainer { container: Pick },
    RemoveJob { job: Pick },
    RemoveInstallation { installation: Pick },
    Rule { computers: Pick, packages: Pick, priority: i64, abort: bool, enabled: bool },
    Enable { rule: Pick, on: bool },
    Policies { owner: Option<Pick>, keys: Vec<(u8, u8)> },
    EventRule { log: u8 },
    PasswordRule { account: u8, group: Option<Pick>, valid_for: u64, history: Option<usize> },
    Settings { interval: Option<u64>, open: Option<bool> },
    Forward { seconds: u64 },
}

/// When a deployment may run, from now on, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) length: Option<u64>,
    /// 0 everybody, 1 this machine, 2 everybody but this machine.
    pub(super) ranges: u8,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![14 => Just(Form::Fitting), 1 => Just(Form::Other)]
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![
        16 => Just(Proof::Own),
        1 => Just(Proof::Registration),
        1 => Just(Proof::Another),
        1 => Just(Proof::Missing),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        12 => Just(Time::Newer),
        1 => Just(Time::Ahead),
        1 => Just(Time::Same),
        1 => Just(Time::Missing),
    ]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![Just(By::Rest), Just(By::Client)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Computers), Just(Kind::Packages)]
}

fn window() -> impl Strategy<Value = Window> {
    let start = prop_oneof![6 => Just(0_i64), 1 => Just(-100_i64), 2 => Just(100_i64)];
    let length = option::weighted(0.4, prop_oneof![Just(150_u64), Just(400_u64)]);
    let ranges = prop_oneof![6 => Just(0_u8), 1 => Just(1_u8), 1 => Just(2_u8)];
    (start, length, ranges).prop_map(|(start, length, ranges)| Window {
        start,
        length,
        ranges,
    })
}

/// What agents do.
fn of_agents() -> impl Strategy<Value = Op> {
    let agent = || 0..AGENTS;
    let state = prop_oneof![1 => Just(1_i64), 1 => Just(2_i64), 3 => Just(3_i64), 1 => Just(-1_i64)];
    let code = prop_oneof![3 => Just(Some(0_i64)), 2 => Just(Some(3)), 1 => Just(None)];
    let secret =
        prop_oneof![6 => Just(Secret::Encrypted), 1 => Just(Secret::Plain), 1 => Just(Secret::Broken)];
    let hello = (
        agent(),
        form(),
        prop::bool::weighted(0.1),
        proof(),
        time(),
        prop::bool::weighted(0.1),
    );
    prop_oneof![
        6 => (hello, option::weighted(0.2, 0..3_u8)).prop_map(|((agent, form, old, proof, time, force), service)|
            Op::Hello { agent, form, old, proof, time, force, service }),
        2 => (agent(), form(), proof(), 0..3_u8).prop_map(|(agent, form, proof, os)| Op::Update { agent, form, proof, os }),
        6 => (agent(), form(), any::<Pick>(), state, code)
            .prop_map(|(agent, form, job, state, code)| Op::Report { agent, form, job, state, code }),
        2 => (agent(), form(), proof(), any::<Pick>())
            .prop_map(|(agent, form, proof, package)| Op::Download { agent, form, proof, package }),
        1 => (agent(), form(), 0..4_u8, 0..4_u8)
            .prop_map(|(agent, form, first, count)| Op::Events { agent, form, first, count }),
        3 => (agent(), form(), 0..2_u8, 0..4_u8, any::<bool>(), secret).prop_map(
            |(agent, form, account, password, revoke, secret)|
                Op::Passwords { agent, form, account, password, revoke, secret }),
    ]
}

/// What administrators do with computers, packages and jobs.
fn of_administrators() -> impl Strategy<Value = Op> {
    let picks = || vec(any::<Pick>(), 1..3);
    let pick = any::<Pick>;
    prop_oneof![
        1 => (0..AGENTS, by()).prop_map(|(agent, by)| Op::Create { agent, by }),
        1 => (0..AGENTS, by(), any::<bool>()).prop_map(|(agent, by, force)| Op::Remove { agent, by, force }),
        1 => (0..AGENTS, any::<bool>()).prop_map(|(agent, on)| Op::Force { agent, on }),
        3 => (0..2_u8, 0..3_u8, any::<bool>(), 0..3_u8, 0..5_u8)
            .prop_map(|(family, codes, file, upgrade, os)| Op::Package { family, codes, file, upgrade, os }),
        1 => (pick(), by(), any::<bool>()).prop_map(|(package, by, force)| Op::RemovePackage { package, by, force }),
        6 => ((by(), picks(), picks()), 0..3_i64, any::<bool>(), any::<bool>(), window()).prop_map(
            |((by, packages, computers), priority, abort, again, window)|
                Op::Deploy { by, packages, computers, priority, abort, again, window }),
        2 => (pick(), any::<bool>()).prop_map(|(installation, abort)| Op::Uninstall { installation, abort }),
        1 => pick().prop_map(|container| Op::RemoveContainer { container }),
        1 => pick().prop_map(|job| Op::RemoveJob { job }),
        1 => pick().prop_map(|installation| Op::RemoveInstallation { installation }),
    ]
}

/// What administrators set up.
fn of_rules() -> impl Strategy<Value = Op> {
    let pick = any::<Pick>;
    let history = option::weighted(0.7, 0..2_usize);
    prop_oneof![
        2 => (kind(), option::weighted(0.4, pick())).prop_map(|(kind, parent)| Op::Group { kind, parent }),
        1 => (kind(), pick()).prop_map(|(kind, group)| Op::RemoveGroup { kind, group }),
        6 => (kind(), pick(), pick(), prop::bool::weighted(0.8))
            .prop_map(|(kind, group, member, belongs)| Op::Member { kind, group, member, belongs }),
        2 => ((pick(), pick()), 0..3_i64, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
            |((computers, packages), priority, abort, enabled)|
                Op::Rule { computers, packages, priority, abort, enabled }),
        1 => (pick(), any::<bool>()).prop_map(|(rule, on)| Op::Enable { rule, on }),
        2 => (option::of(pick()), vec((0..3_u8, any::<u8>()), 0..3))
            .prop_map(|(owner, keys)| Op::Policies { owner, keys }),
        1 => (0..2_u8).prop_map(|log| Op::EventRule { log }),
        2 => (0..2_u8, option::weighted(0.3, pick()), prop_oneof![Just(60_u64), Just(1000_u64)], history).prop_map(
            |(account, group, valid_for, history)| Op::PasswordRule { account, group, valid_for, history }),
        1 => (option::of(prop_oneof![Just(0_u64), Just(50), Just(10_000)]), option::of(any::<bool>()))
            .prop_map(|(interval, open)| Op::Settings { interval, open }),
    ]
}

fn forward() -> impl Strategy<Value = Op> {
    let seconds = vec![1_u64, 24, 25, 60, 150, 299, 300, 301];
    prop::sample::select(seconds).prop_map(|seconds| Op::Forward { seconds })
}

fn op() -> BoxedStrategy<Op> {
    prop_oneof![
        12 => of_agents(),
        6 => of_administrators(),
        5 => of_rules(),
        3 => forward(),
    ]
    .boxed()
}

/// Passwords of one computer, over and over.
fn of_passwords() -> BoxedStrategy<Op> {
    let rule = (
        option::weighted(0.2, any::<Pick>()),
        option::weighted(0.8, 0..2_usize),
    );
    prop_oneof![
        6 => (0..3_u8, prop::bool::weighted(0.4)).prop_map(|(password, revoke)| Op::Passwords {
            agent: 0, form: Form::Fitting, account: 0, password, revoke, secret: Secret::Encrypted }),
        1 => rule.prop_map(|(group, history)| Op::PasswordRule { account: 0, group, valid_for: 60, history }),
        1 => Just(hello(0)),
        2 => forward(),
    ]
    .boxed()
}

/// Jobs of containers that begin, end and fail while agents report them.
fn of_jobs() -> BoxedStrategy<Op> {
    let picks = || vec(any::<Pick>(), 2..4);
    let report = (
        0..AGENTS,
        any::<Pick>(),
        prop::sample::select(vec![1_i64, 2, 3, 3, -1]),
        0..2_i64,
    );
    prop_oneof![
        4 => report.prop_map(|(agent, job, state, code)| Op::Report {
            agent, form: Form::Fitting, job, state, code: Some(code * 3) }),
        3 => (picks(), picks(), 0..3_i64, any::<bool>(), window()).prop_map(
            |(packages, computers, priority, abort, window)| Op::Deploy {
                by: By::Rest, packages, computers, priority, abort, again: false, window }),
        3 => (0..AGENTS).prop_map(hello),
        1 => (0..AGENTS, any::<Pick>()).prop_map(|(agent, package)| Op::Download {
            agent, form: Form::Fitting, proof: Proof::Own, package }),
        1 => (0..AGENTS).prop_map(|agent| Op::Remove { agent, by: By::Client, force: false }),
        1 => any::<Pick>().prop_map(|package| Op::RemovePackage { package, by: By::Client, force: false }),
        2 => forward(),
    ]
    .boxed()
}

/// Deployment rules of groups whose members change.
fn of_groups() -> BoxedStrategy<Op> {
    let report = (
        0..AGENTS,
        any::<Pick>(),
        prop::sample::select(vec![2_i64, 3, 3]),
        0..2_i64,
    );
    prop_oneof![
        6 => of_rules(),
        3 => report.prop_map(|(agent, job, state, code)| Op::Report {
            agent, form: Form::Fitting, job, state, code: Some(code * 3) }),
        3 => (0..AGENTS).prop_map(hello),
        1 => (0..AGENTS).prop_map(|agent| Op::Update {
            agent, form: Form::Fitting, proof: Proof::Own, os: 0 }),
        1 => any::<Pick>().prop_map(|installation| Op::RemoveInstallation { installation }),
    ]
    .boxed()
}

/// A life of a server. It begins with what most of it needs, and goes on with all that there is or one part of it.
pub(super) fn life(max: usize) -> impl Strategy<Value = Vec<Op>> {
    let beginning = vec(
        prop_oneof![
            2 => (0..AGENTS).prop_map(hello),
            2 => (0..2_u8, 0..3_u8, any::<bool>(), 0..3_u8)
                .prop_map(|(family, codes, file, upgrade)| Op::Package { family, codes, file, upgrade, os: 0 }),
            1 => kind().prop_map(|kind| Op::Group { kind, parent: None }),
        ],
        0..10,
    );
    let part = |op: BoxedStrategy<Op>| vec(op, 1..max);
    let then =
        prop_oneof![3 => part(op()), 1 => part(of_passwords()), 1 => part(of_jobs()), 1 => part(of_groups())];
    (beginning, then).prop_map(|(beginning, then)| [beginning, then].concat())
}

/// A hello as it should be.
pub(super) fn hello(agent: usize) -> Op {
    let (form, proof, time) = (Form::Fitting, Proof::Own, Time::Newer);
    Op::Hello {
        agent,
        form,
        old: false,
        proof,
        time,
        force: false,
        service: None,
    }
}
