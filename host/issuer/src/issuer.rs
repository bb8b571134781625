//! Who signs, and with what.

use countersign::Approval;
use jsonwebtoken::{Header, encode};

use crate::key::{Algorithm, SigningKey};
use crate::token::{ClaimsSet, SignedToken, TokenId};
use crate::url::IssuerUrl;

/// An issuer identifier and the key that signs under it.
#[derive(Debug)]
pub struct Issuer {
    url: IssuerUrl,
    key: SigningKey,
}

/// A token could not be signed: the system gives no randomness, or is out of memory.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SignError(#[source] jsonwebtoken::errors::Error);

impl Issuer {
    /// Puts an identifier and a key together.
    pub fn new(url: IssuerUrl, key: SigningKey) -> Self {
        Self { url, key }
    }

    /// The issuer identifier.
    pub fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs the token of an approval, and consumes the approval: one approval, one token.
    ///
    /// `iat` and `nbf` are the time of issue that was decided on, `exp` lies the approved life
    /// after it; all three are whole seconds. `id` becomes `jti`.
    ///
    /// # Errors
    /// When the signature fails, for no reason that lies in the approval.
    pub fn sign(&self, approval: Approval, id: &TokenId) -> Result<SignedToken, SignError> {
        let public = self.key.public();
        let mut header = Header::new(match public.algorithm() {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        });
        header.kid = Some(public.kid().to_owned());
        let claims = ClaimsSet::new(self.url.as_str(), &approval, id);
        encode(&header, &claims, &self.key.private).map(SignedToken).map_err(SignError)
    }
}
