//! Collecting the inventory in parts. One that fails or hangs costs its own fields, and the log says which.

use super::Options;
use super::field::CollectError;
use crate::errors::with_causes;
use crate::host::Host;
use oco_protocol::inventory::Inventory;
use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// One or a few fields that are found out together.
pub(super) struct Part {
    /// What the log calls it: its fields, as the server knows them, with commas between.
    pub(super) name: &'static str,
    collect: fn(&dyn Host, &Options) -> Result<Found, CollectError>,
}

/// What a part found; puts itself into the inventory.
pub(super) type Found = Box<dyn FnOnce(&mut Inventory) + Send>;

/// A part of that name.
pub(super) const fn part(
    name: &'static str,
    collect: fn(&dyn Host, &Options) -> Result<Found, CollectError>,
) -> Part {
    Part { name, collect }
}

/// What was collected, to be put where `set` says.
pub(super) fn put<T: Send + 'static, E: Into<CollectError>>(
    collected: Result<T, E>,
    set: fn(&mut Inventory, T),
) -> Result<Found, CollectError> {
    match collected {
        Ok(value) => Ok(Box::new(move |inventory| set(inventory, value))),
        Err(error) => Err(error.into()),
    }
}

/// The parts that are being collected. One that hangs stays in it, however many inventories come after: it is not asked
/// again before it has answered, so that no more threads hang than there are parts.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<Mutex<BTreeSet<&'static str>>>);

impl UnderWay {
    /// Collects a part and takes note of it meanwhile.
    fn during<T>(&self, part: &Part, collect: impl FnOnce() -> T) -> T {
        /// Ends also where a collector panics.
        struct Note<'a>(&'a UnderWay, &'static str);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                self.0.parts().remove(self.1);
            }
        }
        self.parts().insert(part.name);
        let _note = Note(self, part.name);
        collect()
    }

    fn parts(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects the parts one after the other, however long that takes.
pub(super) fn collect(parts: &[&Part], host: &dyn Host, options: &Options, inventory: &mut Inventory) {
    for part in parts {
        part.take((part.collect)(host, options), inventory);
    }
}

/// Collects the parts one after the other, each within `limit`.
///
/// A thread that waits for a dead disk or an absent file server cannot be stopped; it is left behind, and another one
/// goes on with the next part. A part that such a thread of an earlier inventory still waits for is left out.
pub(super) fn collect_within(
    limit: Duration,
    parts: &[&'static Part],
    host: &Arc<dyn Host>,
    options: &Options,
    under_way: &UnderWay,
    inventory: &mut Inventory,
) {
    let hanging = under_way.parts().clone();
    let (hanging, parts): (Vec<&'static Part>, Vec<&'static Part>) =
        parts.iter().partition(|part| hanging.contains(part.name));
    for part in hanging {
        tracing::error!(
            inventory.field = part.name,
            "cannot collect a field: an earlier inventory still waits for it"
        );
    }
    let mut left = parts.as_slice();
    while !left.is_empty() {
        left = work_off(limit, left, host, options, under_way, inventory);
    }
}

/// Collects parts on one thread until one hangs; returns those behind it.
fn work_off<'a>(
    limit: Duration,
    parts: &'a [&'static Part],
    host: &Arc<dyn Host>,
    options: &Options,
    under_way: &UnderWay,
    inventory: &mut Inventory,
) -> &'a [&'static Part] {
    let (sender, answers) = mpsc::channel();
    let (todo, asked, settings, notes) = (parts.to_vec(), host.clone(), options.clone(), under_way.clone());
    let work = move || {
        for part in todo {
            let collected = notes.during(part, || (part.collect)(asked.as_ref(), &settings));
            // Nobody listens any more once this thread was given up.
            if sender.send(collected).is_err() {
                return;
            }
        }
    };
    let worker = match thread::Builder::new().name("inventory".to_owned()).spawn(work) {
        Ok(worker) => worker,
        Err(error) => {
            tracing::warn!(%error, "cannot start a thread; the inventory is collected without time limits");
            collect(parts, host.as_ref(), options, inventory);
            return &[];
        }
    };
    for (index, part) in parts.iter().enumerate() {
        match answers.recv_timeout(limit) {
            Ok(collected) => part.take(collected, inventory),
            Err(reason) => {
                let reason = match reason {
                    RecvTimeoutError::Timeout => "no answer within its time limit",
                    RecvTimeoutError::Disconnected => {
                        "the collector ended early, which is a defect of the agent"
                    }
                };
                tracing::error!(
                    inventory.field = part.name,
                    limit_s = limit.as_secs_f64(),
                    reason,
                    "cannot collect a field"
                );
                return &parts[index + 1..];
            }
        }
    }
    // All answers are there, so it ends now: nothing holds the host when this returns. Panics were noticed above.
    let _ = worker.join();
    &[]
}

impl Part {
    fn take(&self, collected: Result<Found, CollectError>, inventory: &mut Inventory) {
        match collected {
            Ok(found) => found(inventory),
            Err(error) => tracing::warn!(
                inventory.field = self.name,
                error = with_causes(&error),
                "cannot collect a field"
            ),
        }
    }
}
