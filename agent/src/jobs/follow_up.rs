//! What comes after a job that succeeded: a restart, a shutdown, or the end of this agent so that its new version starts.

use crate::errors::with_causes;
use crate::host::{Host, HostError, PowerAction, Visibility};
use oco_protocol::job::Job;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest time until a restart, minutes: a year.
const MAX_MINUTES: u32 = 366 * 24 * 60;
/// A restart that has not come this long after its time has been cancelled by somebody, s.
const OVERDUE: u64 = 600;
/// Both the clock and the time since the start are read with some error, s.
const SLACK: u64 = 5;

/// What a job asks for after its success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FollowUp {
    /// Nothing.
    #[default]
    None,
    /// A restart or a shutdown after this many minutes.
    Power(PowerAction, u32),
    /// The end of this agent.
    Exit,
}

impl FollowUp {
    /// What `job` asks for. A restart counts more than a shutdown, and both more than the agent's end, for they bring it.
    pub(super) fn of(job: &Job) -> Self {
        let minutes = |minutes: Option<i64>| {
            let minutes = minutes.filter(|minutes| *minutes >= 0)?;
            Some(u32::try_from(minutes).unwrap_or(MAX_MINUTES).min(MAX_MINUTES))
        };
        if let Some(minutes) = minutes(job.restart) {
            Self::Power(PowerAction::Restart, minutes)
        } else if let Some(minutes) = minutes(job.shutdown) {
            Self::Power(PowerAction::Shutdown, minutes)
        } else if minutes(job.exit).is_some() {
            Self::Exit
        } else {
            Self::None
        }
    }
}

/// A restart or shutdown that was ordered and has not happened yet: no further job is started meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    action: PowerAction,
    /// UNIX seconds.
    ordered: u64,
    minutes: u32,
}

/// Orders restarts and shutdowns, and knows of the one that is to come.
#[derive(Debug, Clone)]
pub(super) struct Power {
    file: PathBuf,
}

impl Power {
    /// Remembers in `folder` what it has ordered, for the agent may be started anew before the computer is.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            file: folder.join("restart.json"),
        }
    }

    /// Orders a restart or shutdown, at once where nobody is logged in. Where users are, they are told.
    pub(super) fn order(&self, host: &dyn Host, action: PowerAction, minutes: u32) -> Result<(), HostError> {
        let minutes = match host.logged_in_users() {
            Ok(users) if users.is_empty() => 0,
            Ok(_) => minutes,
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "cannot tell whether somebody is logged in; they may be");
                minutes
            }
        };
        let pending = Pending {
            action,
            ordered: seconds(host.now()),
            minutes,
        };
        self.remember(host, &pending);
        if minutes > 0
            && let Err(error) = host.notify_users(&announcement(action, minutes))
        {
            tracing::warn!(error = %with_causes(&error), "not all users could be told");
        }
        host.schedule_power(action, minutes).inspect_err(|_| {
            self.forget(host);
        })
    }

    /// The restart or shutdown that further jobs have to wait for.
    pub(super) fn pending(&self, host: &dyn Host) -> Option<PowerAction> {
        let content = host.read_file(&self.file).ok()?;
        let pending = serde_json::from_slice::<Pending>(&content).ok();
        let pending = pending.filter(|pending| {
            is_to_come(
                *pending,
                seconds(host.now()),
                host.uptime().unwrap_or(Duration::MAX),
            )
        });
        if pending.is_none() {
            self.forget(host);
        }
        pending.map(|pending| pending.action)
    }

    fn remember(&self, host: &dyn Host, pending: &Pending) {
        let content = serde_json::to_vec(pending).unwrap_or_default();
        if let Err(error) = host.write_file(&self.file, &content, Visibility::Private) {
            tracing::warn!(error = %with_causes(&error), "an agent that starts before the restart will not know of it");
        }
    }

    fn forget(&self, host: &dyn Host) {
        if let Err(error) = host.remove_file(&self.file) {
            tracing::warn!(error = %with_causes(&error), "a restart that is over cannot be forgotten");
        }
    }
}

/// Whether the computer has been started since `moment` (UNIX seconds): what was to come after it then has come.
pub(super) fn restarted_since(moment: u64, now: u64, uptime: Duration) -> bool {
    now.saturating_sub(uptime.as_secs()) > moment.saturating_add(SLACK)
}

/// Not once the computer has started since, nor long after the time, nor where the clock was set back behind the order.
fn is_to_come(pending: Pending, now: u64, uptime: Duration) -> bool {
    let due = pending.ordered + u64::from(pending.minutes) * 60;
    let clock_is_sound = now.saturating_add(SLACK) >= pending.ordered;
    clock_is_sound && now <= due + OVERDUE && !restarted_since(pending.ordered, now, uptime)
}

fn announcement(action: PowerAction, minutes: u32) -> String {
    let what = match action {
        PowerAction::Restart => "restarted",
        PowerAction::Shutdown => "shut down",
    };
    let when = if minutes == 1 {
        "in 1 minute".to_owned()
    } else {
        format!("in {minutes} minutes")
    };
    format!("Software was installed. This computer will be {what} {when}. Please save your work.")
}

/// UNIX seconds.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::{Machine, RecordedHost, Recording};
    use proptest::prelude::*;

    const ORDERED: u64 = 1_795_327_200;
    const DAYS: Duration = Duration::from_secs(9 * 24 * 3600);

    fn host() -> RecordedHost {
        let machine = serde_json::json!({
            "os": "linux", "hostname": "pc", "kernel": {"release": "6.1", "machine": "x86_64"},
            "uptime_s": 90000.0, "now": "2026-11-22T06:00:00Z",
        });
        let machine: Machine = serde_json::from_value(machine).unwrap();
        let host = RecordedHost::new(Recording::new(machine));
        host.set_now(UNIX_EPOCH + Duration::from_secs(ORDERED));
        host
    }

    fn power() -> Power {
        Power::new(Path::new("/var/lib/oco-agent/journal"))
    }

    fn job(follow_up: &serde_json::Value) -> Job {
        let mut job = serde_json::json!({"id": 1, "procedure": "x"});
        job.as_object_mut()
            .unwrap()
            .append(&mut follow_up.as_object().unwrap().clone());
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn minutes_of_zero_count_and_negative_ones_do_not() {
        use serde_json::json;
        for (order, follow_up) in [
            (
                json!({"restart": null, "shutdown": -1, "exit": "-1"}),
                FollowUp::None,
            ),
            (json!({"restart": 0}), FollowUp::Power(PowerAction::Restart, 0)),
            (
                json!({"shutdown": "15"}),
                FollowUp::Power(PowerAction::Shutdown, 15),
            ),
            (json!({"exit": 5}), FollowUp::Exit),
            (
                json!({"restart": 3, "shutdown": 4, "exit": 0}),
                FollowUp::Power(PowerAction::Restart, 3),
            ),
            (
                json!({"restart": i64::MAX}),
                FollowUp::Power(PowerAction::Restart, MAX_MINUTES),
            ),
        ] {
            assert_eq!(FollowUp::of(&job(&order)), follow_up, "{order}");
        }
    }

    #[test]
    fn users_are_told_and_given_the_time() {
        let host = host();
        host.set_logged_in_users(&["ada"]);
        power().order(&host, PowerAction::Restart, 15).unwrap();
        assert_eq!(host.power_orders(), [(PowerAction::Restart, 15)]);
        let message = &host.messages()[0];
        assert!(message.contains("restarted in 15 minutes"), "{message}");
    }

    #[test]
    fn where_nobody_is_logged_in_it_happens_at_once() {
        let host = host();
        power().order(&host, PowerAction::Shutdown, 15).unwrap();
        assert_eq!(host.power_orders(), [(PowerAction::Shutdown, 0)]);
        assert!(host.messages().is_empty());
    }

    #[test]
    fn further_jobs_wait_for_the_restart_even_if_the_agent_starts_anew() {
        let host = host();
        host.set_logged_in_users(&["ada"]);
        assert_eq!(power().pending(&host), None);
        power().order(&host, PowerAction::Restart, 15).unwrap();
        assert_eq!(power().pending(&host), Some(PowerAction::Restart));
        host.set_now(UNIX_EPOCH + Duration::from_secs(ORDERED + 15 * 60 + OVERDUE + 1));
        assert_eq!(power().pending(&host), None, "somebody has cancelled it");
        assert!(!host.exists(&power().file), "and it is forgotten");
    }

    #[test]
    fn after_the_restart_jobs_go_on() {
        let pending = Pending {
            action: PowerAction::Restart,
            ordered: ORDERED,
            minutes: 5,
        };
        assert!(is_to_come(pending, ORDERED + 299, DAYS));
        assert!(!is_to_come(pending, ORDERED + 400, Duration::from_secs(60)));
        assert!(
            !is_to_come(pending, ORDERED - 3600, DAYS),
            "the clock was set back"
        );
        assert!(restarted_since(ORDERED, ORDERED + 400, Duration::from_secs(60)));
        assert!(!restarted_since(ORDERED, ORDERED + 400, DAYS));
    }

    proptest! {
        #[test]
        fn nothing_is_to_come_for_ever(ordered in 0u64..4_000_000_000, minutes in 0..=MAX_MINUTES, now: u32) {
            let pending = Pending { action: PowerAction::Restart, ordered, minutes };
            if is_to_come(pending, now.into(), DAYS) {
                prop_assert!(u64::from(now) <= ordered + u64::from(minutes) * 60 + OVERDUE);
            }
        }
    }
}
