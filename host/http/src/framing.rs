//! The framing of a request: what RFC 9110 and RFC 9112 demand of its head before anything else of it matters.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Version};

use super::connections::Connection;
use super::heads::Framing;
use countersign_issuer::{Problem, ProblemKind};

/// Checks the fields that say whom a request is for, and where it ends.
///
/// # Errors
/// When they are missing, repeated or ambiguous: whoever stands in front may have read them otherwise.
pub(crate) fn check(request: &Request, connection: Option<&Connection>) -> Result<(), Problem> {
    if request.version() < Version::HTTP_2 {
        transfer_encoding(request, connection)?;
    }
    host(request)
}

/// RFC 9112 section 3.2, and RFC 9113 section 8.3.1.
fn host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(Problem::invalid("`Host` is there twice")),
        (None, None) if request.version() == Version::HTTP_11 => {
            Err(Problem::invalid("`Host` is missing (RFC 9112 section 3.2)"))
        }
        (None, None) => Ok(()),
        (Some(host), None) if !is_host(host) => Err(Problem::invalid("`Host` is not a host")),
        // Of HTTP/1.1, the authority of an absolute target counts (RFC 9112 section 3.2.2).
        (Some(host), None) if request.version() == Version::HTTP_2 => match authority {
            Some(authority)
                if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
            {
                Err(Problem::invalid("`Host` and `:authority` differ (RFC 9113 section 8.3.1)"))
            }
            _ => Ok(()),
        },
        (Some(_), None) => Ok(()),
    }
}

/// A host with or without a port, or nothing, where the target has no authority.
fn is_host(host: &HeaderValue) -> bool {
    host.is_empty()
        || Authority::try_from(host.as_bytes())
            .is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// RFC 9112 sections 6.1 and 6.3.
fn transfer_encoding(request: &Request, connection: Option<&Connection>) -> Result<(), Problem> {
    let framing = connection.map(|connection| connection.heads().next());
    let headers = request.headers();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        // The parser drops one of them, so its headers have not both.
        _ if headers.contains_key(CONTENT_LENGTH) || framing != Some(Some(Framing::Clear)) => {
            let description = "`Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.3)";
            Err(Problem::new(ProblemKind::AmbiguousLength, description))
        }
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let description = "`Transfer-Encoding`: expected `chunked` alone";
            Err(Problem::new(ProblemKind::NotImplemented, description))
        }
    }
}
