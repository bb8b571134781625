//! The checks of every request before anything else: whom it is for, where it comes from, and that it only reads.
//!
//! A page on another site can make a browser send requests here. It cannot read the answers, unless its name leads to this
//! address (DNS rebinding): then `Host` is that name. So names that are not this console's are refused, and so are requests
//! that a page on another site makes for anything but showing a page of its own.

use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};

use crate::problem::Problem;

/// The names that a console answers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// The names of this machine for itself, and `others`: names or addresses without a port.
    pub fn loopback_and(others: impl IntoIterator<Item = String>) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Self(
            own.into_iter()
                .chain(others.into_iter().map(|name| name.to_ascii_lowercase()))
                .collect(),
        )
    }

    fn has(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        // A port may be forwarded from another one, so it says nothing.
        let host = authority.host().to_ascii_lowercase();
        self.0.contains(&host)
    }
}

/// Checks what is the same for all pages.
///
/// # Errors
/// When the request is refused.
pub(crate) fn check(head: &Parts, hosts: Option<&AllowedHosts>) -> Result<(), Problem> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let problem = "the console only reads: expected GET or HEAD";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, problem));
    }
    let headers = &head.headers;
    let has_body = headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    if has_body || headers.contains_key(TRANSFER_ENCODING) {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "expected a request without a body",
        ));
    }
    if let Some(hosts) = hosts {
        host(head, hosts)?;
        origin(headers, hosts)?;
    }
    fetched_from(headers)
}

/// RFC 9112 section 3.2: one `Host`, and it is a name of this console.
fn host(head: &Parts, hosts: &AllowedHosts) -> Result<(), Problem> {
    let mut values = head.headers.get_all(HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else {
        return Err(Problem::invalid("expected one `Host`"));
    };
    let is_own = host.to_str().is_ok_and(|host| hosts.has(host));
    // The authority of an absolute target counts in its place.
    let is_target = head.uri.authority().is_none_or(|authority| hosts.has(authority.as_str()));
    if is_own && is_target {
        return Ok(());
    }
    let problem = "this console has another name; `--host NAME` adds one that it is reached by";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, problem))
}

fn origin(headers: &HeaderMap, hosts: &AllowedHosts) -> Result<(), Problem> {
    let is_own = |origin: &str| {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.is_some_and(|authority| hosts.has(authority))
    };
    let is_foreign = |origin: &hyper::header::HeaderValue| !origin.to_str().is_ok_and(&is_own);
    if headers.get_all(ORIGIN).iter().any(is_foreign) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "asked for by a page of another origin"));
    }
    Ok(())
}

/// Fetch metadata: a page on another site may lead here, and show, embed or fetch nothing.
fn fetched_from(headers: &HeaderMap) -> Result<(), Problem> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    let is = |name: &HeaderName, known: &str| headers.get(name).is_some_and(|value| value == known);
    // A program sends none of them. A browser that names the site names the others as well.
    let is_own = !headers.contains_key(SITE) || is(&SITE, "same-origin") || is(&SITE, "none");
    let leads_here = is(&MODE, "navigate") && is(&DEST, "document");
    if is_own || leads_here {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "asked for by a page of another site"))
}
