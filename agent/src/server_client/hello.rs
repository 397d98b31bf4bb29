//! The hello: registration, the keys that come of it, and what it tells of the clocks.

use super::verify::{Proven, is_storable};
use super::words::{self, Clocks};
use super::{Answered, ExchangeError, Manner, ServerClient, Session, keyed, signed};
use crate::config::{self, Protocol};
use crate::state;
use oco_protocol::Timestamp;
use oco_protocol::keyed::HelloData as KeyedHelloData;
use oco_protocol::rpc::{HelloAnswer, HelloData, Method};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// A clock that is wrong by more than this is worth a warning.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(10 * 60);

impl ServerClient {
    /// Sends a hello. On registration the keys it brings are stored in the configuration before anything else happens.
    /// The flag says whether this hello registered the computer.
    pub async fn hello(&self, data: HelloData) -> Result<(HelloAnswer, bool), ExchangeError> {
        let mut session = self.session.lock().await;
        let registering = session.server_key.is_empty();
        if registering {
            // A server registers a computer once: keys that could then not be written would lock this agent out.
            config::store_keys(self.host.as_ref(), &self.paths.config, None, None)?;
        }
        let manner = self.manner(Method::Hello, None).await;
        let started = Instant::now();
        let proven = match manner {
            Ok(manner @ Manner::Signed(_)) => self.greet(&data, manner, &session).await,
            Ok(manner @ Manner::Keyed) => self.greet(&KeyedHelloData::from(data), manner, &session).await,
            Err(error) => Err(error),
        };
        let elapsed = started.elapsed();
        let result = match proven {
            Ok(proven) => self.keep(proven, &mut session).await,
            Err(error) => Err(error),
        };
        self.observe(Method::Hello, started, elapsed, &result);
        Ok((result?, registering && !session.server_key.is_empty()))
    }

    /// Sends a hello and has its answer proven.
    async fn greet<D: Serialize>(
        &self,
        data: &D,
        manner: Manner,
        session: &Session,
    ) -> Result<Proven<HelloAnswer>, ExchangeError> {
        let (method, name) = (Method::Hello, Method::Hello.as_str());
        let mut answered = self.ask(method, name, data, session, manner).await?;
        if let Some(time) = self.better_time(&answered, session) {
            tracing::warn!(
                time = words::moment(time),
                "the timestamp was refused as too old; once more with a better one"
            );
            let manner = self.manner(method, Some(time)).await?;
            answered = self.ask(method, name, data, session, manner).await?;
        }
        let response = self.accepted(answered, session)?;
        let standard = self.standard(method, &response, session);
        match self.protocol {
            Protocol::Signed => signed::prove_hello(&response, standard),
            Protocol::Keyed => keyed::prove_hello(&response, standard),
        }
    }

    /// Keeps what a proven answer brings, before anything in it is used. Keys first: the server gives them out once, while
    /// a timestamp that is lost is merely accepted again.
    async fn keep(
        &self,
        proven: Proven<HelloAnswer>,
        session: &mut Session,
    ) -> Result<HelloAnswer, ExchangeError> {
        self.keep_keys(&proven, session)?;
        self.watch_clock(&proven, session);
        self.remember(Method::Hello, proven).await
    }

    /// A time that a hello may be sent with again, after it was refused as too old.
    fn better_time(&self, answered: &Answered, session: &Session) -> Option<Timestamp> {
        let response = &answered.response;
        let Manner::Signed(stamp) = answered.manner else {
            return None;
        };
        if response.status != 401 || response.reason(&session.keys()) != words::TOO_OLD {
            return None;
        }
        let authentic = self.url.scheme() == "https";
        state::better_time(stamp, self.timestamps.clock(), response.date, authentic)
    }

    /// Says once when this computer's clock is wrong, and again after it was right.
    fn watch_clock(&self, proven: &Proven<HelloAnswer>, session: &mut Session) {
        let clocks = Clocks {
            own: self.timestamps.clock(),
            server: proven.timestamp,
        };
        let wrong = clocks.differ_by(CLOCK_TOLERANCE);
        if wrong && !session.clock_warned {
            tracing::warn!("{clocks}");
        }
        session.clock_warned = wrong;
    }

    /// Stores the keys of a proven answer: the server's only where there is none yet, the agent's whenever one comes.
    /// Not on another thread: it happens once in a computer's life, and must not be cut off.
    fn keep_keys(&self, proven: &Proven<HelloAnswer>, session: &mut Session) -> Result<(), ExchangeError> {
        let offered = proven.params.agent_key.as_ref();
        let agent_key = offered.filter(|key| !key.is_empty() && **key != session.agent_key);
        let server_key = proven.first_server_key.as_ref();
        if agent_key.is_none() && server_key.is_none() {
            return Ok(());
        }
        if ![agent_key, server_key].into_iter().flatten().all(is_storable) {
            let reason = "it brings a key that is no single word of at most 200 printable ASCII characters";
            return Err(ExchangeError::Malformed {
                method: Method::Hello,
                reason: reason.into(),
            });
        }
        config::store_keys(self.host.as_ref(), &self.paths.config, agent_key, server_key)?;
        if let Some(key) = agent_key {
            session.agent_key = key.clone();
        }
        if let Some(key) = server_key {
            session.server_key = key.clone();
        }
        tracing::info!("keys received from the server are stored in the configuration");
        Ok(())
    }
}
