//! Authentication of callers by the `Authorization` header.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use countersign_issuer::{Permission, Principal, Problem, ProblemKind, Service};

/// The caller, if it has the permission: by an API key, or a token of a trusted issuer.
///
/// # Errors
/// When there are no credentials, they are not accepted, or the caller lacks the permission.
pub(super) async fn authenticate(
    service: &Service,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Principal, Problem> {
    let bearer = bearer(headers, "an API key or a token")?;
    service.authenticate(bearer, permission).await
}

/// The bearer token of the caller (RFC 6750 section 2.1).
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn bearer<'h>(headers: &'h HeaderMap, what: &str) -> Result<&'h str, Problem> {
    let expected = || {
        let description = format!("expected one `Authorization: Bearer …`: {what}");
        Problem::new(ProblemKind::Unauthenticated, description)
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(expected()) };
    let value = value.to_str().map_err(|_| expected())?;
    let (scheme, bearer) = value.split_once(' ').ok_or_else(expected)?;
    // RFC 9110 section 11.1: the case of a scheme does not matter.
    if !scheme.eq_ignore_ascii_case("bearer") || bearer.is_empty() {
        return Err(expected());
    }
    Ok(bearer)
}
