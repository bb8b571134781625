//! The report of an impact: what all of its forms show.

use std::collections::{BTreeMap, BTreeSet};

use countersign::{DefinitionId, Digest, PolicySet, Workspace};
use countersign_authoring::{
    DecisionInput, EvaluationBudget, Explanation, SettingsLiterals, explain,
};
use countersign_replay::{
    Cause, Change, Class, ClassCounts, Evidence, ImpactObserver, ImpactReport, NotReplayable,
};

use super::coverage::Coverage;
use super::json::{PrintedChange, PrintedLine, PrintedNotReplayable};
use crate::output;
use crate::progress::Progress;

/// Fuel for the explanation of one change: a second or two of a processor.
const EXPLANATION_FUEL: u64 = 5_000_000_000;

/// The report.
pub(super) struct Report {
    pub(super) candidate: Digest,
    pub(super) source: ReportSource,
    pub(super) impact: ImpactReport,
    /// The first changes, in the order of the source.
    pub(super) changes: Vec<ListedChange>,
    /// All changes that would be listed.
    pub(super) changes_found: u64,
    /// The first decisions that cannot be decided again.
    pub(super) not_replayable: Vec<NotReplayable>,
    /// The place of the damage, and how far the log was read. Safe to show.
    pub(super) damage: Option<String>,
    pub(super) coverage: Option<Coverage>,
    pub(super) evidence: Evidence,
    /// The words of `--fail-on` of which there is a decision.
    pub(super) failed_on: Vec<&'static str>,
    /// Decisions that are not replayable are no failure.
    pub(super) partial: bool,
}

/// The kind of decisions that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportSource {
    /// Those of a log.
    Log,
    /// Those of the current policies on a folder of runs.
    Runs,
    /// Those of the current policies on runs that were made up.
    Generated,
}

/// A change, with its explanation for a sample of them.
pub(super) struct ListedChange {
    pub(super) change: Change,
    pub(super) explanation: Option<Explanation>,
}

/// Lists changes, explains some, and prints each where that is wanted.
pub(super) struct Lister<'l> {
    candidate: &'l PolicySet,
    literals: &'l SettingsLiterals,
    progress: &'l Progress,
    max_changes: usize,
    /// Explanations that are left.
    explanations: usize,
    /// Causes of which one change was explained.
    explained: BTreeSet<Vec<Cause>>,
    prints_lines: bool,
    pub(super) changes: Vec<ListedChange>,
    pub(super) changes_found: u64,
    pub(super) not_replayable: Vec<NotReplayable>,
    pub(super) print_error: Option<anyhow::Error>,
}

impl ReportSource {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Runs => "runs",
            Self::Generated => "generated",
        }
    }
}

impl<'l> Lister<'l> {
    /// Lists at most `max_changes`, and explains one change of each of at most `explanations` groups of causes.
    /// `prints_lines` prints all of them as they come.
    pub(super) fn new(
        (candidate, literals): (&'l PolicySet, &'l SettingsLiterals),
        progress: &'l Progress,
        max_changes: usize,
        explanations: usize,
        prints_lines: bool,
    ) -> Self {
        Self {
            candidate,
            literals,
            progress,
            max_changes,
            explanations,
            explained: BTreeSet::new(),
            prints_lines,
            changes: Vec::new(),
            changes_found: 0,
            not_replayable: Vec::new(),
            print_error: None,
        }
    }

    /// The explanation of the candidate's decision, for the first change with these causes.
    fn explanation(&mut self, change: &Change) -> Option<Explanation> {
        if self.explanations == 0 || !self.explained.insert(change.comparison.causes.clone()) {
            return None;
        }
        self.explanations -= 1;
        let input = DecisionInput::of(&change.claims).ok()?;
        let mut budget = EvaluationBudget::new(EXPLANATION_FUEL);
        explain(self.candidate, &input, self.literals, &mut budget).ok()
    }

    /// Prints a line of NDJSON. Returns false if it cannot: there is no use in going on.
    fn print(&mut self, line: &PrintedLine<'_>) -> bool {
        let printed = serde_json::to_string(line)
            .map_err(anyhow::Error::from)
            .and_then(|line| output::print(&format!("{line}\n")));
        match printed {
            Ok(()) => true,
            Err(error) => {
                self.print_error = Some(error);
                false
            }
        }
    }
}

impl ImpactObserver for Lister<'_> {
    fn change(&mut self, change: Change) -> bool {
        self.changes_found += 1;
        let listed = ListedChange { explanation: self.explanation(&change), change };
        if self.prints_lines
            && !self.print(&PrintedLine::Change(Box::new(PrintedChange::new(&listed))))
        {
            return false;
        }
        if self.changes.len() < self.max_changes {
            self.changes.push(listed);
        }
        true
    }

    fn not_replayable(&mut self, not: NotReplayable) -> bool {
        let line = || PrintedLine::NotReplayable(PrintedNotReplayable::new(&not));
        if self.prints_lines && !self.print(&line()) {
            return false;
        }
        if self.not_replayable.len() < self.max_changes {
            self.not_replayable.push(not);
        }
        true
    }

    fn progress(&mut self, done: u64) {
        self.progress.set(usize::try_from(done).unwrap_or(usize::MAX));
    }
}

impl Report {
    /// The causes with their counts, the most frequent first, and those that matter most before others.
    pub(super) fn causes(&self) -> Vec<(&Cause, u64)> {
        let mut causes: Vec<_> =
            self.impact.summary.causes.iter().map(|(cause, count)| (cause, *count)).collect();
        causes.sort_by(|(one, count), (other, others)| {
            others.cmp(count).then_with(|| one.cmp(other))
        });
        causes
    }

    /// Definitions of which decisions differ, those with the most first.
    pub(super) fn definitions(&self) -> Vec<(&(Workspace, DefinitionId), &ClassCounts)> {
        differing(&self.impact.summary.definitions)
    }

    /// Owning workspaces of which decisions differ, those with the most first.
    pub(super) fn workspaces(&self) -> Vec<(&Workspace, &ClassCounts)> {
        differing(&self.impact.summary.workspaces)
    }

    pub(super) fn not_replayable_counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.impact.summary.not_replayable.iter();
        counts.map(|(reason, count)| (reason.as_str(), *count)).collect()
    }

    /// The reasons for which the report proves nothing or not all that it should: at least one makes the command fail.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(damage) = &self.damage {
            problems.push(format!("the log is damaged: {damage}"));
        }
        let differ = self.impact.summary.sample.differ;
        if differ > 0 {
            let places: Vec<_> = self.impact.mismatches.iter().map(ToString::to_string).collect();
            problems.push(format!(
                "{differ} decisions of the sample have another verdict than their record ({}): recorded verdicts do not \
                 stand for evaluations here; `--sample all` uses none",
                places.join(", ")
            ));
        }
        let not_replayable = self.impact.summary.not_replayable();
        if not_replayable > 0 && !self.partial {
            problems.push(format!(
                "{not_replayable} decisions cannot be decided again; --partial accepts that"
            ));
        }
        if self.impact.summary.compared() == 0 {
            problems.push("no decision was compared".to_owned());
        }
        problems
    }
}

/// The rows of a table in which something visible differs, those with the most first.
fn differing<K: Ord>(table: &BTreeMap<K, ClassCounts>) -> Vec<(&K, &ClassCounts)> {
    let count = |counts: &ClassCounts| counts.visible() + counts.faults;
    let mut rows: Vec<_> = table.iter().filter(|(_, counts)| count(counts) > 0).collect();
    rows.sort_by(|(one, counts), (other, others)| {
        count(others).cmp(&count(counts)).then_with(|| one.cmp(other))
    });
    rows
}

/// The words of `--fail-on` of which there is a decision.
pub(super) fn failed_on(words: &BTreeSet<FailOn>, counts: &ClassCounts) -> Vec<&'static str> {
    let is_there = |word: &&FailOn| word.count(counts) > 0;
    words.iter().filter(is_there).map(|word| word.word()).collect()
}

/// A kind of difference that fails the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum FailOn {
    /// Refused before, approved now
    Gained,
    /// Approved before, refused now
    Lost,
    /// Approved with wider terms
    Wider,
    /// Approved with narrower terms
    Narrower,
    /// Refused for other reasons
    Reasons,
    /// The same outcome by other verdicts
    Verdicts,
    /// A binding faults that did not
    Fault,
}

impl FailOn {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Reasons => "reasons",
            Self::Verdicts => "verdicts",
            Self::Fault => "fault",
        }
    }

    /// The number of decisions of this kind.
    pub(super) fn count(self, counts: &ClassCounts) -> u64 {
        match self {
            Self::Gained => counts.of(Class::Gained),
            Self::Lost => counts.of(Class::Lost),
            Self::Wider => counts.of(Class::Wider),
            Self::Narrower => counts.of(Class::Narrower),
            Self::Reasons => counts.of(Class::Reasons),
            Self::Verdicts => counts.of(Class::Verdicts),
            Self::Fault => counts.faults,
        }
    }
}
