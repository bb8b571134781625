//! One request and its whole answer: bounded, in time, with the redirects that may be followed, and again where that may help.

use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::auth::Challenge;
use super::{ClientError, RegistryClient};
use crate::oci::shown;
use crate::reference::{RegistryName, Repository};

/// The maximum length of an error's body, in bytes.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// The maximum of redirects in a row.
const MAX_REDIRECTS: usize = 5;

/// The maximum length of a URL that a registry gives, in bytes.
const MAX_URL_BYTES: usize = 8 << 10;

/// The redirects that may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// To the same host alone.
    SameHost,
    /// To any host: content is known by its digest. It is shown no credential.
    AnyHost,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// The registry that is asked, which may be a mirror.
    pub(super) place: &'a RegistryName,
    /// The repository; at a mirror, the one that is mirrored.
    pub(super) repository: &'a Repository,
    /// The path, from `/v2/` on, or the URL that the registry gave.
    pub(super) target: String,
    /// The content, in words.
    pub(super) what: String,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) pushes: bool,
    pub(super) follow: Follow,
    /// The statuses that are an answer.
    pub(super) expected: &'static [u16],
    /// The maximum length of the answer's body, in bytes.
    pub(super) limit: u64,
    pub(super) is_layer: bool,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A failed attempt, and the time that the registry asks to wait.
struct Failed(ClientError, Option<Duration>);

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self(error, None)
    }
}

impl<'a> Ask<'a> {
    /// A request for content.
    pub(super) fn get(place: &'a RegistryName, repository: &'a Repository, target: String) -> Self {
        Self {
            method: Method::GET,
            place,
            repository,
            what: shown(&target),
            target,
            accept: "*/*",
            body: None,
            pushes: false,
            follow: Follow::SameHost,
            expected: &[200],
            limit: MAX_ERROR_BYTES,
            is_layer: false,
        }
    }

    pub(super) fn registry(&self) -> String {
        self.place.to_string()
    }

    pub(super) fn scope(&self) -> String {
        let actions = if self.pushes { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository.name())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorEntry {
    code: String,
}

impl RegistryClient {
    /// Asks until there is an answer, or no attempt is left.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, ClientError> {
        let mut backoff = self.timing.backoff;
        let mut attempt = 1;
        let request = self.options(ask.place).timeout.unwrap_or(self.timing.request);
        let within = if ask.is_layer { self.timing.layer.max(request) } else { request };
        loop {
            let failed = match tokio::time::timeout(within, self.attempt(ask)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failed)) => failed,
                Err(_) => ClientError::Timeout { registry: ask.registry() }.into(),
            };
            let Failed(error, asked) = failed;
            let wait = asked.unwrap_or(backoff);
            if !error.is_temporary()
                || attempt >= self.timing.attempts
                || wait > self.timing.max_wait
            {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            backoff = backoff.saturating_mul(2);
            attempt += 1;
        }
    }

    /// One attempt: with the credential where one is asked for, and through redirects.
    async fn attempt(&self, ask: &Ask<'_>) -> Result<Answer, Failed> {
        let origin = self.origin(ask.place);
        let mut url = self.url(ask, &origin, &ask.target)?;
        let mut was_challenged = false;
        let mut redirects = 0;
        loop {
            let is_own = url.origin() == origin.origin();
            let authorization = match is_own {
                true => self.known_authorization(ask),
                // A credential is for its own host.
                false => None,
            };
            let response = self.send(ask, url.clone(), authorization.as_ref()).await?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && is_own && !was_challenged {
                was_challenged = true;
                let challenge = response.headers().get_all(WWW_AUTHENTICATE);
                let challenge = Challenge::of(challenge.iter());
                self.authorize(ask, challenge).await?;
                continue;
            }
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                redirects += 1;
                url = self.redirected(ask, &origin, &url, response.headers(), redirects)?;
                continue;
            }
            return self.whole(ask, response).await;
        }
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        url: Url,
        authorization: Option<&Zeroizing<String>>,
    ) -> Result<reqwest::Response, ClientError> {
        let place = match url.host_str() {
            // A host that has options of its own, as a storage with its own certificates has.
            Some(host) => {
                let name = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
                name.parse().ok().filter(|name| self.options.contains_key(name))
            }
            None => None,
        };
        let client = self.client(place.as_ref().unwrap_or(ask.place))?;
        let mut request = client.request(ask.method.clone(), url).header(ACCEPT, ask.accept);
        if let Some((content_type, body)) = &ask.body {
            request = request.header(CONTENT_TYPE, *content_type).body(body.clone());
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, sensitive(ask, authorization)?);
        }
        request.send().await.map_err(|error| failed(&ask.registry(), error))
    }

    /// The URL that a redirect leads to.
    fn redirected(
        &self,
        ask: &Ask<'_>,
        origin: &Url,
        from: &Url,
        headers: &HeaderMap,
        redirects: usize,
    ) -> Result<Url, ClientError> {
        let refused = |to: &str| ClientError::Redirect {
            registry: ask.registry(),
            what: ask.what.clone(),
            to: shown(to),
        };
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let to = location
            .filter(|location| location.len() <= MAX_URL_BYTES)
            .and_then(|location| from.join(location).ok())
            .ok_or_else(|| refused("nowhere"))?;
        // The host alone: the rest can have a credential for it.
        let host = to.host_str().unwrap_or("nowhere").to_owned();
        let is_own = to.origin() == origin.origin();
        let may_be_plain = is_own || self.may_be_plain(ask.place, &to);
        let is_allowed = (is_own || ask.follow == Follow::AnyHost)
            && (to.scheme() == "https" || to.scheme() == "http" && may_be_plain)
            && to.username().is_empty()
            && to.password().is_none()
            // A redirect changes no method: what is sent is not sent elsewhere.
            && matches!(ask.method, Method::GET | Method::HEAD)
            && redirects <= MAX_REDIRECTS;
        if is_allowed { Ok(to) } else { Err(refused(&host)) }
    }

    /// Tells whether a host may be spoken to without TLS: it is listed so, or both it and the registry are this machine.
    pub(super) fn may_be_plain(&self, place: &RegistryName, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let name = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let Ok(name) = name.parse::<RegistryName>() else { return false };
        let is_listed = self.options.get(&name).is_some_and(|options| options.plain_http);
        is_listed || place.is_loopback() && name.is_loopback()
    }

    /// Reads a whole answer, and makes an error of one that was not expected.
    async fn whole(&self, ask: &Ask<'_>, response: reqwest::Response) -> Result<Answer, Failed> {
        let status = response.status();
        let headers = response.headers().clone();
        let registry = ask.registry();
        if ask.expected.contains(&status.as_u16()) {
            let body = match ask.method {
                Method::HEAD => Vec::new(),
                _ => body(&registry, &ask.what, response, ask.limit).await?,
            };
            return Ok(Answer { status: status.as_u16(), headers, body });
        }
        let (what, status_number) = (ask.what.clone(), status.as_u16());
        let error = match status {
            StatusCode::NOT_FOUND => ClientError::NotFound { registry, what },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let hint = self.hint(ask);
                ClientError::Denied { registry, status: status_number, what, hint }
            }
            _ => {
                let body = body(&registry, &what, response, MAX_ERROR_BYTES).await;
                let code = error_code(&body.unwrap_or_default());
                ClientError::Status { registry, status: status_number, what, code }
            }
        };
        let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Failed(error, wait.map(Duration::from_secs)))
    }

    /// The origin of a registry.
    pub(super) fn origin(&self, place: &RegistryName) -> Url {
        let scheme = if self.options(place).plain_http { "http" } else { "https" };
        // A name that was parsed is a host and a port to every reader. Docker's own is spelt as its clients do.
        let text = format!("{scheme}://{place}/");
        Url::parse(&text).unwrap_or_else(|_| nowhere())
    }

    fn url(&self, ask: &Ask<'_>, origin: &Url, target: &str) -> Result<Url, ClientError> {
        let url = origin.join(target).ok().filter(|url| url.origin() == origin.origin());
        url.ok_or_else(|| ClientError::Redirect {
            registry: ask.registry(),
            what: ask.what.clone(),
            to: "another host".to_owned(),
        })
    }
}

/// A URL at which nobody is (RFC 6761 section 6.4).
#[expect(clippy::unwrap_used, reason = "a constant")]
fn nowhere() -> Url {
    Url::parse("https://invalid.").unwrap()
}

/// The value of a header that is not logged.
pub(super) fn sensitive(ask: &Ask<'_>, text: &str) -> Result<HeaderValue, ClientError> {
    let value = HeaderValue::from_str(text).map_err(|_| ClientError::Answer {
        registry: ask.registry(),
        problem: "the token is none".to_owned(),
    });
    let mut value = value?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn body(
    registry: &str,
    what: &str,
    mut response: reqwest::Response,
    limit: u64,
) -> Result<Vec<u8>, ClientError> {
    let too_large =
        || ClientError::TooLarge { registry: registry.to_owned(), what: what.to_owned(), limit };
    // Before anything is read, where the registry says so; and whatever it says, no more than the limit is read.
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(registry, error))? {
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error of the HTTP client, without the URL: it can have a credential.
pub(super) fn failed(registry: &str, error: reqwest::Error) -> ClientError {
    let error = error.without_url();
    let registry = registry.to_owned();
    if error.is_timeout() {
        return ClientError::Timeout { registry };
    }
    let mut problem = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        problem.push_str(&format!(": {error}"));
        source = error.source();
    }
    let problem = countersign::visible(&problem);
    match error.is_connect() {
        true => ClientError::Connection { registry, problem },
        false => ClientError::Broken { registry, problem },
    }
}

/// The code of a registry's error: capital letters and underscores (distribution specification, "Error codes"). Its message
/// is not repeated: it can have anything in it.
fn error_code(body: &[u8]) -> String {
    let parsed: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let code = parsed.errors.into_iter().next().unwrap_or_default().code;
    let is_code = (1..=40).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if is_code { format!(" ({code})") } else { String::new() }
}
