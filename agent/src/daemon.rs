//! The daemon: check-ins at intervals until a signal, with jobs running beside them so that a long job never makes the
//! computer look offline.

use crate::agent::{Agent, CheckIn, CheckInError};
use crate::defects::contained;
use crate::discovery;
use crate::errors::with_causes;
use crate::host::{Host, LogonWatch};
use crate::jobs::{JobsSummary, Ticket};
use crate::pacing;
use oco_protocol::job::Job;
use oco_protocol::lenient::Id;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a computer whose check-ins fail looks whether its network has returned.
const NETWORK_CHECK: Duration = Duration::from_secs(5);

/// From one check-in because of a logon to the next at least: each brings a whole inventory, and a terminal server has logons
/// all morning.
const LOGON_PAUSE: Duration = Duration::from_secs(60);

/// What asks the daemon to end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Check in no more, and end as soon as the running job has.
    pub stop: CancellationToken,
    /// Start no further job, and end once none runs. Until then the computer keeps checking in, however long that takes.
    pub leave: CancellationToken,
}

impl Ending {
    /// Waits until either is asked for: without a job at work they are the same.
    async fn requested(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.leave.cancelled() => {}
        }
    }
}

/// Checks in until `ending` or a job wants the agent to end, then waits for the running job. No failure ends it.
pub async fn run(agent: Arc<Agent>, host: Arc<dyn Host>, force_first: bool, ending: Ending) {
    let orders = Arc::new(Orders::default());
    // The caller's signal is left alone: whoever waits for it must not take a job's wish for one.
    let ending = Ending {
        stop: ending.stop.child_token(),
        ..ending
    };
    let stop = ending.stop.clone();
    let worker = tokio::spawn(work(agent.clone(), orders.clone(), ending));
    let (mut failures, mut force) = (0, force_first);
    let logons = Arc::new(Notify::new());
    let _watch = watch_logons(&host, &logons);
    let mut logons_from = Instant::now();
    while !stop.is_cancelled() {
        // A registration that is under way is waited for: the server gives its keys out once.
        let registered = agent.is_registered().await;
        let result = tokio::select! {
            result = contained("a check-in", agent.check_in(force)) => result,
            () = stop.cancelled(), if registered => break,
        };
        let answer = log(result, &mut failures);
        force &= failures > 0;
        if agent.is_leaving() {
            break;
        }
        if let Some(CheckIn { jobs, ordered, .. }) = answer {
            orders.replace(jobs, ordered);
        }
        host.release_memory();
        let pause = pacing::next_check_in(
            agent.config().query_interval,
            failures,
            pacing::chance(host.as_ref()),
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = network_returned(&host), if failures > 0 => tracing::info!("the network has changed: checking in at once"),
            () = notified_from(logons_from, &logons) => {
                tracing::info!("somebody has logged on: checking in at once");
                force = true;
                logons_from = Instant::now() + LOGON_PAUSE;
            }
            () = stop.cancelled() => {}
        }
    }
    stop.cancel();
    tracing::info!("stopping; a running job is let finish");
    if let Err(error) = worker.await {
        tracing::error!(%error, "the job worker ended early");
    }
    agent.settle().await;
}

/// Waits for a notice; one that comes before that moment counts from then on.
async fn notified_from(moment: Instant, notice: &Notify) {
    tokio::time::sleep_until(moment).await;
    notice.notified().await;
}

/// Has the host tell of logons, where it does. Several at about the same time count as one.
fn watch_logons(host: &Arc<dyn Host>, logons: &Arc<Notify>) -> Option<LogonWatch> {
    let logons = logons.clone();
    let watch = host.watch_logons(Arc::new(move || logons.notify_one()));
    watch.unwrap_or_else(|error| {
        tracing::warn!(error = %with_causes(&error), "logons are not noticed: check-ins come at their usual pace");
        None
    })
}

/// Waits until the configuration names a server, as long as it takes: DNS is asked for one again and again, with the
/// pauses of failed check-ins. False: stopped before that.
pub async fn find_server(host: &Arc<dyn Host>, config: &Path, interval: Duration, ending: &Ending) -> bool {
    let mut failures = 0;
    loop {
        let asking = (host.clone(), config.to_owned());
        let asked = tokio::task::spawn_blocking(move || discovery::find_server(asking.0.as_ref(), &asking.1));
        // A question that is given up goes on beside; what it finds is then stored for the next start.
        let answer = tokio::select! {
            answer = asked => answer,
            () = ending.requested() => return false,
        };
        match answer {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                failures += 1;
                tracing::error!(error = %with_causes(&error), failures, "there is no server yet");
            }
            Err(error) => {
                failures += 1;
                tracing::error!(%error, failures, "asking for a server ended early");
            }
        }
        let pause = pacing::next_check_in(interval, failures, pacing::chance(host.as_ref()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = network_returned(host) => tracing::info!("the network has changed: asking for a server at once"),
            () = ending.requested() => return false,
        }
    }
}

/// Waits until the computer has an address that it did not have before.
///
/// Asked every few seconds, and only while check-ins fail: that costs one system call a time and needs no service of the
/// system's. A cable that is pulled while its address stays is not noticed; the backoff goes on then.
async fn network_returned(host: &Arc<dyn Host>) {
    let mut known = None;
    loop {
        if let Some(now) = addresses(host.clone()).await
            && let Some(before) = known.replace(now.clone())
            && now.difference(&before).next().is_some()
        {
            return;
        }
        tokio::time::sleep(NETWORK_CHECK).await;
    }
}

/// The addresses that a server may be reached from; none if they cannot be listed.
async fn addresses(host: Arc<dyn Host>) -> Option<BTreeSet<IpAddr>> {
    let interfaces = tokio::task::spawn_blocking(move || host.interfaces())
        .await
        .ok()?
        .ok()?;
    let interfaces = interfaces.into_iter().filter(|interface| !interface.loopback);
    let addresses = interfaces
        .flat_map(|interface| interface.addresses)
        .map(|address| address.addr);
    Some(addresses.filter(|address| !is_link_local(*address)).collect())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Checks in once and runs the jobs that come of it.
pub async fn run_once(
    agent: &Agent,
    force_update: bool,
    stop: &CancellationToken,
) -> Result<JobsSummary, CheckInError> {
    let (check_in, failure) = match agent.check_in(force_update).await {
        Ok(check_in) => (check_in, None),
        // A failure in one part must not stop the others.
        Err(CheckInError::Update { source, check_in }) => {
            (check_in.clone(), Some(CheckInError::Update { source, check_in }))
        }
        Err(error) => return Err(error),
    };
    log_success(&check_in);
    let summary = agent
        .run_jobs(check_in.jobs, check_in.ordered, || stop.is_cancelled())
        .await;
    failure.map_or(Ok(summary), Err)
}

/// What the server orders, by its latest answer: each one takes the place of the one before. A job that it no longer lists
/// was withdrawn, and is not started.
#[derive(Debug, Default)]
struct Orders {
    lists: Mutex<Lists>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    /// Not taken up yet.
    latest: Option<(Vec<Job>, Ticket)>,
    /// Of the list at work, those that were not started yet.
    left: VecDeque<Id>,
}

impl Orders {
    fn replace(&self, jobs: Vec<Job>, ordered: Ticket) {
        let mut lists = self.lists();
        let before = lists.latest.take().map(|(jobs, _)| jobs).unwrap_or_default();
        let waiting = before.iter().map(|job| &job.id).chain(&lists.left);
        let withdrawn: BTreeSet<String> = waiting
            .filter(|id| !jobs.iter().any(|job| job.id == **id))
            .map(Id::to_string)
            .collect();
        for id in withdrawn {
            tracing::info!(job.id = %id, "the job is not started: the server no longer orders it");
        }
        lists.latest = Some((jobs, ordered));
        self.changed.notify_one();
    }

    /// The latest list, as soon as there is one that was not taken up yet.
    async fn take(&self) -> (Vec<Job>, Ticket) {
        loop {
            {
                let mut lists = self.lists();
                if let Some((jobs, ordered)) = lists.latest.take() {
                    lists.left = jobs.iter().map(|job| job.id.clone()).collect();
                    return (jobs, ordered);
                }
            }
            self.changed.notified().await;
        }
    }

    /// Whether the next job of the list at work is still to be started: it is not if there is a newer list.
    fn start_next(&self) -> bool {
        let mut lists = self.lists();
        if lists.latest.is_some() {
            return false;
        }
        lists.left.pop_front();
        true
    }

    /// Nothing is left of the list at work.
    fn finish(&self) {
        self.lists().left.clear();
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(agent: Arc<Agent>, orders: Arc<Orders>, ending: Ending) {
    let Ending { stop, leave } = ending;
    while let Some((jobs, ordered)) = next_order(&orders, &stop, &leave).await {
        let stopping = || stop.is_cancelled() || leave.is_cancelled() || !orders.start_next();
        contained("jobs", agent.run_jobs(jobs, ordered, stopping)).await;
        orders.finish();
        if agent.is_leaving() {
            break;
        }
    }
    // No job runs any more, and none will.
    stop.cancel();
}

/// Orders that come while the agent ends are not for it: the server sends them again.
async fn next_order(
    orders: &Orders,
    stop: &CancellationToken,
    leave: &CancellationToken,
) -> Option<(Vec<Job>, Ticket)> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        () = leave.cancelled() => None,
        order = orders.take() => Some(order),
    }
}

/// What a check-in brought, if it got through.
fn log(result: Option<Result<CheckIn, CheckInError>>, failures: &mut u32) -> Option<CheckIn> {
    match result {
        None => {
            *failures = failures.saturating_add(1);
            None
        }
        Some(Ok(check_in)) => {
            *failures = 0;
            log_success(&check_in);
            Some(check_in)
        }
        Some(Err(CheckInError::Update { source, check_in })) => {
            // The hello got through: the computer is online, and stays so at its usual pace.
            *failures = 0;
            tracing::error!(error = %with_causes(&source), "checked in, but the inventory was not accepted");
            Some(check_in)
        }
        Some(Err(CheckInError::Hello(error))) => {
            *failures = failures.saturating_add(1);
            tracing::error!(error = %with_causes(&error), failures = *failures, "check-in failed");
            None
        }
    }
}

fn log_success(check_in: &CheckIn) {
    tracing::info!(
        registered = check_in.registered,
        inventory_sent = check_in.inventory_sent,
        jobs = check_in.jobs.len(),
        "checked in"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::{RecordedHost, Recording};
    use crate::host::{Interface, InterfaceAddress, Visibility};

    fn job(id: i64) -> Job {
        serde_json::from_value(serde_json::json!({"id": id, "procedure": "x"})).unwrap()
    }

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        let address = |addr: &&str| InterfaceAddress {
            addr: addr.parse().unwrap(),
            prefix: 24,
            broadcast: None,
        };
        Interface {
            name: name.to_owned(),
            mac: None,
            loopback: name == "lo",
            addresses: addresses.iter().map(address).collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_before_its_time_counts_from_then_on_once() {
        let notice = Notify::new();
        notice.notify_one();
        notice.notify_one();
        let (before, moment) = (Instant::now(), Instant::now() + LOGON_PAUSE);
        notified_from(moment, &notice).await;
        assert_eq!(before.elapsed(), LOGON_PAUSE);
        let second = tokio::time::timeout(LOGON_PAUSE, notified_from(moment, &notice));
        assert!(second.await.is_err(), "there was no second logon since");
    }

    /// A computer, and a task that ends once its network has returned, after its first look.
    async fn watched(interfaces: Vec<Interface>) -> (Arc<RecordedHost>, tokio::task::JoinHandle<()>) {
        let machine = serde_json::json!({
            "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
            "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
        });
        let host = Arc::new(RecordedHost::new(Recording::new(
            serde_json::from_value(machine).unwrap(),
        )));
        host.set_interfaces(interfaces);
        let watching: Arc<dyn Host> = host.clone();
        let watch = tokio::spawn(async move { network_returned(&watching).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        (host, watch)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_for_until_dns_names_one() {
        let machine = serde_json::json!({
            "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
            "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
        });
        let host = Arc::new(RecordedHost::new(Recording::new(
            serde_json::from_value(machine).unwrap(),
        )));
        let path = Path::new("/a.ini");
        host.write_file(path, b"[agent]\nagent-key = k\n", Visibility::Private)
            .unwrap();
        let asking: Arc<dyn Host> = host.clone();
        let search = tokio::spawn(async move {
            let ending = Ending::default();
            find_server(&asking, Path::new("/a.ini"), Duration::from_secs(60), &ending).await
        });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!search.is_finished());
        host.set_search_domains(vec!["a.example".to_owned()]);
        let record = crate::host::ServiceRecord {
            priority: 0,
            weight: 0,
            port: 443,
            target: "oco.a.example.".to_owned(),
        };
        host.set_service_records("_oco._tcp.a.example.", vec![record]);
        let before = Instant::now();
        assert!(search.await.unwrap());
        assert!(before.elapsed() <= pacing::MAX_BACKOFF.mul_f64(1.1));
        let text = String::from_utf8(host.read_file(path).unwrap()).unwrap();
        assert!(
            text.contains("api-url = https://oco.a.example:443/api-agent.php"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_for_a_server_ends_when_the_daemon_is_to_stop_or_to_leave() {
        let (host, _) = watched(Vec::new()).await;
        let host: Arc<dyn Host> = host;
        for token in [
            |ending: &Ending| ending.stop.clone(),
            |ending: &Ending| ending.leave.clone(),
        ] {
            let ending = Ending::default();
            let asked = token(&ending);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1000)).await;
                asked.cancel();
            });
            assert!(!find_server(&host, Path::new("/missing.ini"), Duration::from_secs(60), &ending).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_comes_back_is_noticed_within_seconds() {
        let (host, watch) = watched(vec![
            interface("lo", &["127.0.0.1"]),
            interface("eth0", &["fe80::1"]),
        ])
        .await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(!watch.is_finished(), "nothing has changed");
        host.set_interfaces(vec![interface("eth0", &["fe80::1", "192.0.2.7"])]);
        let before = Instant::now();
        watch.await.unwrap();
        assert!(before.elapsed() <= NETWORK_CHECK);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_went_and_returns_is_noticed_and_its_loss_is_not() {
        let (host, watch) = watched(vec![interface("eth0", &["192.0.2.7"])]).await;
        host.set_interfaces(vec![
            interface("lo", &["127.0.0.1"]),
            interface("eth0", &["169.254.3.4"]),
        ]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!watch.is_finished());
        host.set_interfaces(vec![interface("eth0", &["192.0.2.7"])]);
        watch.await.unwrap();
    }

    /// The ids of a list.
    fn ids((jobs, _): (Vec<Job>, Ticket)) -> Vec<String> {
        jobs.iter().map(|job| job.id.to_string()).collect()
    }

    #[tokio::test]
    async fn an_agent_that_ends_takes_no_order_that_already_waits() {
        let (orders, go_on) = (Orders::default(), CancellationToken::new());
        orders.replace(vec![job(1)], Ticket::default());
        assert!(next_order(&orders, &go_on, &go_on).await.is_some());
        let end = CancellationToken::new();
        end.cancel();
        orders.replace(vec![job(1)], Ticket::default());
        assert!(next_order(&orders, &go_on, &end).await.is_none());
        assert!(next_order(&orders, &end, &go_on).await.is_none());
    }

    #[tokio::test]
    async fn only_the_latest_list_is_taken_up_and_the_one_at_work_ends_before_its_next_job() {
        let orders = Orders::default();
        orders.replace(vec![job(1), job(2)], Ticket::default());
        orders.replace(vec![job(1), job(3), job(4)], Ticket::default());
        assert_eq!(ids(orders.take().await), ["1", "3", "4"]);
        assert!(orders.start_next());
        orders.replace(vec![job(4)], Ticket::default());
        assert!(!orders.start_next(), "there is a newer list");
        orders.finish();
        assert_eq!(ids(orders.take().await), ["4"]);
        assert!(orders.start_next());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_waits_for_a_list_that_it_does_not_have_yet() {
        let orders = Arc::new(Orders::default());
        let taking = tokio::spawn({
            let orders = orders.clone();
            async move { ids(orders.take().await) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!taking.is_finished());
        orders.replace(vec![job(7)], Ticket::default());
        assert_eq!(taking.await.unwrap(), ["7"]);
    }
}
