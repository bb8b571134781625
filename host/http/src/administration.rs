//! Administration: `GET /v1/runs`, `GET /v1/runs/{uuid}` and `POST /v1/runners/{uuid}/finish`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use countersign::{RunId, RunnerId};
use serde::Serialize;

use super::admission::Caller;
use super::answer::{Rejection, ok};
use super::caller::authenticate;
use super::input::{self, Parameters, identifier, path_id};
use countersign_issuer::{
    Liveness, LogFields, Permission, Problem, RegisteredRun, RunQuery, Service,
};

/// The runs of a page, unless asked for otherwise, and their maximum.
const USUAL_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// A run, without anything secret. Times are in seconds since 1970.
#[derive(Serialize)]
struct RunBody<'r> {
    run: &'r str,
    runner: &'r str,
    /// The workspace that owns the building block.
    workspace: &'r str,
    /// The workspace that owns its definition.
    definition_workspace: &'r str,
    definition: &'r str,
    state: &'static str,
    registered_at: u64,
    expires_at: u64,
    finished_at: Option<u64>,
}

#[derive(Serialize)]
struct PageBody<'r> {
    runs: Vec<RunBody<'r>>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'r str>,
}

#[derive(Serialize)]
struct FinishedBody<'r> {
    runner: &'r str,
    finished: u64,
}

impl<'r> RunBody<'r> {
    fn new(registered: &'r RegisteredRun, now: u64) -> Self {
        let run = &registered.run;
        Self {
            run: run.id.as_str(),
            runner: registered.runner.as_str(),
            workspace: run.building_block.workspace.as_str(),
            definition_workspace: run.definition.workspace.as_str(),
            definition: run.definition.id.as_str(),
            state: match registered.liveness(now) {
                Liveness::Live => "live",
                Liveness::Finished => "finished",
                Liveness::Expired => "expired",
            },
            registered_at: registered.registered_at,
            expires_at: registered.expires_at,
            finished_at: registered.finished_at,
        }
    }
}

pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &known, &headers, Permission::Runs).await?;
    let id: RunId = path_id(id)?;
    input::no_body(&headers, body, service.config()).await?;
    let _slot = service.slot()?;
    let now = service.now()?;
    let (run, caller) = (Some(id.to_string()), Some(principal.name));
    let fields = LogFields { run, caller, ..LogFields::default() };
    let registered = service.registered_run(&id).await;
    let registered = registered.map_err(|problem| problem.about(fields.clone()))?;
    let mut response = ok(&RunBody::new(&registered, now));
    response.extensions_mut().insert(fields);
    Ok(response)
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &known, &headers, Permission::Runs).await?;
    let query = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    let runner = query.optional("runner")?.map(|id| identifier("runner", id)).transpose()?;
    let after = query.optional("after")?.map(|id| identifier("after", id)).transpose()?;
    let live = match query.optional("live")? {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Problem::invalid("`live`: expected `true` or `false`").into()),
    };
    let limit = query.number("limit")?.unwrap_or(USUAL_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::invalid(format!("`limit`: expected 1 to {MAX_PAGE}")).into());
    }
    input::no_body(&headers, body, service.config()).await?;
    let _slot = service.slot()?;
    let now = service.now()?;
    let page = service.registered_runs(&RunQuery { runner, live, now, after, limit }).await?;
    let runs = page.runs.iter().map(|run| RunBody::new(run, now)).collect();
    let next = page.next.as_ref().map(|id| id.as_str());
    let mut response = ok(&PageBody { runs, next });
    let caller = Some(principal.name);
    response.extensions_mut().insert(LogFields { caller, ..LogFields::default() });
    Ok(response)
}

pub(super) async fn finish_runner(
    State(service): State<Arc<Service>>,
    Extension(known): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &known, &headers, Permission::Runs).await?;
    let runner: RunnerId = path_id(id)?;
    input::no_body(&headers, body, service.config()).await?;
    let (name, caller) = (Some(runner.to_string()), Some(principal.name.clone()));
    let fields = LogFields { runner: name, caller, ..LogFields::default() };
    // Ending runs is never refused for want of room.
    let finished = service.finish_runner(runner.clone(), principal, known.origin()).await;
    let finished = finished.map_err(|problem| problem.about(fields.clone()))?;
    let mut response = ok(&FinishedBody { runner: runner.as_str(), finished });
    response.extensions_mut().insert(fields);
    Ok(response)
}
