//! `countersign log verify --proof`

use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign_deployment::files;
use countersign_issuer::CheckpointVerifier;
use countersign_receipts::{MAX_PROOF_BYTES, Note, Proof, ProvedEntry, VerifierKey};
use serde::Serialize;

use super::tiles::{policy, require_logs};
use crate::output::{self, Exit, Format, SUCCESS, Styled};

/// The maximum length of a file of keys, in bytes.
const MAX_KEYS_BYTES: u64 = 1 << 20;
/// The maximum length of a record's file, in bytes.
const MAX_RECORD_BYTES: u64 = countersign_decision_log::MAX_RECORD_BYTES as u64;

/// The files that a proof is verified with.
pub(super) struct Files<'f> {
    pub(super) proof: &'f Path,
    pub(super) key: Option<&'f Path>,
    pub(super) record: Option<&'f Path>,
    pub(super) witnesses: Option<&'f Path>,
}

#[derive(Serialize)]
struct Printed {
    origin: String,
    size: u64,
    root: String,
    sequence: u64,
    record_sha256: String,
    hash: String,
    record: Option<&'static str>,
    witnesses: Vec<PrintedWitness>,
}

#[derive(Serialize)]
struct PrintedWitness {
    name: String,
    time: u64,
}

/// Verifies a proof, and prints what it proves.
pub(super) fn run(files: &Files<'_>, format: Format) -> Result<Exit> {
    let printed = verified(files)?;
    match format {
        Format::Json => output::print_json(&printed)?,
        Format::Human => output::print(&countersign::visible(&text(&printed)))?,
    }
    Ok(Exit::Success)
}

fn verified(given: &Files<'_>) -> Result<Printed> {
    let name = || given.proof.display().to_string();
    let proof = Proof::parse(&files::read(given.proof, MAX_PROOF_BYTES as u64)?);
    let proof = proof.with_context(name)?;
    let policy = given.witnesses.map(policy).transpose()?;
    let mut keys = policy.as_ref().map(|policy| policy.logs.clone()).unwrap_or_default();
    if let Some(file) = given.key {
        keys.extend(log_keys(file, &proof.unverified_origin().with_context(name)?)?);
    }
    require_logs(&keys)?;
    let ProvedEntry { entry, checkpoint, .. } = proof.verify(&keys).with_context(name)?;
    let record = match given.record {
        Some(file) if entry.is_of(&files::read(file, MAX_RECORD_BYTES)?) => Some("verified"),
        Some(file) => bail!(
            "{}: not the record of this proof: expected the SHA-256 {}",
            file.display(),
            hex(&entry.record)
        ),
        None => None,
    };
    let mut witnesses = Vec::new();
    if let Some(policy) = policy {
        let note = Note::parse(proof.note.as_bytes())?;
        for (place, time) in policy.verify(&note).with_context(name)? {
            let witness = policy.witnesses.get(place);
            let name = witness.map(|witness| witness.name.clone()).unwrap_or_default();
            witnesses.push(PrintedWitness { name, time });
        }
    }
    Ok(Printed {
        origin: checkpoint.origin,
        size: checkpoint.size,
        root: checkpoint.root.to_string(),
        sequence: entry.sequence,
        record_sha256: hex(&entry.record),
        hash: format!("sha256:{}", hex(&entry.chain)),
        record,
        witnesses,
    })
}

/// Reads the keys of a log: one vkey a line, or the JWK Set of the key of its checkpoints, which signs notes of any origin.
fn log_keys(file: &Path, origin: &str) -> Result<Vec<VerifierKey>> {
    let bytes = files::read(file, MAX_KEYS_BYTES)?;
    let name = || file.display().to_string();
    if bytes.trim_ascii_start().starts_with(b"{") {
        let key = CheckpointVerifier::parse(&bytes).with_context(name)?.note_key(origin);
        let key = key.context("not a key on P-256, or the origin of the proof is no name");
        return Ok(vec![key.with_context(name)?]);
    }
    let text = std::str::from_utf8(&bytes).context("not UTF-8").with_context(name)?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let keys: Vec<_> = lines
        .map(|(number, line)| {
            VerifierKey::parse(line).with_context(|| format!("{}: line {number}", file.display()))
        })
        .collect::<Result<_>>()?;
    // Those of before the log was restored are of other origins.
    let (own, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.name() == origin);
    if own.is_empty() && !others.is_empty() {
        bail!(
            "{}: no key of the log `{}`, which the proof's checkpoint names",
            file.display(),
            origin.escape_debug()
        );
    }
    Ok(own)
}

fn text(printed: &Printed) -> String {
    let Printed { origin, size, sequence, hash, .. } = printed;
    let proved = Styled(SUCCESS, "proved:");
    let mut text = format!(
        "{proved} record {sequence} with {hash} is in the log {origin}, which had {size} records\n"
    );
    text += &match printed.record {
        Some(_) => "the record is the one that was given\n".to_owned(),
        None => format!(
            "its SHA-256 is {}; give --record to verify the record itself\n",
            printed.record_sha256
        ),
    };
    for witness in &printed.witnesses {
        text += &format!("cosigned by {} at {}\n", witness.name, output::time(witness.time));
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
