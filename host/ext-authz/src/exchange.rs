//! The token exchange in a request that Envoy shows, and what its operator says of the route.

use std::collections::HashMap;

use countersign::Audience;
use countersign_issuer::{ExchangeRequest, MAX_SECRET_BYTES, MAX_TOKEN_BYTES, SubjectToken};
use zeroize::Zeroizing;

use crate::proto::attribute_context::HttpRequest;

/// RFC 8693 section 2.1.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 section 3.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The maximum size of a form, in bytes: a token, and the parameters beside it.
const MAX_FORM_BYTES: usize = 48 << 10;

/// The header by which Envoy says that it shows the beginning of a body alone.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// The context extension with the lifetime of the foreign issuer's tokens, in seconds.
const TTL: &str = "ttl-seconds";

/// The context extension with the audience of the foreign issuer's tokens, where a request does not name it.
const AUDIENCE: &str = "audience";

/// An exchange that a foreign issuer is to make.
pub(crate) struct ForeignExchange {
    pub(crate) request: ExchangeRequest,
    pub(crate) audience: Audience,
    pub(crate) ttl_seconds: u32,
}

/// A request that is not decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAsked {
    /// The request is not one that can be decided on: an error of the caller.
    Request(&'static str),
    /// The route is not configured as it must be: an error of Envoy's operator.
    Route(&'static str),
}

/// Reads an exchange from the request, and the route's `context_extensions`.
///
/// Parameters of the foreign issuer are left to it, but none may name another target: the decision is on the audience.
pub(crate) fn asked(
    http: &HttpRequest,
    extensions: &HashMap<String, String>,
) -> Result<ForeignExchange, NotAsked> {
    use NotAsked::{Request, Route};
    let ttl_seconds = extensions.get(TTL).and_then(|text| text.parse().ok());
    let ttl_seconds = ttl_seconds.filter(|seconds: &u32| *seconds > 0).ok_or(Route(
        "the route has no `ttl-seconds` in its `context_extensions`: the lifetime of the issuer's tokens",
    ))?;
    let of_route = extensions.get(AUDIENCE).map(|text| Audience::parse(text)).transpose();
    let of_route = of_route.map_err(|_| Route("the route's `audience` is none"))?;
    let header = |name: &str| http.headers.get(name).map(String::as_str);
    if http.method != "POST" {
        return Err(Request("expected POST"));
    }
    if http.path.contains('?') || !http.query.is_empty() {
        return Err(Request("parameters belong in the body"));
    }
    if !header("content-type").is_some_and(is_form) {
        return Err(Request("expected application/x-www-form-urlencoded"));
    }
    if header("content-encoding").is_some() {
        return Err(Request("a body with a content coding is not read"));
    }
    if header(PARTIAL).is_some_and(|partial| partial != "false") {
        return Err(Request("the body is longer than what Envoy shows"));
    }
    let body = match (http.raw_body.as_slice(), http.body.as_bytes()) {
        ([], []) => return Err(Route("the route shows no body: set `with_request_body`")),
        (raw, []) => raw,
        ([], text) => text,
        _ => return Err(Request("two bodies")),
    };
    if body.len() > MAX_FORM_BYTES {
        return Err(Request("the body is too long"));
    }
    let form = Form::parse(body)?;
    if form.one("grant_type")? != Some(GRANT_TYPE) {
        return Err(Request("`grant_type`: expected a token exchange (RFC 8693)"));
    }
    for name in ["resource", "scope", "actor_token"] {
        if form.one(name)?.is_some() {
            return Err(Request("`resource`, `scope` and `actor_token` are not decided on"));
        }
    }
    let run = form.one("run")?.ok_or(Request("`run` is missing"))?;
    let run = run.parse().map_err(|_| Request("`run`: expected a UUID"))?;
    let audience = match (form.one("audience")?, of_route) {
        (Some(text), of_route) => {
            let audience = Audience::parse(text).map_err(|_| Request("`audience` is none"))?;
            if of_route.is_some_and(|route| route != audience) {
                return Err(Request("`audience`: this route is for another one"));
            }
            audience
        }
        (None, Some(of_route)) => of_route,
        (None, None) => return Err(Request("`audience` is missing")),
    };
    let token = form.one("subject_token")?.ok_or(Request("`subject_token` is missing"))?;
    let token = Zeroizing::new(token.to_owned());
    let subject_token = match form.one("subject_token_type")? {
        Some(JWT | ID_TOKEN) if token.len() <= MAX_TOKEN_BYTES => {
            SubjectToken::RunnerIdentity(token)
        }
        Some(ACCESS_TOKEN) if token.len() <= MAX_SECRET_BYTES => SubjectToken::RunToken(token),
        Some(JWT | ID_TOKEN | ACCESS_TOKEN) => return Err(Request("`subject_token` is too long")),
        _ => {
            return Err(Request(
                "`subject_token_type`: expected that of a JWT, an ID token or a run token",
            ));
        }
    };
    let audiences = vec![audience.clone()];
    let ttl = Some(ttl_seconds);
    let request = ExchangeRequest { run, audiences, ttl_seconds: ttl, subject_token };
    Ok(ForeignExchange { request, audience, ttl_seconds })
}

/// Tells whether a content type is that of a form in UTF-8. The issuer may heed another parameter, such as another character
/// set, and would read other parameters in the same bytes.
fn is_form(content_type: &str) -> bool {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    // RFC 9110 section 8.3.1: the case of types does not matter.
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && ["", "charset=utf-8", "charset=\"utf-8\""]
            .iter()
            .any(|taken| parameters.trim().eq_ignore_ascii_case(taken))
}

/// The parameters of a form. Its tokens are wiped when it is dropped.
struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, NotAsked> {
        // Decoding replaces what is not UTF-8, and another reader might not.
        let mut bytes = body.iter();
        let mut decoded = Vec::with_capacity(body.len());
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                decoded.push(*byte);
                continue;
            }
            let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
            match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => decoded.push(u8::try_from(high * 16 + low).unwrap_or(0)),
                _ => return Err(NotAsked::Request("the body has an incomplete percent-encoding")),
            }
        }
        if std::str::from_utf8(&decoded).is_err() {
            return Err(NotAsked::Request("the body is not UTF-8"));
        }
        let pairs = form_urlencoded::parse(body);
        Ok(Self(
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect(),
        ))
    }

    /// The value of a parameter that may be there once.
    fn one(&self, name: &str) -> Result<Option<&str>, NotAsked> {
        let mut found = self.0.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str());
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(_) => Err(NotAsked::Request("a parameter is there twice")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const BODY: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
        &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&subject_token=secret\
        &run=b3116611-e08b-4b00-91c5-10365b25a6ef&audience=a&client_id=theirs";

    fn http(body: &str) -> HttpRequest {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        HttpRequest {
            method: "POST".to_owned(),
            path: "/token".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: body.to_owned(),
            ..HttpRequest::default()
        }
    }

    fn route(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_exchange_is_read_as_the_issuer_reads_it() {
        let hour = route(&[("ttl-seconds", "3600")]);
        let read = asked(&http(BODY), &hour).unwrap();
        assert_eq!((read.ttl_seconds, read.audience.as_str()), (3600, "a"));
        let raw = HttpRequest { body: String::new(), raw_body: BODY.into(), ..http("") };
        assert!(asked(&raw, &hour).is_ok());
        let fixed = route(&[("ttl-seconds", "60"), ("audience", "b")]);
        let without = BODY.replace("&audience=a", "");
        assert_eq!(asked(&http(&without), &fixed).ok().unwrap().audience.as_str(), "b");
    }

    /// An issuer that heeds another parameter of the type reads other parameters in the same bytes.
    #[test]
    fn a_form_is_one_in_utf_8() {
        let hour = route(&[("ttl-seconds", "3600")]);
        for (content_type, is_taken) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", true),
            ("application/x-www-form-urlencoded;charset=\"utf-8\"", true),
            ("application/x-www-form-urlencoded; charset=utf-16be", false),
            ("application/x-www-form-urlencoded; charset=utf-8; charset=utf-16be", false),
            ("application/x-www-form-urlencoded;, multipart/form-data", false),
            ("application/x-www-form-urlencoded, application/x-www-form-urlencoded", false),
            ("application/json", false),
            ("", false),
        ] {
            let mut http = http(BODY);
            http.headers.insert("content-type".to_owned(), content_type.to_owned());
            assert_eq!(asked(&http, &hour).is_ok(), is_taken, "{content_type}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_decided_on() {
        let hour = route(&[("ttl-seconds", "3600")]);
        let with = |change: fn(&mut HttpRequest)| {
            let mut http = http(BODY);
            change(&mut http);
            http
        };
        let body = |more: &str| http(&format!("{BODY}{more}"));
        for (wrong, route) in [
            (http(BODY), route(&[])),
            (http(BODY), route(&[("ttl-seconds", "0")])),
            (http(BODY), route(&[("ttl-seconds", "an hour")])),
            (http(BODY), route(&[("ttl-seconds", "3600"), ("audience", "b")])),
            (http(""), hour.clone()),
            (body("&audience=b"), hour.clone()),
            (body("&%61udience=b"), hour.clone()),
            (body("&resource=https://b"), hour.clone()),
            (body("&scope=all"), hour.clone()),
            (body("&run=b3116611-e08b-4b00-91c5-10365b25a6ef"), hour.clone()),
            (body("&x=%ff"), hour.clone()),
            (body("&x=%f"), hour.clone()),
            (with(|http| http.method = "GET".to_owned()), hour.clone()),
            (with(|http| http.path = "/token?audience=b".to_owned()), hour.clone()),
            (with(|http| http.query = "audience=b".to_owned()), hour.clone()),
            (with(|http| http.raw_body = b"audience=b".to_vec()), hour.clone()),
            (with(|http| http.headers.clear()), hour.clone()),
            (
                with(|http| {
                    http.headers.insert("content-encoding".to_owned(), "gzip".to_owned());
                }),
                hour.clone(),
            ),
            (
                with(|http| {
                    http.headers.insert("x-envoy-auth-partial-body".to_owned(), "true".to_owned());
                }),
                hour.clone(),
            ),
        ] {
            let shown = format!("{http:?} {route:?}", http = wrong.path);
            assert!(asked(&wrong, &route).is_err(), "{shown}");
        }
    }
}
