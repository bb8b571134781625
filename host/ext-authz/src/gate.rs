//! The answers to Envoy.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use countersign::{Reason, Terms};
use countersign_issuer::{Problem, ProblemKind, RequestOrigin, Service};
use countersign_signing::TokenId;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tonic::transport::server::Server;
use tonic::{Code, Request, Response, Status};

use crate::exchange::{ForeignExchange, NotAsked, asked};
use crate::proto::authorization_server::{Authorization, AuthorizationServer};
use crate::proto::check_response::HttpResponse;
use crate::proto::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue,
    HeaderValueOption, HttpStatus, OkHttpResponse, Status as RpcStatus,
};

/// The maximum size of a message, in bytes: a form, and the headers beside it.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The time in which there must be an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum of checks at a time on one connection. Envoy has one for each of its threads.
const MAX_STREAMS: u32 = 256;

/// The interval of pings, so that a connection whose other end is gone ends.
const PING: Duration = Duration::from_secs(30);

/// The time to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The maximum of checks at a time; more are refused.
const MAX_CHECKS: usize = 1024;

/// The header that the foreign issuer gets with the digest of the decision.
const DECISION: &str = "x-countersign-decision";

/// `HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD`
const OVERWRITE: i32 = 2;

/// The route, as metrics have it.
const ROUTE: &str = "ext_authz";

/// A gate that cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("failed to serve ext_authz")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves a listener until `stop`. Checks that have begun are answered.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let gate = Gate { service, places: Arc::new(Semaphore::new(MAX_CHECKS)) };
    let of_envoy = AuthorizationServer::new(gate)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let connections = futures_util::stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    return Some((Ok::<TcpStream, std::io::Error>(stream), listener));
                }
                Err(error) => {
                    tracing::error!(%error, "failed to accept a connection of Envoy");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(PING))
        .serve_with_incoming_shutdown(of_envoy, connections, stop);
    Ok(server.await?)
}

struct Gate {
    service: Arc<Service>,
    places: Arc<Semaphore>,
}

/// An answer that is not OK.
struct Denied {
    /// The HTTP status for the caller.
    http: i32,
    code: Code,
    error: &'static str,
    description: String,
    decision: Option<String>,
    reasons: Vec<Reason>,
}

#[tonic::async_trait]
impl Authorization for Gate {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let started = Instant::now();
        let service = Arc::clone(&self.service);
        let place = Arc::clone(&self.places).try_acquire_owned();
        let checked = async {
            let place = place.map_err(|_| Denied::fault("too many requests at a time"))?;
            // In a task of its own, so that a panic is a fault and no error of the call. It keeps its place as long as it
            // runs, which may be longer than the answer takes.
            let check = tokio::spawn(async move {
                let _place = place;
                check(&service, request.into_inner()).await
            });
            match tokio::time::timeout(TIMEOUT, check).await {
                Ok(Ok(checked)) => checked,
                Ok(Err(_)) => Err(Denied::fault("the gate failed")),
                Err(_) => Err(Denied::fault("the gate took too long")),
            }
        };
        let (status, response) = match checked.await {
            Ok(decision) => ("200".to_owned(), approved(decision)),
            Err(denied) => (denied.http.to_string(), denied.response()),
        };
        self.service.record_request(ROUTE, &status, Some(started.elapsed()));
        Ok(Response::new(response))
    }
}

/// The digest of the decision that approves a request as it is.
async fn check(service: &Arc<Service>, request: CheckRequest) -> Result<String, Denied> {
    let attributes = request.attributes.unwrap_or_default();
    let client = client(&attributes);
    let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
    let ForeignExchange { request, audience, ttl_seconds } =
        asked(&http, &attributes.context_extensions).map_err(|error| Denied::not_asked(&error))?;
    let id = TokenId::random().ok_or_else(|| Denied::fault("no randomness"))?.to_string();
    let run = request.run.to_string();
    let origin = RequestOrigin { id: id.clone(), client, trace: None };
    let proven = Arc::new(AtomicBool::new(false));
    let decided = service.decide_exchange(request, origin, &proven).await;
    let decided = decided.map_err(|problem| {
        tracing::warn!(request = id, run, ?problem, "no OK for a foreign token endpoint");
        Denied::of(problem)
    })?;
    let decision = decided.decision.to_string();
    match decided.outcome {
        Ok(terms) if is_all(&terms, &audience, ttl_seconds) => Ok(decision),
        Ok(_) => {
            let message = "approved with narrower terms than the issuer's tokens have";
            let reason = Reason {
                code: "door-cannot-narrow".to_owned(),
                message: message.to_owned(),
                source: countersign::ReasonSource::Host,
                binding: None,
            };
            Err(Denied::refused(message.to_owned(), vec![reason], Some(decision)))
        }
        Err(reasons) => {
            let description = "the policies refuse a token for this run".to_owned();
            Err(Denied::refused(description, reasons, Some(decision)))
        }
    }
}

/// Tells if an approval is for everything that a token of the foreign issuer has.
fn is_all(terms: &Terms, audience: &countersign::Audience, ttl_seconds: u32) -> bool {
    terms.audiences == [audience.clone()]
        && terms.ttl_seconds == ttl_seconds
        && terms.claims.is_empty()
}

/// The address that Envoy says is its client's.
fn client(attributes: &AttributeContext) -> Option<std::net::IpAddr> {
    let address = attributes.source.as_ref()?.address.as_ref()?.socket_address.as_ref()?;
    address.address.parse().ok()
}

fn approved(decision: String) -> CheckResponse {
    let header = HeaderValue { key: DECISION.to_owned(), value: decision };
    let headers = vec![HeaderValueOption { header: Some(header), append_action: OVERWRITE }];
    let ok = OkHttpResponse { headers, headers_to_remove: Vec::new() };
    CheckResponse {
        status: Some(RpcStatus { code: Code::Ok.into(), message: String::new() }),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

impl Denied {
    fn new(http: i32, code: Code, error: &'static str, description: String) -> Self {
        Self { http, code, error, description, decision: None, reasons: Vec::new() }
    }

    fn fault(description: &str) -> Self {
        Self::new(503, Code::Unavailable, "temporarily_unavailable", description.to_owned())
    }

    fn refused(description: String, reasons: Vec<Reason>, decision: Option<String>) -> Self {
        let denied = Self::new(403, Code::PermissionDenied, "access_denied", description);
        Self { reasons, decision, ..denied }
    }

    fn not_asked(error: &NotAsked) -> Self {
        match error {
            NotAsked::Request(problem) => {
                let description = (*problem).to_owned();
                Self::new(400, Code::InvalidArgument, "invalid_request", description)
            }
            NotAsked::Route(problem) => {
                tracing::error!(problem, "Envoy's route is not configured for ext_authz");
                Self::new(500, Code::FailedPrecondition, "server_error", (*problem).to_owned())
            }
        }
    }

    /// The answer to a problem of the service. Every kind is a refusal.
    fn of(problem: Problem) -> Self {
        let (http, code, error) = match problem.kind {
            ProblemKind::AccessDenied => (403, Code::PermissionDenied, "access_denied"),
            ProblemKind::InvalidTarget => (400, Code::InvalidArgument, "invalid_target"),
            ProblemKind::InvalidRequest | ProblemKind::NotEntitled => {
                (400, Code::InvalidArgument, "invalid_request")
            }
            ProblemKind::TooManyRequests => (429, Code::ResourceExhausted, "slow_down"),
            ProblemKind::Unavailable => (503, Code::Unavailable, "temporarily_unavailable"),
            _ => (500, Code::Internal, "server_error"),
        };
        let denied = Self::new(http, code, error, problem.description);
        let refused = problem.refusal.map(|refused| *refused);
        let decision = refused.as_ref().and_then(|refused| refused.decision);
        let reasons = refused.map(|refused| refused.reasons).unwrap_or_default();
        Self { reasons, decision: decision.map(|decision| decision.to_string()), ..denied }
    }

    fn response(self) -> CheckResponse {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|reason| {
                json!({"code": reason.code, "message": reason.message, "source": reason.source.as_str()})
            })
            .collect();
        let body = json!({
            "error": self.error,
            "error_description": self.description,
            "decision": self.decision,
            "reasons": reasons,
        });
        let header = |key: &str, value: &str| HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned() }),
            append_action: OVERWRITE,
        };
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus { code: self.http }),
            headers: vec![
                header("content-type", "application/json"),
                header("cache-control", "no-store"),
            ],
            body: body.to_string(),
        };
        CheckResponse {
            status: Some(RpcStatus { code: self.code.into(), message: self.description }),
            http_response: Some(HttpResponse::DeniedResponse(denied)),
        }
    }
}
