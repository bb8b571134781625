//! What is on record of each decision, before its answer leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::SubjectFormats;
use countersign_clouds::Violation;
use countersign_decision_log::{
    AppendError, Disk, Log, LogConfig, LogWriter, OpenError, Position, QueueError, Recovered,
};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::checkpoint::CheckpointSigner;
use crate::clock::{Clock, ClockError};

/// Who asked, as it is on record.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Requester {
    /// A runner, by the token of an issuer that is trusted.
    Runner { runner: String, issuer: String, subject: String },
    /// Whoever held the run token.
    RunToken { runner: String },
    /// The control plane, by its API key's name or the subject of its token.
    ControlPlane { name: String },
}

/// A record. Within a `version`, members are only added.
#[derive(Serialize)]
pub(crate) struct DecisionRecord<'r> {
    version: u32,
    /// `token`: signed if approved. `decision`: asked for without a token.
    pub(crate) kind: &'static str,
    /// The id of the request, as it is in the service's own log.
    pub(crate) request: &'r str,
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) requester: &'r Requester,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issued: Option<IssuedRecord>,
    /// Why nothing was signed that the policies approved: what the cloud would not take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preflight: Vec<Violation>,
}

/// The token that was signed, which leaves when this is durable.
#[derive(Serialize)]
pub(crate) struct IssuedRecord {
    pub(crate) jti: String,
    /// SHA-256 of the token.
    pub(crate) token: String,
    pub(crate) kid: String,
    pub(crate) algorithm: &'static str,
    pub(crate) subject_profile: &'static str,
    pub(crate) expires_at: u64,
}

impl<'r> DecisionRecord<'r> {
    pub(crate) fn new(
        kind: &'static str,
        request: &'r str,
        time: u64,
        requester: &'r Requester,
    ) -> Self {
        let preflight = Vec::new();
        Self { version: 1, kind, request, time, requester, issued: None, preflight }
    }

    /// The record, whose last member is `decision`: the decision's own record, as it is.
    pub(crate) fn with(&self, decision: &str) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::with_capacity(decision.len() + 1024);
        serde_json::to_writer(&mut bytes, self)?;
        bytes.pop();
        bytes.extend_from_slice(b",\"decision\":");
        bytes.extend_from_slice(decision.as_bytes());
        bytes.push(b'}');
        Ok(bytes)
    }
}

/// Opens a log, and has on record what a crash had left in it, before anything else is.
///
/// # Errors
/// When it cannot be opened, or takes no records.
pub fn open_log<D: Disk + 'static>(
    disk: D,
    config: LogConfig,
    key: CheckpointSigner,
    clock: Arc<dyn Clock>,
) -> Result<(LogWriter, Vec<Recovered>), OpenLogError> {
    let (mut log, recovered) = Log::open(disk, config, Box::new(key))?;
    if !recovered.is_empty() {
        let now = clock.now()?;
        let records: Vec<_> = recovered.iter().map(|one| recovered_record(one, now)).collect();
        log.append(&records, now)?;
    }
    // It stands in checkpoints only: where the clock is wrong, no decision comes this far.
    let latest = AtomicU64::new(0);
    let now = move || match clock.now() {
        Ok(now) => {
            latest.store(now, Ordering::Relaxed);
            now
        }
        Err(_) => latest.load(Ordering::Relaxed),
    };
    let writer = LogWriter::start(log, now).map_err(OpenLogError::Thread)?;
    Ok((writer, recovered))
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// It cannot be opened.
    #[error("the decision log cannot be opened")]
    Open(#[from] OpenError),
    /// It takes no records.
    #[error("the decision log takes no records")]
    Append(#[from] AppendError),
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The system gives no thread.
    #[error("the decision log has no thread")]
    Thread(#[source] std::io::Error),
}

/// Which form the subjects have from here on: on record where that changes, and at the start.
pub(crate) fn subjects_record(subjects: &SubjectFormats, time: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct SubjectsRecord<'r> {
        version: u32,
        kind: &'static str,
        time: u64,
        meshstack_id: &'r str,
        subject_profile: &'static str,
        /// Those of definitions, where they are said.
        definitions: BTreeMap<&'r str, &'static str>,
    }
    let overrides = subjects.overrides.iter();
    let record = SubjectsRecord {
        version: 1,
        kind: "subjects",
        time,
        meshstack_id: subjects.meshstack_id.as_str(),
        subject_profile: subjects.profile.as_str(),
        definitions: overrides.map(|(id, profile)| (id.as_str(), profile.as_str())).collect(),
    };
    serde_json::to_vec(&record).unwrap_or_default()
}

/// What opening the log found of a crash, as it goes on record.
fn recovered_record(recovered: &Recovered, time: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct RecoveredRecord<'r> {
        version: u32,
        kind: &'static str,
        time: u64,
        file: &'r str,
        offset: u64,
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        saved_as: Option<&'r str>,
    }
    let record = RecoveredRecord {
        version: 1,
        kind: "recovered",
        time,
        file: &recovered.file,
        offset: recovered.offset,
        bytes: recovered.bytes,
        saved_as: recovered.saved_as.as_deref(),
    };
    serde_json::to_vec(&record).unwrap_or_default()
}

/// A record is not durable, as far as can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDurable {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Append(AppendError),
    #[error("the log was closed")]
    Closed,
}

/// Waits until a record is durable.
pub(crate) async fn durable(log: &LogWriter, record: Vec<u8>) -> Result<Position, NotDurable> {
    let (told, telling) = oneshot::channel();
    log.append(record, move |result| {
        // Whoever asked may have gone.
        let _ = told.send(result);
    })?;
    telling.await.map_err(|_| NotDurable::Closed)?.map_err(NotDurable::Append)
}
