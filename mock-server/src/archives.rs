//! Archives in memory: a fleet fetches few packages, and many computers fetch one at a time.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Archives that are kept, bytes together; the latest one is kept whatever its size.
const KEPT: usize = 128 << 20;

/// The archives used last, each read once however many ask for it at a time.
#[derive(Default)]
pub(crate) struct Archives {
    /// By package, the one used last at the end.
    entries: Mutex<VecDeque<(i64, Arc<OnceCell<Bytes>>)>>,
}

impl fmt::Debug for Archives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archives").finish_non_exhaustive()
    }
}

impl Archives {
    /// The archive of `package`, from `load` where it is not kept. While one caller loads, others wait for it; after a
    /// failure the next one tries.
    pub(crate) async fn get<E, F: Future<Output = Result<Bytes, E>>>(
        &self,
        package: i64,
        load: impl FnOnce() -> F,
    ) -> Result<Bytes, E> {
        let entry = self.entry(package);
        let archive = entry.get_or_try_init(load).await.cloned();
        self.trim();
        archive
    }

    /// The entry of a package, which becomes the one used last.
    fn entry(&self, package: i64) -> Arc<OnceCell<Bytes>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries
            .iter()
            .position(|(id, _)| *id == package)
            .and_then(|position| entries.remove(position));
        let entry = known.map(|(_, entry)| entry).unwrap_or_default();
        entries.push_back((package, entry.clone()));
        entry
    }

    /// Drops what was used longest ago, and what could not be loaded.
    fn trim(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(_, entry)| entry.initialized() || Arc::strong_count(entry) > 1);
        let size = |(_, entry): &(i64, Arc<OnceCell<Bytes>>)| entry.get().map_or(0, Bytes::len);
        let mut kept: usize = entries.iter().map(size).sum();
        while kept > KEPT && entries.len() > 1 {
            kept -= entries.pop_front().as_ref().map_or(0, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn an_archive_is_read_once_however_many_ask_for_it() {
        let archives = Archives::default();
        let loads = AtomicUsize::new(0);
        let fetch = || {
            archives.get(1, || async {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes::from_static(b"zip"))
            })
        };
        let fetched = futures::future::join_all((0..50).map(|_| fetch())).await;
        assert!(fetched.iter().all(|archive| archive.as_ref().unwrap() == "zip"));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_read_is_tried_again() {
        let archives = Archives::default();
        let failed = archives.get(1, || async { Err::<Bytes, _>("broken") }).await;
        assert_eq!(failed.unwrap_err(), "broken");
        let read = archives
            .get(1, || async { Ok::<_, &str>(Bytes::from_static(b"zip")) })
            .await;
        assert_eq!(read.unwrap(), "zip");
    }

    #[tokio::test]
    async fn what_was_used_longest_ago_makes_room() {
        let archives = Archives::default();
        let loads = AtomicUsize::new(0);
        let third = Bytes::from(vec![0; KEPT / 3]);
        for package in [1, 2, 3, 1, 4, 1, 3, 2] {
            archives
                .get(package, || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(third.clone())
                })
                .await
                .unwrap();
        }
        // 4 displaces 2, which is then read again.
        assert_eq!(loads.load(Ordering::SeqCst), 5);
    }
}
