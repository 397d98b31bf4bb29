//! Procedures of virtual machines: they last, talk and fail as planned, with timers instead of processes.

use crate::generate::{Draw, Machine, Topic};
use bytes::Bytes;
use futures::future::BoxFuture;
use oco_agent::host::{Result, RunningProcedure};
use std::time::Duration;
use tokio::time::Instant;

/// Exit code of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

/// How procedures of a fleet behave. Each one's outcome is drawn from the machine and the command, so that the same
/// job ends in the same way on the same machine in every run.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcedureBehaviour {
    /// Shortest duration.
    pub shortest: Duration,
    /// Longest duration; most procedures are much nearer to the shortest.
    pub longest: Duration,
    /// Most bytes of output; most procedures write much less.
    pub most_output: usize,
    /// Share of procedures that fail, 0 to 1.
    pub failure_share: f64,
    /// Exit codes of failures, equally likely.
    pub failure_codes: Vec<i32>,
}

impl Default for ProcedureBehaviour {
    /// Installations that take seconds, with 2 % failing.
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(200),
            longest: Duration::from_secs(20),
            most_output: 16 * 1024,
            failure_share: 0.02,
            failure_codes: vec![1, 2, 100, 1603],
        }
    }
}

/// What will happen when a procedure runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How long it runs.
    pub duration: Duration,
    /// Bytes it writes.
    pub output: usize,
    /// What it exits with.
    pub exit_code: i32,
}

impl ProcedureBehaviour {
    /// What happens when `machine` runs `command`.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    pub fn plan(&self, machine: Machine, command: &str) -> Plan {
        let mut draw = Draw::of_text(machine, Topic::Procedure, command);
        let span = self.longest.saturating_sub(self.shortest);
        // The cube puts the median at an eighth of the span: few jobs are slow ones.
        let duration = self.shortest + span.mul_f64(draw.fraction().powi(3));
        let output = (self.most_output as f64 * draw.fraction().powi(3)) as usize;
        let fails = draw.fraction() < self.failure_share;
        let exit_code = if fails {
            draw.pick_or(&self.failure_codes, 1)
        } else {
            0
        };
        Plan {
            duration,
            output,
            exit_code,
        }
    }
}

/// A procedure that runs on a virtual machine.
#[derive(Debug)]
pub(super) struct SimulatedProcedure {
    plan: Plan,
    command: String,
    started: Instant,
    written: usize,
    line: usize,
    killed: bool,
}

/// Lines come in groups of about this size, each at its time.
const OUTPUT_PIECE: usize = 2048;

impl SimulatedProcedure {
    pub(super) fn start(plan: Plan, command: &str) -> Self {
        Self {
            plan,
            command: command.chars().take(60).collect(),
            started: Instant::now(),
            written: 0,
            line: 0,
            killed: false,
        }
    }

    fn end(&self) -> Instant {
        self.started + self.plan.duration
    }

    /// When the piece of output after `written` bytes comes.
    fn next_piece_at(&self) -> Instant {
        let pieces = self.plan.output / OUTPUT_PIECE + 2;
        let next = self.written / OUTPUT_PIECE + 1;
        let share = u32::try_from(next).unwrap_or(u32::MAX).min(1 << 20);
        let of = u32::try_from(pieces).unwrap_or(u32::MAX).min(1 << 20);
        self.started + self.plan.duration * share / of
    }

    fn piece(&mut self) -> Bytes {
        let goal = self.plan.output.min(self.written + OUTPUT_PIECE);
        let mut text = String::with_capacity(OUTPUT_PIECE + 80);
        while self.written + text.len() < goal {
            self.line += 1;
            text.push_str(&self.command);
            text.push_str(": step ");
            text.push_str(&self.line.to_string());
            text.push_str(" of the procedure done\n");
        }
        let mut piece = text.into_bytes();
        piece.truncate(goal - self.written);
        self.written = goal;
        piece.into()
    }
}

impl RunningProcedure for SimulatedProcedure {
    fn next_output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            if self.killed {
                return Ok(None);
            }
            if self.written >= self.plan.output {
                tokio::time::sleep_until(self.end()).await;
                return Ok(None);
            }
            // Nothing changes before the wait is over, so dropping this future loses nothing.
            tokio::time::sleep_until(self.next_piece_at()).await;
            Ok(Some(self.piece()))
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<i32>> {
        Box::pin(async move {
            if self.killed {
                return Ok(KILLED);
            }
            tokio::time::sleep_until(self.end()).await;
            Ok(self.plan.exit_code)
        })
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.killed = self.killed || Instant::now() < self.end();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oco_agent::host::Os;

    fn machine(index: u64) -> Machine {
        Machine {
            seed: 7,
            index,
            os: Os::Linux,
        }
    }

    async fn output(procedure: &mut SimulatedProcedure) -> usize {
        let mut bytes = 0;
        while let Some(piece) = procedure.next_output().await.unwrap() {
            bytes += piece.len();
        }
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn procedure_lasts_writes_and_exits_as_planned() {
        let plan = Plan {
            duration: Duration::from_secs(30),
            output: 5000,
            exit_code: 3,
        };
        let started = Instant::now();
        let mut procedure = SimulatedProcedure::start(plan, "apt-get install -y vim");
        assert_eq!(output(&mut procedure).await, 5000);
        assert_eq!(procedure.wait().await.unwrap(), 3);
        assert_eq!(started.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_wait_for_output_loses_none() {
        let plan = Plan {
            duration: Duration::from_secs(30),
            output: 9000,
            exit_code: 0,
        };
        let mut procedure = SimulatedProcedure::start(plan, "x");
        let limit = tokio::time::timeout(Duration::from_secs(1), procedure.next_output()).await;
        assert!(limit.is_err());
        assert_eq!(output(&mut procedure).await, 9000);
    }

    #[tokio::test(start_paused = true)]
    async fn killed_procedure_ends_at_once() {
        let plan = Plan {
            duration: Duration::from_secs(3600),
            output: 100_000,
            exit_code: 0,
        };
        let started = Instant::now();
        let mut procedure = SimulatedProcedure::start(plan, "sleep 3600");
        procedure.kill().await.unwrap();
        assert_eq!(output(&mut procedure).await, 0);
        assert_eq!(procedure.wait().await.unwrap(), KILLED);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[test]
    fn same_command_on_the_same_machine_ends_in_the_same_way() {
        let behaviour = ProcedureBehaviour::default();
        assert_eq!(behaviour.plan(machine(1), "a"), behaviour.plan(machine(1), "a"));
        assert_ne!(behaviour.plan(machine(1), "a"), behaviour.plan(machine(1), "b"));
        assert_ne!(behaviour.plan(machine(1), "a"), behaviour.plan(machine(2), "a"));
    }

    #[test]
    fn failure_share_is_kept() {
        let behaviour = ProcedureBehaviour {
            failure_share: 0.2,
            ..ProcedureBehaviour::default()
        };
        let failed = (0..2000)
            .filter(|index| behaviour.plan(machine(*index), "setup.exe").exit_code != 0)
            .count();
        assert!((320..480).contains(&failed), "{failed} of 2000");
    }
}
