//! Operations: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::admission::Caller;
use super::answer::{Rejection, document};
use super::caller::authenticate;
use countersign_issuer::{Permission, Service};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers with success until the service can only recover by a restart.
pub(super) async fn healthz(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
    service.healthy()?;
    Ok(document("alive\n", TEXT, "no-store"))
}

/// Answers with success when a token could be issued now, and says which other replicas are not as this one is.
pub(super) async fn readyz(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
    service.ready().await?;
    let mut text = "ready\n".to_owned();
    for remark in service.replica_remarks() {
        text.push_str(&remark);
        text.push('\n');
    }
    Ok(document(text, TEXT, "no-store"))
}

/// The metrics, in Prometheus' text format.
pub(super) async fn metrics(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    authenticate(&service, &caller, &headers, Permission::Metrics).await?;
    let text = service.metrics_text()?;
    Ok(document(text, "text/plain; version=0.0.4; charset=utf-8", "no-store"))
}
