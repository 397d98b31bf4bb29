//! The task that collects: the only one that sees all events.

use crate::event::Event;
use crate::process::ProcessFigures;
use crate::stats::{Snapshot, Stats};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

/// Between two snapshots.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);

/// Takes events until nobody can send any more.
pub(super) async fn collect(
    mut stats: Stats,
    mut events: mpsc::Receiver<Event>,
    publish: watch::Sender<Snapshot>,
) -> Stats {
    let mut tick = tokio::time::interval(PUBLISH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => stats.apply(event, Instant::now()),
                None => break,
            },
            now = tick.tick() => {
                stats.measured(ProcessFigures::read());
                stats.roll(now);
                publish.send_replace(stats.snapshot(now));
            }
        }
    }
    stats.finish(Instant::now());
    stats
}
