//! What is on record of each decision, before its answer leaves.

use countersign::Decision;
use countersign_decision_log::{AppendError, LogWriter, Position, QueueError, Recovered};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

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
    pub(crate) decision: &'r RawValue,
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
        decision: &'r RawValue,
    ) -> Self {
        Self { version: 1, kind, request, time, requester, issued: None, decision }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// The decision, as it goes on record.
pub(crate) fn decision_json(decision: &Decision) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::value::to_raw_value(&decision.record())
}

/// What opening the log found of a crash, as it goes on record.
pub(crate) fn recovered_record(recovered: &Recovered, time: u64) -> Vec<u8> {
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
    #[error("{0}")]
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
