//! Authentication of callers by the `Authorization` header.

use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::admission::Caller;
use countersign_issuer::{Permission, Principal, Problem, ProblemKind, Service};

/// The caller, if it has the permission: by an API key, or a token of a trusted issuer.
///
/// # Errors
/// When there are no credentials, they are not accepted, or the caller lacks the permission.
pub(super) async fn authenticate(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Principal, Problem> {
    let bearer = bearer(headers, "an API key or a token")?;
    let began = Instant::now();
    let authenticated = service.authenticate(bearer, permission).await;
    if let Some(trace) = &caller.trace {
        trace.span("authenticate", (began, Instant::now()), Vec::new(), false);
    }
    let is_known = match &authenticated {
        Ok(_) => true,
        Err(problem) => problem.kind == ProblemKind::Forbidden,
    };
    caller.proven.fetch_or(is_known, Ordering::Relaxed);
    authenticated
}

/// The bearer token of the caller (RFC 6750 section 2.1).
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn bearer<'h>(headers: &'h HeaderMap, what: &str) -> Result<&'h str, Problem> {
    let expected = |kind| {
        let description = format!("expected one `Authorization: Bearer …`: {what}");
        Problem::new(kind, description)
    };
    let malformed = || expected(ProblemKind::Unauthenticated);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(expected(ProblemKind::NoCredentials)),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(malformed()),
    };
    let value = value.to_str().map_err(|_| malformed())?;
    // RFC 9110 section 11.4: one space or more.
    let (scheme, bearer) = value.split_once(' ').unwrap_or((value, ""));
    let bearer = bearer.trim_start_matches(' ');
    // RFC 9110 section 11.1: the case of a scheme does not matter. Whoever tries another one has not heard of this one.
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(expected(ProblemKind::NoCredentials));
    }
    if bearer.is_empty() {
        return Err(malformed());
    }
    Ok(bearer)
}
