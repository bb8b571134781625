//! The certificate of a listener.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The protocols that are offered within TLS (RFC 7301), the better one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// HTTP/2 within TLS (RFC 9113 section 3.1).
pub(crate) const HTTP2: &[u8] = b"h2";

/// A certificate that can be replaced while it is used.
pub struct Tls(ArcSwap<Certificate>);

struct Certificate {
    config: Arc<ServerConfig>,
    validity: Validity,
}

/// The time in which all certificates of a chain are valid, in seconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore` of RFC 5280 section 4.1.2.5; the latest one of the chain.
    pub not_before: u64,
    /// `notAfter`; the earliest one of the chain.
    pub not_after: u64,
}

/// A certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file holds no certificate chain, or no private key.
    #[error("no certificate chain or no private key in PEM")]
    Pem,
    /// A certificate cannot be read.
    #[error("a certificate of the chain cannot be parsed")]
    Certificate,
    /// They do not belong together, or cannot be used.
    #[error(transparent)]
    Unusable(#[from] tokio_rustls::rustls::Error),
    /// A certificate of the chain is no longer valid: every client refuses it.
    #[error("the certificate has expired: `notAfter` is {not_after}, now is {now}")]
    Expired {
        /// The end of its validity, in seconds since 1970.
        not_after: u64,
        /// The time of the check.
        now: u64,
    },
    /// A certificate of the chain is not valid yet.
    #[error("the certificate is not valid yet: `notBefore` is {not_before}, now is {now}")]
    NotYet {
        /// The beginning of its validity, in seconds since 1970.
        not_before: u64,
        /// The time of the check.
        now: u64,
    },
}

impl Tls {
    /// From a certificate chain and its private key, both in PEM. One that has expired is taken, since a service that does
    /// not start helps nobody: see [`Tls::validity`].
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(Certificate::new(certificate, key)?)))
    }

    /// Uses others for the connections that come from now on.
    ///
    /// # Errors
    /// When they cannot be used, or are not valid at `now`, in seconds since 1970; those before stay.
    pub fn replace(&self, certificate: &[u8], key: &[u8], now: u64) -> Result<(), TlsError> {
        let certificate = Certificate::new(certificate, key)?;
        certificate.validity.check(now)?;
        self.0.store(Arc::new(certificate));
        Ok(())
    }

    /// The validity of the certificate that is in use.
    pub fn validity(&self) -> Validity {
        self.0.load().validity
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.load().config)
    }
}

impl Validity {
    /// Checks that the chain is valid at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(self, now: u64) -> Result<(), TlsError> {
        let Self { not_before, not_after } = self;
        match now {
            _ if now > not_after => Err(TlsError::Expired { not_after, now }),
            _ if now < not_before => Err(TlsError::NotYet { not_before, now }),
            _ => Ok(()),
        }
    }

    fn of(chain: &[CertificateDer<'_>]) -> Result<Self, TlsError> {
        let mut validity = Self { not_before: 0, not_after: u64::MAX };
        for certificate in chain {
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
                .map_err(|_| TlsError::Certificate)?;
            let seconds = |time: x509_parser::time::ASN1Time| {
                // Before 1970 is long ago.
                u64::try_from(time.timestamp()).unwrap_or(0)
            };
            let of = parsed.validity();
            validity.not_before = validity.not_before.max(seconds(of.not_before));
            validity.not_after = validity.not_after.min(seconds(of.not_after));
        }
        Ok(validity)
    }
}

impl Certificate {
    fn new(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem)?;
        let validity = Validity::of(&chain)?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self { config: Arc::new(config), validity })
    }
}
