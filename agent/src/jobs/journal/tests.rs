use super::*;
use crate::host::recorded::{Machine, RecordedHost, Recording};
use proptest::prelude::*;
use std::time::Duration;

const FOLDER: &str = "/var/lib/oco-agent/journal";

fn host() -> Arc<RecordedHost> {
    let machine = serde_json::json!({
        "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
        "uptime_s": 1000.0, "now": "2026-11-22T06:00:00Z",
    });
    let machine: Machine = serde_json::from_value(machine).unwrap();
    Arc::new(RecordedHost::new(Recording::new(machine)))
}

fn journal(host: &Arc<RecordedHost>) -> Arc<Journal> {
    Journal::load(host.clone(), Path::new(FOLDER))
}

fn files(host: &RecordedHost) -> Vec<String> {
    host.list_folder(Path::new(FOLDER)).unwrap_or_default()
}

fn job(id: impl Into<serde_json::Value>) -> Job {
    let id: serde_json::Value = id.into();
    serde_json::from_value(serde_json::json!({"id": id, "procedure": "install"})).unwrap()
}

fn finished(job: &Job, output: &str) -> JobReport {
    JobReport {
        job_id: job.id.clone(),
        state: JobState::Finished,
        return_code: Some(0),
        download_progress: None,
        message: output.to_owned(),
    }
}

/// Runs a job to its recorded outcome.
fn run(journal: &Arc<Journal>, job: &Job) {
    let claim = journal.claim(&job.id).unwrap();
    claim.start(job).unwrap();
    claim.end(job, claim.ends(finished(job, "done"), FollowUp::None));
}

fn decision(journal: &Arc<Journal>, job: &Job, ticket: Ticket) -> Decision {
    journal.claim(&job.id).unwrap().decide(job, ticket).unwrap()
}

#[test]
fn a_job_found_started_is_reported_as_interrupted_and_not_run() {
    let host = host();
    let (job, order) = (job(4), Ticket(0));
    journal(&host).claim(&job.id).unwrap().start(&job).unwrap();
    let journal = journal(&host);
    assert_eq!(decision(&journal, &job, order), Decision::Report);
    assert_eq!(journal.unaccepted(&[]), [Id::Number(4)]);
    let outcome = journal.claim(&job.id).unwrap().outcome().unwrap();
    assert_eq!(
        (outcome.report.state, outcome.report.return_code),
        (JobState::AgentError, Some(-9999))
    );
    assert!(
        outcome
            .report
            .message
            .contains("was stopped while the job was running")
    );
}

#[test]
fn an_outcome_survives_a_restart_with_every_detail() {
    let host = host();
    let job = job("dynamic-7");
    let kept = {
        let journal = journal(&host);
        let claim = journal.claim(&job.id).unwrap();
        claim.start(&job).unwrap();
        let follow_up = FollowUp::Power(crate::host::PowerAction::Restart, 5);
        let outcome = claim.ends(finished(&job, "päckchen \u{1}\n"), follow_up);
        claim.end(&job, outcome.clone());
        outcome
    };
    assert_eq!(
        host.written(&Path::new(FOLDER).join("job-dynamic-7.json")),
        Some(Visibility::Private)
    );
    assert_eq!(journal(&host).claim(&job.id).unwrap().outcome(), Some(kept));
}

#[test]
fn the_new_version_does_not_end_itself_for_the_job_that_installed_it() {
    let host = host();
    let job = job(4);
    let claim = journal(&host).claim(&job.id).unwrap();
    claim.end(&job, claim.ends(finished(&job, ""), FollowUp::Exit));
    let outcome = journal(&host).claim(&job.id).unwrap().outcome().unwrap();
    assert_eq!(outcome.follow_up, FollowUp::None);
}

#[test]
fn an_accepted_outcome_leaves_no_file_and_lets_only_later_orders_run() {
    let host = host();
    let (journal, job) = (journal(&host), job(4));
    let before = journal.ticket();
    run(&journal, &job);
    {
        let claim = journal.claim(&job.id).unwrap();
        claim.accepted(false);
        claim.forget();
    }
    assert!(files(&host).is_empty() && journal.unaccepted(&[]).is_empty());
    assert_eq!(
        decision(&journal, &job, before),
        Decision::Settled { succeeded: false }
    );
    assert_eq!(decision(&journal, &job, journal.ticket()), Decision::Run);
}

#[test]
fn another_job_of_the_same_id_is_run() {
    let host = host();
    let (journal, old) = (journal(&host), job(4));
    run(&journal, &old);
    let new = Job {
        procedure: "remove".to_owned(),
        ..old.clone()
    };
    assert_eq!(decision(&journal, &old, Ticket(0)), Decision::Report);
    assert_eq!(decision(&journal, &new, Ticket(0)), Decision::Run);
    assert_eq!(journal.unaccepted(std::slice::from_ref(&old)).len(), 1);
    assert_eq!(journal.unaccepted(&[new]), []);
}

#[test]
fn a_claimed_job_cannot_be_claimed_again_until_it_is_given_back() {
    let host = host();
    let journal = journal(&host);
    let claim = journal.claim(&Id::Number(4)).unwrap();
    assert!(journal.claim(&Id::Text("4".into())).is_none());
    assert!(journal.claim(&Id::Number(5)).is_some());
    drop(claim);
    assert!(journal.claim(&Id::Number(4)).is_some());
}

#[test]
fn damaged_entries_count_as_interrupted_jobs() {
    let host = host();
    for (name, content) in [
        ("job-1.json", &b""[..]),
        ("job-2.json", &[0; 99]),
        ("job-3.json", br#"{"version":1}"#),
        (
            "job-4.json",
            br#"{"version":9,"ordered":1795327200,"state":{"started":4}}"#,
        ),
    ] {
        host.write_file(&Path::new(FOLDER).join(name), content, Visibility::Private)
            .unwrap();
    }
    for _ in 0..2 {
        let journal = journal(&host);
        for id in 1..=4 {
            assert_eq!(
                decision(&journal, &job(id), Ticket(0)),
                Decision::Interrupted,
                "{id}"
            );
        }
        assert_eq!(decision(&journal, &job(5), Ticket(0)), Decision::Run);
        assert!(
            journal.unaccepted(&[]).is_empty(),
            "nobody knows their ids for sure"
        );
    }
}

#[test]
fn a_procedure_must_not_start_when_that_cannot_be_recorded() {
    let host = host();
    let (journal, job) = (journal(&host), job(4));
    host.set_read_only(true);
    assert!(journal.claim(&job.id).unwrap().start(&job).is_err());
    host.set_read_only(false);
    assert_eq!(decision(&journal, &job, Ticket(0)), Decision::Run);
}

#[test]
fn an_outcome_that_cannot_be_written_is_still_known_until_the_agent_ends() {
    let host = host();
    let (journal, job) = (journal(&host), job(4));
    let claim = journal.claim(&job.id).unwrap();
    claim.start(&job).unwrap();
    host.set_read_only(true);
    claim.end(&job, claim.ends(finished(&job, "done"), FollowUp::None));
    assert_eq!(claim.decide(&job, Ticket(0)).unwrap(), Decision::Report);
    assert_eq!(claim.outcome().unwrap().report.message, "done");
}

#[test]
fn leftovers_of_interrupted_writes_are_removed_and_strangers_left_alone() {
    let host = host();
    for name in [".oco-agent-x1.tmp", "notes.txt"] {
        host.write_file(&Path::new(FOLDER).join(name), b"x", Visibility::Private)
            .unwrap();
    }
    journal(&host);
    assert_eq!(files(&host), ["notes.txt"]);
}

#[test]
fn entries_are_bounded_in_number_and_age() {
    let host = host();
    let journal = journal(&host);
    for id in 0..i64::try_from(MAX_ENTRIES).unwrap() + 9 {
        host.set_now(UNIX_EPOCH + Duration::from_secs(1_795_000_000 + id.unsigned_abs()));
        run(&journal, &job(id));
    }
    assert_eq!(files(&host).len(), MAX_ENTRIES);
    assert_eq!(decision(&journal, &job(8), Ticket(0)), Decision::Run);
    assert_eq!(decision(&journal, &job(9), Ticket(0)), Decision::Report);
    host.set_now(UNIX_EPOCH + Duration::from_secs(1_795_000_100 + MAX_AGE));
    // The server still asks for one of them.
    journal.claim(&Id::Number(20)).unwrap().ordered_again();
    let journal = self::journal(&host);
    journal.give_up(&journal.outdated(&[]));
    assert_eq!(decision(&journal, &job(20), Ticket(0)), Decision::Report);
    assert_eq!(decision(&journal, &job(21), Ticket(0)), Decision::Run);
    assert_eq!(decision(&journal, &job(200), Ticket(0)), Decision::Report);
}

#[test]
fn a_job_that_is_still_ordered_does_not_run_again_after_a_long_time() {
    let host = host();
    let interrupted = job(4);
    journal(&host)
        .claim(&interrupted.id)
        .unwrap()
        .start(&interrupted)
        .unwrap();
    run(&journal(&host), &job(5));
    // The computer was off for years, or its clock says so.
    host.set_now(UNIX_EPOCH + Duration::from_secs(2_795_000_000));
    let journal = journal(&host);
    journal.give_up(&journal.outdated(std::slice::from_ref(&interrupted)));
    assert_eq!(decision(&journal, &interrupted, Ticket(0)), Decision::Report);
    assert_eq!(decision(&journal, &job(5), Ticket(0)), Decision::Run);
    assert_eq!(files(&host), ["job-4.json"]);
}

#[test]
fn an_endless_message_is_kept_with_its_head_and_tail() {
    let mut message = "ä".repeat(MAX_MESSAGE);
    message.push_str("the end");
    shorten(&mut message);
    assert!(message.len() < MAX_MESSAGE + 100 && message.ends_with("ä the end".trim_start_matches("ä ")));
    assert!(message.starts_with("ää") && message.contains("bytes of output left out"));
}

#[test]
fn hostile_ids_stay_in_the_folder_and_apart() {
    let long = "x".repeat(5000);
    let ids = [
        "../../etc/passwd",
        "",
        "A",
        "a",
        ".",
        "job_",
        "a/b",
        &long,
        "\0",
        "-1",
    ];
    let names: BTreeSet<_> = ids
        .iter()
        .map(|id| file_name(&Id::Text((*id).to_owned())))
        .collect();
    assert_eq!(names.len(), ids.len());
    for name in names {
        assert!(name.len() < 80 && !name.contains(['/', '\\', '\0']), "{name}");
        assert!(name.starts_with("job") && name.ends_with(".json"));
    }
}

/// What may happen to the one job of the state machine.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The server orders it with a new hello; the agent gets this far.
    Order(Reach),
    /// An order that was under way since the last acceptance or longer comes in; the agent gets this far.
    StaleOrder(Reach),
    /// A check-in reports what was not accepted; whether the server accepts.
    Report(bool),
    /// The agent is killed and started again.
    Kill,
}

/// How far the agent gets with an order before it is killed, or what the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    KilledInDownload,
    KilledInProcedure,
    KilledBeforeReport,
    KilledAfterAcceptance,
    Refused,
    Accepted,
}

fn reach() -> impl Strategy<Value = Reach> {
    use Reach::*;
    prop::sample::select(vec![
        KilledInDownload,
        KilledInProcedure,
        KilledBeforeReport,
        KilledAfterAcceptance,
        Refused,
        Accepted,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => reach().prop_map(Step::Order),
        2 => reach().prop_map(Step::StaleOrder),
        2 => any::<bool>().prop_map(Step::Report),
        1 => Just(Step::Kill),
    ]
}

/// The truth beside the journal.
struct Model {
    host: Arc<RecordedHost>,
    journal: Arc<Journal>,
    job: Job,
    /// Runs of the procedure since the server accepted an outcome last.
    runs: u32,
    /// Outcomes the server has accepted.
    accepted: u32,
    /// A ticket older than the last acceptance by this process.
    stale: Option<Ticket>,
}

impl Model {
    fn new() -> Self {
        let host = host();
        Self {
            journal: journal(&host),
            host,
            job: job(4),
            runs: 0,
            accepted: 0,
            stale: None,
        }
    }

    fn kill(&mut self) {
        self.journal = journal(&self.host);
        self.stale = None;
    }

    fn accept(&mut self, forget: bool) {
        let ticket = self.journal.ticket();
        let claim = self.journal.claim(&self.job.id).unwrap();
        claim.accepted(true);
        if forget {
            claim.forget();
        }
        drop(claim);
        self.stale = Some(ticket);
        self.accepted += 1;
        self.runs = 0;
    }

    fn order(&mut self, ticket: Ticket, reach: Reach) {
        let stale = Some(ticket) == self.stale;
        let decided = decision(&self.journal, &self.job, ticket);
        match decided {
            Decision::Run => {
                assert_eq!(self.runs, 0, "the procedure would run a second time");
                assert!(!stale, "an order that is out of date would be run");
                if reach == Reach::KilledInDownload {
                    return self.kill();
                }
                let claim = self.journal.claim(&self.job.id).unwrap();
                claim.start(&self.job).unwrap();
                self.runs += 1;
                if reach == Reach::KilledInProcedure {
                    drop(claim);
                    return self.kill();
                }
                claim.end(&self.job, claim.ends(finished(&self.job, "done"), FollowUp::None));
            }
            Decision::Report => assert!(self.journal.claim(&self.job.id).unwrap().outcome().is_some()),
            Decision::Settled { .. } => {
                assert!(stale);
                return;
            }
            Decision::Interrupted => panic!("nothing damaged this journal"),
        }
        match reach {
            Reach::KilledInDownload | Reach::KilledInProcedure | Reach::KilledBeforeReport => self.kill(),
            Reach::Refused => {}
            Reach::Accepted => self.accept(true),
            Reach::KilledAfterAcceptance => {
                self.accept(false);
                self.kill();
                // The entry is still there: its outcome is reported once more, which does no harm.
                self.runs = 1;
            }
        }
    }
}

proptest! {
    #[test]
    fn no_procedure_runs_twice_and_no_outcome_is_lost(steps in proptest::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Order(reach) => model.order(model.journal.ticket(), reach),
                Step::StaleOrder(reach) => {
                    if let Some(ticket) = model.stale {
                        model.order(ticket, reach);
                    }
                }
                Step::Report(accepts) => {
                    if !model.journal.unaccepted(&[]).is_empty() && accepts {
                        model.accept(true);
                    }
                }
                Step::Kill => model.kill(),
            }
            let unaccepted = model.journal.unaccepted(&[]).len();
            prop_assert_eq!(unaccepted, usize::from(model.runs > 0), "what ran and was not accepted is reported");
            prop_assert_eq!(files(&model.host).len(), unaccepted, "nothing is left of what was accepted");
        }
    }

    #[test]
    fn any_content_of_the_folder_is_survived(name in "job[-_a-z0-9]{0,5}\\.json", content in proptest::collection::vec(any::<u8>(), 0..60)) {
        let host = host();
        host.write_file(&Path::new(FOLDER).join(name), &content, Visibility::Private).unwrap();
        journal(&host);
        prop_assert!(journal(&host).unaccepted(&[]).is_empty());
    }
}
