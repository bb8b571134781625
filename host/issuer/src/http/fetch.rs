//! Fetching what trusted issuers publish.

use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use zeroize::Zeroizing;

use crate::identity::{Fetch, FetchError};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches over HTTPS, without proxies or redirects, and within 5 seconds.
#[derive(Debug, Clone)]
pub struct HttpsFetch {
    client: Client,
    /// The file of a token that is shown.
    token: Option<PathBuf>,
}

/// The client could not be made: the certificates are none.
#[derive(Debug, thiserror::Error)]
#[error("no client for HTTPS: {0}")]
pub struct HttpsFetchError(reqwest::Error);

impl HttpsFetch {
    /// A client that verifies servers with the certificates in `authorities` (PEM), or with the system's, and shows
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
            builder =
                builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(HttpsFetchError)?);
        }
        let client = builder.build().map_err(HttpsFetchError)?;
        Ok(Self { client, token })
    }
}

impl Fetch for HttpsFetch {
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'f>> {
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
