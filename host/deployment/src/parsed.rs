//! Values that are parsed where they stand in a file.

use std::fmt::Display;
use std::str::FromStr;

use countersign::{Digest, DigestError};
use serde::de::{Deserialize, Deserializer, Error as _};

/// A text that is parsed where it stands, so that an error has its line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A digest, as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DigestText(pub(crate) Digest);

impl FromStr for DigestText {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Digest::parse(text).map(Self)
    }
}
