//! Sends traces to a collector, by OTLP over HTTP with protobuf.
//!
//! ```text
//! request ─Trace→ TraceSink::offer ─bounded queue, or dropped and counted→ one thread ─batches→ POST /v1/traces
//! ```
//!
//! Nothing of a token's way waits for a collector: a trace is offered without blocking, and where there is no room, or the
//! collector does not take it, its spans are dropped and counted. Nothing is sent unless an endpoint is configured.
//!
//! The one message that is sent is encoded here: it has eight kinds of parts, and the libraries for it would add a dozen
//! crates to a program that needs no other part of them.

#![forbid(unsafe_code)]

mod config;
mod encode;
mod exporter;

pub use config::{Sampling, TracesConfig, TracesConfigError};
pub use exporter::{TraceExporter, TraceExporterError};
