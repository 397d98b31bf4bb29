//! Where a host is asked from an async runtime.

use super::Host;
use futures::future::Either;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was asked ended before its answer: it panicked, or the runtime ends.
#[derive(Debug, thiserror::Error)]
#[error("it ended early")]
pub(crate) struct EndedEarly;

/// Asks a host beside the runtime, on a thread for what may block, or here and now where it answers at once. It begins at
/// the call, whether the answer is waited for or not.
pub(crate) fn beside<T, W>(
    host: &dyn Host,
    work: W,
) -> impl Future<Output = Result<T, EndedEarly>> + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    if host.answers_at_once() {
        let answer = catch_unwind(AssertUnwindSafe(work));
        return Either::Left(ready(answer.map_err(|_| EndedEarly)));
    }
    let answer = tokio::task::spawn_blocking(work);
    Either::Right(async { answer.await.map_err(|_| EndedEarly) })
}
