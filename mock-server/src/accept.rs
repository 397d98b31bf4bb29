//! Accepts connections and serves them, within their limits.

use crate::access_log::Peer;
use crate::config::Limits;
use crate::connection::{Connection, Control, Transport};
use crate::hooks::Interruption;
use crate::instruments::Instruments;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Wait after a failed accept, which mostly means that file descriptors have run out.
const RETRY: Duration = Duration::from_millis(50);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Largest head of a request, bytes.
const MAX_HEAD: usize = 64 << 10;

/// What serves connections.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) instruments: Arc<Instruments>,
}

/// Why serving ended.
pub(crate) enum End {
    Shutdown,
    /// Nothing is served any more; it is to go on at this address, so long from now.
    Restart(SocketAddr, Duration),
}

/// Serves `listener` until the shutdown or a restart.
pub(crate) async fn serve<F: Future<Output = ()>>(
    mut listener: TcpListener,
    front: Front,
    interruptions: &mut mpsc::Receiver<Interruption>,
    mut shutdown: Pin<&mut F>,
) -> End {
    let places = Arc::new(Semaphore::new(front.limits.connections));
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    loop {
        let accept = async {
            // Never closed, so a permit always comes.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = shutdown.as_mut() => break,
            Some(interruption) = interruptions.recv() => {
                let Ok(address) = listener.local_addr() else { continue };
                drop(listener);
                match interruption {
                    Interruption::Restart(time) => {
                        tasks.shutdown().await;
                        return End::Restart(address, time);
                    }
                    Interruption::Refuse(time) => {
                        // Those that there are go on meanwhile.
                        listener = tokio::select! {
                            () = shutdown.as_mut() => return drain(graceful, tasks, front.limits).await,
                            listener = away(address, time) => listener,
                        };
                        continue;
                    }
                }
            }
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                while tasks.try_join_next().is_some() {}
                let (front, watcher) = (front.clone(), graceful.watcher());
                tasks.spawn(async move {
                    let _counted = front.instruments.connected();
                    connection(stream, peer, front, watcher).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    drop(listener);
    drain(graceful, tasks, front.limits).await
}

/// Lets running requests end.
async fn drain(graceful: GracefulShutdown, mut tasks: JoinSet<()>, limits: Limits) -> End {
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    tasks.shutdown().await;
    End::Shutdown
}

/// Listens at `address` again after a while. Until then the address is taken, but refuses connections.
pub(crate) async fn away(address: SocketAddr, time: Duration) -> TcpListener {
    let until = tokio::time::Instant::now() + time;
    loop {
        match bind(address) {
            Ok(socket) => {
                tokio::time::sleep_until(until).await;
                match socket.listen(BACKLOG) {
                    Ok(listener) => return listener,
                    Err(error) => tracing::warn!(error = %error, "cannot listen again"),
                }
            }
            Err(error) => tracing::debug!(error = %error, "the address is not free yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections that have just been cut do not stand in the way; on Windows they never do.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn connection(stream: TcpStream, peer: SocketAddr, front: Front, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "cannot set TCP_NODELAY");
    }
    let limits = front.limits;
    let transport = match &front.acceptor {
        None => Transport::Plain(stream),
        Some(acceptor) => {
            let handshake = tokio::time::timeout(limits.header_timeout, acceptor.accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    return tracing::debug!(client.address = %peer, error = %error, "no TLS connection");
                }
                Err(_) => return tracing::debug!(client.address = %peer, "no TLS handshake in time"),
            }
        }
    };
    let stream = Connection::new(transport, limits.write_timeout);
    let service = Marked {
        router: TowerToHyperService::new(front.router),
        control: stream.control(),
        peer: Peer(peer),
    };
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(client.address = %peer, error = %error, "connection ended");
    }
}

/// The router, whose requests know their connection.
struct Marked {
    router: TowerToHyperService<Router>,
    control: Arc<Control>,
    peer: Peer,
}

impl Service<Request<Incoming>> for Marked {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.control.clone());
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}
