//! Pages over decision logs: search, a decision and which claims determined it, refusals over time, releases, impact
//! reports, policies, keys and checkpoints. Each page is also JSON and lines of JSON.
//!
//! ```text
//! log ─FollowedLog→ records, verified ─Facts→ index (SQLite): which records have which facts, and where each is
//! request ─guard→ page ─index→ places ─PlacedReader→ records, verified again ─→ HTML, JSON or NDJSON
//! ```
//!
//! A [`Console`] follows its logs on threads of its own and answers requests. [`serve`] is a listener for it; whoever has a
//! listener already asks [`Console::respond`].
//!
//! Everything that is shown of a record is read from the log when it is shown, and its hash compared with the one that was
//! verified in the chain. The index says where to look, and its counts are of the records that it was built from. It is
//! thrown away and built anew when it is not of the log that is there.
//!
//! Pages need no script and have none. Text of a record is data: what could mislead a reader is shown as `\u{…}`, and
//! everything is escaped for HTML when the page is made.
//!
//! # Limitations
//! - Whoever reaches the console reads all that the logs have. It authenticates nobody: it listens on loopback, or stands
//!   behind somebody who authenticates.
//! - A record of a segment that an archive has compressed is shown as soon as that segment was decompressed, which takes a
//!   part of a second.

#![forbid(unsafe_code)]

mod answer;
mod chart;
mod console;
mod explain;
mod facts;
mod follow;
mod frame;
mod guard;
mod index;
mod log;
mod pages;
mod policies;
mod problem;
mod query;
mod record;
mod server;
mod text;

pub use answer::Body;
pub use console::{Console, ConsoleConfig, ConsoleError};
pub use guard::AllowedHosts;
pub use index::IndexError;
pub use log::{LogName, LogNameError, LogSource};
pub use policies::{KnownPolicies, NoPolicies, PolicySource, SignedPolicy};
pub use server::serve;
