use super::*;
use crate::host::recorded::{RecordedHost, Recording};
use std::time::UNIX_EPOCH;

const DAY: u64 = 24 * 3600;
/// 2026-11-25 in UNIX seconds.
const TODAY: u64 = 1_795_564_800;
/// 2099-01-01 in UNIX seconds.
const YEAR_2099: u64 = 4_070_908_800;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn one_step_after(timestamp: Timestamp) -> Timestamp {
    Timestamp::from_micros(timestamp.as_micros() + 100)
}

/// A computer whose clock shows so many UNIX seconds.
fn computer(clock: u64) -> Arc<RecordedHost> {
    let host = recorded();
    set_clock(&host, clock);
    Arc::new(host)
}

fn recorded() -> RecordedHost {
    let machine = serde_json::json!({
        "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()))
}

fn paths() -> Paths {
    Paths::beside(Path::new("/state/oco-agent.ini"))
}

fn load(host: &Arc<RecordedHost>) -> Arc<Timestamps> {
    Arc::new(Timestamps::load(host.clone(), &paths()))
}

fn set_clock(host: &RecordedHost, seconds: u64) {
    host.set_now(UNIX_EPOCH + Duration::from_secs(seconds));
}

fn on_disk(host: &RecordedHost, path: &Path) -> Timestamp {
    read(host, path)
}

#[tokio::test]
async fn a_timestamp_is_on_disk_before_it_is_given_out() {
    let host = computer(TODAY);
    let timestamps = load(&host);
    let sent = timestamps.next(None).await.unwrap();
    assert_eq!((sent, on_disk(&host, &paths().sent_timestamp)), (at(TODAY), sent));
    timestamps.accept(at(TODAY + 1)).await.unwrap();
    assert_eq!(on_disk(&host, &paths().timestamp), at(TODAY + 1));
    host.set_read_only(true);
    assert!(timestamps.next(None).await.is_err());
    assert!(timestamps.accept(at(TODAY + 2)).await.is_err());
    assert_eq!((timestamps.sent(), timestamps.received()), (sent, at(TODAY + 1)));
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_growing_by_small_steps_also_after_a_restart() {
    let host = computer(TODAY);
    let first = load(&host).next(None).await.unwrap();
    set_clock(&host, TODAY - 3 * 3600);
    let second = load(&host).next(None).await.unwrap();
    assert_eq!(second, one_step_after(first));
    set_clock(&host, TODAY + 60);
    assert_eq!(load(&host).next(None).await.unwrap(), at(TODAY + 60));
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_right_again_goes_on_from_the_last_timestamp() {
    let host = computer(TODAY + DAY);
    let timestamps = load(&host);
    let ahead = timestamps.next(None).await.unwrap();
    set_clock(&host, TODAY);
    let next = timestamps.next(None).await.unwrap();
    assert_eq!(next, one_step_after(ahead));
    assert_eq!(load(&host).next(None).await.unwrap(), one_step_after(next));
}

#[tokio::test]
async fn an_absurd_clock_is_not_sent_to_a_server_whose_time_is_known() {
    let host = computer(TODAY);
    let timestamps = load(&host);
    timestamps.next(None).await.unwrap();
    timestamps.accept(at(TODAY + 10)).await.unwrap();
    for absurd in [TODAY + 3 * DAY, YEAR_2099] {
        set_clock(&host, absurd);
        // In this process, after a restart, and after one that has lost the last request.
        let next = timestamps.next(None).await.unwrap();
        assert!(next < at(TODAY + 60), "{next}");
        assert!(load(&host).next(None).await.unwrap() < at(TODAY + 60));
        host.remove_file(&paths().sent_timestamp).unwrap();
        let next = load(&host).next(None).await.unwrap();
        assert!(next > at(TODAY + 10) && next < at(TODAY + 60), "{next}");
    }
}

#[tokio::test]
async fn a_new_computer_with_an_absurd_clock_leaves_room_for_later_timestamps() {
    let host = computer(YEAR_2099);
    let timestamps = load(&host);
    assert_eq!(timestamps.next(None).await.unwrap(), LONG_AGO);
    timestamps.accept(at(TODAY)).await.unwrap();
    let next = timestamps.next(None).await.unwrap();
    assert!(next >= at(TODAY) && next < at(TODAY + 60), "{next}");
}

#[tokio::test]
async fn a_dead_battery_does_no_harm_as_long_as_one_timestamp_is_known() {
    let host = computer(TODAY);
    let timestamps = load(&host);
    let sent = timestamps.next(None).await.unwrap();
    timestamps.accept(at(TODAY + 1)).await.unwrap();
    set_clock(&host, 0);
    let next = load(&host).next(None).await.unwrap();
    assert_eq!(next, one_step_after(sent));
    // As where this agent takes over from another one, which keeps the time of the last response only.
    host.remove_file(&paths().sent_timestamp).unwrap();
    assert_eq!(
        load(&host).next(None).await.unwrap(),
        one_step_after(at(TODAY + 1))
    );
}

#[tokio::test(start_paused = true)]
async fn the_server_s_time_goes_on_while_nothing_is_heard_of_it() {
    let host = computer(YEAR_2099);
    let timestamps = load(&host);
    timestamps.accept(at(TODAY)).await.unwrap();
    tokio::time::advance(Duration::from_secs(600)).await;
    let next = timestamps.next(None).await.unwrap();
    assert!(next >= at(TODAY + 600) && next < at(TODAY + 660), "{next}");
}

#[tokio::test]
async fn a_caller_that_is_gone_leaves_file_and_memory_in_agreement() {
    let host = computer(TODAY);
    let timestamps = load(&host);
    for _ in 0..50 {
        let given_up = timestamps.next(None);
        tokio::select! {
            biased;
            _ = given_up => {}
            () = std::future::ready(()) => {}
        }
        let next = timestamps.next(None).await.unwrap();
        let _writing = timestamps.writing.lock().unwrap();
        // The one that was given up may have been the later one.
        assert!(timestamps.sent() >= next);
        assert_eq!(on_disk(&host, &paths().sent_timestamp), timestamps.sent());
    }
}

#[tokio::test]
async fn a_slow_disk_does_not_hold_up_what_else_runs() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let slow = move || {
        // On the runtime's own thread this would wait in vain.
        let released = released.lock().unwrap().recv_timeout(Duration::from_secs(60));
        assert!(released.is_ok(), "nothing else ran meanwhile");
    };
    // Once for reading it.
    release.send(()).unwrap();
    let host = Arc::new(recorded().with_obstacle(paths().sent_timestamp, slow));
    let timestamps = load(&host);
    let other = tokio::spawn(async move { release.send(()) });
    timestamps.next(None).await.unwrap();
    other.await.unwrap().unwrap();
}

#[test]
fn a_refused_timestamp_is_mended_by_what_can_be_trusted_only() {
    let (old, now, far) = (at(TODAY - DAY), at(TODAY), at(YEAR_2099));
    // The clock was not believed, but the server's date agrees with it.
    assert_eq!(better_time(old, now, Some(now), false), Some(now));
    assert_eq!(better_time(old, now, Some(at(TODAY - DAY)), false), Some(now));
    // The clock is wrong: the date counts where TLS vouches for it.
    assert_eq!(better_time(old, at(0), Some(now), false), None);
    assert_eq!(better_time(old, at(0), Some(now), true), Some(now));
    assert_eq!(better_time(old, far, Some(now), false), None);
    assert_eq!(better_time(old, far, Some(now), true), Some(now));
    // Nothing better is known, or the clock's own time was what was refused.
    assert_eq!(better_time(now, at(TODAY + 5), Some(now), false), None);
    assert_eq!(better_time(old, far, None, true), None);
    assert_eq!(better_time(now, now, Some(now), true), None);
    assert_eq!(better_time(far, now, Some(now), true), None);
}
