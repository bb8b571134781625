//! A gate in front of a foreign issuer's token endpoint: Envoy's external authorization, version 3.
//!
//! ```text
//! caller ─token exchange→ Envoy ─Check→ gate ─→ Service (the caller is entitled to the run, the policies approve) ─→ OK or not
//!                           └─ OK alone → the foreign issuer
//! ```
//!
//! The request is a token exchange (RFC 8693) as this service's own token endpoint takes it, and its caller proves the same. The
//! foreign issuer signs what was asked for, so that an approval of less is a refusal. There is no OK on a fault, and every
//! answer is a response of the gate: an error of the call itself is one that Envoy can be told to let pass.

#![forbid(unsafe_code)]

mod exchange;
mod gate;
// Generated, see `make protos`.
#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    reason = "generated, with the client that tests are"
)]
pub mod proto;

pub use gate::{ServeError, serve};
