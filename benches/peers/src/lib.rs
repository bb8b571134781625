//! Countersign beside other policy engines: the same rules over the same facts.
//!
//! Every engine gets the whole run record in its own form of data, and decides whether a token may be issued.

#![warn(missing_docs)]

mod engines;
mod facts;
mod rules;
mod sets;

use std::path::PathBuf;

pub use engines::{Answer, Cedar, CedarRequestMade, Cel, Peer, Plain, Rego, RegoFromClaims};
pub use rules::{Also, Request, Rules};
pub use sets::{Countersign, config, many, set_of, stack};

/// The folder of criterion's figures.
#[must_use]
pub fn figures() -> PathBuf {
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/criterion").into();
    std::env::var_os("CRITERION_HOME").map_or_else(usual, PathBuf::from)
}

/// The file among criterion's figures with the memory of an idle binding, in bytes.
pub const IDLE_BINDING: &str = "idle-binding";
