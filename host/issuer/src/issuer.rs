//! Who signs, and with what.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::Approval;

use crate::signer::{SignError, Signer};
use crate::token::{ClaimsSet, SignedToken, TokenId};
use crate::url::IssuerUrl;

/// An issuer identifier and the key that signs under it.
#[derive(Clone)]
pub struct Issuer {
    url: IssuerUrl,
    signer: Arc<dyn Signer>,
    /// The header of every token, in base64url, and a dot (RFC 7515 section 7.1).
    header: String,
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
        let header = BASE64_URL_SAFE_NO_PAD.encode(header) + ".";
        Self { url, signer, header }
    }

    /// The issuer identifier.
    pub fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// What signs.
    pub fn signer(&self) -> &dyn Signer {
        &*self.signer
    }

    /// Signs the token of an approval, and consumes the approval: one approval, one token.
    ///
    /// `iat` and `nbf` are the time of issue that was decided on, `exp` lies the approved life
    /// after it; all three are whole seconds. `id` becomes `jti`.
    ///
    /// # Errors
    /// When the signature fails, for no reason that lies in the approval.
    pub fn sign(&self, approval: Approval, id: &TokenId) -> Result<SignedToken, SignError> {
        let claims = ClaimsSet::new(self.url.as_str(), &approval, id);
        let claims = serde_json::to_vec(&claims).map_err(|_| SignError)?;
        let mut token = self.header.clone();
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signer.sign(token.as_bytes())?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(SignedToken(token))
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({} {:?})", self.url, self.signer.public())
    }
}
