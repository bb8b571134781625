//! The checks of `countersign check --online`: keys of trusted issuers, fetched as the service does, and the expiry of
//! certificates.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use countersign::visible;
use countersign_deployment::{Config, Loader, files};
use countersign_issuer::{Authorizer, Jwks, TrustedIssuer, VerificationAlgorithm};
use serde::Serialize;
use tokio::runtime::Builder;
use x509_parser::pem::Pem;

use crate::clock;
use crate::output::{self, FAILURE, SUCCESS, Styled};

/// The maximum length of a file of certificates, in bytes.
const MAX_PEM_FILE: u64 = 1 << 20;

/// The findings.
#[derive(Serialize)]
pub(super) struct Online {
    trusted_issuers: Vec<IssuerKeys>,
    certificates: Vec<Certificate>,
}

/// The keys of a trusted issuer.
#[derive(Serialize)]
struct IssuerKeys {
    issuer: String,
    keys: Vec<Key>,
    /// The keys that cannot be used, with their reasons.
    passed_over: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Key {
    kid: Option<String>,
    algorithms: Vec<&'static str>,
}

/// The certificates of a file.
#[derive(Serialize)]
struct Certificate {
    file: String,
    /// The time, in seconds since 1970, from which on they are of no use: that of the first in a server's chain, and of
    /// the last among authorities, of which one is enough.
    expires_at: i64,
    expired: bool,
}

impl Online {
    /// Fetches keys and reads certificates.
    pub(super) fn check(loader: &Loader, authorizer: Authorizer, config: &Config) -> Result<Self> {
        let now = clock::now(None)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let trusted_issuers = runtime.block_on(keys(authorizer, now));
        let mut certificates = Vec::new();
        if let Some(tls) = &config.listen.tls {
            certificates.push(certificate(loader, &tls.certificate, now, i64::min)?);
        }
        let authorities =
            config.trusted_issuers.iter().filter_map(|issuer| issuer.ca_file.as_deref());
        for file in authorities.collect::<BTreeSet<_>>() {
            certificates.push(certificate(loader, file, now, i64::max)?);
        }
        Ok(Self { trusted_issuers, certificates })
    }

    pub(super) fn is_fine(&self) -> bool {
        self.trusted_issuers.iter().all(|issuer| issuer.error.is_none())
            && !self.certificates.iter().any(|certificate| certificate.expired)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for IssuerKeys { issuer, keys, passed_over, error } in &self.trusted_issuers {
            let issuer = visible(issuer);
            match error {
                Some(error) => {
                    let error = visible(error);
                    let _ = writeln!(text, "{}  {issuer}: {error}", Styled(FAILURE, "bad"));
                }
                None => {
                    let _ = writeln!(text, "{}  keys of {issuer}", Styled(SUCCESS, "good"));
                }
            }
            for key in keys {
                let kid = key.kid.as_deref().unwrap_or("(no kid)");
                let _ = writeln!(text, "      {} {}", visible(kid), key.algorithms.join(" "));
            }
            for key in passed_over {
                let _ = writeln!(text, "      passed over: {}", visible(key));
            }
        }
        for Certificate { file, expires_at, expired } in &self.certificates {
            let word = if *expired { Styled(FAILURE, "bad") } else { Styled(SUCCESS, "good") };
            let when = output::time(u64::try_from(*expires_at).unwrap_or(0));
            let verb = if *expired { "expired" } else { "expires" };
            let _ = writeln!(text, "{word}  certificate {} {verb} {when}", visible(file));
        }
        text
    }
}

/// The keys of each trusted issuer; all are fetched at once.
async fn keys(authorizer: Authorizer, now: u64) -> Vec<IssuerKeys> {
    let fetches: Vec<_> = authorizer
        .trusted
        .0
        .into_values()
        .map(|TrustedIssuer { url, keys, .. }| {
            (url, tokio::spawn(async move { keys.refetch(now).await }))
        })
        .collect();
    let mut found = Vec::new();
    for (issuer, fetch) in fetches {
        let fetched = match fetch.await {
            Ok(fetched) => fetched.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let (set, error) = match fetched {
            Ok(set) => (set, None),
            Err(error) => (Jwks::default(), Some(error)),
        };
        let keys = set.usable().map(|(kid, key)| Key {
            kid: kid.map(str::to_owned),
            algorithms: key.algorithms().map(VerificationAlgorithm::as_str).collect(),
        });
        let passed_over = set.unusable().iter().map(ToString::to_string).collect();
        found.push(IssuerKeys { issuer, keys: keys.collect(), passed_over, error });
    }
    found.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    found
}

/// The certificates of a file, and the time at which the one that `decides` expires.
fn certificate(
    loader: &Loader,
    file: &str,
    now: u64,
    decides: fn(i64, i64) -> i64,
) -> Result<Certificate> {
    let pem = files::read(&loader.path(file), MAX_PEM_FILE)?;
    let mut found: Option<i64> = None;
    for block in Pem::iter_from_buffer(&pem) {
        let block = block.with_context(|| format!("{file}: not PEM"))?;
        // A file may have the private key beside the chain.
        if block.label != "CERTIFICATE" {
            continue;
        }
        let certificate = block.parse_x509().with_context(|| format!("{file}: a certificate"))?;
        let expires_at = certificate.validity().not_after.timestamp();
        found = Some(found.map_or(expires_at, |other| decides(other, expires_at)));
    }
    let expires_at = found.with_context(|| format!("{file}: no certificate"))?;
    let expired = expires_at <= i64::try_from(now).unwrap_or(i64::MAX);
    Ok(Certificate { file: file.to_owned(), expires_at, expired })
}
