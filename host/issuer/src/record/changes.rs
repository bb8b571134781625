//! The records without a decision: registrations and finishes of runs, and requests that the host's own rules refuse.

use countersign::{Reason, RunId, RunnerId, run_record};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{RequestOrigin, Requester, UsedToken};
use crate::runs::RegisteredRun;

/// Everything in a record that is not what happened.
pub(crate) struct ChangeRecord<'r> {
    pub(crate) origin: &'r RequestOrigin,
    pub(crate) requester: &'r Requester,
    pub(crate) used: Option<&'r UsedToken>,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The number of changes that the store had, with this one.
    pub(crate) changes: u64,
}

/// A record. Within a `version`, members are only added.
#[derive(Serialize)]
struct Record<'r, T> {
    version: u32,
    kind: &'static str,
    request: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<std::net::IpAddr>,
    time: u64,
    requester: &'r Requester,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<&'r UsedToken>,
    changes: u64,
    #[serde(flatten)]
    what: T,
}

/// A run that was registered.
#[derive(Serialize)]
struct RegisteredWhat<'r> {
    /// The facts of the run, as records of decisions have them in their claims.
    registered: Box<RawValue>,
    runner: &'r str,
    /// True when it has a run token, of which nothing is on record.
    run_token: bool,
    /// Seconds since 1970.
    expires_at: u64,
}

/// A run that was finished.
#[derive(Serialize)]
struct FinishedWhat<'r> {
    run: &'r str,
}

/// A token, or a decision, that was refused before any policy was asked.
#[derive(Serialize)]
struct RefusedWhat<'r> {
    run: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<&'r str>,
    reasons: Vec<HostReason<'r>>,
}

/// A token that was signed, and did not leave.
#[derive(Serialize)]
struct WithheldWhat<'r> {
    run: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<&'r str>,
    /// The id of the token.
    withheld: &'r str,
    /// Empty where the service could not tell whether it may leave.
    reasons: Vec<HostReason<'r>>,
}

/// A reason whose source is the host.
#[derive(Serialize)]
struct HostReason<'r> {
    code: &'r str,
    message: &'r str,
}

/// The record of a registration, which is written each time that a run is registered.
///
/// # Errors
/// When the facts cannot be written.
pub(crate) fn registered_record(
    run: &RegisteredRun,
    change: ChangeRecord<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let what = RegisteredWhat {
        registered: RawValue::from_string(run_record(&run.run, &run.facts))?,
        runner: run.runner.as_str(),
        run_token: run.run_token.is_some(),
        expires_at: run.expires_at,
    };
    written("registered", change, what)
}

/// The record of an end of a run.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn finished_record(
    run: &RunId,
    change: ChangeRecord<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    written("finished", change, FinishedWhat { run: run.as_str() })
}

/// The record of a request for a run that a rule of the host refuses.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn refused_record(
    run: &RunId,
    runner: Option<&RunnerId>,
    reasons: &[Reason],
    change: ChangeRecord<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let (run, runner) = (run.as_str(), runner.map(RunnerId::as_str));
    let reasons = host_reasons(reasons);
    written("refused", change, RefusedWhat { run, runner, reasons })
}

/// The record of a token that was signed and did not leave: by a rule of the host, or since it could not be told whether
/// one forbids it.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn withheld_record(
    run: &RunId,
    runner: Option<&RunnerId>,
    jti: &str,
    reasons: &[Reason],
    change: ChangeRecord<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let (run, runner) = (run.as_str(), runner.map(RunnerId::as_str));
    let reasons = host_reasons(reasons);
    written("withheld", change, WithheldWhat { run, runner, withheld: jti, reasons })
}

fn host_reasons(reasons: &[Reason]) -> Vec<HostReason<'_>> {
    let reason = |reason| {
        let Reason { code, message, .. }: &Reason = reason;
        HostReason { code, message }
    };
    reasons.iter().map(reason).collect()
}

fn written<T: Serialize>(
    kind: &'static str,
    change: ChangeRecord<'_>,
    what: T,
) -> Result<Vec<u8>, serde_json::Error> {
    let ChangeRecord { origin, requester, used, time, changes } = change;
    let (request, client) = (origin.id.as_str(), origin.client);
    serde_json::to_vec(&Record {
        version: 1,
        kind,
        request,
        client,
        time,
        requester,
        used,
        changes,
        what,
    })
}
