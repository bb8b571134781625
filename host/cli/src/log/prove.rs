//! `countersign log prove`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use countersign::RunId;
use countersign_decision_log::{Entry, Reader};
use countersign_deployment::files;
use countersign_receipts::{ProveError, Proved, Tiles, prove};
use serde::Serialize;

use super::records::RecordView;
use super::{LogPlace, checkpoint_key};
use crate::output::{self, Exit, Format};
use crate::progress;

/// Write proofs that anybody verifies without the log: that a record is in it, at its place, under a signed checkpoint
#[derive(Args)]
#[command(group = ArgGroup::new("records").args(["jti", "sequence", "run"]).required(true))]
#[command(after_help = "\
Examples:
  countersign log prove state/log --jti 0b5a3b2e-7a4e-4d55-9a5c-3a1d3c5e7f00 > token.tlog-proof
  countersign log prove state/log --run b3116611-e08b-4b00-91c5-10365b25a6ef --to evidence
  countersign log prove state/log --sequence 1000 --tiles /srv/tiles --to evidence
  countersign log verify --proof evidence/1000.tlog-proof --key verifier-keys --record evidence/1000.json

A proof is a text of the form c2sp.org/tlog-proof@v1: the record's entry (its sequence, its SHA-256 and its hash in the
chain), the hashes from there to the root of the log's Merkle tree, and the signed checkpoint with that root. It shows
nothing else of the log. With `--to`, the record is written beside it, byte for byte; without, one proof is printed.

The checkpoint is the log's last one, or with `--tiles` that of the tiles, with its witnesses' cosignatures. A record is
covered within a minute. The keys that verify it are in the folder of the log, `verifier-keys`: give them to whoever
verifies, on another way than the proofs. A log that was pruned proves the records that it has; its archive proves those
before.

The JSON has `origin`, `size` (of the checkpoint), and `proofs`: a list with `sequence`, `proof` and `record` (the files).

Exit status: 0 proved, 1 anything else, also if no record matches.")]
pub(super) struct Prove {
    #[command(flatten)]
    place: LogPlace,

    /// The record of the token with this id (`jti`)
    #[arg(long, value_name = "UUID")]
    jti: Option<String>,

    /// The record with this sequence
    #[arg(long, value_name = "SEQUENCE")]
    sequence: Option<u64>,

    /// All records of this run
    #[arg(long, value_name = "UUID")]
    run: Option<RunId>,

    /// The folder for `SEQUENCE.tlog-proof` and `SEQUENCE.json` of each record, which is created if missing
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,

    /// A folder of `countersign log tiles`, whose checkpoint is taken
    #[arg(long, value_name = "FOLDER")]
    tiles: Option<PathBuf>,

    /// The public key of the checkpoints, a JWK Set [default: checkpoint-key.json in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The form of the output, with `--to`
    #[arg(long, value_enum, default_value_t = Format::Human, requires = "to")]
    format: Format,
}

#[derive(Serialize)]
struct Printed {
    origin: String,
    size: u64,
    proofs: Vec<PrintedProof>,
}

#[derive(Serialize)]
struct PrintedProof {
    sequence: u64,
    proof: String,
    record: String,
}

impl Prove {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.place.folder()?;
        let key = checkpoint_key(folder, self.key.as_deref())?;
        let mut tiles = match &self.tiles {
            Some(tiles) => Some(Tiles::open(tiles)?.with_context(|| {
                format!("{}: no tiles here (`checkpoint` is missing)", tiles.display())
            })?),
            None => None,
        };
        let proved = progress::with_progress("reading the log", "records", |progress| {
            let seen = |sequence| progress.set(usize::try_from(sequence).unwrap_or(usize::MAX));
            prove(folder, &key, tiles.as_mut(), |entry| self.is_meant(entry), seen)
        });
        let proved = match proved {
            Ok(proved) => proved,
            Err(error @ ProveError::Log(_)) => {
                return Err(error).with_context(|| folder.display().to_string());
            }
            Err(error) => return Err(error.into()),
        };
        let [one, ..] = proved.as_slice() else {
            let first = Reader::new(folder, 1).read()?.map_or(1, |entry| entry.sequence);
            if first > 1 {
                output::status(&format!(
                    "no record matches; the records before {first} were pruned, and may be in the archive"
                ));
            } else {
                output::status("no record matches");
            }
            return Ok(Exit::Failed);
        };
        match &self.to {
            Some(to) => self.write(to, &proved)?,
            None if proved.len() > 1 => {
                bail!("{} records match; give --to FOLDER to write all proofs", proved.len())
            }
            None => output::print(&one.proof.to_string())?,
        }
        Ok(Exit::Success)
    }

    fn is_meant(&self, entry: &Entry) -> bool {
        if let Some(sequence) = self.sequence {
            return entry.sequence == sequence;
        }
        let view = RecordView::of(entry);
        let Some(view) = view else { return false };
        match (&self.jti, &self.run) {
            (Some(jti), _) => view.issued.is_some_and(|issued| issued.jti == jti),
            (None, Some(run)) => view.run_id() == Some(run.to_string().as_str()),
            (None, None) => false,
        }
    }

    fn write(&self, to: &Path, proved: &[Proved]) -> Result<()> {
        files::private_folder(to)?;
        let mut printed = Printed { origin: String::new(), size: 0, proofs: Vec::new() };
        for Proved { sequence, record, proof } in proved {
            let names = [format!("{sequence}.tlog-proof"), format!("{sequence}.json")];
            let [of_proof, of_record] = names.map(|name| to.join(name));
            // The record first: where there is a proof, there is what it proves.
            files::replace(&of_record, record, true)?;
            files::replace(&of_proof, proof.to_string().as_bytes(), true)?;
            let mut lines = proof.note.lines();
            printed.origin = lines.next().unwrap_or_default().to_owned();
            printed.size = lines.next().and_then(|size| size.parse().ok()).unwrap_or_default();
            let (proof, record) = (of_proof.display().to_string(), of_record.display().to_string());
            printed.proofs.push(PrintedProof { sequence: *sequence, proof, record });
        }
        match self.format {
            Format::Json => output::print_json(&printed),
            Format::Human => {
                let lines =
                    printed.proofs.iter().map(|one| format!("{} {}\n", one.sequence, one.proof));
                output::print(&lines.collect::<String>())
            }
        }
    }
}
