//! `countersign log subjects`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::Args;
use countersign::visible;
use countersign_decision_log::Reader;
use serde::Serialize;

use super::LogPlace;
use super::records::RecordView;
use crate::output::{self, Exit, Format};

/// Count each definition's tokens by the format of their subject
#[derive(Args)]
#[command(after_help = "\
After a definition's last token with the old format has expired, its old subject can be removed from
trust policies.

The JSON is a list with `definition`, `workspace`, `profile`, `tokens`, and `last` (the time of the
last one, in seconds since 1970).")]
pub(super) struct Subjects {
    #[command(flatten)]
    place: LogPlace,

    /// Only tokens issued since this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    since: u64,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Of {
    workspace: String,
    definition: String,
    profile: String,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    of: Of,
    tokens: u64,
    last: u64,
}

impl Subjects {
    pub(super) fn run(&self) -> Result<Exit> {
        let mut counts: BTreeMap<Of, (u64, u64)> = BTreeMap::new();
        let mut reader = Reader::new(self.place.folder()?, 1);
        while let Some(entry) = reader.read()? {
            let view = RecordView::of(&entry);
            let view =
                view.with_context(|| format!("record {}: not understood", entry.sequence))?;
            if view.time < self.since {
                continue;
            }
            let (Some(issued), Some(decision)) = (view.issued, view.decision) else { continue };
            let definition = &decision.claims.run.definition;
            let of = Of {
                workspace: definition.workspace.to_owned(),
                definition: definition.id.to_owned(),
                profile: issued.subject_profile.to_owned(),
            };
            let count = counts.entry(of).or_default();
            *count = (count.0 + 1, count.1.max(view.time));
        }
        let rows: Vec<_> =
            counts.into_iter().map(|(of, (tokens, last))| Row { of, tokens, last }).collect();
        match self.format {
            Format::Json => output::print_json(&rows)?,
            Format::Human => {
                let mut text = String::new();
                for Row { of, tokens, last } in &rows {
                    let _ = writeln!(
                        text,
                        "{} {} {}: {tokens} tokens, the last at {}",
                        of.workspace,
                        of.definition,
                        of.profile,
                        output::time(*last)
                    );
                }
                output::print(&visible(&text))?;
            }
        }
        Ok(Exit::Success)
    }
}
