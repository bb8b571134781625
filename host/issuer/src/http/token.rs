//! Token exchange (RFC 8693): `POST /v1/token`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use zeroize::Zeroizing;

use super::admission::RequestId;
use super::answer::json;
use super::input::{self, Parameters, identifier};
use crate::identity::MAX_TOKEN_BYTES;
use crate::problem::{Problem, ProblemKind, Told};
use crate::runs::MAX_SECRET_BYTES;
use crate::service::{ExchangeRequest, Service, SubjectToken};

/// RFC 8693 section 2.1.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// RFC 8693 section 3: a JWT, here the runner's own identity; and what is issued.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// An OAuth 2.0 access token, here the run token.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The longest form that is taken, in bytes: a token, and what is said beside it.
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
    Extension(RequestId(id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let types = &["application/x-www-form-urlencoded"];
    let form = input::body(&headers, body, types, MAX_FORM_BYTES, service.settings()).await?;
    let slot = service.slot()?;
    let request = parse(&Zeroizing::new(form))?;
    let run = Some(request.run.to_string());
    let about = Told { run: run.clone(), ..Told::default() };
    let issued =
        service.exchange(request, id, slot).await.map_err(|problem| problem.about(about))?;
    let body = TokenBody {
        access_token: issued.token.expose(),
        issued_token_type: JWT,
        token_type: "N_A",
        expires_in: issued.expires_in,
        decision: issued.decision.to_string(),
    };
    let mut response = json(StatusCode::OK, &body);
    let (jti, decision) = (Some(issued.jti), Some(body.decision));
    let told = Told { run, jti, decision, ..Told::default() };
    response.extensions_mut().insert(told);
    Ok(response)
}

fn parse(form: &[u8]) -> Result<ExchangeRequest, Problem> {
    let form = Parameters::parse(form)?;
    if form.required("grant_type")? != GRANT_TYPE {
        let description = format!("`grant_type`: expected `{GRANT_TYPE}`");
        return Err(Problem::new(ProblemKind::UnsupportedGrantType, description));
    }
    if form.optional("scope")?.is_some() {
        return Err(Problem::new(ProblemKind::InvalidScope, "there are no scopes"));
    }
    if form.all("resource").next().is_some() {
        let description = "`resource` is not taken; name the audience by `audience`";
        return Err(Problem::new(ProblemKind::InvalidTarget, description));
    }
    for name in ["actor_token", "actor_token_type"] {
        if form.optional(name)?.is_some() {
            return Err(Problem::invalid(format!("`{name}` is not taken: there is no delegation")));
        }
    }
    if form.optional("requested_token_type")?.is_some_and(|kind| kind != JWT && kind != ID_TOKEN) {
        return Err(Problem::invalid(format!("`requested_token_type`: expected `{JWT}`")));
    }
    let token = form.required("subject_token")?;
    let subject_token = match form.required("subject_token_type")? {
        JWT if token.len() <= MAX_TOKEN_BYTES => {
            SubjectToken::RunnerIdentity(Zeroizing::new(token.to_owned()))
        }
        ACCESS_TOKEN if token.len() <= MAX_SECRET_BYTES => {
            SubjectToken::RunToken(Zeroizing::new(token.to_owned()))
        }
        JWT | ACCESS_TOKEN => return Err(Problem::invalid("`subject_token` is too long")),
        _ => {
            let description = format!(
                "`subject_token_type`: expected `{JWT}` for the runner's identity, or `{ACCESS_TOKEN}` \
                 for the run token"
            );
            return Err(Problem::invalid(description));
        }
    };
    let audiences = form
        .all("audience")
        .map(|audience| {
            identifier("audience", audience)
                .map_err(|problem| Problem { kind: ProblemKind::InvalidTarget, ..problem })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if audiences.is_empty() {
        return Err(Problem::new(ProblemKind::InvalidTarget, "`audience` is missing"));
    }
    Ok(ExchangeRequest {
        run: identifier("run", form.required("run")?)?,
        audiences,
        ttl_seconds: form.number("ttl_seconds")?,
        subject_token,
    })
}
