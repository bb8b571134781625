//! `countersign log tiles`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_deployment::files;
use countersign_receipts::{
    MAX_POLICY_BYTES, Tiles, TilesError, TilesReport, WitnessAnswer, WitnessPolicy, write_tiles,
};
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::runtime::Builder;

use super::{LogPlace, checkpoint_key};
use crate::output::{self, Exit, Format};
use crate::progress;
use crate::token::{body, http_client, whole};

/// The maximum length of a witness's answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Write the log's Merkle tree to a folder that can be published: hashes alone, no records
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log tiles state/log --to /srv/tiles
  countersign log tiles /archive/log --to /srv/tiles    # first, for a log that was pruned
  countersign log tiles state/log --to /srv/tiles --witnesses policy

The folder has the form of c2sp.org/tlog-tiles: `checkpoint` and `tile/LEVEL/…`, to be served as they are. Entry bundles
are not written: an entry has hashes of a record, and whoever has the record computes it. Each file is written once,
whole or not at all, `checkpoint` last; the next call goes on from there, and reads only the records since. The service
may be writing the log.

`--witnesses` names a policy (c2sp.org/tlog-policy): its witnesses with a URL are asked to cosign the checkpoint
(c2sp.org/tlog-witness), which is published only if its quorum has. They refuse a checkpoint that does not go on from
the one before, so nobody can be shown another log than others.

The JSON has `origin`, `before` and `size` (the number of records in the tree, before and now), `files` (written now),
`witnesses` (that have cosigned).

Exit status: 0 the folder has the log's last signed checkpoint, 1 anything else.")]
pub(super) struct WriteTiles {
    #[command(flatten)]
    place: LogPlace,

    /// The folder of the tiles, which is created if missing
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,

    /// A policy whose witnesses are asked to cosign, and whose quorum must
    #[arg(long, value_name = "FILE")]
    witnesses: Option<PathBuf>,

    /// Certificate authorities (PEM) to verify the witnesses' servers with, instead of the system's
    #[arg(long, value_name = "FILE", requires = "witnesses")]
    ca_file: Option<PathBuf>,

    /// The public key of the checkpoints, a JWK Set [default: checkpoint-key.json in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'r> {
    origin: &'r str,
    before: u64,
    size: u64,
    files: u64,
    witnesses: Vec<String>,
}

impl WriteTiles {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.place.folder()?;
        let key = checkpoint_key(folder, self.key.as_deref())?;
        let policy = self.witnesses.as_deref().map(policy).transpose()?;
        let report = progress::with_progress("reading the log", "records", |progress| {
            let seen = |sequence| progress.set(usize::try_from(sequence).unwrap_or(usize::MAX));
            write_tiles(folder, &key, &self.to, seen)
        });
        let report = match report {
            Err(error @ TilesError::Log(_)) => {
                return Err(error).with_context(|| folder.display().to_string());
            }
            report => report?,
        };
        let (note, witnesses) = match &policy {
            Some(policy) => self.cosigned(policy, &report)?,
            None => (report.note.clone(), Vec::new()),
        };
        // One that has witnesses is not replaced by the same without.
        let there = Tiles::open(&self.to)?.map(|tiles| tiles.size());
        if policy.is_some() || there != Some(report.size) {
            Tiles::publish(&self.to, &note)?;
        }
        let TilesReport { origin, before, size, files, .. } = &report;
        let (before, size, files) = (*before, *size, *files);
        match self.format {
            Format::Json => {
                output::print_json(&Printed { origin, before, size, files, witnesses })?
            }
            Format::Human => {
                let cosigned = match witnesses.as_slice() {
                    [] => String::new(),
                    names => format!("; cosigned by {}", names.join(", ")),
                };
                let text = format!(
                    "{origin}: the tree of {size} records, {} more than before; {files} tiles written{cosigned}\n",
                    size - before
                );
                output::print(&countersign::visible(&text))?;
            }
        }
        Ok(Exit::Success)
    }

    /// Asks the witnesses, and returns the note with their cosignatures, and their names.
    fn cosigned(
        &self,
        policy: &WitnessPolicy,
        report: &TilesReport,
    ) -> Result<(String, Vec<String>)> {
        let authorities = self.ca_file.as_deref().map(|file| files::read(file, 1 << 20));
        let client = http_client(authorities.transpose()?.as_deref())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut ask = |url: &str, text: &str| {
            let url = witness_url(url)?;
            let request = client.post(url).body(text.to_owned());
            runtime.block_on(async {
                let response = request.send().await.map_err(whole)?;
                let status = response.status().as_u16();
                let content_type = response.headers().get(CONTENT_TYPE);
                let content_type = content_type.and_then(|value| value.to_str().ok());
                let content_type = content_type.unwrap_or_default().to_owned();
                let body = body(response, MAX_ANSWER).await?.to_vec();
                Ok(WitnessAnswer { status, content_type, body })
            })
        };
        let mut tiles = Tiles::of_report(&self.to, report).context("the checkpoint is no note")?;
        let cosigned = progress::with_spinner("asking the witnesses", || {
            policy.cosign(&report.note, &mut tiles, report.before, &mut ask)
        });
        let note = cosigned.context("the checkpoint is not published")?;
        let parsed = countersign_receipts::Note::parse(note.as_bytes())?;
        let names = policy.verify(&parsed)?.into_iter().filter_map(|(place, _)| {
            policy.witnesses.get(place).map(|witness| witness.name.clone())
        });
        let names = names.collect();
        Ok((note, names))
    }
}

/// Reads a policy.
pub(super) fn policy(file: &std::path::Path) -> Result<WitnessPolicy> {
    let text = files::read(file, MAX_POLICY_BYTES as u64)?;
    WitnessPolicy::parse(&text).with_context(|| file.display().to_string())
}

/// The URL of a request to a witness. What it answers is signed, so http will do.
fn witness_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("invalid URL: {error}"))?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err("expected a URL of http or https without user, query and fragment".to_owned());
    }
    Ok(url)
}

/// Fails where neither a key nor a policy with a log is given.
pub(super) fn require_logs(keys: &[countersign_receipts::VerifierKey]) -> Result<()> {
    if keys.is_empty() {
        bail!("no key of a log is given: --key, or a line `log` in --witnesses");
    }
    Ok(())
}
