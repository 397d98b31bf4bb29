//! The signals that ask the agent to end.

use std::io;

/// Waits for SIGTERM or SIGINT (elsewhere: Ctrl-C), which mean: as soon as the running job has ended.
#[cfg(unix)]
pub async fn stop_requested() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for SIGHUP, which means: once no job runs. Packages send it after an upgrade, which may be a job itself.
#[cfg(unix)]
pub async fn leave_requested() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::hangup())?.recv().await;
    Ok(())
}

/// Stops of the service manager, which are no signals there.
#[cfg(not(unix))]
static STOP: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// Has [`stop_requested`] return, once, as a signal would.
#[cfg(not(unix))]
pub fn request_stop() {
    STOP.notify_one();
}

/// Waits for Ctrl-C or for the service manager.
#[cfg(not(unix))]
pub async fn stop_requested() -> io::Result<()> {
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        () = STOP.notified() => Ok(()),
    }
}

/// Orders of a package, which are no signals there either.
#[cfg(not(unix))]
static LEAVE: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// Has [`leave_requested`] return, once, as a signal would.
#[cfg(not(unix))]
pub fn request_leave() {
    LEAVE.notify_one();
}

/// Waits for an order of the package that was installed, which means: once no job runs.
#[cfg(not(unix))]
pub async fn leave_requested() -> io::Result<()> {
    LEAVE.notified().await;
    Ok(())
}
