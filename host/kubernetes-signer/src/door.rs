//! ExternalJWTSigner v1 over a socket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_issuer::{ClusterSigner, Problem, ProblemKind, RequestOrigin, SignRequest};
use countersign_signing::TokenId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::{Connected, Server};
use tonic::{Code, Request, Response, Status};

use crate::proto::external_jwt_signer_server::{ExternalJwtSigner, ExternalJwtSignerServer};
use crate::proto::{
    FetchKeysRequest, FetchKeysResponse, Key, MetadataRequest, MetadataResponse, SignJwtRequest,
    SignJwtResponse, Timestamp,
};
use crate::socket::{Peer, Socket};
use crate::unread::{Arrived, InTime};

/// The maximum size of a message, in bytes. Claims have a lower one.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The time in which a request must arrive and be answered.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum of requests at a time on one connection.
const MAX_STREAMS: u32 = 1024;

/// The interval of pings, so that a connection whose other end is gone takes no place.
const PING: Duration = Duration::from_secs(30);

/// The interval at which the plan of keys is looked at.
const KEY_INTERVAL: Duration = Duration::from_secs(1);

/// A door that cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("failed to serve the socket of the Kubernetes signer")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves a socket until `stop`, and keeps the keys fresh meanwhile. Requests that have begun are answered.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    signer: Arc<ClusterSigner>,
    socket: Socket,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let of_keys = Arc::clone(&signer);
    let keys = tokio::spawn(async move {
        let mut due = tokio::time::interval(KEY_INTERVAL);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let signer = Arc::clone(&of_keys);
            // It reads files.
            let reloaded = tokio::task::spawn_blocking(move || signer.reload_keys()).await;
            if let Ok(Err(problem)) = reloaded {
                let detail = problem.detail.unwrap_or(problem.description);
                tracing::error!(
                    detail,
                    "failed to reload the keys of the Kubernetes signer; those before stay in use"
                );
            }
        }
    });
    let of_door = Arc::clone(&signer);
    let service = ExternalJwtSignerServer::new(Door { signer: of_door })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let connections = futures_util::stream::unfold(&socket, |socket| async move {
        let peer = socket.accept().await;
        Some((Ok::<_, std::io::Error>(Connection::of(peer)), socket))
    });
    let service = InTime { inner: service, signer };
    let served = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(PING))
        .serve_with_incoming_shutdown(service, connections, stop)
        .await;
    keys.abort();
    Ok(served?)
}

struct Door {
    signer: Arc<ClusterSigner>,
}

/// A connection, with the user at its other end.
struct Connection {
    stream: UnixStream,
    uid: u32,
    _place: OwnedSemaphorePermit,
}

/// The user at the other end.
#[derive(Clone, Copy)]
pub(crate) struct PeerUid(pub(crate) u32);

impl Connection {
    fn of(peer: Peer) -> Self {
        let Peer { stream, uid, place } = peer;
        Self { stream, uid, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerUid;

    fn connect_info(&self) -> PeerUid {
        PeerUid(self.uid)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tonic::async_trait]
impl ExternalJwtSigner for Door {
    async fn sign(
        &self,
        request: Request<SignJwtRequest>,
    ) -> Result<Response<SignJwtResponse>, Status> {
        if let Some(arrived) = request.extensions().get::<Arrived>() {
            arrived.set();
        }
        let uid = request.extensions().get::<PeerUid>().map(|uid| uid.0);
        let id = TokenId::random().ok_or_else(|| Status::unavailable("no randomness"))?.to_string();
        let origin = RequestOrigin { id, client: None, trace: None };
        let request = SignRequest { claims: request.into_inner().claims, origin, uid };
        let signer = Arc::clone(&self.signer);
        // In a task of its own: what was signed is put on record also where the API server has gone.
        let signed = tokio::spawn(async move {
            let signed = signer.sign(&request).await;
            (signed, request.origin.id)
        });
        let (signed, id) = signed.await.map_err(|_| Status::internal("the signer failed"))?;
        let signature = signed.map_err(|problem| status(&problem, &id))?;
        Ok(Response::new(SignJwtResponse {
            header: signature.header().to_owned(),
            signature: signature.expose().to_owned(),
        }))
    }

    async fn fetch_keys(
        &self,
        _: Request<FetchKeysRequest>,
    ) -> Result<Response<FetchKeysResponse>, Status> {
        let published = self.signer.published_keys().map_err(|problem| status(&problem, ""))?;
        let keys = published.keys.into_iter().map(|key| Key {
            key_id: key.kid,
            key: key.der,
            exclude_from_oidc_discovery: key.excluded,
        });
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Response::new(FetchKeysResponse {
            keys: keys.collect(),
            data_timestamp: Some(Timestamp { seconds: number(published.since), nanos: 0 }),
            refresh_hint_seconds: number(published.refresh_hint_seconds),
        }))
    }

    async fn metadata(
        &self,
        _: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let max = i64::try_from(self.signer.max_expiration_seconds()).unwrap_or(i64::MAX);
        Ok(Response::new(MetadataResponse { max_token_expiration_seconds: max }))
    }
}

/// The status of a problem. Its message reaches the log of the API server and the events of pods.
fn status(problem: &Problem, id: &str) -> Status {
    let code = match problem.kind {
        ProblemKind::AccessDenied => Code::PermissionDenied,
        ProblemKind::InvalidRequest => Code::InvalidArgument,
        ProblemKind::Unavailable | ProblemKind::TooManyRequests => Code::Unavailable,
        _ => Code::Internal,
    };
    let run = problem.about.as_ref().and_then(|about| about.run.as_deref());
    let detail = problem.detail.as_deref();
    let description = problem.description.as_str();
    tracing::warn!(request = id, run, description, detail, "no signature for a service account");
    let id = if id.is_empty() { String::new() } else { format!(" (request {id})") };
    Status::new(code, format!("{description}{id}"))
}
