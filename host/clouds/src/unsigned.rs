//! Parses a token before it is signed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

/// The claim with all session tags, and the beginning of those with one tag each.
pub(crate) const TAGS: &str = "https://aws.amazon.com/tags";

/// A token before it is signed: its header, its claims, and the length of the signed token.
///
/// It is parsed from the bytes to be signed, so that exactly the issued token is checked.
#[derive(Debug)]
pub struct UnsignedToken<'t> {
    pub(crate) header: Header<'t>,
    pub(crate) claims: Claims<'t>,
    pub(crate) session_tags: SessionTags<'t>,
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
}

/// The claims with AWS' session tags. Read apart from the others: to keep every claim that has no field would take
/// longer than all the checks.
#[derive(Debug, Default)]
pub(crate) struct SessionTags<'t>(pub(crate) Vec<(Cow<'t, str>, Value)>);

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

impl<'de: 't, 't> Deserialize<'de> for SessionTags<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Claims;
        impl<'de> Visitor<'de> for Claims {
            type Value = SessionTags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some(Name(name)) = claims.next_key()? {
                    if name.starts_with(TAGS) {
                        tags.push((name, claims.next_value()?));
                    } else {
                        claims.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(SessionTags(tags))
            }
        }
        #[derive(Deserialize)]
        struct Name<'n>(#[serde(borrow)] Cow<'n, str>);
        deserializer.deserialize_map(Claims)
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
            session_tags: serde_json::from_slice(claims).map_err(error("claims"))?,
            characters,
        })
    }
}
