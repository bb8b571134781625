//! Decisions of a log as Parquet, for analysts: in a folder or in S3.
//!
//! ```text
//! record ─VerifiedReader→ row (one for each record) ─→ file of one day ─→ claim, then data, each written once ─→ manifest
//! ```
//!
//! Every record becomes one row of the [schema](COLUMNS), whatever it says: texts are data. A file has the records of one
//! day that follow each other, and its name has the first and the last one's sequence and the hash of the chain there. Before a
//! file is written, its range is claimed by an object that is created if it does not exist: two exporters never write the same
//! record twice, and one that was interrupted goes on with exactly the file that it had begun.
//!
//! Memory is bounded by one file, however long the log is. Nothing here reads the environment or a clock.

#![forbid(unsafe_code)]

mod columns;
mod date;
mod destination;
mod exporter;
mod file;
mod folder;
mod s3;

pub use columns::{COLUMNS, Column, Kind, Member, SCHEMA_VERSION, schema_text};
pub use destination::{Destination, DestinationError, Put};
pub use exporter::{ExportError, ExportOptions, ExportReport, Exported, Replica, export};
pub use folder::FolderDestination;
pub use s3::{S3Config, S3Destination, S3Location};
