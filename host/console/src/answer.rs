//! Answers: one view as a page, as JSON or as lines of JSON, with the headers that all have.

use askama::Template;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, VARY,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::problem::Problem;

/// The body of an answer, whole.
pub type Body = Full<Bytes>;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
    Ndjson,
}

/// The content of a page. It serialises to the JSON of the page.
pub(crate) trait View: Template + Serialize {
    /// The items of the page, a line each; the whole view where it has none.
    fn lines(&self) -> Vec<Value>;
}

impl Format {
    /// Takes the form from the end of a path, or from `Accept`, and returns the path without it.
    pub(crate) fn of<'p>(path: &'p str, headers: &HeaderMap) -> (Self, &'p str) {
        if let Some(path) = path.strip_suffix(".ndjson") {
            return (Self::Ndjson, path);
        }
        if let Some(path) = path.strip_suffix(".json") {
            return (Self::Json, path);
        }
        let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
        let types = accepts.split(',').map(|range| range.split(';').next().unwrap_or("").trim());
        // The first one that there is: clients put what they want first. Weights are not looked at.
        let known = types.filter_map(|range| match range.to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" | "text/*" | "*/*" => Some(Self::Html),
            "application/json" | "application/*" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Self::Ndjson)
            }
            _ => None,
        });
        (known.into_iter().next().unwrap_or(Self::Html), path)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// Answers with a view in a form.
pub(crate) fn respond(format: Format, view: &impl View) -> Result<Response<Body>, Problem> {
    respond_with(StatusCode::OK, format, view)
}

pub(crate) fn respond_with(
    status: StatusCode,
    format: Format,
    view: &impl View,
) -> Result<Response<Body>, Problem> {
    let failed = |problem: String| {
        tracing::error!(problem, "a page could not be made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made")
    };
    let body = match format {
        Format::Html => view.render().map_err(|error| failed(error.to_string()))?.into_bytes(),
        Format::Json => serde_json::to_vec(view).map_err(|error| failed(error.to_string()))?,
        Format::Ndjson => {
            let mut bytes = Vec::new();
            for line in view.lines() {
                serde_json::to_writer(&mut bytes, &line)
                    .map_err(|error| failed(error.to_string()))?;
                bytes.push(b'\n');
            }
            bytes
        }
    };
    Ok(answer(status, format.content_type(), body))
}

/// An answer with the headers that all have.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Nothing is inline, nothing comes from elsewhere, nothing is framed; and what is read here stays here.
    for (name, value) in [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-robots-tag", "noindex"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// An answer that leads to another path of this console.
pub(crate) fn redirect(to: &str) -> Response<Body> {
    let mut response = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    if let Ok(location) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The same for `HEAD`: its length without its body.
pub(crate) fn for_method(method: &Method, mut response: Response<Body>) -> Response<Body> {
    if *method == Method::HEAD {
        let length = hyper::body::Body::size_hint(response.body()).exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = Full::default();
    }
    response
}
