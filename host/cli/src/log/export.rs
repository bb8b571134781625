//! `countersign log export`

use std::env;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_aws::Credentials;
use countersign_export::{
    Destination, ExportError, ExportOptions, ExportReport, FolderDestination, Replica, S3Config,
    S3Destination, export,
};
use serde::Serialize;

use super::{LogPlace, checkpoint_key};
use crate::output::{self, Exit, Format};
use crate::progress;
use crate::replayed_log::time;

/// Export decisions as Parquet, for DuckDB, pyarrow and Iceberg; the service may be writing the log
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log export state/log --to /srv/decisions
  countersign log export state/log --to s3://bucket/decisions --replica eu-1
  duckdb -c \"SELECT outcome, count(*) FROM '/srv/decisions/date=*/replica=*/*.parquet' GROUP BY ALL\"

Every record is one row, whatever it says. Files are below `date=YYYY-MM-DD/replica=NAME/`, and are named by their first and
last record and the chain's hash there; each is written once. The next call exports what came since, and one that was
interrupted goes on where it ended: run it as often as you like, from one or from several places. All records on the way
are verified, as `log verify` does. docs/analysing-decisions.md lists the columns, and has questions in SQL.

An export goes forwards: records that `--since` left out are not exported later. Export a log's archive before the log, if
the log was pruned.

For S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, and AWS_ENDPOINT_URL_S3 (or
AWS_ENDPOINT_URL) for another service than AWS, which must have conditional writes (`If-None-Match`).
`aws configure export-credentials --format env` prints them for a role or a web identity.

The JSON is the manifest of the run: `schema` (1), `replica`, `before` and `last` (the last record that the place had, and
has), `hash` (of that record), `records` (that were written), `kinds` (the same by kind), and `files`, each with `path`,
`first`, `last`, `records`, `bytes` and `sha256`. It is below `_manifests/` as well, and what each file has is below `_files/`.

Exit status: 0 everything is exported, 1 anything else.")]
pub(super) struct Export {
    #[command(flatten)]
    place: LogPlace,

    /// The folder, which is created if missing, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "PLACE")]
    to: String,

    /// A name of this log, where several are exported to one place: a-z, 0-9 and -
    #[arg(long, value_name = "NAME", default_value = "main")]
    replica: Replica,

    /// Only records from this time on: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,

    /// Only records before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,

    /// The number of records after which a file ends
    #[arg(long, value_name = "RECORDS", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    file_records: u32,

    /// The public key of the checkpoints, a JWK Set [default: checkpoint-key.json in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'r> {
    #[serde(flatten)]
    report: &'r ExportReport,
    manifest: Option<&'r str>,
}

impl Export {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.place.folder()?;
        let key = checkpoint_key(folder, self.key.as_deref())?;
        let mut to = self.destination()?;
        let options = ExportOptions {
            replica: self.replica.clone(),
            since: self.since.unwrap_or(0),
            until: self.until,
            file_records: self.file_records as usize,
            ..ExportOptions::default()
        };
        let report = progress::with_progress("exporting the log", "records", |progress| {
            let seen = |sequence| progress.set(usize::try_from(sequence).unwrap_or(usize::MAX));
            export(folder, &key, &mut *to, &options, seen)
        });
        let report = match report {
            Err(error @ ExportError::Log(_)) => {
                return Err(error).with_context(|| folder.display().to_string());
            }
            report => report?,
        };
        let ExportReport { records, last, files, .. } = &report;
        match self.format {
            Format::Json => {
                let manifest = report.manifest.as_deref();
                output::print_json(&Printed { report: &report, manifest })?;
            }
            Format::Human => {
                let text = format!(
                    "{}: {records} records in {} files; the last record there is {last}\n",
                    to.name(),
                    files.len()
                );
                output::print(&countersign::visible(&text))?;
            }
        }
        Ok(Exit::Success)
    }

    fn destination(&self) -> Result<Box<dyn Destination>> {
        if !self.to.contains("://") {
            return Ok(Box::new(FolderDestination::open(Path::new(&self.to))?));
        }
        let location = self.to.parse().map_err(|problem| anyhow::anyhow!("--to: {problem}"))?;
        let given = |name: &str| match env::var(name) {
            Ok(value) if !value.is_empty() => Ok(Some(value)),
            Ok(_) | Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => bail!("{name}: not UTF-8"),
        };
        // One that is not UTF-8 is as if it was not set, and said to be so.
        let credentials = Credentials::from_variables(|name| given(name).ok().flatten());
        let credentials = credentials.map_err(anyhow::Error::msg)?;
        let region = match given("AWS_REGION")? {
            Some(region) => region,
            None => given("AWS_DEFAULT_REGION")?.context("AWS_REGION is not set")?,
        };
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            bail!("AWS_REGION: expected letters, digits and hyphens");
        }
        let endpoint = match given("AWS_ENDPOINT_URL_S3")? {
            Some(endpoint) => Some(endpoint),
            None => given("AWS_ENDPOINT_URL")?,
        };
        let config = S3Config { region, endpoint, credentials };
        Ok(Box::new(S3Destination::new(location, config, unix_time)?))
    }
}

/// The time, for signatures.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
