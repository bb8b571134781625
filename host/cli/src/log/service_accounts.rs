//! `countersign log service-accounts`

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

/// Report what enforcing decisions would refuse of a cluster's service accounts
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log service-accounts state/log
  countersign log service-accounts state/log --since 1790000000 --format json

The tokens that `[kubernetes-signer]` was asked for: how many were signed for the API server itself, how many as approved,
and each reason that refuses, by service account and audiences. In shadow those tokens were signed all the same, and
enforcing would refuse them.

The JSON has `passed`, `approved`, `would_refuse` and `refused` (numbers of tokens), and `reasons`: a list with `code`, `namespace`,
`service_account` (null where the claims are not those of one), `audiences`, `enforced`, `tokens`, and `last` (the time of
the last one, in seconds since 1970).

Exit status: 0 enforcing refuses nothing that is signed now, 2 it would refuse some, 1 anything else.")]
pub(super) struct ServiceAccounts {
    #[command(flatten)]
    place: LogPlace,

    /// Only tokens that were asked for since this time, in seconds since 1970
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    since: u64,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Of {
    code: String,
    namespace: Option<String>,
    service_account: Option<String>,
    audiences: Vec<String>,
    /// False in shadow.
    enforced: bool,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    of: Of,
    tokens: u64,
    last: u64,
}

#[derive(Serialize, Default)]
struct Report {
    passed: u64,
    approved: u64,
    would_refuse: u64,
    refused: u64,
    reasons: Vec<Row>,
}

impl ServiceAccounts {
    pub(super) fn run(&self) -> Result<Exit> {
        let report = self.report()?;
        match self.format {
            Format::Json => output::print_json(&report)?,
            Format::Human => output::print(&visible(&report.text()))?,
        }
        Ok(if report.would_refuse == 0 { Exit::Success } else { Exit::Refused })
    }

    fn report(&self) -> Result<Report> {
        let mut report = Report::default();
        let mut reasons: BTreeMap<Of, (u64, u64)> = BTreeMap::new();
        let mut reader = Reader::new(self.place.folder()?, 1);
        while let Some(entry) = reader.read()? {
            let view = RecordView::of(&entry);
            let view =
                view.with_context(|| format!("record {}: not understood", entry.sequence))?;
            if view.kind != "service-account" || view.time < self.since {
                continue;
            }
            let codes = view.would_refuse();
            // Signed although something refuses: only in shadow.
            let is_signed = view.issued.is_some();
            match (codes.is_empty(), view.mode, is_signed) {
                (true, Some("pass"), _) => report.passed += 1,
                (true, _, _) => report.approved += 1,
                (false, _, true) => report.would_refuse += 1,
                (false, _, false) => report.refused += 1,
            }
            let account = view.service_account.as_ref();
            for code in codes {
                let of = Of {
                    code: code.to_owned(),
                    namespace: account.map(|account| account.namespace.to_owned()),
                    service_account: account.map(|account| account.name.to_owned()),
                    audiences: account.map(|account| account.audiences.clone()).unwrap_or_default(),
                    enforced: !is_signed,
                };
                let count = reasons.entry(of).or_default();
                *count = (count.0 + 1, count.1.max(view.time));
            }
        }
        let rows = reasons.into_iter().map(|(of, (tokens, last))| Row { of, tokens, last });
        report.reasons = rows.collect();
        Ok(report)
    }
}

impl Report {
    fn text(&self) -> String {
        let Self { passed, approved, would_refuse, refused, .. } = self;
        let mut text = format!(
            "{passed} for the API server, {approved} approved, {refused} refused; enforcing would refuse {would_refuse} more\n"
        );
        for Row { of, tokens, last } in &self.reasons {
            let account = match (&of.namespace, &of.service_account) {
                (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
                _ => "no service account".to_owned(),
            };
            let does = if of.enforced { "refused" } else { "would refuse" };
            let _ = writeln!(
                text,
                "{does} {tokens} {} of {account} for {}, the last at {}",
                of.code,
                if of.audiences.is_empty() { "nothing".to_owned() } else { of.audiences.join(" ") },
                output::time(*last)
            );
        }
        text
    }
}
