//! `countersign log verify`

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_decision_log::{ChainHash, LogConfig, Reader, Report};
use countersign_issuer::{CHECKPOINT_KEY_FILE, CheckpointVerifier};
use serde::Serialize;

use super::anchors::{VerifiedLog, compare};
use super::{checkpoint_key, verify_proof};
use crate::output::{self, Exit, FAILURE, Format, SUCCESS, Styled};
use crate::progress;

/// Verify every byte of a log: the chain of records, the signed checkpoints, and the Merkle tree; or a proof, without a log
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log verify state/log
  countersign log verify state/log --key checkpoint-key.json --at-least 1200000
  countersign log verify state/log --after /archive/log
  countersign log verify issuer-0/log issuer-1/log issuer-2/log
  countersign log verify --proof token.tlog-proof --key verifier-keys --record record.json

Whoever can write to the folder can also remove records that no checkpoint covers yet, truncate
records and checkpoints together, or replace everything including the key. So keep
`checkpoint-key.json` elsewhere and give it with --key; note the last covered record, and give it with
--at-least. A service refuses to start with a log that has not reached its last checkpoint.

A log that was pruned begins with the record that its signed statement names; `--after` verifies the archive
as well, and that the log goes on where it ends.

Replicas have each other's checkpoints in their logs (anchors). Given several logs, each is verified by itself, and
compared with what the others have of it: one that was cut, put back or replaced as a whole is found out by them. `--key` is
given once for each log then, in their order, or not at all.

With `--proof`, a proof of `countersign log prove` is verified with the keys of the log alone: that its checkpoint is signed
by one of them, and its entry is in the tree of that checkpoint. `--key` has the lines of `verifier-keys`, or the JWK Set
`checkpoint-key.json`; get it on another way than the proof. `--record` compares the record with the entry: without it,
nothing is proved of what the record says. `--witnesses` is a policy (c2sp.org/tlog-policy) whose quorum must have cosigned
the checkpoint. The JSON then has `origin`, `size`, `root`, `sequence`, `record_sha256`, `hash`, `record` (`verified`, or
null) and `witnesses` (`name` and `time` each).

The JSON of a log has `first`, `last`, `hash` (of the last record), `records`, `segments`, `checkpoints` (that
are signed and agree), `covered` (the last record that one covers), and `damage` (a list, empty for an
intact log). Of several logs it has `logs` (each with these, and `folder`), `anchors` (that agree or do not), `missing` (the
replicas that anchors are of whose logs were not given) and `damage` (of what the logs say of one another).

Exit status: 0 the log is intact, or the proof holds; 1 anything else.")]
pub(super) struct Verify {
    /// The folder of the log, or those of several replicas
    #[arg(value_name = "FOLDER", required_unless_present = "proof")]
    folders: Vec<PathBuf>,

    /// The public key of the checkpoints, a JWK Set [default: checkpoint-key.json in the folder]; with `--proof`, also the
    /// log's verifier keys
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,

    /// The proof to verify, instead of a log
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folders", "at_least", "after"])]
    proof: Option<PathBuf>,

    /// The record that the proof must be of
    #[arg(long, value_name = "FILE", requires = "proof", conflicts_with = "folders")]
    record: Option<PathBuf>,

    /// The policy of witnesses that must have cosigned the proof's checkpoint
    #[arg(long, value_name = "FILE", requires = "proof", conflicts_with = "folders")]
    witnesses: Option<PathBuf>,

    /// The record that checkpoints must cover at least
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    at_least: u64,

    /// The archive that the log goes on from
    #[arg(long, value_name = "FOLDER")]
    after: Option<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed {
    first: u64,
    last: u64,
    hash: String,
    records: u64,
    segments: usize,
    checkpoints: usize,
    covered: u64,
    damage: Vec<String>,
}

#[derive(Serialize)]
struct PrintedLogs {
    logs: Vec<PrintedLog>,
    anchors: u64,
    missing: BTreeSet<String>,
    damage: Vec<String>,
}

#[derive(Serialize)]
struct PrintedLog {
    folder: String,
    #[serde(flatten)]
    printed: Printed,
}

impl Verify {
    pub(super) fn run(&self) -> Result<Exit> {
        if let Some(proof) = &self.proof {
            let key = match self.key.as_slice() {
                [] => None,
                [key] => Some(key.as_path()),
                _ => bail!("--key: expected one for a proof"),
            };
            let record = self.record.as_deref();
            let witnesses = self.witnesses.as_deref();
            let files = verify_proof::Files { proof, key, record, witnesses };
            return verify_proof::run(&files, self.format);
        }
        match self.folders.as_slice() {
            [folder] => self.run_one(folder),
            folders => self.run_several(folders),
        }
    }

    fn run_one(&self, folder: &Path) -> Result<Exit> {
        let folder = super::folder_of(folder)?;
        let name = || folder.display().to_string();
        let key_file = match self.key.as_slice() {
            [] => folder.join(CHECKPOINT_KEY_FILE),
            [key] => key.clone(),
            _ => bail!("--key: expected one for each log"),
        };
        let (_, report) = verified_by(folder, &key_file).with_context(name)?;
        let mut printed = self.printed(&report);
        if let Some(archive) = &self.after {
            let (_, archived) = verified_by(super::folder_of(archive)?, &key_file)
                .with_context(|| archive.display().to_string())?;
            let damage = archived.damage.iter();
            printed.damage.extend(damage.map(|damage| format!("{}: {damage}", archive.display())));
            let before = Some(report.before);
            if let Err(error) = continues(archive, &archived, folder, report.first, before) {
                printed.damage.push(format!("{error:#}"));
            }
        }
        match self.format {
            Format::Json => output::print_json(&printed)?,
            Format::Human => output::print(&text(&printed))?,
        }
        Ok(if printed.damage.is_empty() { Exit::Success } else { Exit::Failed })
    }

    fn run_several(&self, folders: &[PathBuf]) -> Result<Exit> {
        if self.after.is_some() || self.at_least > 0 {
            bail!("--after and --at-least are for one log");
        }
        if !self.key.is_empty() && self.key.len() != folders.len() {
            bail!("--key: expected one for each log, or none");
        }
        let mut logs = Vec::new();
        for (index, folder) in folders.iter().enumerate() {
            let folder = super::folder_of(folder)?.to_owned();
            let default = || folder.join(CHECKPOINT_KEY_FILE);
            let key_file = self.key.get(index).cloned().unwrap_or_else(default);
            let (key, report) =
                verified_by(&folder, &key_file).with_context(|| folder.display().to_string())?;
            logs.push(VerifiedLog { folder, key, report });
        }
        let compared = progress::with_spinner("comparing the logs", || compare(&logs))?;
        let printed = PrintedLogs {
            logs: logs
                .iter()
                .map(|log| PrintedLog {
                    folder: log.folder.display().to_string(),
                    printed: self.printed(&log.report),
                })
                .collect(),
            anchors: compared.anchors,
            missing: compared.missing,
            damage: compared.damage,
        };
        match self.format {
            Format::Json => output::print_json(&printed)?,
            Format::Human => output::print(&text_of_several(&printed))?,
        }
        let is_whole = printed.damage.is_empty()
            && printed.logs.iter().all(|log| log.printed.damage.is_empty());
        Ok(if is_whole { Exit::Success } else { Exit::Failed })
    }

    fn printed(&self, report: &Report) -> Printed {
        let mut damage: Vec<_> = report.damage.iter().map(ToString::to_string).collect();
        if report.covered < self.at_least {
            damage.push(format!(
                "checkpoints cover the log up to record {}, and must cover it up to {}",
                report.covered, self.at_least
            ));
        }
        Printed {
            first: report.first,
            last: report.last,
            hash: report.hash.to_string(),
            records: report.records,
            segments: report.segments,
            checkpoints: report.checkpoints,
            covered: report.covered,
            damage,
        }
    }
}

/// Verifies a log with the key in its folder.
pub(crate) fn verified(folder: &Path) -> Result<Report> {
    Ok(verified_by(super::folder_of(folder)?, &folder.join(CHECKPOINT_KEY_FILE))?.1)
}

/// Checks that a log goes on from the end of its archive, or has the archive's last record. The log begins with the
/// record `first`; `before` is the hash of the one before that, where it is known.
pub(super) fn continues(
    archive: &Path,
    archived: &Report,
    log: &Path,
    first: u64,
    before: Option<ChainHash>,
) -> Result<()> {
    let (name, last) = (archive.display(), archived.last);
    if last == 0 {
        return Ok(());
    }
    if first > last + 1 {
        bail!(
            "{}: does not go on from {name}: records {} to {} are missing",
            log.display(),
            last + 1,
            first - 1
        );
    }
    let hash = if first == last + 1 {
        before
    } else {
        let own = Reader::new(log, last).read()?.filter(|entry| entry.sequence == last);
        let own = own.with_context(|| {
            format!("{}: ends before record {last}, the last one of {name}", log.display())
        })?;
        Some(own.hash)
    };
    if hash.is_some_and(|hash| hash != archived.hash) {
        bail!("{}: not the log of {name}: record {last} has another hash", log.display());
    }
    Ok(())
}

fn verified_by(folder: &Path, key_file: &Path) -> Result<(CheckpointVerifier, Report)> {
    let key = checkpoint_key(folder, Some(key_file))?;
    let checked = progress::with_spinner("checking the log", || {
        countersign_decision_log::verify(folder, &LogConfig::default(), &key)
    });
    Ok((key, checked?))
}

fn text_of_several(logs: &PrintedLogs) -> String {
    let mut text = String::new();
    for log in &logs.logs {
        let _ = write!(text, "{}: {}", countersign::visible(&log.folder), self::text(&log.printed));
    }
    for damage in &logs.damage {
        let _ = writeln!(text, "{} {}", Styled(FAILURE, "damaged:"), countersign::visible(damage));
    }
    let anchors = logs.anchors;
    let _ = match (anchors, logs.damage.is_empty()) {
        // Nothing says that one of them was not cut or replaced.
        (0, _) => writeln!(text, "not compared: none of the logs has an anchor of another one"),
        (_, true) => {
            let whole = Styled(SUCCESS, "whole");
            writeln!(text, "{whole}: {anchors} anchors agree with the logs that they are of")
        }
        (_, false) => writeln!(text, "{anchors} anchors were compared"),
    };
    if !logs.missing.is_empty() {
        let names: Vec<_> = logs.missing.iter().map(String::as_str).collect();
        let _ =
            writeln!(text, "not compared, since their logs were not given: {}", names.join(", "));
    }
    text
}

fn text(report: &Printed) -> String {
    let mut text = String::new();
    for damage in &report.damage {
        let _ = writeln!(text, "{} {}", Styled(FAILURE, "damaged:"), countersign::visible(damage));
    }
    if report.damage.is_empty() {
        let _ = write!(text, "{}: ", Styled(SUCCESS, "whole"));
    }
    let covered = match report.covered {
        0 => "no checkpoint yet".to_owned(),
        covered => format!("{} checkpoints cover it up to record {covered}", report.checkpoints),
    };
    let _ = writeln!(
        text,
        "{} records in {} segments; the last record is {} with {}; {covered}",
        report.records, report.segments, report.last, report.hash
    );
    text
}
