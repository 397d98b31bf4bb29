//! What workers tell the collector: one channel, bounded, and nothing is lost when it is full.

use oco_agent::host::Os;
use oco_agent::observer::{ExchangeOutcome, TransportFailure};
use oco_protocol::job::JobState;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many events may wait for the collector.
const CAPACITY: usize = 16_384;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// An agent asked the server something.
    Exchange {
        /// What.
        method: Method,
        /// When the request was sent.
        started: Instant,
        /// From the planned time of the check-in (hello), or from the sending (everything else), to the end.
        latency: Duration,
        /// From the sending to the end; none: it was never sent, or had no end.
        service: Option<Duration>,
        /// Why it failed, if it did.
        error: Option<ErrorKind>,
    },
    /// An agent's check-in is over.
    CheckIn {
        /// Which agent.
        agent: u32,
        /// Its system.
        os: Os,
        /// Whether the agent holds the server's keys now.
        registered: bool,
        /// Whether it went through.
        ok: bool,
    },
    /// A job of an agent has come further.
    Job {
        /// Which agent.
        agent: u32,
        /// Which job.
        job: Id,
        /// The deployment it belongs to, as the server names it.
        container: Option<Id>,
        /// How far it is.
        step: JobStep,
    },
    /// The administrator has deployed something.
    Deployed {
        /// Which deployment of the scenario.
        deployment: usize,
        /// Its name on the server.
        container: Id,
        /// How many jobs it made.
        jobs: u64,
        /// On how many computers.
        computers: u64,
        /// When.
        at: Instant,
    },
    /// A machine that no server knows by its name has tried to check in.
    Stranger {
        /// Which agent.
        agent: u32,
        /// Whether the server has refused it.
        refused: bool,
    },
    /// The administrator has set something that agents have to follow.
    Ordered {
        /// What.
        order: Order,
        /// How many agents can.
        of: u64,
        /// When.
        at: Instant,
    },
    /// An agent follows what the administrator has set.
    Complied {
        /// Which agent.
        agent: u32,
        /// What.
        order: Order,
    },
    /// An adversary has tried something.
    Attack {
        /// Which adversary of the scenario.
        adversary: usize,
        /// What came of it.
        outcome: Attempt,
    },
    /// An agent could not even start.
    AgentFailed {
        /// Why not.
        error: ErrorKind,
    },
    /// A check-in was due while the agent was still busy.
    Postponed {
        /// What became of it.
        reason: Postponement,
    },
    /// The run is over. What still happens is the end of what was going on.
    Over,
}

impl Event {
    /// A request that never got its answer, because of `error`: all the time `since` it was to be made is its latency.
    pub fn unanswered(method: Method, since: Instant, error: ErrorKind) -> Self {
        let now = Instant::now();
        Self::Exchange {
            method,
            started: now,
            latency: now.saturating_duration_since(since),
            service: None,
            error: Some(error),
        }
    }
}

/// What agents have to follow, by its place in the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Policies.
    Policies(usize),
    /// A rule for passwords.
    Password(usize),
}

/// What came of an adversary's attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The server has done what it was asked, which it must never do.
    Accepted,
    /// Refused as it has to be, with this status.
    Refused(u16),
    /// The connection was closed, which refuses it just as well.
    CutOff,
    /// Refused with another status than it has to be.
    Otherwise(u16),
    /// No answer, which says nothing.
    Unanswered,
}

/// How far a job is, as the simulator counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStep {
    /// Its package is being downloaded.
    Downloading,
    /// Its procedure runs.
    Executing,
    /// It has ended.
    Ended {
        /// With success.
        succeeded: bool,
    },
}

impl JobStep {
    /// From what an agent says: a job has ended once the server has accepted its outcome, and as the server counts it.
    pub fn new(state: JobState, succeeded: Option<bool>) -> Self {
        match state {
            JobState::Downloading => Self::Downloading,
            JobState::Executing => Self::Executing,
            JobState::Finished | JobState::AgentError => Self::Ended {
                succeeded: succeeded.unwrap_or(false),
            },
        }
    }
}

/// Why a check-in did not start at its planned time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponement {
    /// The one before was still going on: it has started right after that and its wait counts as latency.
    CheckInRunning,
    /// One was waiting already: this one never started. It counts as a failed request, too.
    Missed,
    /// The agent was running jobs: it is left out, as its jobs' length is not the server's latency.
    JobsRunning,
    /// The machine was offline, restarted, or had left: it is left out.
    Away,
}

/// A way to fail, in few words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorKind(Cow<'static, str>);

impl ErrorKind {
    /// The agent could not even start: its configuration or machine could not be read.
    pub const AGENT: Self = Self(Cow::Borrowed("agent"));
    /// The check-in never started: the server took so long for those before it.
    pub const MISSED: Self = Self(Cow::Borrowed("missed"));
    /// It was still going on, or still waiting for its place, when the run had been over for a while.
    pub const UNFINISHED: Self = Self(Cow::Borrowed("unfinished"));

    /// The kind of a failed exchange; none for one that was answered.
    pub fn of(outcome: &ExchangeOutcome) -> Option<Self> {
        let word = match outcome {
            ExchangeOutcome::Answered => return None,
            ExchangeOutcome::Refused { status, reason } => {
                return Some(Self(
                    format!("{status} {}", cut(reason)).trim_end().to_owned().into(),
                ));
            }
            ExchangeOutcome::Transport(TransportFailure::Connect) => "connect",
            ExchangeOutcome::Transport(TransportFailure::Timeout) => "timeout",
            ExchangeOutcome::Transport(TransportFailure::Reset) => "reset",
            ExchangeOutcome::Transport(TransportFailure::Incomplete) => "incomplete",
            ExchangeOutcome::Transport(TransportFailure::Other) => "transport",
            ExchangeOutcome::Untrusted => "untrusted",
            ExchangeOutcome::Malformed => "malformed",
            ExchangeOutcome::Local => "local",
        };
        Some(Self(word.into()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Servers put job numbers into their refusals, which must not make a kind of each: digits become one `N`.
fn cut(reason: &str) -> String {
    let mut text = String::new();
    for character in reason.chars().filter(|c| !c.is_control()).take(80) {
        if !character.is_ascii_digit() {
            text.push(character);
        } else if !text.ends_with('N') {
            text.push('N');
        }
    }
    text
}

/// Makes the channel.
pub fn channel() -> (Sender, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Sender(sender), receiver)
}

/// The workers' end.
#[derive(Debug, Clone)]
pub struct Sender(mpsc::Sender<Event>);

impl Sender {
    /// Sends one event, waiting for a place.
    pub async fn send(&self, event: Event) {
        // Without a collector there is nobody to tell: the run is over.
        let _ = self.0.send(event).await;
    }

    /// An outlet for callbacks that cannot wait.
    pub fn outlet(&self) -> Outlet {
        Outlet {
            sender: self.0.clone(),
            kept: Mutex::default(),
        }
    }
}

/// Takes events from callbacks. What finds no place in the channel is kept until [`Outlet::flush`].
#[derive(Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Event>,
    kept: Mutex<Vec<Event>>,
}

impl Outlet {
    /// Sends an event now if there is a place and nothing is kept already, so that the order stays.
    pub fn emit(&self, event: Event) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.is_empty() {
            kept.push(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.sender.try_send(event) {
            kept.push(event);
        }
    }

    /// Sends what was kept, waiting for places.
    pub async fn flush(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for event in kept {
            let _ = self.sender.send(event).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_channel_loses_nothing_and_keeps_the_order() {
        let (sender, mut receiver) = mpsc::channel(2);
        let outlet = Outlet {
            sender,
            kept: Mutex::default(),
        };
        for jobs in 0..5 {
            outlet.emit(Event::Deployed {
                deployment: 0,
                container: Id::Number(1),
                jobs,
                computers: 1,
                at: Instant::now(),
            });
        }
        let flush = async {
            outlet.flush().await;
            drop(outlet);
        };
        let collect = async {
            let mut seen = Vec::new();
            while let Some(Event::Deployed { jobs, .. }) = receiver.recv().await {
                seen.push(jobs);
            }
            seen
        };
        let ((), seen) = tokio::join!(flush, collect);
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn refusals_that_differ_in_numbers_are_one_kind() {
        let kind = |reason: &str| {
            ErrorKind::of(&ExchangeOutcome::Refused {
                status: 400,
                reason: reason.into(),
            })
            .unwrap()
            .to_string()
        };
        assert_eq!(kind("Job »17« not found"), kind("Job »4« not found"));
        assert_eq!(kind("Job »17« not found"), "400 Job »N« not found");
        assert_eq!(kind(""), "400");
        assert!(kind(&"x".repeat(5000)).len() < 100);
        assert_eq!(ErrorKind::of(&ExchangeOutcome::Answered), None);
    }
}
