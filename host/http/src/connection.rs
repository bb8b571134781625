//! One connection: its handshake, its protocol, its timeouts, its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use countersign_issuer::ServiceConfig;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::arrival::awaited;
use super::connections::{Connection, Open};
use super::edge::Edge;
use super::streams::{Left, Lent, Noted};
use super::tls::{HTTP2, Tls};

/// The time within which a TLS handshake must be done.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The time within which a client must read on.
const WRITE: Duration = Duration::from_secs(20);

/// The time for the end of a connection of HTTP/2 that is idle, which the client is told of.
const FAREWELL: Duration = Duration::from_secs(1);

/// The maximum of header fields of a request.
const MAX_HEADERS: usize = 64;

/// The maximum of requests that a client may have open on one connection of HTTP/2.
const MAX_STREAMS: u32 = 64;

/// The maximum of requests on one connection of HTTP/2 that a client has taken back before they were looked at. More end
/// the connection (CVE-2023-44487).
const MAX_RESETS: usize = 20;

/// The same for streams that are taken back because the client breaks the protocol (CVE-2025-8671).
const MAX_LOCAL_RESETS: usize = 128;

/// The bytes of bodies that may arrive on one stream before they are read, and on one connection.
const WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// The interval of pings on connections of HTTP/2, by which those are found whose other end has gone.
const PING: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves a connection until its end.
pub(crate) async fn serve_connection(
    edge: Arc<Edge>,
    routes: Router,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    open: Open,
    stopping: watch::Receiver<()>,
) {
    let (connection, config) = (Arc::clone(open.connection()), edge.config());
    let left = Left::default();
    let served = tokio::select! {
        biased;
        served = connect(&edge, routes, left.lend(stream), tls, &connection, stopping) => served,
        () = connection.evicted() => return open.part().await,
        // Nobody needs it any more, or whoever does is too slow. Where it is being ended in order, that has some time.
        () = async {
            connection.expired(config.idle_timeout, config.header_timeout).await;
            tokio::time::sleep(FAREWELL).await;
        } => return,
    };
    if let Err(error) = served {
        edge.service.record_connection_error();

        match edge.lines.suppressed() {
            Some(suppressed) => tracing::warn!(
                %error, peer = %connection.peer, suppressed, "a connection ended before or within a request"
            ),
            None => {
                tracing::debug!(%error, peer = %connection.peer, "a connection ended before or within a request");
            }
        }
    }
    tokio::select! {
        () = left.linger() => {}
        () = connection.evicted() => {}
    }
}

async fn connect(
    edge: &Edge,
    routes: Router,
    stream: Lent,
    tls: Option<Arc<Tls>>,
    connection: &Arc<Connection>,
    stopping: watch::Receiver<()>,
) -> Result<(), BoxError> {
    match tls {
        None => {
            let mut stream = Noted::new(stream, Arc::clone(connection));
            let is_http2 = stream.begins_http2().await?;
            answer(edge, routes, stream, is_http2, connection, stopping).await
        }
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.config()).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE, handshake).await??;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            let stream = Noted::new(stream, Arc::clone(connection));
            answer(edge, routes, stream, is_http2, connection, stopping).await
        }
    }
}

async fn answer(
    edge: &Edge,
    routes: Router,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    connection: &Arc<Connection>,
    stopping: watch::Receiver<()>,
) -> Result<(), BoxError> {
    let config = edge.config();
    let (of_requests, body_timeout) = (Arc::clone(connection), config.body_timeout);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (connection, mut routes) = (Arc::clone(&of_requests), routes.clone());
        async move {
            let mut request = awaited(request, &connection, body_timeout).await;
            request.extensions_mut().insert(connection);
            // A router is always ready.
            routes.call(request).await
        }
    });
    // A client that does not read its answer is let go.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    let stream = TokioIo::new(Box::pin(stream));
    if is_http2 {
        connection.speaks_http2();
        let header_bytes = u32::try_from(config.header_bytes).unwrap_or(u32::MAX);
        let served = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(header_bytes)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .serve_connection(stream, service);
        Ok(until_expired(served, connection, config, stopping).await?)
    } else {
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            // The connection's own timeouts tell a head that is slow from one that nobody has begun.
            .header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_header_size(config.header_bytes)
            .max_buf_size(config.header_bytes)
            .serve_connection(stream, service);
        Ok(until_expired(served, connection, config, stopping).await?)
    }
}

/// Serves a connection until it ends, or is to end: because the service stops, or because nothing comes on it.
async fn until_expired<C: GracefulConnection>(
    served: C,
    connection: &Connection,
    config: &ServiceConfig,
    mut stopping: watch::Receiver<()>,
) -> Result<(), C::Error> {
    let mut served = pin!(served);
    tokio::select! {
        biased;
        served = served.as_mut() => return served,
        // Also where the other end is gone, which it is when nothing serves any more.
        _ = stopping.changed() => {}
        () = connection.expired(config.idle_timeout, config.header_timeout) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}
