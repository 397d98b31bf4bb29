//! A connection with the computers that take turns on it.

use crate::client::{Answer, Connection};
use crate::message::Message;
use anyhow::{Context, Result};
use oco_benches::programs::AGENT_KEY;
use oco_protocol::rpc::{HelloAnswer, Response};
use oco_protocol::{Key, Timestamp, signature};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// Of so many answers one is looked at: its signature, and whether it says that all went well.
const SAMPLE: usize = 64;

/// A computer with the keys that the server gave it.
pub(crate) struct Computer {
    agent_key: Key,
    server_key: Key,
    last: Timestamp,
    hello: Message,
    update: Message,
}

/// What a computer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Hello,
    Update,
}

/// What became of requests.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// Times to the answers.
    pub(crate) latencies: Vec<Duration>,
    /// What the server said instead.
    pub(crate) refusals: Vec<String>,
    /// Answers whose signature was verified.
    pub(crate) verified: usize,
}

impl Computer {
    /// A computer that the server does not know.
    pub(crate) fn new(name: &str, update: Message) -> Self {
        Self {
            agent_key: Key::new(AGENT_KEY),
            server_key: Key::new(AGENT_KEY),
            last: Timestamp::ZERO,
            hello: Message::hello(name),
            update,
        }
    }

    /// Registers, and keeps the keys that it is given; a server that gives none goes by the one that all know.
    async fn register(&mut self, connection: &mut Connection) -> Result<()> {
        let answer = self.call(connection, Request::Hello).await?;
        if answer.status != 200 {
            anyhow::bail!("a registration is refused: {}", refusal(&answer));
        }
        let answer: Response<HelloAnswer> =
            serde_json::from_slice(answer.body).context("the answer to a hello cannot be read")?;
        let params = answer.result.params;
        self.agent_key = params.agent_key.unwrap_or_else(|| Key::new(AGENT_KEY));
        self.server_key = params.server_key.unwrap_or_else(|| Key::new(AGENT_KEY));
        Ok(())
    }

    async fn call<'a>(&mut self, connection: &'a mut Connection, request: Request) -> Result<Answer<'a>> {
        #[allow(clippy::disallowed_methods)] // a real server compares with its own clock
        let now = Timestamp::from_system_time(SystemTime::now());
        self.last = Timestamp::next_to_send(now, self.last);
        let message = match request {
            Request::Hello => &mut self.hello,
            Request::Update => &mut self.update,
        };
        connection.call(message.sealed(&self.agent_key, self.last)).await
    }

    fn check(&self, answer: &Answer<'_>) -> Result<()> {
        let signature = answer.signature.context("an answer is not signed")?;
        if !signature::verify(&self.server_key, answer.body, signature) {
            anyhow::bail!("the signature of an answer is wrong");
        }
        let answer: Response<Value> =
            serde_json::from_slice(answer.body).context("an answer cannot be read")?;
        anyhow::ensure!(
            answer.result.success == true.into(),
            "an answer says that it failed"
        );
        Ok(())
    }
}

fn refusal(answer: &Answer<'_>) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(answer.body))
}

/// See the module.
pub(crate) struct Lane {
    connection: Connection,
    computers: Vec<Computer>,
}

impl Lane {
    /// Connects, and registers the computers.
    pub(crate) async fn open(address: SocketAddr, mut computers: Vec<Computer>) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        for computer in &mut computers {
            computer.register(&mut connection).await?;
        }
        Ok(Self {
            connection,
            computers,
        })
    }

    /// Each computer in turn, until then.
    pub(crate) async fn run(&mut self, request: Request, until: Instant) -> Result<Outcomes> {
        let mut outcomes = Outcomes::default();
        let mut turn = 0;
        while Instant::now() < until {
            let index = turn % self.computers.len();
            turn += 1;
            self.send(index, request, turn % SAMPLE == 1, &mut outcomes)
                .await?;
        }
        // The next round begins where this one ended.
        let next = turn % self.computers.len();
        self.computers.rotate_left(next);
        Ok(outcomes)
    }

    /// Each computer once, all answers looked at.
    pub(crate) async fn run_once(&mut self, request: Request) -> Result<Outcomes> {
        let mut outcomes = Outcomes::default();
        for index in 0..self.computers.len() {
            self.send(index, request, true, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    async fn send(
        &mut self,
        index: usize,
        request: Request,
        look: bool,
        outcomes: &mut Outcomes,
    ) -> Result<()> {
        let computer = &mut self.computers[index];
        let started = Instant::now();
        let answer = computer.call(&mut self.connection, request).await?;
        outcomes.latencies.push(started.elapsed());
        if answer.status != 200 {
            outcomes.refusals.push(refusal(&answer));
        } else if look {
            computer.check(&answer)?;
            outcomes.verified += 1;
        }
        if request == Request::Update {
            computer.update.change();
        }
        Ok(())
    }
}
