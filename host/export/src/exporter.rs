//! Exports the records that a place does not have yet.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use countersign_decision_log::{CheckpointKey, Entry, ReadError, VerifiedReader};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::columns::SCHEMA_VERSION;
use crate::date::day;
use crate::destination::{Destination, DestinationError, Put};
use crate::file::{FileWriter, Form, Record};

/// The maximum length of a claim, in bytes.
const MAX_CLAIM_BYTES: usize = 64 << 10;

/// A name of a log among others that are exported to one place: lower-case letters, digits and hyphens, at most 63.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica(String);

/// The bounds of an export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The name of the log.
    pub replica: Replica,
    /// Records before this time, in seconds since 1970, are left out.
    pub since: u64,
    /// Records from this time on are left out, where it is given.
    pub until: Option<u64>,
    /// The number of records after which a file ends.
    pub file_records: usize,
    /// The bytes of records after which a file ends.
    pub file_bytes: usize,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Its name below the place.
    pub path: String,
    /// The first record.
    pub first: u64,
    /// The last record.
    pub last: u64,
    /// The number of records.
    pub records: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// The outcome of [`export`], which is also the manifest of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The name of the log.
    pub replica: String,
    /// The last record that the place had before; 0 if it had none.
    pub before: u64,
    /// The last record that it has now.
    pub last: u64,
    /// The chain's hash at that record; empty if there is none.
    pub hash: String,
    /// The number of records that were written.
    pub records: u64,
    /// The same by their kinds.
    pub kinds: BTreeMap<String, u64>,
    /// The files, in order.
    pub files: Vec<Exported>,
    /// The name of the manifest; `None` where nothing was written.
    #[serde(skip_serializing)]
    pub manifest: Option<String>,
}

/// An export that failed. Files that were written until then stay, and are gone on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The log is damaged, or cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The place cannot be read or written.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// A row cannot be written.
    #[error("record {sequence} cannot be written as Parquet")]
    Parquet {
        /// The record.
        sequence: u64,
        /// The reason.
        #[source]
        source: ParquetError,
    },
    /// An object of the place is not one of an export.
    #[error("{object}: not a claim of an export: {problem}")]
    Claim {
        /// The object.
        object: String,
        /// The reason.
        problem: String,
    },
    /// The place has the records of another log.
    #[error(
        "the place has record {sequence} with the hash {there}, this log has it with {here}: it is of another log, or of one \
         that was restored; give it another --replica"
    )]
    OtherLog {
        /// The record.
        sequence: u64,
        /// The hash in the place.
        there: String,
        /// The hash in the log; `none` if the log ends before.
        here: String,
    },
    /// Records are missing between the place and the log.
    #[error(
        "the place has the records up to {before}, and the log begins with record {first}: export its archive first"
    )]
    Missing {
        /// The last record of the place.
        before: u64,
        /// The first record of the log.
        first: u64,
    },
    /// The file of a claim is there with other bytes.
    #[error(
        "{object}: the place has another file of this name than the claimed records make; remove it and run again, so that it \
         is written anew"
    )]
    OtherFile {
        /// The object.
        object: String,
    },
    /// Another exporter has begun the same file with other records.
    #[error("another exporter has begun a file with record {first}; run again to go on after it")]
    Contended {
        /// The file's first record.
        first: u64,
    },
    /// The claim of an interrupted run cannot be fulfilled.
    #[error(
        "an interrupted run has claimed the records {first} to {last}, which the log does not have within the given times; run \
         without --since and --until"
    )]
    Unfinished {
        /// The first record.
        first: u64,
        /// The last record.
        last: u64,
    },
}

/// The claim of a file: it says what the file has, and is there before the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    schema: u32,
    path: String,
    first: u64,
    last: u64,
    records: u64,
    hash: String,
}

/// Writes the records of the log in `folder` that the place does not have: each verified against the one before it and the
/// signed checkpoints. `seen` gets the sequence of each record that is read. Afterwards the place has every record up to the
/// log's last one, within the given times.
///
/// # Errors
/// Returns an error if the log is damaged or is not the one that the place has, or something cannot be read or written.
pub fn export(
    folder: &Path,
    key: &dyn CheckpointKey,
    to: &mut dyn Destination,
    options: &ExportOptions,
    mut seen: impl FnMut(u64),
) -> Result<ExportReport, ExportError> {
    let replica = &options.replica;
    let claim = last_claim(to, replica)?;
    // An interrupted run may have claimed a file and not written it.
    let pending = match &claim {
        Some(claim) if !to.exists(&claim.path)? => Some(claim.clone()),
        _ => None,
    };
    let before = match (&claim, &pending) {
        (_, Some(pending)) => pending.first - 1,
        (Some(claim), None) => claim.last,
        (None, None) => 0,
    };
    // The record at the end of what is there is read again, to compare its hash.
    let from = if pending.is_some() { before + 1 } else { before.max(1) };
    let mut reader = VerifiedReader::open_from(folder, key, from)?;
    let form = Form::new().map_err(|source| ExportError::Parquet { sequence: 0, source })?;
    let mut run = Run {
        to,
        options,
        form,
        open: None,
        pending,
        report: ExportReport {
            schema: SCHEMA_VERSION,
            replica: replica.0.clone(),
            before,
            last: before,
            hash: claim.as_ref().map(|claim| claim.hash.clone()).unwrap_or_default(),
            records: 0,
            kinds: BTreeMap::new(),
            files: Vec::new(),
            manifest: None,
        },
    };
    let mut is_first = true;
    while let Some(entry) = reader.read()? {
        seen(entry.sequence);
        if std::mem::take(&mut is_first) && entry.sequence > from {
            // A log may have been pruned up to what the place has.
            if entry.sequence > before + 1 && (before > 0 || run.pending.is_some()) {
                return Err(ExportError::Missing { before, first: entry.sequence });
            }
            // Without the record itself, its hash is compared as the record after it has it.
            let there = &run.report.hash;
            let here = reader.before().map(|hash| hash.to_string());
            if before > 0 && run.pending.is_none() && here.as_ref() != Some(there) {
                let (sequence, there) = (before, there.clone());
                let here = here.unwrap_or_else(|| "none".to_owned());
                return Err(ExportError::OtherLog { sequence, there, here });
            }
        }
        if entry.sequence <= before {
            let (there, here) = (&run.report.hash, entry.hash.to_string());
            if entry.sequence == before && *there != here && run.pending.is_none() {
                let (sequence, there) = (before, there.clone());
                return Err(ExportError::OtherLog { sequence, there, here });
            }
            continue;
        }
        run.add(&entry)?;
    }
    if reader.head().last < before {
        let (sequence, there) = (before, run.report.hash.clone());
        return Err(ExportError::OtherLog { sequence, there, here: "none".to_owned() });
    }
    if let Some(Claim { first, last, .. }) = run.pending.take() {
        return Err(ExportError::Unfinished { first, last });
    }
    run.end_file()?;
    run.finish()
}

/// A run of an export.
struct Run<'r> {
    to: &'r mut dyn Destination,
    options: &'r ExportOptions,
    form: Form,
    open: Option<OpenFile>,
    /// A claim whose file is to be written as it says.
    pending: Option<Claim>,
    report: ExportReport,
}

/// A file that is being made.
struct OpenFile {
    writer: FileWriter,
    day: String,
    first: u64,
    last: u64,
    hash: String,
    records: usize,
    bytes: usize,
    kinds: BTreeMap<String, u64>,
}

impl Run<'_> {
    fn add(&mut self, entry: &Entry) -> Result<(), ExportError> {
        // A record that is no JSON is a row without anything else.
        let value: Value = serde_json::from_slice(&entry.record).unwrap_or(Value::Null);
        let time = value.get("time").and_then(Value::as_u64);
        let ExportOptions { since, until, .. } = self.options;
        let is_within =
            time.is_none_or(|time| time >= *since && until.is_none_or(|until| time < until));
        if !is_within && self.pending.is_none() {
            return self.end_file();
        }
        let known = self.open.as_ref().map(|file| file.day.clone());
        let day = time.and_then(day).or(known).unwrap_or_else(|| "1970-01-01".to_owned());
        // A file that was claimed has the records that it had.
        if self.pending.is_none() && self.open.as_ref().is_some_and(|file| self.is_full(file, &day))
        {
            self.end_file()?;
        }
        let (sequence, hash) = (entry.sequence, entry.hash.to_string());
        let parquet = |source| ExportError::Parquet { sequence, source };
        if self.open.is_none() {
            self.open = Some(OpenFile {
                writer: FileWriter::new(&self.form).map_err(parquet)?,
                day,
                first: sequence,
                last: sequence,
                hash: String::new(),
                records: 0,
                bytes: 0,
                kinds: BTreeMap::new(),
            });
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        let record = Record { sequence, hash: hash.clone(), value: &value, bytes: &entry.record };
        file.writer.add(&record).map_err(parquet)?;
        (file.last, file.hash) = (sequence, hash);
        file.records += 1;
        file.bytes += entry.record.len();
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or("unknown");
        // Kinds are few; a log that was forged may have others.
        if file.kinds.len() < 64 || file.kinds.contains_key(kind) {
            *file.kinds.entry(kind.chars().take(64).collect()).or_default() += 1;
        }
        if let Some(claim) = self.pending.take_if(|claim| claim.last == sequence) {
            if claim.hash != file.hash || claim.first != file.first {
                let (there, here) = (claim.hash, file.hash.clone());
                return Err(ExportError::OtherLog { sequence, there, here });
            }
            return self.write(Some(claim));
        }
        Ok(())
    }

    fn is_full(&self, file: &OpenFile, day: &str) -> bool {
        file.day != day
            || file.records >= self.options.file_records
            || file.bytes >= self.options.file_bytes
    }

    fn end_file(&mut self) -> Result<(), ExportError> {
        if self.open.is_some() { self.write(None) } else { Ok(()) }
    }

    /// Claims and writes the open file.
    fn write(&mut self, claimed: Option<Claim>) -> Result<(), ExportError> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let OpenFile { first, last, hash, .. } = file;
        let hex = hash.strip_prefix("sha256:").unwrap_or(&hash);
        let replica = &self.options.replica;
        let path =
            format!("date={}/replica={replica}/{first:020}-{last:020}-{hex}.parquet", file.day);
        let records = file.records as u64;
        let own = Claim { schema: SCHEMA_VERSION, path, first, last, records, hash };
        if let Some(claim) = claimed {
            if claim != own {
                let object = claim_name(replica, first);
                let problem =
                    format!("its file is `{}`, expected `{}`", claim.path.escape_debug(), own.path);
                return Err(ExportError::Claim { object, problem });
            }
        } else {
            let text = serde_json::to_vec(&own).unwrap_or_default();
            let name = claim_name(replica, first);
            // A request that is sent again after its answer was lost finds what it has written itself.
            if self.to.create(&name, &text)? == Put::Exists
                && self.to.read(&name, MAX_CLAIM_BYTES)? != text
            {
                return Err(ExportError::Contended { first });
            }
        }
        let bytes = file.writer.finish();
        let bytes = bytes.map_err(|source| ExportError::Parquet { sequence: last, source })?;
        // The manifest has the digest of these bytes, so one that is there, as by another run for the same claim, must be them.
        if self.to.create(&own.path, &bytes)? == Put::Exists
            && self.to.read(&own.path, bytes.len().max(MAX_CLAIM_BYTES))? != bytes
        {
            return Err(ExportError::OtherFile { object: own.path });
        }
        let digest = Sha256::digest(&bytes);
        self.report.files.push(Exported {
            path: own.path,
            first,
            last,
            records,
            bytes: bytes.len() as u64,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        });
        self.report.records += records;
        for (kind, count) in file.kinds {
            *self.report.kinds.entry(kind).or_default() += count;
        }
        (self.report.last, self.report.hash) = (last, own.hash);
        Ok(())
    }

    /// Writes the manifest of the run.
    fn finish(mut self) -> Result<ExportReport, ExportError> {
        let Some(first) = self.report.files.first() else { return Ok(self.report) };
        let replica = &self.options.replica;
        let name = format!(
            "_manifests/replica={replica}/{:020}-{:020}.json",
            first.first, self.report.last
        );
        let text = serde_json::to_vec_pretty(&self.report).unwrap_or_default();
        self.to.create(&name, &text)?;
        self.report.manifest = Some(name);
        Ok(self.report)
    }
}

/// The claim of the last file.
fn last_claim(to: &mut dyn Destination, replica: &Replica) -> Result<Option<Claim>, ExportError> {
    let prefix = format!("_files/replica={replica}/");
    let names = to.list(&prefix)?;
    let first = names.iter().filter_map(|name| {
        let first = name.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok()?;
        (first > 0 && claim_name(replica, first) == *name).then_some(first)
    });
    let Some(first) = first.max() else { return Ok(None) };
    let object = claim_name(replica, first);
    let bytes = to.read(&object, MAX_CLAIM_BYTES)?;
    let invalid = |problem: &str| {
        let (object, problem) = (object.clone(), problem.to_owned());
        ExportError::Claim { object, problem }
    };
    let claim: Claim =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    if claim.schema > SCHEMA_VERSION {
        return Err(invalid(&format!(
            "it has the schema {}, expected {SCHEMA_VERSION}",
            claim.schema
        )));
    }
    // A claim that anybody may have written leads to no other object.
    let is_own = claim.first == first
        && claim.last >= first
        && claim.path.starts_with("date=")
        && claim.path.split('/').count() == 3
        && claim.path.split('/').all(|part| part != ".." && !part.starts_with('.'))
        && claim.path.split('/').nth(1) == Some(&format!("replica={replica}"));
    if is_own { Ok(Some(claim)) } else { Err(invalid("it names another file")) }
}

fn claim_name(replica: &Replica, first: u64) -> String {
    format!("_files/replica={replica}/{first:020}.json")
}

impl Default for ExportOptions {
    /// All records of the log `main`, in files of at most 100,000 records or 64 MiB of them.
    fn default() -> Self {
        Self {
            replica: Replica("main".to_owned()),
            since: 0,
            until: None,
            file_records: 100_000,
            file_bytes: 64 << 20,
        }
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Replica {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if is_name { Ok(Self(text.to_owned())) } else { Err("expected 1 to 63 of a-z, 0-9 and -") }
    }
}
