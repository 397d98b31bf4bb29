//! The server's life: start, restarts on purpose, shutdown.

use crate::accept::{self, End, Front};
use crate::config::Config;
use crate::instruments::Instruments;
use crate::router::{CLIENT_API_PATH, router};
use crate::state::{NewAdmin, ServerState, StartError};
use crate::store;
use crate::tls::{self, Loaded};
use oco_protocol::Key;
use oco_protocol::rpc::AGENT_API_PATH;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio_rustls::TlsAcceptor;

/// Wait between two attempts to open the database again.
const REOPEN: Duration = Duration::from_millis(50);

/// The server; see [`Server::start`].
#[derive(Debug)]
pub struct Server;

/// A running server.
#[derive(Debug)]
pub struct ServerHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The key that computers register with.
    pub agent_key: Key,
    /// The key of the REST API.
    pub api_key: Key,
    /// The user of the client API that this start has made, if it is the first one.
    pub new_admin: Option<NewAdmin>,
    /// The certificate that clients have to trust, where an authority of its own has signed the server's.
    pub ca_certificate: Option<PathBuf>,
    scheme: &'static str,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// URL of the agent API.
    pub fn agent_url(&self) -> String {
        format!("{}://{}{AGENT_API_PATH}", self.scheme, self.addr)
    }

    /// URL of the client API.
    pub fn client_url(&self) -> String {
        format!("{}://{}{CLIENT_API_PATH}", self.scheme, self.addr)
    }

    /// Base URL of the REST API.
    pub fn rest_url(&self) -> String {
        format!("{}://{}/mock/v1", self.scheme, self.addr)
    }

    /// Waits until the server has shut down: what it acknowledged is stored and the database is closed.
    pub async fn join(self) -> Result<(), JoinError> {
        self.task.await
    }
}

impl Server {
    /// Opens the database and serves `listener` until `shutdown` completes; then running requests get
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout) to end.
    pub async fn start<F>(
        config: Config,
        listener: TcpListener,
        shutdown: F,
    ) -> Result<ServerHandle, StartError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = listener.local_addr().map_err(StartError::Listener)?;
        let loaded = config.tls.as_ref().map(tls::load).transpose()?;
        let (acceptor, ca_certificate) =
            loaded.map_or((None, None), |Loaded { acceptor, ca }| (Some(acceptor), ca));
        let state = ServerState::open(config.clone()).await?;
        let (agent_key, api_key) = (state.agent_key.clone(), state.api_key.clone());
        let new_admin = state.new_admin.clone();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            tokio::pin!(shutdown);
            run(config, listener, acceptor, state, shutdown).await;
        });
        Ok(ServerHandle {
            addr,
            agent_key,
            api_key,
            new_admin,
            ca_certificate,
            scheme,
            task,
        })
    }
}

/// Serves until the shutdown, over all restarts.
async fn run<F: Future<Output = ()>>(
    config: Config,
    mut listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    mut state: Arc<ServerState>,
    mut shutdown: Pin<&mut F>,
) {
    let instruments = state.instruments.clone();
    let mut interruptions = instruments.listen();
    loop {
        let front = Front {
            router: router(state.clone()),
            limits: state.limits,
            acceptor: acceptor.clone(),
            instruments: instruments.clone(),
        };
        let end = accept::serve(listener, front, &mut interruptions, shutdown.as_mut()).await;
        let End::Restart(address, time) = end else {
            return state.close().await;
        };
        tracing::info!(down = ?time, "the server restarts on purpose");
        // A database in memory would be lost.
        let kept = store::url::is_memory(&config.database).then(|| state.clone());
        if kept.is_none() {
            state.close().await;
        }
        drop(state);
        let restarted = async {
            let listener = accept::away(address, time).await;
            let state = match &kept {
                Some(state) => state.clone(),
                None => reopen(&config, &instruments).await,
            };
            (listener, state)
        };
        (listener, state) = tokio::select! {
            () = shutdown.as_mut() => {
                if let Some(state) = &kept {
                    state.close().await;
                }
                return;
            }
            restarted = restarted => restarted,
        };
    }
}

/// Opens the database again. What was cut off may hold it for a moment, and a full disk for longer.
async fn reopen(config: &Config, instruments: &Arc<Instruments>) -> Arc<ServerState> {
    loop {
        match ServerState::open_with(config.clone(), instruments.clone()).await {
            Ok(state) => return state,
            Err(error) => tracing::debug!(error = crate::error::chain(&error), "cannot start again yet"),
        }
        tokio::time::sleep(REOPEN).await;
    }
}
