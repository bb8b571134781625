//! The console at `/console` of the listener for probes, for callers with the permission `read`.
//!
//! The pages are the caller's. They are never at the public listener: they show what an issuer tells nobody else.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_issuer::{LogFields, Permission, Service};
use hyper::StatusCode;
use zeroize::Zeroizing;

use super::admission::Caller;
use super::answer::Rejection;
use super::caller::authenticate;

/// The path of the console, at which its own paths begin.
pub const CONSOLE: &str = "/console";

/// Answers a request for a page by its head.
pub type ConsolePages = Arc<
    dyn Fn(
            Parts,
        ) -> Pin<
            Box<dyn Future<Output = Response<http_body_util::Full<hyper::body::Bytes>>> + Send>,
        > + Send
        + Sync,
>;

/// The routes of the console.
pub(super) fn routes(pages: ConsolePages) -> Router<Arc<Service>> {
    let page = move |State(service): State<Arc<Service>>,
                     Extension(caller): Extension<Caller>,
                     request: Request| {
        let pages = Arc::clone(&pages);
        async move { page(&service, &caller, request, &pages).await }
    };
    Router::new()
        .route(CONSOLE, any(page.clone()))
        // A wildcard takes one character at least.
        .route("/console/", any(page.clone()))
        .route("/console/{*path}", any(page))
}

async fn page(
    service: &Service,
    caller: &Caller,
    request: Request,
    pages: &ConsolePages,
) -> Response {
    let head = request.into_parts().0;
    let bearer = bearer(&head.headers);
    let principal = match authenticate(service, caller, &bearer, Permission::Read).await {
        Ok(principal) => principal,
        Err(problem) => {
            let mut response = Rejection::from(problem).into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                // A browser has no other way to ask for a key.
                let basic = "Basic realm=\"countersign\", charset=\"UTF-8\"";
                response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(basic));
            }
            return response;
        }
    };
    let mut response = pages(head).await.map(Body::new);
    let caller = Some(principal.name);
    response.extensions_mut().insert(LogFields { caller, ..LogFields::default() });
    response
}

/// The credentials of a caller as a bearer token: a browser sends an API key as the password of RFC 7617, whatever the
/// name.
fn bearer(headers: &HeaderMap) -> HeaderMap {
    let mut bearer = HeaderMap::new();
    for value in headers.get_all(AUTHORIZATION) {
        let basic = password(value)
            .and_then(|password| HeaderValue::try_from(format!("Bearer {}", *password)).ok());
        let mut value = basic.unwrap_or_else(|| value.clone());
        value.set_sensitive(true);
        bearer.append(AUTHORIZATION, value);
    }
    bearer
}

fn password(value: &HeaderValue) -> Option<Zeroizing<String>> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim_start_matches(' ')).ok()?);
    let (_, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}
