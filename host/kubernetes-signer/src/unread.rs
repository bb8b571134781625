//! Requests for a signature that are refused before they are read, which are on record as the others are.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use countersign_issuer::{ClusterSigner, RequestOrigin};
use countersign_signing::TokenId;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::door::{PeerUid, TIMEOUT};

/// The path of the call that asks for a signature.
const SIGN: &str = "/v1.ExternalJWTSigner/Sign";

/// A service of which each request must arrive and be answered in time.
#[derive(Clone)]
pub(crate) struct InTime<S> {
    pub(crate) inner: S,
    pub(crate) signer: Arc<ClusterSigner>,
}

/// Set once a request was read, from where on it is on record whatever comes of it.
#[derive(Clone, Default)]
pub(crate) struct Arrived(Arc<AtomicBool>);

impl Arrived {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Answer = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for InTime<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let arrived = Arrived::default();
        let uid = request.extensions().get::<PeerUid>().map(|uid| uid.0);
        let signs = request.uri().path() == SIGN;
        request.extensions_mut().insert(arrived.clone());
        let (signer, answer) = (Arc::clone(&self.signer), self.inner.call(request));
        Box::pin(async move {
            let answer = match tokio::time::timeout(TIMEOUT, answer).await {
                Ok(Ok(answer)) => answer,
                Err(_) => {
                    Status::deadline_exceeded("not there, or not answered, in time").into_http()
                }
            };
            // A successful answer has its status behind its message.
            let status = Status::from_header_map(answer.headers());
            if let Some(status) = status.filter(|_| signs && !arrived.0.load(Ordering::Relaxed)) {
                let id = TokenId::random().map_or_else(String::new, |id| id.to_string());
                let origin = RequestOrigin { id, client: None, trace: None };
                let message = format!("no request was read: {}", status.message());
                tracing::warn!(request = origin.id, message, "no signature for a service account");
                // In a task of its own, for where the API server has gone.
                let refused =
                    tokio::spawn(async move { signer.refuse_unread(origin, uid, message).await });
                // The answer is the protocol's, whatever the record came to.
                let _ = refused.await;
            }
            Ok(answer)
        })
    }
}
