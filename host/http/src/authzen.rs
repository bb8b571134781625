//! The Authorization API 1.0 of AuthZEN: `POST /access/v1/evaluation` and `/access/v1/evaluations`, and the metadata.
//!
//! The subject is a registered run, the action `issue-token`, the resource an audience. It only translates: what cannot be said
//! as yes or no is a no that says why. Members that the standard does not have are ignored, as it demands, but not among the
//! properties of `issue-token`, which are this service's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use countersign::{Reason, ReasonSource, Terms, check_json};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::admission::Caller;
use super::answer::{ReasonBody, Rejection, ok, status};
use super::caller::authenticate;
use super::decisions::TermsBody;
use super::input::{self, identifier};
use super::publication::published;
use countersign_issuer::{
    Decided, LogFields, Permission, Principal, Problem, ProblemKind, RegisteredQuestion, Service,
};

/// The type of a subject that is a run; its id is the run's UUID.
const RUN: &str = "run";

/// The name of the action.
const ISSUE_TOKEN: &str = "issue-token";

/// The type of a resource that is an audience; its id is the audience.
const AUDIENCE: &str = "audience";

/// The maximum of a body, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// The maximum depth of a body. Properties are nested as their owner likes.
const MAX_DEPTH: usize = 32;

/// The maximum of evaluations in a request.
const MAX_EVALUATIONS: usize = 64;

/// Sections 6.1 and 7.1. All members are optional here, since those of an evaluation can come from the request around it.
#[derive(Deserialize, Clone, Default)]
struct Question {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    /// Not used, but an object where it is there.
    #[serde(rename = "context")]
    _context: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
struct Questions {
    #[serde(flatten)]
    defaults: Question,
    evaluations: Option<Vec<Question>>,
    options: Option<Options>,
}

#[derive(Deserialize, Default)]
struct Options {
    evaluations_semantic: Option<Semantic>,
}

/// Section 7.1.2.1.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// Sections 5.1 and 5.2: a subject or a resource.
#[derive(Deserialize, Clone)]
struct Entity {
    r#type: String,
    id: String,
    #[serde(rename = "properties")]
    _properties: Option<BTreeMap<String, IgnoredAny>>,
}

/// Section 5.3.
#[derive(Deserialize, Clone)]
struct Action {
    name: String,
    properties: Option<Map<String, Value>>,
}

/// The properties of `issue-token`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Properties {
    /// The lifetime that the token is to have; the default one unless given.
    ttl_seconds: Option<u32>,
    /// The asker issues the token with the terms of the answer, and not with those that it asked for.
    #[serde(default)]
    applies_terms: bool,
}

/// Section 5.5.
#[derive(Serialize)]
struct Answer {
    decision: bool,
    context: Value,
}

#[derive(Serialize)]
struct Answers {
    evaluations: Vec<Answer>,
}

#[derive(Serialize, Default)]
struct Context<'d> {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_set: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_subject: Option<&'d str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<TermsBody<'d>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonBody<'d>>,
}

/// Section 9.1.1.
#[derive(Serialize)]
struct Metadata<'s> {
    policy_decision_point: &'s str,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

/// `GET /.well-known/authzen-configuration`
pub(super) async fn metadata(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let issuer = service.url().as_str();
    let metadata = Metadata {
        policy_decision_point: issuer,
        access_evaluation_endpoint: format!("{issuer}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{issuer}/access/v1/evaluations"),
    };
    let text = serde_json::to_vec(&metadata).map_err(Problem::failed)?;
    Ok(published(&service, &headers, text, "application/json"))
}

/// `POST /access/v1/evaluation`
pub(super) async fn evaluation(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &caller, &headers, Permission::Decisions).await?;
    let question: Question = read(&service, &headers, body).await?;
    one(&service, &question, &principal, &caller).await
}

/// `POST /access/v1/evaluations`
pub(super) async fn evaluations(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let principal = authenticate(&service, &caller, &headers, Permission::Decisions).await?;
    let Questions { defaults, evaluations, options } = read(&service, &headers, body).await?;
    let questions = evaluations.unwrap_or_default();
    if questions.is_empty() {
        // Section 7.1: then it is a request for one.
        return one(&service, &defaults, &principal, &caller).await;
    }
    if questions.len() > MAX_EVALUATIONS {
        let found = questions.len();
        let problem = format!("`evaluations`: {found}, at most {MAX_EVALUATIONS} are allowed");
        return Err(Problem::invalid(problem).into());
    }
    let semantic = options.unwrap_or_default().evaluations_semantic.unwrap_or_default();
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        let question = Question {
            subject: question.subject.or_else(|| defaults.subject.clone()),
            action: question.action.or_else(|| defaults.action.clone()),
            resource: question.resource.or_else(|| defaults.resource.clone()),
            _context: None,
        };
        // The answer to all is 200 in any case, so a token that may be used once is used.
        let answer = match answer(&service, &question, &principal, &caller).await {
            Ok((answer, _)) => answer,
            // Section 7.2.1: an error of one is a no, and is told with it.
            Err(problem) => Answer::error(&problem),
        };
        let ends = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !answer.decision,
            Semantic::PermitOnFirstPermit => answer.decision,
        };
        answers.push(answer);
        if ends {
            break;
        }
    }
    let mut response = ok(&Answers { evaluations: answers });
    let caller = Some(principal.name.clone());
    response.extensions_mut().insert(LogFields { caller, ..LogFields::default() });
    Ok(response)
}

/// A body, strict as far as it is read differently otherwise (section 11.5).
async fn read<Q: for<'b> Deserialize<'b>>(
    service: &Service,
    headers: &HeaderMap,
    body: Body,
) -> Result<Q, Problem> {
    let body = input::body(headers, body, &["application/json"], MAX_BYTES, service.config()).await;
    let body = body.map_err(|problem| match problem.kind {
        // Section 10.1.2 has no other status for it.
        ProblemKind::UnsupportedMediaType => {
            Problem { kind: ProblemKind::InvalidRequest, ..problem }
        }
        _ => problem,
    })?;
    check_json(&body, body.len(), MAX_DEPTH)
        .map_err(|error| Problem::invalid(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|_| {
        // serde's own message could repeat a value.
        Problem::invalid(
            "expected `subject` and `resource` with `type` and `id`, and `action` with `name`, as AuthZEN has them",
        )
    })
}

async fn one(
    service: &Arc<Service>,
    question: &Question,
    principal: &Principal,
    caller: &Caller,
) -> Result<Response, Rejection> {
    let answered = answer(service, question, principal, caller).await;
    let (answer, fields) = service.repeatable_for(principal, answered).await?;
    let mut response = ok(&answer);
    response.extensions_mut().insert(fields);
    Ok(response)
}

/// Answers one question.
///
/// # Errors
/// When something that is required is not there or cannot be meant, or there can be no decision.
async fn answer(
    service: &Arc<Service>,
    question: &Question,
    principal: &Principal,
    caller: &Caller,
) -> Result<(Answer, LogFields), Problem> {
    let required = |name: &str| Problem::invalid(format!("`{name}` is required"));
    let subject = question.subject.as_ref().ok_or_else(|| required("subject"))?;
    let action = question.action.as_ref().ok_or_else(|| required("action"))?;
    let resource = question.resource.as_ref().ok_or_else(|| required("resource"))?;
    let mut fields = LogFields { caller: Some(principal.name.clone()), ..LogFields::default() };
    if let Some(unknown) = unknown(subject, action, resource) {
        fields.reasons = Some(unknown.code.clone());
        return Ok((Answer::no(&[unknown]), fields));
    }
    let properties = properties(action)?;
    let run = identifier("subject.id", &subject.id)?;
    let audience = identifier("resource.id", &resource.id)?;
    let ttl_seconds = properties.ttl_seconds.unwrap_or(service.config().default_ttl_seconds);
    let question = RegisteredQuestion { run, audience, ttl_seconds };
    fields.run = Some(question.run.to_string());
    let slot = service.slot()?;
    match service.decide_registered(question, principal, caller.origin(), slot).await {
        Ok(decided) => {
            fields.decision = Some(decided.decision.to_string());
            let answer = Answer::of(&decided, ttl_seconds, properties.applies_terms);
            Ok((answer, fields))
        }
        Err(problem) => Answer::of_problem(problem).map(|answer| (answer, fields)),
    }
}

/// The reason that there is nothing to decide: it is about something else than a token of a run.
fn unknown(subject: &Entity, action: &Action, resource: &Entity) -> Option<Reason> {
    let (code, message) = if subject.r#type != RUN {
        ("unknown-subject", "the type of the subject is not `run`")
    } else if action.name != ISSUE_TOKEN {
        ("unknown-action", "the action is not `issue-token`")
    } else if resource.r#type != AUDIENCE {
        ("unknown-resource", "the type of the resource is not `audience`")
    } else {
        return None;
    };
    Some(of_host(code, message))
}

fn properties(action: &Action) -> Result<Properties, Problem> {
    let Some(properties) = &action.properties else { return Ok(Properties::default()) };
    serde_json::from_value(Value::Object(properties.clone())).map_err(|_| {
        Problem::invalid(
            "`action.properties`: expected `ttl_seconds`, a whole number, and `applies_terms`, true or false",
        )
    })
}

fn of_host(code: &str, message: &str) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        source: ReasonSource::Host,
        binding: None,
    }
}

impl Answer {
    fn new(decision: bool, context: &Context<'_>) -> Self {
        // Its keys are texts, so it can be written.
        Self { decision, context: serde_json::to_value(context).unwrap_or_default() }
    }

    fn no(reasons: &[Reason]) -> Self {
        let reasons = reasons.iter().map(ReasonBody::new).collect();
        Self::new(false, &Context { reasons, ..Context::default() })
    }

    /// A decision, unless it says more than a yes can: then a no that says so, and has the terms.
    fn of(decided: &Decided, asked: u32, applies_terms: bool) -> Self {
        let narrower = of_host(
            "door-cannot-narrow",
            "approved with narrower terms than were asked for; ask for these, or apply `terms` and say so (`applies_terms`)",
        );
        let (terms, reasons) = match &decided.outcome {
            Ok(terms) if applies_terms || is_as_asked(terms, asked) => (Some(terms), Vec::new()),
            Ok(terms) => (Some(terms), vec![ReasonBody::new(&narrower)]),
            Err(reasons) => (None, reasons.iter().map(ReasonBody::new).collect()),
        };
        let decision = terms.is_some() && reasons.is_empty();
        let context = Context {
            decision: Some(decided.decision.to_string()),
            policy_set: Some(decided.policy_set.to_string()),
            token_subject: Some(&decided.subject),
            terms: terms.map(TermsBody::new),
            reasons,
        };
        Self::new(decision, &context)
    }

    /// A problem that is a no: there is no such run, or a rule of the host refuses it.
    fn of_problem(problem: Problem) -> Result<Self, Problem> {
        match (problem.kind, &problem.refusal) {
            (ProblemKind::NotFound, _) => {
                Ok(Self::no(&[of_host("unknown-subject", "there is no such run")]))
            }
            (ProblemKind::AccessDenied, Some(refusal)) => Ok(Self::no(&refusal.reasons)),
            _ => Err(problem),
        }
    }

    /// An error of one of several.
    fn error(problem: &Problem) -> Self {
        let error = serde_json::json!({
            "status": status(problem.kind).as_u16(),
            "message": problem.description,
        });
        Self { decision: false, context: serde_json::json!({ "error": error }) }
    }
}

/// Tells whether a token with the terms that were asked for has the terms of the approval: one audience, the whole lifetime, and
/// no further claims.
fn is_as_asked(terms: &Terms, ttl_seconds: u32) -> bool {
    terms.ttl_seconds == ttl_seconds && terms.claims.is_empty()
}
