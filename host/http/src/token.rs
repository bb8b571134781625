//! Tokens: by exchange (RFC 8693), `POST /v1/token`; and by the run token alone,
//! `GET /v1/runs/{uuid}/token`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use countersign::Audience;
use serde::Serialize;
use zeroize::Zeroizing;

use super::admission::Caller;
use super::answer::{Rejection, ok};
use super::caller::bearer;
use super::input::{self, Parameters, identifier, path_id};
use countersign_issuer::{
    ExchangeRequest, Issued, LogFields, MAX_SECRET_BYTES, MAX_TOKEN_BYTES, Problem, ProblemKind,
    Service, SubjectToken,
};

/// RFC 8693 section 2.1.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// RFC 8693 section 3: a JWT, here the runner's own identity; and what is issued.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// An OAuth 2.0 access token, here the run token.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// An ID token of OpenID Connect: the runner's own identity, where its issuer calls it so; and what is issued.
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The maximum size of a form, in bytes: a token, and the parameters beside it.
const MAX_FORM_BYTES: usize = 48 << 10;

/// RFC 8693 section 2.2.1.
#[derive(Serialize)]
struct TokenBody<'t> {
    access_token: &'t str,
    issued_token_type: &'static str,
    /// It is not for the use at a resource server: RFC 8693 section 2.2.1.
    token_type: &'static str,
    expires_in: u32,
    /// Digest of the decision's record.
    decision: String,
}

pub(super) async fn exchange(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    let types = &["application/x-www-form-urlencoded"];
    let form = input::body(&headers, body, types, MAX_FORM_BYTES, service.config()).await?;
    let Form { request, issued_token_type } = parse(&Zeroizing::new(form))?;
    let (issued, fields) = exchanged(&service, request, caller).await?;
    let body = TokenBody {
        access_token: issued.token.expose(),
        issued_token_type,
        token_type: "N_A",
        expires_in: issued.expires_in,
        decision: issued.decision.to_string(),
    };
    let mut response = ok(&body);
    response.extensions_mut().insert(fields);
    Ok(response)
}

/// The answer for clients that can only get a URL, in the form that GitHub's runners have
/// (`ACTIONS_ID_TOKEN_REQUEST_URL`), which OpenTofu's providers know.
#[derive(Serialize)]
struct ValueBody<'t> {
    value: &'t str,
    expires_in: u32,
    decision: String,
}

pub(super) async fn get(
    method: Method,
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    run: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejection> {
    // A router answers HEAD as GET, and here each is a token.
    if method != Method::GET {
        return Err(Problem::method_not_allowed().into());
    }
    let run = path_id(run)?;
    let bearer = Zeroizing::new(bearer(&headers, "the run token")?.to_owned());
    if bearer.len() > MAX_SECRET_BYTES {
        return Err(Problem::invalid("the run token is too long").into());
    }
    let query = Parameters::parse(query.unwrap_or_default().as_bytes())?;
    let (audiences, ttl_seconds) = (audiences(&query)?, query.number("ttl_seconds")?);
    input::no_body(&headers, body, service.config()).await?;
    let subject_token = SubjectToken::RunToken(bearer);
    let request = ExchangeRequest { run, audiences, ttl_seconds, subject_token };
    let issued = exchanged(&service, request, caller).await;
    // The header authenticates the caller here, and not a parameter.
    let (issued, fields) = issued.map_err(|problem| match problem.kind {
        ProblemKind::NotEntitled => Problem { kind: ProblemKind::Unauthenticated, ..problem },
        _ => problem,
    })?;
    let (value, expires_in) = (issued.token.expose(), issued.expires_in);
    let body = ValueBody { value, expires_in, decision: issued.decision.to_string() };
    let mut response = ok(&body);
    response.extensions_mut().insert(fields);
    Ok(response)
}

/// Exchanges a subject token, and returns the fields of the log line.
async fn exchanged(
    service: &Arc<Service>,
    request: ExchangeRequest,
    caller: Caller,
) -> Result<(Issued, LogFields), Problem> {
    let run = Some(request.run.to_string());
    let about = LogFields { run: run.clone(), ..LogFields::default() };
    let exchanged = async {
        // One connection has few turns at a time, however many requests it carries.
        let _turn = caller.turn().await;
        service.exchange(request, caller.origin(), &caller.proven).await
    };
    let issued = exchanged.await.map_err(|problem| problem.about(about))?;
    let (jti, decision) = (Some(issued.jti.clone()), Some(issued.decision.to_string()));
    Ok((issued, LogFields { run, jti, decision, ..LogFields::default() }))
}

fn audiences(parameters: &Parameters) -> Result<Vec<Audience>, Problem> {
    let audiences = parameters
        .all("audience")
        .map(|audience| {
            identifier("audience", audience)
                .map_err(|problem| Problem { kind: ProblemKind::InvalidTarget, ..problem })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if audiences.is_empty() {
        return Err(Problem::new(ProblemKind::InvalidTarget, "`audience` is missing"));
    }
    Ok(audiences)
}

/// A request, and what it names the token.
struct Form {
    request: ExchangeRequest,
    issued_token_type: &'static str,
}

fn parse(form: &[u8]) -> Result<Form, Problem> {
    let form = Parameters::parse(form)?;
    if form.required("grant_type")? != GRANT_TYPE {
        let description = format!("`grant_type`: expected `{GRANT_TYPE}`");
        return Err(Problem::new(ProblemKind::UnsupportedGrantType, description));
    }
    if form.optional("scope")?.is_some() {
        return Err(Problem::new(ProblemKind::InvalidScope, "there are no scopes"));
    }
    if form.all("resource").next().is_some() {
        let description = "`resource` is not supported; name the audience by `audience`";
        return Err(Problem::new(ProblemKind::InvalidTarget, description));
    }
    for name in ["actor_token", "actor_token_type"] {
        if form.optional(name)?.is_some() {
            return Err(Problem::invalid(format!(
                "`{name}` is not supported: there is no delegation"
            )));
        }
    }
    // RFC 8693 section 2.2.1: that of the token, which is a JWT and an ID token, as it is asked for.
    let issued_token_type = match form.optional("requested_token_type")? {
        None | Some(JWT) => JWT,
        Some(ID_TOKEN) => ID_TOKEN,
        Some(_) => {
            let description = format!("`requested_token_type`: expected `{JWT}` or `{ID_TOKEN}`");
            return Err(Problem::invalid(description));
        }
    };
    let token = form.required("subject_token")?;
    let subject_token = match form.required("subject_token_type")? {
        JWT | ID_TOKEN if token.len() <= MAX_TOKEN_BYTES => {
            SubjectToken::RunnerIdentity(Zeroizing::new(token.to_owned()))
        }
        ACCESS_TOKEN if token.len() <= MAX_SECRET_BYTES => {
            SubjectToken::RunToken(Zeroizing::new(token.to_owned()))
        }
        JWT | ID_TOKEN | ACCESS_TOKEN => {
            return Err(Problem::invalid("`subject_token` is too long"));
        }
        _ => {
            let description = format!(
                "`subject_token_type`: expected `{JWT}` or `{ID_TOKEN}` for the runner's identity, or \
                 `{ACCESS_TOKEN}` for the run token"
            );
            return Err(Problem::invalid(description));
        }
    };
    let request = ExchangeRequest {
        run: identifier("run", form.required("run")?)?,
        audiences: audiences(&form)?,
        ttl_seconds: form.number("ttl_seconds")?,
        subject_token,
    };
    Ok(Form { request, issued_token_type })
}
