//! Who calls, where that is not the runner.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::identity::Permission;
use crate::problem::{Problem, ProblemKind};
use crate::service::Service;

/// The name of the caller, if it may do this: by an API key, or a token of a trusted issuer.
///
/// # Errors
/// When nobody says who calls, it is not believed, or the caller may not.
pub(super) async fn control_plane(
    service: &Service,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<String, Problem> {
    let bearer = bearer(headers, "an API key or a token")?;
    service.control_plane(bearer, permission).await
}

/// What the caller shows (RFC 6750 section 2.1).
///
/// # Errors
/// When there is nothing, or more than one.
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
