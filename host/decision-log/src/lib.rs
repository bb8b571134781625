//! An append-only, hash-chained log that says what is durable.
//!
//! ```text
//! LogWriter::append ──queue──▶ one thread: Log::append ──one write, one sync──▶ Ok(Position) to each
//! ```
//!
//! A [`Log`] is a folder of segments. Each record is a [frame] whose hash covers the hash of the
//! record before it, so that nothing can be changed, taken out or put in without the rest of the chain
//! saying so. [`Log::append`] returns when its records are durable; after a failure nothing is appended
//! until the log is opened, and so checked, again. [`LogWriter`] lets many callers share one sync.
//! [Checkpoints](Checkpoint) are signed and beside the chain: they say how far it once reached, so that
//! an end that was cut off is missed.
//!
//! What is in a record is the caller's: this crate sees bytes. It reads no clock but to pace itself.
//!
//! # What is guaranteed
//! - A record that was acknowledged is found again after a crash, or opening says that it is not.
//! - What a crash left half-written was never acknowledged. Opening puts it aside in a file of its own
//!   and says so ([`Recovered`]).
//! - [`verify()`] finds every changed byte of every segment and of the checkpoints.
//!
//! # What is not
//! - That nobody who can write to the folder took away what no checkpoint covers yet, or cut both records and
//!   checkpoints off at an earlier one. Keep a checkpoint elsewhere, and compare ([`CheckpointKey::kept`]).
//! - That a disk kept what it said it kept. Where the last batch of a log that was not closed is damaged
//!   later, that looks like a crash: it is put aside, and said.

#![forbid(unsafe_code)]

mod checkpoint;
mod disk;
pub mod frame;
mod log;
mod reader;
mod scan;
mod segment;
mod verify;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointKey};
pub use disk::{Disk, Folder};
pub use frame::{ChainHash, MAX_RECORD_BYTES};
pub use log::{AppendError, Log, LogConfig, OpenError, Position, Recovered};
pub use reader::{Entry, ReadError, Reader};
pub use segment::Damage;
pub use verify::{Report, verify};
pub use writer::{LogWriter, QueueError};
