//! Kubernetes' external signer of service account tokens: ExternalJWTSigner v1 (KEP-740) on a Unix socket.
//!
//! ```text
//! API server ─→ Socket (owner, mode, peers) ─→ door (ExternalJWTSigner v1) ─→ ClusterSigner (countersign-issuer)
//! ```
//!
//! The API server trusts whoever listens on the socket with its keys, and whoever may connect can have any service account's
//! token signed. So the socket gets its name when it has its owner and mode, a second listener is refused, and peers are known
//! by their user. The door only translates: it decides nothing.

#![forbid(unsafe_code)]

#[cfg(unix)]
mod door;
// Generated, see `make protos`.
#[cfg(unix)]
#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    reason = "generated, with the client that tests are"
)]
pub mod proto;
#[cfg(unix)]
mod socket;
mod unread;

#[cfg(unix)]
pub use door::{ServeError, serve};
#[cfg(unix)]
pub use socket::{Socket, SocketConfig, SocketError};
