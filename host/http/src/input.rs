//! Reads requests: their type, their size, and the time within which they must arrive.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use countersign::{IdentifierError, visible};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use countersign_issuer::{Problem, ProblemKind, ServiceConfig};

/// The whole body of a request of one of these media types.
///
/// # Errors
/// When it is of another type, is encoded, is too long, or does not arrive in time.
pub(super) async fn body(
    headers: &HeaderMap,
    body: Body,
    types: &[&str],
    max: usize,
    config: &ServiceConfig,
) -> Result<Vec<u8>, Problem> {
    media_type(headers, types)?;
    read(headers, body, max, config).await
}

/// The maximum length in bytes of a body that does not matter.
const MAX_UNREAD_BYTES: usize = 1 << 20;

/// Reads a body that does not matter.
pub(super) async fn no_body(
    headers: &HeaderMap,
    body: Body,
    config: &ServiceConfig,
) -> Result<(), Problem> {
    read(headers, body, MAX_UNREAD_BYTES, config).await.map(drop)
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    config: &ServiceConfig,
) -> Result<Vec<u8>, Problem> {
    // A small body can unpack to a large one, so no encoding is accepted.
    if headers.contains_key(CONTENT_ENCODING) {
        let description = "`Content-Encoding` is not supported";
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, description));
    }
    let max = max.min(config.body_bytes);
    let arrived = tokio::time::timeout(config.body_timeout, Limited::new(body, max).collect());
    match arrived.await {
        Err(_) => Err(Problem::new(ProblemKind::TooSlow, "the body did not arrive in time")),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
            let length = length.and_then(|length| length.parse::<u64>().ok());
            let description = match length {
                Some(bytes) => format!("the body has {bytes} bytes, at most {max} are allowed"),
                None => format!("the body is longer than {max} bytes"),
            };
            Err(Problem::new(ProblemKind::TooLarge, description))
        }
        Ok(Err(error)) => Err(Problem::invalid("the body is broken off").detail(error)),
    }
}

/// Returns true if a request declares this media type for its body.
pub(super) fn has_type(headers: &HeaderMap, taken: &str) -> bool {
    media_type(headers, &[taken]).is_ok()
}

fn media_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let accepted = match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => {
            let (essence, parameters) = match value.split_once(';') {
                None => (value, ""),
                Some((essence, parameters)) => (essence, parameters.trim()),
            };
            // RFC 9110 section 8.3.1: the case of types does not matter.
            types.iter().any(|accepted| essence.trim().eq_ignore_ascii_case(accepted))
                && (parameters.is_empty()
                    || parameters.eq_ignore_ascii_case("charset=utf-8")
                    || parameters.eq_ignore_ascii_case("charset=\"utf-8\""))
        }
        _ => false,
    };
    if accepted {
        return Ok(());
    }
    let types = types.join(" or ");
    let description = format!("expected the content type {types}");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, description))
}

/// The parameters of a form or a query.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`. Bytes that are not UTF-8 are refused, not replaced.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Problem> {
        const MAX: usize = 64;
        let broken = || Problem::invalid("the parameters are not form-urlencoded UTF-8");
        let mut parameters = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == MAX {
                return Err(Problem::invalid(format!("more than {MAX} parameters")));
            }
            // A malformed escape, or bytes that are not a text, would be read as something else.
            is_strict(pair).then_some(()).ok_or_else(broken)?;
            let (name, value) = form_urlencoded::parse(pair).next().ok_or_else(broken)?;
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(broken());
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// Every value of a parameter.
    pub(super) fn all<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be there once (RFC 6749 section 3.2). One without a value counts as
    /// left out, as section 3.1 has it.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::invalid(format!("`{name}` is there twice"))),
            (Some(""), None) | (None, None) => Ok(None),
            (value, None) => Ok(value),
        }
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.optional(name)?.ok_or_else(|| Problem::invalid(format!("`{name}` is missing")))
    }

    /// A whole number without sign or leading zeros.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.optional(name)? else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok());
        number
            .flatten()
            .map(Some)
            .ok_or_else(|| Problem::invalid(format!("`{name}`: expected a whole number")))
    }
}

/// Every `%` begins an escape.
fn is_strict(pair: &[u8]) -> bool {
    let mut rest = pair;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    true
}

/// The UUID that a path names.
///
/// # Errors
/// When it is none.
pub(super) fn path_id<T>(id: Result<Path<String>, PathRejection>) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = IdentifierError>,
{
    let Path(id) = id.map_err(|_| Problem::invalid("`uuid`: the path is not UTF-8"))?;
    identifier("uuid", &id)
}

/// An identifier of a request; an error shows it escaped.
pub(super) fn identifier<T>(place: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = IdentifierError>,
{
    text.parse().map_err(|problem| Problem::invalid(visible(&format!("`{place}`: {problem}"))))
}
