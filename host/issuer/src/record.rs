//! The records of decisions, each durable before its answer leaves.

mod candidate;
mod changes;
mod service_account;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::SubjectFormats;
use countersign_clouds::Violation;
use countersign_decision_log::{
    AppendError, Disk, Log, LogConfig, LogWriter, OpenError, Recovered,
};
use serde::Serialize;

use crate::checkpoint::CheckpointSigner;
use crate::clock::{Clock, ClockError};
use crate::decider::RecordHead;
use crate::trace::Trace;

pub(crate) use self::candidate::candidate_record;
pub(crate) use self::changes::{
    ChangeRecord, finished_record, refused_record, registered_record, withheld_record,
};
pub use self::service_account::SignerList;
pub(crate) use self::service_account::{ServiceAccountPart, ServiceAccountRecord, mode};

/// The requester, as records have it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Requester {
    /// A runner, by the token of an issuer that is trusted.
    Runner {
        /// Its id.
        runner: String,
        /// The issuer of its token.
        issuer: String,
        /// The subject of its token.
        subject: String,
    },
    /// The holder of the run token.
    RunToken {
        /// The runner that the run was given to.
        runner: String,
    },
    /// The control plane.
    ControlPlane {
        /// The name of its API key, or the subject of its token.
        name: String,
        /// The issuer of its token; absent for an API key.
        #[serde(skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// The API server of a cluster, for a service account.
    ApiServer {
        /// The user that it runs as, as the socket has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
    },
    /// An operator at a command line, who has the signing key in a file: no service stands in between.
    CommandLine {
        /// The command, such as `sign`.
        command: String,
    },
}

/// The request that a decision or a change comes from.
#[derive(Debug, Clone)]
pub struct RequestOrigin {
    /// Its id, as it is in the service's own log.
    pub id: String,
    /// The address of the client, where it is known.
    pub client: Option<IpAddr>,
    /// The trace of the request, where it has one: the record of its decision names it.
    pub trace: Option<Trace>,
}

/// A token that its issuer lets be used once, and whose use a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedToken {
    /// Its issuer.
    pub issuer: String,
    /// Its `jti`.
    pub token_id: String,
    /// Its end, in seconds since 1970.
    pub expires_at: u64,
}

/// The kind of a decision's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A token was requested, and is signed if approved.
    Token,
    /// A decision was requested without a token.
    Decision,
    /// A signature over the claims of a service account was requested.
    ServiceAccount,
}

impl RecordKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Token, Self::Decision, Self::ServiceAccount];

    /// The word that records and metrics have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Decision => "decision",
            Self::ServiceAccount => service_account::SERVICE_ACCOUNT,
        }
    }
}

/// A record. Within a `version`, members are only added.
#[derive(Serialize)]
pub(crate) struct DecisionRecord<'r> {
    version: u32,
    /// [`RecordKind`].
    pub(crate) kind: &'static str,
    /// The id of the request, as it is in the service's own log.
    pub(crate) request: &'r str,
    /// The address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<IpAddr>,
    /// Seconds since 1970.
    pub(crate) time: u64,
    pub(crate) requester: &'r Requester,
    /// The id of the request's trace. It is beside the decision, whose bytes are the same without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// The token whose only use this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<&'r UsedToken>,
    /// The number of changes that the store had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changes: Option<u64>,
    /// The effect of the decision on a token of a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) list: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_account: Option<ServiceAccountPart<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issued: Option<IssuedRecord>,
    /// The violations for which nothing was signed although the policies approved: the cloud would reject the token.
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
    pub(crate) fn new(head: RecordHead<'r>, time: u64) -> Self {
        let RecordHead { kind, origin, requester, used, changes, service_account } = head;
        Self {
            version: 1,
            kind: kind.as_str(),
            request: &origin.id,
            client: origin.client,
            time,
            requester,
            trace: origin.trace.as_ref().map(Trace::id),
            used,
            changes,
            mode: service_account.map(|of| mode(of.in_shadow)),
            list: service_account.map(|_| SignerList::Decide.as_str()),
            service_account: service_account.map(|of| ServiceAccountPart::new(of.claims)),
            issued: None,
            preflight: Vec::new(),
        }
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

/// Opens a log, and first of all puts on record what a crash had left in it. `guard` is that of
/// [`LogWriter::start`].
///
/// # Errors
/// When it cannot be opened, or takes no records.
pub fn open_log<D: Disk + 'static>(
    disk: D,
    config: LogConfig,
    key: CheckpointSigner,
    clock: Arc<dyn Clock>,
    guard: impl Fn() -> io::Result<()> + Send + 'static,
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
    let writer = LogWriter::start(log, now, guard).map_err(OpenLogError::Thread)?;
    Ok((writer, recovered))
}

/// A decision log that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// It cannot be opened.
    #[error("failed to open the decision log")]
    Open(#[from] OpenError),
    /// It takes no records.
    #[error("failed to append to the decision log")]
    Append(#[from] AppendError),
    /// The clock failed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The system gives no thread.
    #[error("failed to start the thread of the decision log")]
    Thread(#[source] std::io::Error),
}

/// The form that subjects have from here on: on record when it changes, and at the start.
pub(crate) fn subjects_record(subjects: &SubjectFormats, time: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct SubjectsRecord<'r> {
        version: u32,
        kind: &'static str,
        time: u64,
        meshstack_id: &'r str,
        subject_profile: &'static str,
        /// The overrides of definitions.
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

/// The remains of a crash that opening the log found, as a record.
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
