//! Decisions without tokens: `POST /v1/decisions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use countersign::{MAX_RUN_BYTES, MAX_RUN_DEPTH, MAX_RUN_TEXT_BYTES, Terms, check_json_with_run};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::admission::Caller;
use super::answer::{ReasonBody, Rejection, ok};
use super::caller::authenticate;
use super::input::{self, identifier};
use super::registration;
use countersign_issuer::{IssueRequest, LogFields, Permission, Problem, Service};

/// The room in bytes for the members beside the run object.
const BESIDE_RUN_BYTES: usize = registration::MAX_FACTS_BYTES + 8192;

/// The body of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionRequest<'b> {
    /// The run object.
    #[serde(borrow)]
    run: &'b RawValue,
    #[serde(default)]
    runner: Option<String>,
    /// Facts of the run, as a registration has them.
    #[serde(borrow, default)]
    facts: Option<&'b RawValue>,
    audiences: Vec<String>,
    ttl_seconds: u32,
}

#[derive(Serialize)]
struct DecisionBody<'d> {
    decision: String,
    policy_set: String,
    outcome: &'static str,
    subject: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<TermsBody<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<ReasonBody<'d>>>,
}

/// The terms of an approval.
#[derive(Serialize)]
pub(super) struct TermsBody<'d> {
    audiences: Vec<&'d str>,
    ttl_seconds: u32,
    claims: BTreeMap<&'d str, &'d str>,
}

impl<'d> TermsBody<'d> {
    pub(super) fn new(terms: &'d Terms) -> Self {
        Self {
            audiences: terms.audiences.iter().map(|audience| audience.as_str()).collect(),
            ttl_seconds: terms.ttl_seconds,
            claims: terms.claims.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }
}

pub(super) async fn decide(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &caller, &headers, Permission::Decisions).await?;
    // A run object, and the members beside it.
    let max = MAX_RUN_TEXT_BYTES + BESIDE_RUN_BYTES;
    let body = input::body(&headers, body, &["application/json"], max, service.config()).await?;
    let slot = service.slot()?;
    let request = parse(&body, service.now()?)?;
    drop(body);
    let (run, by) = (Some(request.run.id.to_string()), Some(principal.name.clone()));
    let decided = service.decide(request, &principal, caller.origin(), slot).await?;
    let (terms, reasons) = match &decided.outcome {
        Ok(terms) => (Some(TermsBody::new(terms)), None),
        Err(reasons) => (None, Some(reasons.iter().map(ReasonBody::new).collect())),
    };
    let body = DecisionBody {
        decision: decided.decision.to_string(),
        policy_set: decided.policy_set.to_string(),
        outcome: if terms.is_some() { "approved" } else { "refused" },
        subject: &decided.subject,
        terms,
        reasons,
    };
    let mut response = ok(&body);
    let decision = Some(body.decision);
    response.extensions_mut().insert(LogFields {
        run,
        caller: by,
        decision,
        ..LogFields::default()
    });
    Ok(response)
}

fn parse(body: &[u8], now: u64) -> Result<IssueRequest, Problem> {
    check_json_with_run(body, MAX_RUN_BYTES + BESIDE_RUN_BYTES, MAX_RUN_DEPTH + 1)
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let request: DecisionRequest<'_> = serde_json::from_slice(body).map_err(|_| {
        // serde's own message could repeat a value.
        Problem::invalid(
            "expected an object with `run`, `audiences`, `ttl_seconds` and, where they are known, \
             `runner` and `facts`",
        )
    })?;
    let facts = registration::facts(request.facts)?;
    let (run, facts) = registration::with_facts(request.run.get().as_bytes(), "/run", &facts)?;
    let runner = request.runner.as_deref().map(|text| identifier("runner", text)).transpose()?;
    let audiences = request
        .audiences
        .iter()
        .map(|text| identifier("audiences", text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(IssueRequest { run, runner, facts, audiences, ttl_seconds: request.ttl_seconds, now })
}
