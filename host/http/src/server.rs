//! Connections: their number, their timeouts, their end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use countersign_issuer::Service;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::routes;

/// The time within which a TLS handshake must be done.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The time within which a client must read on.
const WRITE: Duration = Duration::from_secs(20);

/// The pause of accepting when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(50);

/// The maximum of header fields of a request.
const MAX_HEADERS: usize = 64;

/// The server stopped without a request to stop.
#[derive(Debug, thiserror::Error)]
#[error("no connections can be accepted")]
pub struct ServeError(#[source] io::Error);

/// A certificate that can be replaced while it is used.
pub struct Tls(ArcSwap<ServerConfig>);

/// A certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file holds no certificate chain, or no private key.
    #[error("no certificate chain or no private key in PEM")]
    Pem,
    /// They do not belong together, or cannot be used.
    #[error(transparent)]
    Unusable(#[from] tokio_rustls::rustls::Error),
}

impl Tls {
    /// From a certificate chain and its private key, both in PEM.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::new(Self::config(certificate, key)?)))
    }

    /// Uses others for the connections that come from now on.
    ///
    /// # Errors
    /// When they cannot be used; those before stay.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.0.store(Self::config(certificate, key)?);
        Ok(())
    }

    fn config(certificate: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem)?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Serves until `stop` is done; then takes no more connections, lets requests finish for as long as the
/// settings give them, and closes log and store.
///
/// # Errors
/// When no connections can be accepted.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let routes = routes(&service);
    let connections = Arc::new(Semaphore::new(service.config().max_connections));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(async {
        stop.await;
        service.stop();
        tokio::time::sleep(service.config().drain).await;
    });
    let ended = loop {
        // Those that wait stay with the system until there is room.
        let permit = tokio::select! {
            () = &mut stop => break Ok(()),
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break Ok(()) };
        let stream = tokio::select! {
            () = &mut stop => break Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            // One that has gone, no more sockets or no memory for now: accept(2) has a dozen of these, and none
            // is a reason to end.
            Err(error) if !is_broken(&error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => break Err(ServeError(error)),
        };
        let watcher = graceful.watcher();
        let (service, routes, tls) = (Arc::clone(&service), routes.clone(), tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // Answers are small and whole, so waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            let connection = connect(&service, routes, stream, tls, watcher).await;
            if let Err(error) = connection.or_else(unless_idle) {
                service.record_connection_error();
                tracing::warn!(%error, "a connection ended before or within a request");
            }
        });
    };
    service.stop();
    drop(listener);
    let finished = tokio::time::timeout(service.config().shutdown, graceful.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("requests did not finish in time and were cut off");
    }
    service.close().await;
    ended
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connect(
    service: &Service,
    routes: Router,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), BoxError> {
    match tls {
        None => answer(service, routes, stream, watcher).await,
        Some(tls) => {
            let handshake = TlsAcceptor::from(tls.0.load_full()).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE, handshake).await??;
            answer(service, routes, stream, watcher).await
        }
    }
}

async fn answer(
    service: &Service,
    routes: Router,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), BoxError> {
    let config = service.config();
    // A client that does not read its answer is let go.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(config.header_bytes)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(routes));
    Ok(watcher.watch(connection).await?)
}

/// Accepts the end of a connection on which nothing came for a while: nobody needs it any more.
fn unless_idle(error: BoxError) -> Result<(), BoxError> {
    match error.downcast_ref::<hyper::Error>() {
        Some(timeout) if timeout.is_timeout() => Ok(()),
        _ => Err(error),
    }
}

/// True when the listener itself is at fault: EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP.
fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        || matches!(error.raw_os_error(), Some(9 | 88 | 95))
}
