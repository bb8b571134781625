//! Who signs, and with what.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{Approval, AudienceClouds};
use countersign_clouds::{UnsignedToken, UnsignedTokenError, Violation, preflight};

use crate::signer::{SignError, Signer};
use crate::token::{ClaimsSet, SignedToken, TokenId};
use crate::url::IssuerUrl;

/// An issuer identifier and the key that signs under it.
#[derive(Clone)]
pub struct Issuer {
    url: IssuerUrl,
    signer: Arc<dyn Signer>,
    /// The header of every token.
    header: String,
    /// It in base64url, and a dot (RFC 7515 section 7.1).
    encoded_header: String,
}

/// Why an approval became no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The cloud that it is for would not take it. At least one violation.
    #[error("no cloud would take the token: {}", messages(.0))]
    Preflight(Vec<Violation>),
    /// There was no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The claims could not be written, or not be read again.
    #[error("the claims could not be written")]
    Claims(#[from] ClaimsError),
}

/// Why claims could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// They are no JSON.
    #[error(transparent)]
    Write(#[from] serde_json::Error),
    /// They are no token's.
    #[error(transparent)]
    Read(#[from] UnsignedTokenError),
}

impl Issuer {
    /// Puts an identifier and a key together.
    pub fn new(url: IssuerUrl, signer: Arc<dyn Signer>) -> Self {
        let public = signer.public();
        // Both are of letters, digits, dash and underscore.
        let header = format!(
            r#"{{"typ":"JWT","alg":"{}","kid":"{}"}}"#,
            public.algorithm().as_str(),
            public.kid()
        );
        let encoded_header = BASE64_URL_SAFE_NO_PAD.encode(&header) + ".";
        Self { url, signer, header, encoded_header }
    }

    /// The issuer identifier.
    pub fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// What signs.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// Signs the token of an approval, and consumes the approval: one approval, one token. What the cloud of one
    /// of its audiences would not take is not signed ([`countersign_clouds::preflight`]).
    ///
    /// `iat` and `nbf` are the time of issue that was decided on, `exp` lies the approved life
    /// after it; all three are whole seconds. `id` becomes `jti`.
    ///
    /// # Errors
    /// When a cloud would not take the token, or the signature fails for no reason that lies in the approval.
    pub fn sign(
        &self,
        approval: Approval,
        id: &TokenId,
        clouds: &AudienceClouds,
    ) -> Result<SignedToken, IssueError> {
        let claims = self.claims(&approval, id)?;
        let mut token = self.checked(&claims, clouds)?;
        let signature = self.signer.sign(token.as_bytes())?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(SignedToken(token))
    }

    /// Checks what [`Issuer::sign`] would check, and signs nothing.
    ///
    /// # Errors
    /// When a cloud would not take the token.
    pub fn check(&self, approval: &Approval, clouds: &AudienceClouds) -> Result<(), IssueError> {
        // As long as any other.
        let claims = self.claims(approval, &TokenId::from_random_bytes([0; 16]))?;
        self.checked(&claims, clouds).map(drop)
    }

    fn claims(&self, approval: &Approval, id: &TokenId) -> Result<Vec<u8>, ClaimsError> {
        Ok(serde_json::to_vec(&ClaimsSet::new(self.url.as_str(), approval, id))?)
    }

    /// What is to be signed, if clouds take it.
    fn checked(&self, claims: &[u8], clouds: &AudienceClouds) -> Result<String, IssueError> {
        let mut input = self.encoded_header.clone();
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut input);
        let characters = input.len() + 1 + self.signer.public().signature_characters();
        let unsigned = UnsignedToken::parse(self.header.as_bytes(), claims, characters)
            .map_err(ClaimsError::Read)?;
        match preflight(&unsigned, clouds) {
            violations if violations.is_empty() => Ok(input),
            violations => Err(IssueError::Preflight(violations)),
        }
    }
}

fn messages(violations: &[Violation]) -> String {
    let messages: Vec<_> = violations.iter().map(|violation| &*violation.message).collect();
    messages.join("; ")
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({} {:?})", self.url, self.signer.public())
    }
}
