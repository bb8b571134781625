//! A token before it is signed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

/// A token before it is signed: header and claims as they will be, and how long the token will be.
///
/// It is read from the bytes that are to be signed, so that what is checked is what leaves.
#[derive(Debug)]
pub struct UnsignedToken<'t> {
    pub(crate) header: Header<'t>,
    pub(crate) claims: Claims<'t>,
    pub(crate) characters: usize,
}

/// The bytes are no header or no claims of a token.
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
    /// The others, of which session tags are looked at.
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
    /// Reads header and claims, which are JSON. `characters` is the length of the token when it is signed, in
    /// compact serialisation (RFC 7515 section 7.1).
    ///
    /// # Errors
    /// When a claim is missing that every token has, or has another type.
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
