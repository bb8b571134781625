//! Receipts of a decision log: what proves one record, offline, to somebody who has no log.
//!
//! ```text
//! records ─TreeReader→ nodes ─┬─ prove ─→ Proof (c2sp.org/tlog-proof) ─verify→ the entry, its place, the signed checkpoint
//!                             └─ tiles ─→ a folder to publish (c2sp.org/tlog-tiles) ─→ consistency ─→ witnesses
//! ```
//!
//! The tree and its signed checkpoints are the log's own ([`countersign_decision_log`]); this crate reads and writes the
//! formats of C2SP: [signed notes](Note), [proofs](Proof), [tiles](Tiles), and [witnesses](WitnessPolicy). Nothing here makes
//! network connections or reads a clock: a witness is asked through a function of the caller.
//!
//! Data that is stored beside the log (tiles) is never trusted over it: whatever is computed from tiles is compared with a root
//! that the log's key signed.

#![forbid(unsafe_code)]

mod note;
mod proof;
mod prove;
mod signer;
mod subtree;
mod tiles;
mod tree_checkpoint;
mod verifier_key;
mod witness;

pub use note::{MAX_NOTE_BYTES, Note, NoteError, Verified};
pub use proof::{LogEntry, MAX_PROOF_BYTES, Proof, ProofError, ProvedEntry};
pub use prove::{MAX_PROVED, ProveError, Proved, prove};
pub use signer::{NoteSigner, SignerError, ecdsa_signature};
pub use subtree::{
    Subtrees, TreeError, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
pub use tiles::{Tiles, TilesError, TilesReport, tile_path, write_tiles};
pub use tree_checkpoint::TreeCheckpoint;
pub use verifier_key::{VerifierKey, VerifierKeyError};
pub use witness::{
    Ask, MAX_POLICY_BYTES, Witness, WitnessAnswer, WitnessError, WitnessPolicy, WitnessPolicyError,
};
