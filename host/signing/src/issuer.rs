//! An issuer identifier, and the key that signs under it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{Approval, Claims, Digest, IssuerUrl, Terms};
use countersign_clouds::AudienceClouds;
use countersign_clouds::{UnsignedToken, UnsignedTokenError, Violation, preflight};

use crate::signer::{SignError, Signer};
use crate::token::{ClaimsSet, SignedToken, TokenId};

/// An issuer identifier and the key that signs under it.
#[derive(Clone)]
pub struct Issuer {
    url: IssuerUrl,
    signer: Arc<dyn Signer>,
    /// The header of every token.
    header: String,
    /// The same in base64url, and a dot (RFC 7515 section 7.1).
    encoded_header: String,
}

/// An approval that became no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The cloud of an audience would reject the token. At least one violation.
    #[error("the cloud of the audience would reject the token: {}", messages(.0))]
    Preflight(Vec<Violation>),
    /// The key gave no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The claims could not be written, or not be read again.
    #[error("the claims of the token cannot be written")]
    Claims(#[from] ClaimsError),
}

/// Claims that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// They are not JSON.
    #[error(transparent)]
    Write(#[from] serde_json::Error),
    /// They are not the claims of a token.
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

    /// The key.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// The header of every token: `alg`, `kid` and `typ`.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// The same in base64url, and a dot.
    pub(crate) fn encoded_header(&self) -> &str {
        &self.encoded_header
    }

    /// Signs the token of an approval, and consumes the approval: one approval, one token. A token that the cloud
    /// of one of its audiences would reject is not signed ([`countersign_clouds::preflight`]).
    ///
    /// `iat` and `nbf` are the time of issue that was decided on, `exp` is the approved lifetime
    /// after it; all three are whole seconds. `id` becomes `jti`.
    ///
    /// # Errors
    /// When a cloud would reject the token, or the signature fails for no reason that lies in the approval.
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

    /// Runs the checks of [`Issuer::sign`], and signs nothing.
    ///
    /// # Errors
    /// When a cloud would reject the token.
    pub fn check(&self, approval: &Approval, clouds: &AudienceClouds) -> Result<(), IssueError> {
        let claims = self.claims(approval, &stand_in_id())?;
        self.checked(&claims, clouds).map(drop)
    }

    /// Runs the checks of [`Issuer::sign`] on a request that no policy has decided on: on the token that would be
    /// signed if all of it were granted. A decision can shorten it, and can add claims that are not known yet.
    ///
    /// # Errors
    /// When a cloud would reject the token.
    pub fn check_request(
        &self,
        claims: &Claims,
        clouds: &AudienceClouds,
    ) -> Result<(), IssueError> {
        let terms = Terms {
            audiences: claims.token().audiences().to_vec(),
            ttl_seconds: claims.token().ttl_seconds(),
            claims: BTreeMap::new(),
        };
        // Every digest is as long as any other.
        let digest = Digest::of(b"");
        let set =
            ClaimsSet::new(self.url.as_str(), claims, &terms, (digest, digest), &stand_in_id());
        let claims = serde_json::to_vec(&set).map_err(ClaimsError::Write)?;
        self.checked(&claims, clouds).map(drop)
    }

    fn claims(&self, approval: &Approval, id: &TokenId) -> Result<Vec<u8>, ClaimsError> {
        let digests = (approval.decision(), approval.policy_set());
        let (claims, terms) = (approval.claims(), approval.terms());
        let set = ClaimsSet::new(self.url.as_str(), claims, terms, digests, id);
        Ok(serde_json::to_vec(&set)?)
    }

    /// The input of the signature, if clouds accept the token.
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

/// An id for a token that is not signed: every id is as long as any other.
fn stand_in_id() -> TokenId {
    TokenId::from_random_bytes([0; 16])
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
