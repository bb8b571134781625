//! Parses a token before it is signed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

/// A token before it is signed: its header, its claims, and the length of the signed token.
///
/// It is parsed from the bytes to be signed, so that exactly the issued token is checked.
#[derive(Debug)]
pub struct UnsignedToken<'t> {
    pub(crate) header: Header<'t>,
    pub(crate) claims: Claims<'t>,
    pub(crate) characters: usize,
}

/// The error for bytes that are not a token's header or claims.
#[derive(Debug, thiserror::Error)]
#[error("not a token's {part}")]
pub struct UnsignedTokenError {
    /// `header` or `claims`.
    pub part: &'static str,
    #[source]
    source: serde_json::Error,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header<'t> {
    #[serde(borrow)]
    pub(crate) alg: Cow<'t, str>,
    #[serde(borrow, default)]
    pub(crate) kid: Option<Cow<'t, str>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Claims<'t> {
    #[serde(borrow)]
    pub(crate) iss: Cow<'t, str>,
    #[serde(borrow)]
    pub(crate) sub: Cow<'t, str>,
    #[serde(borrow)]
    pub(crate) aud: Audiences<'t>,
    pub(crate) iat: Number,
    pub(crate) nbf: Option<Number>,
    pub(crate) exp: Number,
    /// All other claims; session tags are checked.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audiences<'t> {
    One(#[serde(borrow)] Cow<'t, str>),
    Several(#[serde(borrow)] Vec<Cow<'t, str>>),
}

impl Audiences<'_> {
    pub(crate) fn as_slice(&self) -> &[Cow<'_, str>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

impl<'t> UnsignedToken<'t> {
    /// Parses header and claims, which are JSON. `characters` is the length of the signed token in compact serialisation
    /// (RFC 7515 section 7.1).
    ///
    /// # Errors
    /// Returns an error if a mandatory claim is missing or has another type.
    pub fn parse(
        header: &'t [u8],
        claims: &'t [u8],
        characters: usize,
    ) -> Result<Self, UnsignedTokenError> {
        let error = |part| move |source| UnsignedTokenError { part, source };
        Ok(Self {
            header: serde_json::from_slice(header).map_err(error("header"))?,
            claims: serde_json::from_slice(claims).map_err(error("claims"))?,
            characters,
        })
    }
}
