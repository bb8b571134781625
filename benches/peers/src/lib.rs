//! Countersign beside other policy engines: the same rules over the same facts.
//!
//! Every engine gets the whole run record in its own form of data, and decides whether a token may be issued.

#![warn(missing_docs)]

mod engines;
mod facts;
mod rules;
mod sets;
mod timing;

pub use engines::{Answer, Cedar, CedarRequestMade, Cel, Peer, Plain, Rego, RegoFromClaims};
pub use rules::{Also, Request, Rules};
pub use sets::{Countersign, many, stack};
pub use timing::{Subject, rounds, timed};
