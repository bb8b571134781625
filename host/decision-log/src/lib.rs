//! An append-only, hash-chained log that reports which records are durable.
//!
//! ```text
//! LogWriter::append ──queue──▶ one thread: Log::append ──one write, one sync──▶ Ok(Position) to each
//! ```
//!
//! A [`Log`] is a folder of segments. Each record is a [frame] whose hash covers the previous record's hash, so that a
//! record cannot be changed, removed or inserted without breaking the chain. [`Log::append`] returns when its records
//! are durable; after a failure nothing is appended until the log is opened, and so checked, again. [`LogWriter`] lets
//! many callers share one sync. [Checkpoints](Checkpoint) are signed and stored beside the chain: they prove its length,
//! so that a truncation is detected.
//!
//! A record's contents are the caller's: this crate sees bytes. It reads no clock except to pace itself.
//!
//! # Guarantees
//! - An acknowledged record is found again after a crash, or opening the log reports that it is missing.
//! - An incomplete record that a crash left was never acknowledged. Opening moves it to a file of its own and reports it
//!   ([`Recovered`]).
//! - No record is acknowledged whose file, or that of an earlier record, was taken away or replaced by then.
//! - [`verify()`] finds every changed byte of every segment and of the checkpoints.
//!
//! # Retention
//! [`archive()`] copies full segments, compressed, to a folder that is read and verified as the log is. [`prune()`] removes
//! segments up to one before which a checkpoint was signed, and leaves a signed statement of it.
//!
//! # Limitations
//! - Whoever can write to the folder can remove records that no checkpoint covers yet, or truncate both records and
//!   checkpoints. Store checkpoints elsewhere, and compare ([`CheckpointKey::kept`]).
//! - A disk may lose what it reported as durable. If the last batch of a log that was not closed is damaged later, that
//!   is indistinguishable from a crash: it is quarantined and reported.

#![forbid(unsafe_code)]

mod archive;
mod checkpoint;
mod copy;
mod disk;
mod follow;
pub mod frame;
mod log;
mod merkle;
mod placed;
mod places;
mod pruned;
mod reader;
mod scan;
mod segment;
mod tree_reader;
mod verified_reader;
mod verify;
mod writer;

pub use archive::{ArchiveReport, archive};
pub use checkpoint::{Checkpoint, CheckpointKey, SignedCheckpoint, TreeHead};
pub use copy::{CopyReport, copy_log};
pub use disk::{Disk, Folder};
pub use follow::{FollowedLog, Placed, pruned_statement};
pub use frame::{ChainHash, MAX_RECORD_BYTES};
pub use log::{AppendError, Log, LogConfig, OpenError, Position, Recovered};
pub use merkle::{ENTRY_BYTES, Node, Peaks, TreeHash, entry};
pub use placed::{FramePlace, PlacedReader};
pub use places::Places;
pub use pruned::{PruneError, PruneReport, Pruned, prune};
pub use reader::{Entry, ReadError, Reader};
pub use segment::Damage;
pub use tree_reader::{Leaf, TreeReader};
pub use verified_reader::{Head, VerifiedReader};
pub use verify::{Report, verify};
pub use writer::{ExpectedRecord, LogWriter, NotDurable, QueueError};
