//! Fetches key sets and discovery documents over HTTPS.

mod freshness;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, StatusCode, Url};
use zeroize::Zeroizing;

use countersign_issuer::{BoxFuture, Fetch, FetchError, FetchErrorKind, FetchedDocument};

use crate::files::read_text;

/// The time within which a whole answer must be there.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum length of a file with a token, in bytes.
const MAX_TOKEN_FILE_BYTES: u64 = 32 << 10;

/// Fetches over HTTPS, without redirects, and within 5 seconds. The proxies that the environment names are not used.
#[derive(Debug, Clone)]
pub struct HttpsFetch {
    client: Client,
    token: Option<FetchToken>,
    timeout: Duration,
}

/// A bearer token for servers of some origins. No other server is shown it: the URL of a key set is in a document,
/// which is not trusted with the token.
#[derive(Debug, Clone)]
pub struct FetchToken {
    /// The file, read anew for each request.
    pub file: PathBuf,
    /// The origins that the token is for.
    pub origins: Vec<Origin>,
}

/// The origin of a URL (RFC 6454 section 4): scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// The origin of a URL; `None` where it has none.
    pub fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.trim_end_matches('.').to_owned();
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default() })
    }

    /// True where the text is `http://HOST:PORT` or `https://HOST:PORT`, and nothing more.
    pub(crate) fn is_of_http(&self, text: &str) -> bool {
        let Some((scheme, rest)) = text.split_once("://") else { return false };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        ["http", "https"].contains(&scheme)
            && scheme == self.scheme
            && !host.contains(['/', '?', '#', '@', '*'])
    }
}

/// A client that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsFetchError {
    /// There is no certificate in the text.
    #[error("no certificate; expected PEM")]
    NoCertificate,
    /// The proxy has no usable URL.
    #[error("`proxy` is not the URL of a proxy")]
    Proxy(#[source] reqwest::Error),
    /// The certificates cannot be used.
    #[error("failed to make the HTTPS client")]
    Client(#[from] reqwest::Error),
}

impl HttpsFetch {
    /// A client that verifies servers with the certificates in `authorities` (PEM), or with the system's, and sends a
    /// token to those that it is for. `proxy` is the URL of an HTTP proxy that all requests go through: those over HTTPS by
    /// `CONNECT` (RFC 9110 section 9.3.6), so that it sees nothing of them.
    ///
    /// # Errors
    /// When there is no certificate in them, or the proxy is no URL.
    pub fn new(
        authorities: Option<&[u8]>,
        token: Option<FetchToken>,
        proxy: Option<&str>,
    ) -> Result<Self, HttpsFetchError> {
        let mut builder = Client::builder().redirect(Policy::none()).no_proxy();
        if let Some(proxy) = proxy {
            builder = builder.proxy(Proxy::all(proxy).map_err(HttpsFetchError::Proxy)?);
        }
        if let Some(pem) = authorities {
            let certificates = Certificate::from_pem_bundle(pem)?;
            if certificates.is_empty() {
                return Err(HttpsFetchError::NoCertificate);
            }
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build()?;
        Ok(Self { client, token, timeout: TIMEOUT })
    }

    /// The same, with another time within which a whole answer must be there.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    async fn document(&self, url: &str, limit: usize) -> Result<FetchedDocument, Failed> {
        let mut request = self.client.get(url).timeout(self.timeout);
        let mut hint = "";
        if let Some(token) = &self.token {
            if Origin::of(url).is_some_and(|origin| token.origins.contains(&origin)) {
                request = request.bearer_auth(&*token.read()?);
            } else {
                hint = "; `token-file` is not sent there: set `jwks-url`, or list the origin in `token-origins`";
            }
        }
        let failed = |error| self.failed(error);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status != StatusCode::OK {
            let is_redirect =
                if status.is_redirection() { ", a redirect, which is not followed" } else { "" };
            let hint = if matches!(status.as_u16(), 401 | 403) { hint } else { is_redirect };
            let problem = format!("the server answered {}{hint}", status.as_u16());
            return Err(Failed(FetchErrorKind::Status, problem));
        }
        let fresh_seconds = freshness::seconds(response.headers());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > limit {
                let problem = format!("longer than {limit} bytes");
                return Err(Failed(FetchErrorKind::Document, problem));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(FetchedDocument { bytes, fresh_seconds })
    }

    /// The kind of an error, and its message with all its causes: the client's own is the same for all of them.
    fn failed(&self, error: reqwest::Error) -> Failed {
        let error = error.without_url();
        let problem = with_sources(&error);
        // Also where the answer had begun.
        if error.is_timeout() {
            let problem = format!("timed out after {:?}: {problem}", self.timeout);
            return Failed(FetchErrorKind::Timeout, problem);
        }
        let is_connection = error.is_connect();
        let kind = if is_connection { FetchErrorKind::Connection } else { FetchErrorKind::Broken };
        Failed(kind, problem)
    }
}

impl FetchToken {
    fn read(&self) -> Result<Zeroizing<String>, Failed> {
        read_text(&self.file, MAX_TOKEN_FILE_BYTES)
            .map(Zeroizing::new)
            .map_err(|error| Failed(FetchErrorKind::Token, with_sources(&error)))
    }
}

impl Fetch for HttpsFetch {
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> BoxFuture<'f, Result<FetchedDocument, FetchError>> {
        Box::pin(async move {
            let document = self.document(url, limit).await;
            document.map_err(|Failed(kind, problem)| FetchError {
                url: url.to_owned(),
                kind,
                problem,
            })
        })
    }
}

/// The reason that a document could not be fetched.
struct Failed(FetchErrorKind, String);

/// The message of an error, and those of its sources.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{HttpsFetch, HttpsFetchError, Origin};

    #[test]
    fn a_file_without_certificates_verifies_nobody() {
        let error = HttpsFetch::new(Some(b"{}"), None, None).unwrap_err();
        assert!(matches!(error, HttpsFetchError::NoCertificate));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = Origin::of("https://a.example/jwks").unwrap();
        for same in ["https://a.example", "https://A.EXAMPLE:443/x?y", "https://a.example./"] {
            assert_eq!(Origin::of(same).unwrap(), origin, "{same}");
        }
        for other in [
            "http://a.example",
            "https://a.example:444",
            "https://b.example",
            "https://a.example.evil.example",
            "https://x.a.example",
        ] {
            assert_ne!(Origin::of(other).unwrap(), origin, "{other}");
        }
        assert_eq!(Origin::of("a.example"), None);
    }
}
