//! For those who run the service: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::answer::with_headers;
use super::caller::control_plane;
use crate::identity::Permission;
use crate::problem::Problem;
use crate::service::Service;

const TEXT: &str = "text/plain; charset=utf-8";

/// Whether it is alive.
pub(super) async fn healthz() -> Response {
    with_headers(StatusCode::OK, "alive\n", TEXT, "no-store")
}

/// Whether a token could be issued now.
pub(super) async fn readyz(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    service.ready().await?;
    Ok(with_headers(StatusCode::OK, "ready\n", TEXT, "no-store"))
}

/// The counters, in Prometheus' text format.
pub(super) async fn metrics(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    control_plane(&service, &headers, Permission::Metrics).await?;
    let text = service.metrics_text()?;
    Ok(with_headers(StatusCode::OK, text, "text/plain; version=0.0.4; charset=utf-8", "no-store"))
}
