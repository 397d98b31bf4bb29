//! What is beside the production API: filters, faults, findings and counters. It outlives a restart of the server.

use crate::access_log::Counters;
use crate::conformance::Conformance;
use crate::faults::Faults;
use crate::hooks::{Filter, Interruption};
use crate::metrics::Latencies;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Interruptions that wait; one that comes while so many do is what they are.
const QUEUE: usize = 16;

/// What observes and disturbs the server.
#[derive(Debug)]
pub(crate) struct Instruments {
    pub(crate) counters: Counters,
    pub(crate) latencies: Latencies,
    pub(crate) conformance: Conformance,
    pub(crate) faults: Faults,
    embedders: Vec<Arc<dyn Filter>>,
    interruptions: Mutex<Option<mpsc::Sender<Interruption>>>,
    connections: AtomicI64,
}

/// A connection that is counted while it lives.
pub(crate) struct OpenConnection(Arc<Instruments>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instruments {
    /// With the filters of who embeds the server after its own.
    pub(crate) fn new(conformance: Conformance, faults: Faults, embedders: Vec<Arc<dyn Filter>>) -> Self {
        Self {
            counters: Counters::default(),
            latencies: Latencies::default(),
            connections: AtomicI64::new(0),
            conformance,
            faults,
            embedders,
            interruptions: Mutex::default(),
        }
    }

    /// All filters in their order: what the agent said is checked before faults change it, and what the server said before
    /// faults break it.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &dyn Filter> {
        let own: [&dyn Filter; 2] = [&self.conformance, &self.faults];
        own.into_iter()
            .chain(self.embedders.iter().map(|filter| &**filter))
    }

    /// Who serves a listener is told of interruptions from now on.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Interruption> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        *self.interruptions.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.faults.set_listens();
        receiver
    }

    /// Counts a connection.
    pub(crate) fn connected(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Interrupts the server, where it serves a listener.
    pub(crate) fn interrupt(&self, interruption: Interruption) {
        let interruptions = self.interruptions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = interruptions.as_ref().map(|sender| sender.try_send(interruption)) {
            tracing::warn!(error = %error, "an interruption is left out");
        }
    }
}
