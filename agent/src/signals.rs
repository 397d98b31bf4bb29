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

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub async fn stop_requested() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Waits for ever: there is no such signal.
#[cfg(not(unix))]
pub async fn leave_requested() -> io::Result<()> {
    std::future::pending().await
}
