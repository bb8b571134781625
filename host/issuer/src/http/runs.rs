//! Runs: `PUT /v1/runs/{uuid}` and `POST /v1/runs/{uuid}/finish`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign::{MAX_RUN_BYTES, RunId};
use serde::Serialize;

use super::answer::json;
use super::caller::control_plane;
use super::input::{self, Parameters, identifier};
use super::registration::{MAX_FACTS_BYTES, REGISTRATION_TYPE, Registered, registration, run_object};
use crate::identity::Permission;
use crate::problem::{Problem, ProblemKind, Told};
use crate::service::{Registration, Service};

/// JSON, the type that meshStack's API has for a run object, and that of a run object with facts.
pub(super) const RUN_TYPES: &[&str] = &[
    "application/json",
    "application/vnd.meshcloud.api.meshbuildingblockrun.v1.hal+json",
    REGISTRATION_TYPE,
];

#[derive(Serialize)]
struct RunBody<'r> {
    run: &'r str,
    runner: &'r str,
    /// Seconds since 1970.
    expires_at: u64,
}

pub(super) async fn register(
    State(service): State<Arc<Service>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = Some(control_plane(&service, &headers, Permission::Runs).await?);
    let id = run_id(id)?;
    let query = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    let runner = identifier("runner", query.required("runner")?)?;
    let life_seconds = query.number("life_seconds")?;
    let with_facts = input::has_type(&headers, REGISTRATION_TYPE);
    let most = if with_facts { MAX_RUN_BYTES + MAX_FACTS_BYTES } else { MAX_RUN_BYTES };
    let body = input::body(&headers, body, RUN_TYPES, most, service.settings()).await?;
    let _slot = service.slot()?;
    let parsed = if with_facts { registration(&body) } else { run_object(&body) };
    let Registered { run, run_token, facts } = parsed?;
    drop(body);
    if run.id != id {
        let description = "the path names another run than `/metadata/uuid`";
        return Err(Problem::new(ProblemKind::InvalidRequest, description));
    }
    let registration = Registration { run, runner, facts, run_token, life_seconds };
    let about = Told { run: Some(id.to_string()), caller: caller.clone(), ..Told::default() };
    let registered = service.register(registration).await;
    let (new, registered) = registered.map_err(|problem| problem.about(about))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let (run, runner) = (registered.run.id.to_string(), registered.runner.to_string());
    let expires_at = registered.expires_at;
    let mut response = json(status, &RunBody { run: &run, runner: &runner, expires_at });
    let (run, runner) = (Some(run), Some(runner));
    response.extensions_mut().insert(Told { run, runner, caller, ..Told::default() });
    Ok(response)
}

pub(super) async fn finish(
    State(service): State<Arc<Service>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = Some(control_plane(&service, &headers, Permission::Runs).await?);
    let id = run_id(id)?;
    input::no_body(&headers, body, service.settings()).await?;
    // Ending a run is never refused for want of room.
    let about = Told { run: Some(id.to_string()), caller: caller.clone(), ..Told::default() };
    service.finish(&id).await.map_err(|problem| problem.about(about))?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let run = Some(id.to_string());
    response.extensions_mut().insert(Told { run, caller, ..Told::default() });
    Ok(response)
}

/// The run that the path names.
pub(super) fn run_id(id: Result<Path<String>, PathRejection>) -> Result<RunId, Problem> {
    let Path(id) = id.map_err(|_| Problem::invalid("`uuid`: the path is not UTF-8"))?;
    identifier("uuid", &id)
}
