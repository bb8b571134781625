//! A client of the token endpoint, as a runner uses it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use countersign::{Audience, RunId};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Credential;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum length of a response, in bytes.
const MAX_RESPONSE: usize = 256 << 10;

/// A client of a service.
pub(super) struct Client {
    client: reqwest::Client,
    url: String,
}

/// The service's response to a token request.
pub(super) enum TokenResponse {
    Given(Given),
    /// The run has ended, so it gets no more tokens.
    RunEnded,
    Refused(Refused),
    /// A temporary failure with its reason, and the delay of `Retry-After`.
    Later(String, Option<Duration>),
}

/// A token. Whoever holds it can use it.
pub(super) struct Given {
    pub token: Zeroizing<String>,
    pub expires_in: u64,
}

/// A refusal.
pub(super) struct Refused {
    /// The reasons for people, each with its code.
    pub reasons: Vec<String>,
    /// True when every reason is a fault that depends on the machine, such as a missed deadline: another attempt may
    /// be decided.
    pub depends_on_machine: bool,
    pub decision: Option<String>,
}

#[derive(Deserialize)]
struct TokenBody {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    error: String,
    error_description: String,
    reasons: Vec<ReasonBody>,
    decision: Option<String>,
}

#[derive(Deserialize)]
struct ReasonBody {
    code: String,
    message: String,
    source: String,
}

impl ReasonBody {
    /// True for the faults that docs/codes.md lists so.
    fn depends_on_machine(&self) -> bool {
        self.source == "host" && matches!(self.code.as_str(), "deadline" | "stack" | "host")
    }
}

impl Client {
    /// Creates a client of the service at `url`; `authorities` replace the system's.
    pub(super) fn new(url: &str, authorities: Option<&[u8]>) -> Result<Self> {
        let url = service_url(url)?;
        Ok(Self { client: http_client(authorities)?, url })
    }

    /// Requests a token.
    ///
    /// # Errors
    /// When the service rejects the request: a retry would change nothing.
    pub(super) async fn request_token(
        &self,
        run: &RunId,
        audience: &Audience,
        ttl: Option<u32>,
        credential: &Credential,
    ) -> Result<TokenResponse> {
        let (kind, token) = match credential {
            Credential::RunToken(token) => ("urn:ietf:params:oauth:token-type:access_token", token),
            Credential::Identity(token) => ("urn:ietf:params:oauth:token-type:jwt", token),
        };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("run", run.as_str())
            .append_pair("audience", audience.as_str())
            .append_pair("subject_token_type", kind)
            .append_pair("subject_token", token);
        if let Some(ttl) = ttl {
            form.append_pair("ttl_seconds", &ttl.to_string());
        }
        let request = self
            .client
            .post(format!("{}/v1/token", self.url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(TokenResponse::Later(whole(error), None)),
        };
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = match body(response, MAX_RESPONSE).await {
            Ok(body) => body,
            Err(why) => return Ok(TokenResponse::Later(why, None)),
        };
        answer(status, &body, after.map(Duration::from_secs))
    }
}

/// Creates a client of a service, without redirects and proxies; `authorities` (PEM) replace the system's.
pub(crate) fn http_client(authorities: Option<&[u8]>) -> Result<reqwest::Client> {
    let mut builder =
        reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
    if let Some(pem) = authorities {
        let certificates = Certificate::from_pem_bundle(pem).context("--ca-file")?;
        if certificates.is_empty() {
            bail!("--ca-file: no certificate in it; expected PEM");
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().context("--ca-file")
}

/// Parses the URL of a service and strips a trailing slash: https, or http on this machine, since a credential could be
/// read in transit.
pub(crate) fn service_url(text: &str) -> Result<String> {
    let url = reqwest::Url::parse(text).context("--url")?;
    let is_local = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        bail!(
            "--url: expected https, or http on this machine: a credential can be read in transit"
        );
    }
    let user = !url.username().is_empty() || url.password().is_some();
    if user || url.query().is_some() || url.fragment().is_some() {
        bail!("--url: expected no user, query or fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Reads the body of a response, of at most `max` bytes.
pub(crate) async fn body(
    mut response: reqwest::Response,
    max: usize,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > max => {
                return Err(format!("a response of more than {max} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(whole(error)),
        }
    }
}

fn answer(status: StatusCode, body: &[u8], after: Option<Duration>) -> Result<TokenResponse> {
    if status == StatusCode::OK {
        // serde's own message could repeat the token.
        let body: Option<TokenBody> = serde_json::from_slice(body).ok();
        let TokenBody { access_token: token, expires_in } =
            body.context("the response has no token: is this the service?")?;
        return Ok(TokenResponse::Given(Given { token: Zeroizing::new(token), expires_in }));
    }
    let error: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let ended = |reason: &ReasonBody| {
        reason.source == "host" && matches!(reason.code.as_str(), "run-finished" | "run-expired")
    };
    if status == StatusCode::FORBIDDEN && error.error == "access_denied" {
        if error.reasons.iter().any(ended) {
            return Ok(TokenResponse::RunEnded);
        }
        let depends_on_machine =
            !error.reasons.is_empty() && error.reasons.iter().all(ReasonBody::depends_on_machine);
        let mut reasons: Vec<_> =
            error.reasons.iter().map(|r| format!("{}: {}", r.code, r.message)).collect();
        if reasons.is_empty() {
            reasons.push(error.error_description);
        }
        let decision = error.decision;
        return Ok(TokenResponse::Refused(Refused { reasons, depends_on_machine, decision }));
    }
    let said = match error.error_description.as_str() {
        "" => format!("the service responded {}", status.as_u16()),
        description => format!("the service responded {}: {description}", status.as_u16()),
    };
    if status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    {
        return Ok(TokenResponse::Later(said, after));
    }
    bail!("{said}")
}

/// The error with its causes, without the URL, which may contain credentials.
pub(crate) fn whole(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::from(error.without_url()))
}
