//! Procedures that do what a test says.

use crate::host::{Result, RunningProcedure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{self, BoxFuture};
use std::collections::VecDeque;

/// What a procedure does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptedRun {
    /// Its output, piece by piece.
    pub output: Vec<Bytes>,
    /// What it does then.
    pub ending: Ending,
}

/// How a procedure ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exit(i32),
    /// Never, until it is killed.
    Hang,
}

impl ScriptedRun {
    /// Writes `output` and ends with `code`.
    pub fn exit(output: impl Into<Bytes>, code: i32) -> Self {
        Self {
            output: vec![output.into()],
            ending: Ending::Exit(code),
        }
    }
}

/// Code of a process that was killed, as shells say.
const KILLED: i32 = 128 + 9;

pub(super) struct ScriptedProcedure {
    output: VecDeque<Bytes>,
    ending: Ending,
}

impl ScriptedProcedure {
    pub(super) fn new(run: ScriptedRun) -> Self {
        // An empty piece would look like none.
        let output = run.output.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self {
            output,
            ending: run.ending,
        }
    }
}

impl RunningProcedure for ScriptedProcedure {
    fn next_output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        match (self.output.pop_front(), self.ending) {
            (Some(piece), _) => future::ready(Ok(Some(piece))).boxed(),
            (None, Ending::Exit(_)) => future::ready(Ok(None)).boxed(),
            (None, Ending::Hang) => future::pending().boxed(),
        }
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<i32>> {
        match self.ending {
            Ending::Exit(code) => future::ready(Ok(code)).boxed(),
            Ending::Hang => future::pending().boxed(),
        }
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<()>> {
        if self.ending == Ending::Hang {
            self.ending = Ending::Exit(KILLED);
        }
        future::ready(Ok(())).boxed()
    }
}
