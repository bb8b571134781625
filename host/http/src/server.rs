//! Listeners: connections are accepted until the service stops, and end in order.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use countersign_issuer::Service;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::connection::serve_connection;
use super::connections::Connections;
use super::console::ConsolePages;
use super::edge::Edge;
use super::tls::Tls;
use super::{probes, routes};

/// The pause of accepting when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(50);

/// The maximum of connections that are accepted at once. Each of them does something before it waits, and the requests of
/// others wait behind all of these.
const AT_ONCE: usize = 16;

/// The interval in which what limits by address remember is tidied.
const TIDY: Duration = Duration::from_secs(15);

/// The maximum number of connections of the listener for probes. Those that wait longest make room.
const MAX_PROBES: usize = 64;

/// The server stopped without a request to stop.
#[derive(Debug, thiserror::Error)]
#[error("no connections can be accepted")]
pub struct ServeError(#[source] io::Error);

/// The sockets of a service.
pub struct Listeners {
    /// For everything.
    pub main: TcpListener,
    /// The certificate of `main`; it speaks plain HTTP without one.
    pub tls: Option<Arc<Tls>>,
    /// For probes and metrics alone, in plain HTTP: they are answered there however full `main` is.
    pub probes: Option<TcpListener>,
    /// The console, at `/console` of `probes` and nowhere else.
    pub console: Option<ConsolePages>,
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Self {
        Self { main, tls: None, probes: None, console: None }
    }
}

/// One listener, and what its connections are given.
struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Router,
    connections: Arc<Connections>,
}

/// Serves until `stop` is done; then takes no more connections, lets requests finish for as long as the
/// settings give them, and closes log and store.
///
/// # Errors
/// When no connections can be accepted.
pub async fn serve(
    service: Arc<Service>,
    listeners: Listeners,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let edge = Arc::new(Edge::new(Arc::clone(&service)));
    let config = service.config();
    let main = Door {
        listener: listeners.main,
        tls: listeners.tls,
        routes: routes(&edge),
        connections: Connections::new(
            config.max_connections,
            config.addresses.connections,
            NonZeroU32::new(config.unproven_per_second),
        ),
    };
    let console = listeners.console;
    let probes = listeners.probes.map(|listener| Door {
        listener,
        tls: None,
        routes: probes(&edge, console),
        connections: Connections::new(MAX_PROBES, MAX_PROBES, None),
    });
    let stopping = watch::Sender::new(());
    let stop = async {
        stop.await;
        service.stop();
        tokio::time::sleep(config.drain).await;
    };
    let ended = {
        let probes = async {
            match &probes {
                Some(door) => door.accept(&edge, &stopping).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop => Ok(()),
            error = main.accept(&edge, &stopping) => Err(error),
            error = probes => Err(error),
            never = tidy(&edge) => match never {},
        }
    };
    service.stop();
    drop((main, probes));
    // Each connection has a receiver until it has ended.
    stopping.send_replace(());
    let finished = tokio::time::timeout(config.shutdown, stopping.closed()).await;
    if finished.is_err() {
        tracing::warn!("requests did not finish in time and were cut off");
    }
    service.close().await;
    ended
}

impl Door {
    /// Accepts connections for as long as it can.
    async fn accept(&self, edge: &Arc<Edge>, stopping: &watch::Sender<()>) -> ServeError {
        let mut at_once = 0;
        loop {
            if at_once == AT_ONCE {
                at_once = 0;
                tokio::task::yield_now().await;
            }
            at_once += 1;
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                // One that has gone, no more sockets or no memory for now: accept(2) has a dozen of these, and none
                // is a reason to end.
                Err(error) if !is_broken(&error) => {
                    // Whoever waits for longest makes room, as where there are too many connections.
                    let evicted = if is_exhausted(&error) { self.connections.relieve() } else { 0 };
                    edge.service.record_evicted_connections(evicted);
                    if let Some(suppressed) = edge.lines.suppressed() {
                        tracing::warn!(%error, evicted, suppressed, "a connection was not accepted");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return ServeError(error),
            };
            let peer = peer.ip().to_canonical();
            let is_proxy = edge.config().addresses.is_trusted_proxy(peer);
            // Others stay with the system while this one waits for room.
            let (open, evicted) = self.connections.open(peer, is_proxy).await;
            edge.service.record_evicted_connections(evicted);
            let Some(open) = open else {
                edge.service.record_evicted_connections(1);
                continue;
            };
            // Answers are small and whole, so waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            let (edge, routes, tls) = (Arc::clone(edge), self.routes.clone(), self.tls.clone());
            tokio::spawn(serve_connection(edge, routes, stream, tls, open, stopping.subscribe()));
        }
    }
}

async fn tidy(edge: &Edge) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(TIDY).await;
        edge.rate.forget();
    }
}

/// True when the process or the system has no more descriptors: EMFILE, ENFILE.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// True when the listener itself is at fault: EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP.
fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        || matches!(error.raw_os_error(), Some(9 | 88 | 95))
}
