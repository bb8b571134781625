//! Fetches key sets and discovery documents over HTTPS.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use zeroize::Zeroizing;

use countersign_issuer::{BoxFuture, Fetch, FetchError};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches over HTTPS, without proxies or redirects, and within 5 seconds.
#[derive(Debug, Clone)]
pub struct HttpsFetch {
    client: Client,
    /// The file of the bearer token.
    token: Option<PathBuf>,
}

/// A client that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsFetchError {
    /// There is no certificate in the text.
    #[error("no certificate; expected PEM")]
    NoCertificate,
    /// The certificates cannot be used.
    #[error("failed to make the HTTPS client")]
    Client(#[from] reqwest::Error),
}

impl HttpsFetch {
    /// A client that verifies servers with the certificates in `authorities` (PEM), or with the system's, and sends
    /// them the token in a file, which is read anew each time.
    ///
    /// # Errors
    /// When there is no certificate in them.
    pub fn new(
        authorities: Option<&[u8]>,
        token: Option<PathBuf>,
    ) -> Result<Self, HttpsFetchError> {
        let mut builder = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
        if let Some(pem) = authorities {
            let certificates = Certificate::from_pem_bundle(pem)?;
            if certificates.is_empty() {
                return Err(HttpsFetchError::NoCertificate);
            }
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build()?;
        Ok(Self { client, token })
    }
}

impl Fetch for HttpsFetch {
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> BoxFuture<'f, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            let error = |problem: String| FetchError { url: url.to_owned(), problem };
            let failed = |source: reqwest::Error| error(source.without_url().to_string());
            let mut request = self.client.get(url);
            if let Some(file) = &self.token {
                let token = fs::read_to_string(file).map(Zeroizing::new);
                let token =
                    token.map_err(|source| error(format!("{}: {source}", file.display())))?;
                request = request.bearer_auth(token.trim_end());
            }
            let mut response = request.send().await.map_err(failed)?;
            if response.status() != reqwest::StatusCode::OK {
                return Err(error(format!("answered {}", response.status().as_u16())));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                if body.len() + chunk.len() > limit {
                    return Err(error(format!("longer than {limit} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpsFetch, HttpsFetchError};

    #[test]
    fn a_file_without_certificates_verifies_nobody() {
        let error = HttpsFetch::new(Some(b"{}"), None).unwrap_err();
        assert!(matches!(error, HttpsFetchError::NoCertificate));
    }
}
