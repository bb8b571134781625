//! The console's own listener: HTTP/1.1, bounded in connections, heads and times.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::answer::Body;
use crate::console::Console;

/// The maximum number of connections. Others wait with the system.
const MAX_CONNECTIONS: usize = 64;

/// The maximum length of a head, in bytes, and of its fields.
const MAX_HEAD: usize = 16 << 10;
const MAX_FIELDS: usize = 64;

/// The time within which a head must be there, which is also the time that a connection may wait for one.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The time that a connection has altogether: one whose other end does not read ends with it.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

/// The time that requests have to finish when the console stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The pause of accepting when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves a console until `stop` is done; then takes no more connections, lets requests finish, and closes the console.
///
/// # Errors
/// When the listener itself fails.
pub async fn serve(
    console: Arc<Console>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let ended = loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (open, stream) = tokio::select! {
            () = &mut stop => break Ok(()),
            (open, accepted) = accepted => match accepted {
                Ok((stream, _)) => (open, stream),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => break Err(error),
                // One that has gone, or no more sockets for now.
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let of_requests = Arc::clone(&console);
        let service = service_fn(move |request: Request<Incoming>| {
            let console = Arc::clone(&of_requests);
            // The body is not read: one that has a body is refused, and its connection ends.
            async move {
                Ok::<Response<Body>, Infallible>(console.respond(&request.into_parts().0).await)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let served = connections.watch(served);
        tokio::spawn(async move {
            let _open = open;
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIME, served).await {
                tracing::debug!(%error, "a connection ended before or within a request");
            }
        });
    };
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
    console.close().await;
    ended
}
