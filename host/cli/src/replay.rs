//! `countersign replay`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use countersign::{Optimization, PolicySet, visible};
use countersign_decision_log::Head;
use countersign_deployment::ManifestBundle;
use countersign_replay::{Difference, NotReplayable, ReplayObserver, ReplayReport, replay};
use serde::Serialize;

use crate::impact::json::{PrintedBinding, PrintedNotReplayable, PrintedRun};
use crate::output::{self, DIM, Exit, FAILURE, Format, STRONG, SUCCESS, Styled};
use crate::progress::{self, Progress};
use crate::replayed_log::{DecisionFilter, LogKey, PolicyArguments, ended_text, workers};

/// Decide again on every decision of a log, by the policies that made it, and compare the bytes
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign replay state/log --policies countersign.toml

  # A log over which the policies changed: every set that decided, from version control
  countersign replay state/log --policies old/countersign.toml --policies countersign.toml

  # The decisions of one day on runs that concern one workspace
  countersign replay state/log -p countersign.toml --since 2026-11-01 --until 2026-11-02 \\
      --workspace team-a

Policies have no clock, no randomness and no imports, so the same policy set decides the same on the recorded claims,
to the byte of the record. The log is verified while it is read: the chain of records, and the signed checkpoints.

A decision is made again by the set that its record names. One that cannot be is `not replayable`, with a reason:
`component-gone`, `other-settings`, `other-limits` (no set here has the binding as it was), `other-set` (the
bindings are there, and the set that decided is not), `machine-fault` (a fault by the wall clock, the native stack or
the host, which another machine need not reproduce) or `unreadable` (a record of another version).

The JSON has `read` (records), `same`, `different`, `not_replayable` (a count for each reason), `left_out` (by the
options), `without_decision` (a count for each kind of record), `policy_sets` (the decisions that were the same, by
digest), `log` (`first`, `last`, `hash`, `covered`: the last record that a checkpoint covers), `damage` (null, or where the
log is damaged and how far it was read), `differences` (`record`, `time`, `run`, `at`: the first byte that differs,
`bindings`: `binding`, `before`, `after`) and `unreplayed` (`record`, `time`, `reason`, `detail`), of which the first
--max-changes are listed.

Exit status: 0 every decision was made again with the same bytes, 1 anything else, also if there was none.")]
pub(crate) struct Replay {
    /// The folder of the log
    #[arg(value_name = "LOG")]
    folder: PathBuf,

    /// The manifest of a policy set that decided; repeat it for several
    #[arg(long, short, value_name = "FILE", required = true)]
    policies: Vec<PathBuf>,

    #[command(flatten)]
    filter: DecisionFilter,

    /// Succeed although decisions are not replayable, if one was replayed and none differs
    #[arg(long)]
    partial: bool,

    /// The public key of the log's checkpoints, a JWK Set [default: checkpoint-key.json in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The maximum of differences, and of decisions that are not replayable, that are listed
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    max_changes: usize,

    /// The compilation of the policies, which changes no decision
    #[arg(long, value_enum, default_value_t = OptimizationWord::Speed)]
    optimization: OptimizationWord,

    #[command(flatten)]
    preparing: PolicyArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizationWord {
    /// As a service has it
    Speed,
    /// As `evaluate` has it: sooner there, and slower
    None,
}

/// The results that are listed.
struct Listed<'p> {
    differences: Vec<Difference>,
    not_replayable: Vec<NotReplayable>,
    max: usize,
    progress: &'p Progress,
}

#[derive(Serialize)]
struct Printed<'r> {
    read: u64,
    same: u64,
    different: u64,
    not_replayable: BTreeMap<&'static str, u64>,
    left_out: u64,
    without_decision: &'r BTreeMap<String, u64>,
    policy_sets: BTreeMap<String, u64>,
    log: PrintedHead,
    damage: Option<String>,
    differences: Vec<PrintedDifference<'r>>,
    unreplayed: Vec<PrintedNotReplayable<'r>>,
}

#[derive(Serialize)]
struct PrintedHead {
    first: u64,
    last: u64,
    hash: String,
    covered: u64,
}

#[derive(Serialize)]
struct PrintedDifference<'r> {
    #[serde(flatten)]
    run: PrintedRun<'r>,
    at: usize,
    bindings: Vec<PrintedBinding<'r>>,
}

impl ReplayObserver for Listed<'_> {
    fn difference(&mut self, difference: Difference) -> bool {
        if self.differences.len() < self.max {
            self.differences.push(difference);
        }
        true
    }

    fn not_replayable(&mut self, not: NotReplayable) -> bool {
        if self.not_replayable.len() < self.max {
            self.not_replayable.push(not);
        }
        true
    }

    fn progress(&mut self, done: u64) {
        self.progress.set(usize::try_from(done).unwrap_or(usize::MAX));
    }
}

impl Replay {
    pub(crate) fn run(&self) -> Result<Exit> {
        let filter = self.filter.filter()?;
        let key = LogKey::read(&self.folder, self.key.as_ref())?;
        let sets = self.sets()?;
        let mut reader = key.open()?;
        let (report, listed) = progress::with_progress("replaying", "records", |progress| {
            progress.set_even_steps(usize::try_from(reader.estimated_records()).unwrap_or(0));
            let max = self.max_changes;
            let mut listed =
                Listed { differences: Vec::new(), not_replayable: Vec::new(), max, progress };
            let report = replay(&mut reader, &sets, &filter, workers(), &mut listed);
            (report, (listed.differences, listed.not_replayable))
        });
        let head = reader.head();
        let printed = printed(&report, &listed.0, &listed.1, head);
        match self.format {
            Format::Json => output::print_json(&printed)?,
            Format::Human => output::print(&text(&printed))?,
        }
        let is_whole = printed.damage.is_none() && printed.different == 0 && printed.same > 0;
        let is_complete = self.partial || report.counts.not_replayable() == 0;
        Ok(if is_whole && is_complete { Exit::Success } else { Exit::Failed })
    }

    /// The policy sets of all manifests.
    fn sets(&self) -> Result<Vec<PolicySet>> {
        let optimization = match self.optimization {
            OptimizationWord::Speed => Optimization::Speed,
            OptimizationWord::None => Optimization::None,
        };
        let prepare = |manifest: &PathBuf| {
            let bundle = ManifestBundle::read(manifest)?;
            let engine = self.preparing.engine(&bundle, optimization)?;
            self.preparing.prepare(&bundle, manifest, &engine)
        };
        self.policies.iter().map(prepare).collect()
    }
}

fn printed<'r>(
    report: &'r ReplayReport,
    differences: &'r [Difference],
    not_replayable: &'r [NotReplayable],
    head: Head,
) -> Printed<'r> {
    let counts = &report.counts;
    let difference = |difference: &'r Difference| PrintedDifference {
        run: PrintedRun::new(&difference.place, difference.time, &difference.claims),
        at: difference.at,
        bindings: difference.comparison.bindings.iter().map(PrintedBinding::new).collect(),
    };
    Printed {
        read: counts.read,
        same: counts.same(),
        different: counts.different,
        not_replayable: counts.not_replayable.iter().map(|(why, n)| (why.as_str(), *n)).collect(),
        left_out: counts.left_out,
        without_decision: &counts.without_decision,
        policy_sets: counts.same.iter().map(|(set, n)| (set.to_string(), *n)).collect(),
        log: PrintedHead {
            first: head.first,
            last: head.last,
            hash: head.hash.to_string(),
            covered: head.covered,
        },
        damage: report.ended.as_ref().map(|error| ended_text(error, head.last)),
        differences: differences.iter().map(difference).collect(),
        unreplayed: not_replayable.iter().map(PrintedNotReplayable::new).collect(),
    }
}

fn text(printed: &Printed<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, printed);
    text
}

fn write(text: &mut String, printed: &Printed<'_>) -> std::fmt::Result {
    for difference in &printed.differences {
        writeln!(text, "{} {}", Styled(FAILURE, "different"), visible(&difference.run.line()))?;
        for binding in &difference.bindings {
            writeln!(text, "  {}", visible(&binding.line()))?;
        }
        if difference.bindings.is_empty() {
            writeln!(text, "  the same verdicts; byte {} differs", difference.at)?;
        }
    }
    let more = printed.different.saturating_sub(printed.differences.len() as u64);
    if more > 0 {
        writeln!(text, "  and {more} more, which --max-changes lists")?;
    }
    for not in &printed.unreplayed {
        writeln!(text, "{} {}", Styled(STRONG, "not replayable"), visible(&not.line()))?;
    }
    let unreplayed: u64 = printed.not_replayable.values().sum();
    let more = unreplayed.saturating_sub(printed.unreplayed.len() as u64);
    if more > 0 {
        writeln!(text, "  and {more} more, which --max-changes lists")?;
    }
    if let Some(damage) = &printed.damage {
        writeln!(text, "{} {damage}", Styled(FAILURE, "damaged:"))?;
    }
    let style = if printed.different == 0 { SUCCESS } else { FAILURE };
    let same = format!("{} decisions made again with the same bytes", printed.same);
    writeln!(
        text,
        "{}, {} with others, {unreplayed} not replayable",
        Styled(style, same),
        printed.different
    )?;
    for (reason, count) in &printed.not_replayable {
        writeln!(text, "  {count} {reason}")?;
    }
    let without: u64 = printed.without_decision.values().sum();
    let log = &printed.log;
    let line = format!(
        "{} records, {without} of them without a decision, {} left out; the last one is {} with {}",
        printed.read, printed.left_out, log.last, log.hash
    );
    writeln!(text, "{}", Styled(DIM, line))
}
