//! Defects of the agent itself: a part that panics costs that part, never the agent.

use futures::FutureExt;
use std::panic::AssertUnwindSafe;

/// Runs a part of the agent's work; none if it panics. What went wrong is on standard error by then.
///
/// What the part has left half-done is its own: locks are free again, and state that has to be whole is on disk.
pub(crate) async fn contained<T>(part: &'static str, work: impl Future<Output = T>) -> Option<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    if result.is_err() {
        tracing::error!(part, "ended early by a defect of the agent; please report it");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_has_no_result_and_others_have_theirs() {
        assert_eq!(contained("a test", async { 7 }).await, Some(7));
        let panics = async {
            tokio::task::yield_now().await;
            if true {
                panic!("on purpose");
            }
        };
        assert_eq!(contained("a test", panics).await, None);
    }
}
