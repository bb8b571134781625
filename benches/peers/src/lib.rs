//! Countersign beside other policy engines: the same rules over the same facts.
//!
//! Every engine is given the whole run record, in the form that it has for such data, and answers
//! whether a token may be issued.

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

/// The file among criterion's figures that has the bytes that an idle binding holds.
pub const IDLE_BINDING: &str = "idle-binding";
