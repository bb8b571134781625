//! Runs: `PUT /v1/runs/{uuid}` and `POST /v1/runs/{uuid}/finish`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use countersign::{MAX_RUN_TEXT_BYTES, RunId};
use serde::Serialize;

use super::admission::Caller;
use super::answer::{Rejection, created, no_content, ok};
use super::caller::authenticate;
use super::input::{self, Parameters, identifier, path_id};
use super::registration::{
    MAX_FACTS_BYTES, REGISTRATION_TYPE, Registered, registration, run_object,
};
use countersign_issuer::{LogFields, Permission, Problem, ProblemKind, Registration, Service};

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
    Extension(known): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &known, &headers, Permission::Runs).await?;
    let caller = Some(principal.name.clone());
    let id: RunId = path_id(id)?;
    let query = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    let runner = identifier("runner", query.required("runner")?)?;
    if query.all("life_seconds").next().is_some() {
        // Ignored as any other unknown parameter, it would give the run the maximum.
        return Err(Problem::invalid("`life_seconds` is now `lifetime_seconds`").into());
    }
    let lifetime_seconds = query.number("lifetime_seconds")?;
    let with_facts = input::has_type(&headers, REGISTRATION_TYPE);
    let facts = if with_facts { MAX_FACTS_BYTES } else { 0 };
    let max = MAX_RUN_TEXT_BYTES + facts;
    let body = input::body(&headers, body, RUN_TYPES, max, service.config()).await?;
    let _slot = service.slot()?;
    let parsed = if with_facts { registration(&body) } else { run_object(&body) };
    let Registered { run, run_token, facts } = parsed?;
    drop(body);
    if run.id != id {
        let description = "the path names another run than `/metadata/uuid`";
        return Err(Problem::new(ProblemKind::InvalidRequest, description).into());
    }
    let registration = Registration { run, runner, facts, run_token, lifetime_seconds };
    let about =
        LogFields { run: Some(id.to_string()), caller: caller.clone(), ..LogFields::default() };
    let registered = service.register(registration, &principal, &known.origin()).await;
    let (new, registered) = registered.map_err(|problem| problem.about(about))?;
    let (run, runner) = (registered.run.id.to_string(), registered.runner.to_string());
    let expires_at = registered.expires_at;
    let body = RunBody { run: &run, runner: &runner, expires_at };
    let mut response = if new { created(&body) } else { ok(&body) };
    let (run, runner) = (Some(run), Some(runner));
    response.extensions_mut().insert(LogFields { run, runner, caller, ..LogFields::default() });
    Ok(response)
}

pub(super) async fn finish(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &known, &headers, Permission::Runs).await?;
    let caller = Some(principal.name.clone());
    let id: RunId = path_id(id)?;
    input::no_body(&headers, body, service.config()).await?;
    // Ending a run is never refused for want of room.
    let about =
        LogFields { run: Some(id.to_string()), caller: caller.clone(), ..LogFields::default() };
    let finished = service.finish(&id, &principal, &known.origin()).await;
    finished.map_err(|problem| problem.about(about))?;
    let mut response = no_content();
    let run = Some(id.to_string());
    response.extensions_mut().insert(LogFields { run, caller, ..LogFields::default() });
    Ok(response)
}
