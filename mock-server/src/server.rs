//! Serves a listener until told to stop.

use crate::agent_api::Peer;
use crate::config::{Config, Limits};
use crate::router::{CLIENT_API_PATH, router};
use crate::state::{NewAdmin, ServerState, StartError};
use axum::middleware::AddExtension;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use oco_protocol::Key;
use oco_protocol::rpc::AGENT_API_PATH;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_io_timeout::TimeoutStream;
use tower::Layer;

/// A connection that fails where its client takes nothing for too long.
type Stream = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

/// Wait after a failed accept, which mostly means that file descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

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
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// URL of the agent API.
    pub fn agent_url(&self) -> String {
        format!("http://{}{AGENT_API_PATH}", self.addr)
    }

    /// URL of the client API.
    pub fn client_url(&self) -> String {
        format!("http://{}{CLIENT_API_PATH}", self.addr)
    }

    /// Base URL of the REST API.
    pub fn rest_url(&self) -> String {
        format!("http://{}/mock/v1", self.addr)
    }

    /// Waits until the server has shut down: what it acknowledged is stored and the database is closed.
    pub async fn join(self) -> Result<(), JoinError> {
        self.task.await
    }
}

impl Server {
    /// Opens the database and serves `listener` until `shutdown` completes; then running requests get
    /// [`Limits::drain_timeout`] to end.
    pub async fn start<F>(
        config: Config,
        listener: TcpListener,
        shutdown: F,
    ) -> Result<ServerHandle, StartError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = listener.local_addr().map_err(StartError::Listener)?;
        let state = ServerState::open(config).await?;
        let (agent_key, api_key) = (state.agent_key.clone(), state.api_key.clone());
        let new_admin = state.new_admin.clone();
        let task = tokio::spawn(async move {
            serve(listener, router(state.clone()), state.limits, shutdown).await;
            state.close().await;
        });
        Ok(ServerHandle {
            addr,
            agent_key,
            api_key,
            new_admin,
            task,
        })
    }
}

async fn serve<F: Future<Output = ()>>(listener: TcpListener, router: Router, limits: Limits, shutdown: F) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accept = async {
            // Never closed, so a permit always comes.
            let permit = connections.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let peer = Peer(peer.ip().to_canonical());
                let connection = graceful.watch(connection(stream, peer, router.clone(), limits));
                while tasks.try_join_next().is_some() {}
                tasks.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(error = %error, "connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    tasks.shutdown().await;
}

fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
) -> hyper::server::conn::http1::Connection<Stream, TowerToHyperService<AddExtension<Router, Peer>>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "cannot set TCP_NODELAY");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(Extension(peer).layer(router)),
        )
}
