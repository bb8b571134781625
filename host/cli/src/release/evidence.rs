//! The evidence of a promotion: that of `countersign impact` over the service's own log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use countersign::{Digest, WASMTIME_VERSION};
use countersign_decision_log::Reader;
use countersign_deployment::{CandidateNote, ReleasesEntry, files};
use countersign_issuer::ReleaseEvidence;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The maximum length of a report, in bytes.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// The version of evidence that this program reads.
const VERSION: u32 = 1;

const DAY: u64 = 86_400;

/// A class of difference that a promotion has to account for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Accepted {
    /// Refused before, approved now
    Gained,
    /// Approved before, refused now
    Lost,
    /// Approved, with wider terms
    Wider,
}

/// The things that evidence is compared with.
pub(super) struct Expected<'e> {
    /// The release that it must be about.
    pub release: Digest,
    /// The folder of the log that it must be over.
    pub log: &'e Path,
    /// The thresholds.
    pub entry: &'e ReleasesEntry,
    /// The classes that are accounted for.
    pub accepted: &'e BTreeSet<Accepted>,
    /// The candidate on live runs, where it was tried.
    pub trial: Option<&'e CandidateNote>,
}

/// A report of `countersign impact --format json`.
#[derive(Deserialize)]
struct ReportFile<'f> {
    #[serde(borrow)]
    evidence: &'f RawValue,
}

#[derive(Deserialize)]
struct EvidenceFile {
    digest: String,
    version: u32,
    tool: String,
    wasmtime: String,
    source: SourceFile,
    #[serde(default)]
    filter: BTreeMap<String, serde_json::Value>,
    candidate: String,
    damaged: bool,
    compared: u64,
    reused: u64,
    classes: BTreeMap<String, u64>,
    faults: u64,
    not_replayable: BTreeMap<String, u64>,
    times: Option<(u64, u64)>,
    sample: SampleFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum SourceFile {
    Log { last: u64, hash: String },
    Questions {},
}

#[derive(Deserialize)]
struct SampleFile {
    decisions: u64,
    differ: u64,
}

impl Accepted {
    const ALL: [Self; 3] = [Self::Gained, Self::Lost, Self::Wider];

    fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Wider => "wider",
        }
    }
}

/// Reads a report and checks its evidence.
///
/// Anybody can write such a file, so it is no proof against whoever may promote: they could do without it. It keeps a mistake
/// from deciding: the report of another candidate, log or version, or one that nobody has read.
pub(super) fn read(path: &Path, expected: &Expected<'_>) -> Result<ReleaseEvidence> {
    let text = files::read_whole_text(path, MAX_REPORT_BYTES)?;
    check(&text, expected).with_context(|| path.display().to_string())
}

fn check(text: &str, expected: &Expected<'_>) -> Result<ReleaseEvidence> {
    let report: ReportFile<'_> = serde_json::from_str(text)
        .context("expected a report of `countersign impact --format json`")?;
    let text = compact(report.evidence.get());
    let evidence: EvidenceFile = serde_json::from_str(&text)
        .context("its evidence is of another version; make it with this program")?;
    ensure!(
        evidence.version == VERSION
            && evidence.tool == env!("CARGO_PKG_VERSION")
            && evidence.wasmtime == WASMTIME_VERSION,
        "the evidence was made by version {} with wasmtime {}, and this is {} with {WASMTIME_VERSION}: make it with this \
         program",
        evidence.tool,
        evidence.wasmtime,
        env!("CARGO_PKG_VERSION")
    );
    // The digest is of everything else, in its order.
    let digest = format!(r#""digest":"{}","#, evidence.digest);
    let digested = Digest::of(text.replacen(&digest, "", 1).as_bytes());
    ensure!(
        digested.to_string() == evidence.digest,
        "the digest of the evidence is not that of its members: it was changed after it was made"
    );
    ensure!(
        evidence.candidate == expected.release.to_string(),
        "the evidence is about {}, and the release is {}: stage what the evidence is about, or make evidence about the \
         release",
        evidence.candidate,
        expected.release
    );
    let SourceFile::Log { last, hash } = &evidence.source else {
        bail!(
            "the evidence is about runs that nobody asked for; expected one over the log of the service"
        );
    };
    check_log(expected.log, *last, hash)?;
    let partial: Vec<_> =
        evidence.filter.keys().filter(|key| *key != "since").map(String::as_str).collect();
    ensure!(
        partial.is_empty(),
        "the evidence leaves decisions out ({}); expected all of the log, or all since a time",
        partial.join(", ")
    );
    ensure!(!evidence.damaged, "the evidence ended early: the log is damaged");
    ensure!(
        evidence.sample.differ == 0,
        "in {} decisions of the sample an evaluation gave another verdict than the record: nothing is proven",
        evidence.sample.differ
    );
    ensure!(
        evidence.reused == 0 || evidence.sample.decisions > 0,
        "{} verdicts were taken from the record, and none was evaluated to prove that; make the evidence without \
         `--sample none`",
        evidence.reused
    );
    let unproven: u64 = evidence.not_replayable.values().sum();
    ensure!(unproven == 0, "{unproven} decisions of the log could not be decided again");
    check_length(&evidence, expected.entry)?;
    check_differences("the evidence", &evidence.classes, evidence.faults, expected)?;
    if let Some(trial) = expected.trial.filter(|trial| trial.release == expected.release) {
        check_differences("the trial on live runs", &trial.classes, trial.faults, expected)?;
    }
    Ok(ReleaseEvidence {
        digest: digested,
        last: *last,
        hash: hash.clone(),
        compared: evidence.compared,
        classes: evidence.classes,
        faults: evidence.faults,
    })
}

/// Checks that the log has the record that the evidence ends with.
fn check_log(log: &Path, last: u64, hash: &str) -> Result<()> {
    let found = match last {
        0 => None,
        last => Reader::new(log, last).read().with_context(|| {
            format!("the evidence is over another log, or {} cannot be read", log.display())
        })?,
    };
    let found = found.filter(|entry| entry.sequence == last && entry.hash.to_string() == hash);
    ensure!(
        found.is_some(),
        "the evidence is over another log: record {last} of {} is not the one that it ends with",
        log.display()
    );
    Ok(())
}

/// Checks that the evidence covers enough decisions, or enough days.
fn check_length(evidence: &EvidenceFile, entry: &ReleasesEntry) -> Result<()> {
    let seconds = evidence.times.map_or(0, |(first, last)| last.saturating_sub(first));
    let (decisions, days) = (entry.evidence_decisions, entry.evidence_days);
    ensure!(
        evidence.compared >= decisions || (evidence.compared > 0 && seconds >= days * DAY),
        "the evidence covers {} decisions within {} days; expected {decisions} decisions \
         (`releases.evidence-decisions`), or {days} days (`releases.evidence-days`)",
        evidence.compared,
        seconds / DAY
    );
    Ok(())
}

/// Checks that nothing faults, and that every difference in an outcome is accounted for.
fn check_differences(
    place: &str,
    classes: &BTreeMap<String, u64>,
    faults: u64,
    expected: &Expected<'_>,
) -> Result<()> {
    ensure!(faults == 0, "{place}: in {faults} decisions a binding faults that did not");
    for class in Accepted::ALL.into_iter().filter(|class| !expected.accepted.contains(class)) {
        let word = class.as_str();
        let number = classes.get(word).copied().unwrap_or(0);
        ensure!(
            number == 0,
            "{place}: {number} decisions are `{word}`; look at each, and if that is meant, say so by \
             `--accept {word} --reason REASON`"
        );
    }
    Ok(())
}

/// JSON without the white space between its parts.
fn compact(json: &str) -> String {
    let (mut in_text, mut is_escaped) = (false, false);
    json.chars()
        .filter(|c| {
            let is_part = in_text || !c.is_ascii_whitespace();
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if in_text => is_escaped = true,
                '"' => in_text = !in_text,
                _ => {}
            }
            is_part
        })
        .collect()
}
