//! The clock of a virtual machine: a moment of real time and how long ago that was.

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Tells a virtual machine the time without ever reading the system's clock. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    base: SystemTime,
    /// What the machine itself takes for the time of `base`.
    machine: SystemTime,
    since: Option<Instant>,
}

impl VirtualClock {
    /// A clock that runs: it was `base` at `since` and time has passed as fast as the runtime's clock since then.
    pub fn running(base: SystemTime, since: Instant) -> Self {
        Self {
            base,
            machine: base,
            since: Some(since),
        }
    }

    /// A clock that stands still.
    pub fn fixed(at: SystemTime) -> Self {
        Self {
            base: at,
            machine: at,
            since: None,
        }
    }

    /// The same clock for a machine whose own history (uptime, logins, updates, addresses) has come to `machine` now.
    #[must_use]
    pub fn with_machine_at(self, machine: SystemTime) -> Self {
        Self { machine, ..self }
    }

    /// The same clock, wrong by that much: some machines never heard of NTP.
    #[must_use]
    pub fn ahead_by(self, skew: Duration) -> Self {
        Self {
            base: self.base.checked_add(skew).unwrap_or(self.base),
            ..self
        }
    }

    /// The same clock, late by that much.
    #[must_use]
    pub fn behind_by(self, skew: Duration) -> Self {
        Self {
            base: self.base.checked_sub(skew).unwrap_or(SystemTime::UNIX_EPOCH),
            ..self
        }
    }

    /// The time from which on it runs, or that it stands still at.
    pub fn started(&self) -> oco_protocol::Timestamp {
        oco_protocol::Timestamp::from_system_time(self.base)
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        self.after(self.base)
    }

    /// How far the machine's own history has come.
    pub fn machine_now(&self) -> SystemTime {
        self.after(self.machine)
    }

    fn after(&self, base: SystemTime) -> SystemTime {
        let elapsed = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        base.checked_add(elapsed).unwrap_or(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn running_clock_follows_the_runtime_and_keeps_its_skew() {
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = VirtualClock::running(base, Instant::now()).with_machine_at(SystemTime::UNIX_EPOCH);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), base + Duration::from_secs(60));
        assert_eq!(
            clock.machine_now(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(60)
        );
        assert_eq!(
            clock.ahead_by(Duration::from_secs(5)).now(),
            base + Duration::from_secs(65)
        );
        assert_eq!(
            clock.behind_by(Duration::from_secs(61)).now(),
            base - Duration::from_secs(1)
        );
    }
}
