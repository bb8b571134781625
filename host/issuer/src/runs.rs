//! Runs that the control plane has registered.

use std::fmt;

use countersign::{DISPLAY_NAMES, FactName, Facts, Run, RunnerId};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The minimum length of a secret, in bytes: a shorter one could be guessed from its hash.
pub const MIN_SECRET_BYTES: usize = 16;

/// The maximum length of a secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 8192;

/// A run may have no token any more: it was finished.
pub(crate) const RUN_FINISHED: &str = "run-finished";
/// A run may have no token any more: it has expired.
pub(crate) const RUN_EXPIRED: &str = "run-expired";

/// A run, the runner that executes it, and the time until which it may have tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredRun {
    /// Its facts.
    pub run: Run,
    /// The runner that it was given to.
    pub runner: RunnerId,
    /// The facts that were registered beside it.
    pub facts: Facts,
    /// The hash of its run token, where it has one.
    pub run_token: Option<SecretHash>,
    /// The time of its registration, in seconds since 1970.
    pub registered_at: u64,
    /// From when on it gets no token.
    pub expires_at: u64,
    /// The time at which it was finished.
    pub finished_at: Option<u64>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It may have tokens.
    Live,
    /// It was finished.
    Finished,
    /// It has expired.
    Expired,
}

impl RegisteredRun {
    /// The state of the run at `now`.
    pub fn liveness(&self, now: u64) -> Liveness {
        match self.finished_at {
            Some(_) => Liveness::Finished,
            None if now >= self.expires_at => Liveness::Expired,
            None => Liveness::Live,
        }
    }

    /// True when two registrations have the same facts. Their times do not matter, and neither do display names, which may
    /// change while a run goes on.
    pub fn same_facts(&self, other: &Self) -> bool {
        self.run == other.run
            && self.runner == other.runner
            && lasting(&self.facts).eq(lasting(&other.facts))
            && self.run_token == other.run_token
    }
}

fn lasting(facts: &Facts) -> impl Iterator<Item = (&FactName, &str)> {
    facts.iter().filter(|(name, _)| !DISPLAY_NAMES.contains(&name.as_str()))
}

/// SHA-256 of a secret of many bits, which is all that is stored.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The hash whose bytes these are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash([redacted])")
    }
}

/// A run token of a run object that is not accepted. Nothing of it is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunTokenError {
    /// It is not a text.
    #[error("/spec/runToken: expected a text")]
    Type,
    /// It is too short or too long.
    #[error(
        "/spec/runToken: expected {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, found {bytes}"
    )]
    Length {
        /// Its length.
        bytes: usize,
    },
}

/// The hash of a run object's `spec.runToken`. The object was parsed by [`Run::parse`] before, which makes sure
/// that all readers agree on it.
///
/// # Errors
/// When there is one that is not accepted.
pub fn run_token_of(object: &[u8]) -> Result<Option<SecretHash>, RunTokenError> {
    #[derive(Deserialize)]
    struct Object {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        #[serde(rename = "runToken")]
        run_token: Option<String>,
    }
    let object: Object = serde_json::from_slice(object).map_err(|_| RunTokenError::Type)?;
    let Some(token) = object.spec.run_token.map(Zeroizing::new) else { return Ok(None) };
    if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&token.len()) {
        return Err(RunTokenError::Length { bytes: token.len() });
    }
    Ok(Some(SecretHash::of(token.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = r#"{
        "kind": "meshBuildingBlockRun", "apiVersion": "v1",
        "metadata": {"uuid": "b3116611-e08b-4b00-91c5-10365b25a6ef"},
        "spec": {
            "runNumber": 7, "behavior": "DETECT", "runToken": "a-run-token-of-some-length",
            "buildingBlock": {"uuid": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a", "spec": {
                "displayName": "x", "workspaceIdentifier": "team-a", "projectIdentifier": "p",
                "fullPlatformIdentifier": "a.b", "inputs": [{"key": "k", "value": "input-secret"}],
                "parentBuildingBlocks": [{
                    "buildingBlockUuid": "11111111-1111-4111-8111-111111111111",
                    "definitionUuid": "22222222-2222-4222-8222-222222222222"}]}},
            "buildingBlockDefinition": {"uuid": "b23cfb9a-6974-444f-9d33-62134a632373", "spec": {
                "workspaceIdentifier": "platform", "version": 3,
                "implementation": {"type": "TERRAFORM", "sshPrivateKey": "ssh-secret"}}},
            "trigger": {"reason": "by \"hand\"", "author": {"identifier": "ü@example.com", "type": "User"}}
        }
    }"#;

    #[test]
    fn what_is_kept_of_a_run_has_no_secret() {
        let run = Run::parse(OBJECT.as_bytes()).unwrap();
        let record = countersign::run_record(&run, &Facts::default());
        assert!(!record.contains("secret") && !record.contains("run-token"), "{record}");
    }

    #[test]
    fn a_run_token_is_kept_as_a_hash() {
        let expected = SecretHash::of(b"a-run-token-of-some-length");
        assert_eq!(run_token_of(OBJECT.as_bytes()), Ok(Some(expected.clone())));
        let without = OBJECT.replace("\"runToken\"", "\"other\"");
        assert_eq!(run_token_of(without.as_bytes()), Ok(None));
        let short = OBJECT.replace("a-run-token-of-some-length", "short");
        assert_eq!(run_token_of(short.as_bytes()), Err(RunTokenError::Length { bytes: 5 }));
        let number = OBJECT.replace("\"a-run-token-of-some-length\"", "1");
        assert_eq!(run_token_of(number.as_bytes()), Err(RunTokenError::Type));
        assert_eq!(format!("{expected:?}"), "SecretHash([redacted])");
    }
}
