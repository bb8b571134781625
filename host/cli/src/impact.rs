//! `countersign impact`

mod coverage;
mod html;
pub(crate) mod json;
mod junit;
mod markdown;
mod questions;
mod report;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use countersign::{Engine, Optimization, PolicySet};
use countersign_authoring::SettingsLiterals;
use countersign_deployment::{ManifestBundle, files};
use countersign_replay::{
    Evidence, EvidenceSource, Filter, ImpactOptions, ImpactReport, Items, Sampling, Source, impact,
};

use self::coverage::{Coverage, Values};
use self::json::{Printed, PrintedLine, PrintedSummary};
use self::questions::{QuestionArguments, Questions, literals};
use self::report::{FailOn, Lister, Report, ReportSource, failed_on};
use crate::output::{self, Exit};
use crate::progress::{self, Progress};
use crate::replayed_log::{DecisionFilter, LogKey, PolicyArguments, ended_text, workers};

/// Work out what a changed policy set would have decided, and name every decision that differs
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Over everything that was decided
  countersign impact state/log --candidate countersign.toml

  # In CI: fail if a run gains a token, gets wider terms or meets a fault, and keep a page for people
  countersign impact state/log --candidate countersign.toml --since 2026-11-01 \\
      --fail-on gained,wider,fault --report impact.html --report impact.xml

  # Without a service: two manifests on a folder of run objects
  countersign impact --runs runs/ --current main/countersign.toml --candidate countersign.toml \\
      --audience aws-workload-identity-provider:demo --ttl 900

  # Without any runs: on runs made of the manifests' settings and of cases
  countersign impact --generate 10000 --current main/countersign.toml --candidate countersign.toml \\
      --cases policies/own/cases.toml

Each decision is in one class: `gained` (refused before, approved now), `lost`, `wider` (a longer lifetime, another
audience, or other claims), `narrower`, `reasons` (refused for others), `verdicts` (the same outcome), `fuel` (the same
verdicts) or `same`. Beside it, `fault` counts decisions in which a binding faults that did not.

The log is verified while it is read: the chain of records, and the signed checkpoints. Damage ends it; everything before
that counts. Only bindings are evaluated whose component, settings, limits or `claims` differ, or that apply now and did
not; the recorded verdicts of the others stand. A sample of decisions (--sample) is evaluated in full to prove that.
Decisions that policies approved and a cloud's limits then stopped count as approved.

For one decision of each group of causes, up to --explain, the smallest changes of its claims are searched that reverse
what the candidate decides, as `countersign explain` does.

The JSON has `classes`, `faults`, `causes` (`class`, `binding`, `code`, `decisions`), `definitions`, `workspaces`,
`bindings` (verdicts before and after), `changes` (`class`, `record` or `name`, `time`, `run`, workspaces, `before`, `after`,
`causes`, `bindings`, `explanation`), `unreplayed`, `not_replayable` (by reason), `sample`, `damage`, `coverage` (of
generated runs), `evidence` (its members and their `digest`) and `failed_on`. NDJSON has an object a line: `change` and
`not_replayable` as they are found, all of them, and `summary` last.

Exit status: 0 compared, 2 there is a difference that --fail-on names, 1 anything else: a damaged log, a decision that cannot
be decided again (unless --partial), recorded verdicts that do not stand, or nothing to compare.")]
pub(crate) struct Impact {
    /// The folder of the log
    #[arg(value_name = "LOG", required_unless_present_any = ["runs", "generate"])]
    folder: Option<PathBuf>,

    /// The manifest of the changed policy set
    #[arg(long, short, value_name = "FILE")]
    candidate: PathBuf,

    #[command(flatten)]
    questions: QuestionArguments,

    #[command(flatten)]
    filter: DecisionFilter,

    /// Fail with status 2 if a decision differs in one of these ways
    #[arg(long, value_name = "CLASS", value_enum, value_delimiter = ',')]
    fail_on: Vec<FailOn>,

    /// Accept that decisions cannot be decided again
    #[arg(long)]
    partial: bool,

    /// List decisions with the same outcome by other verdicts as well, such as those of shadow bindings
    #[arg(long)]
    verdicts: bool,

    /// The decisions that are evaluated in full as well: `all`, `none`, or the first thousand and one in so many
    #[arg(long, value_name = "SHARE", value_parser = sampling, default_value = "100")]
    sample: Sampling,

    /// The maximum of decisions that are explained, one for each group of causes
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    explain: usize,

    /// The maximum of decisions that are listed; NDJSON has all
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    max_changes: usize,

    /// The public key of the log's checkpoints, a JWK Set [default: checkpoint-key.json in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Write the report to a file as well, by its extension: `.html` (a page that stands alone), `.md` (a comment
    /// for a merge request), `.json` or `.xml` (JUnit)
    #[arg(long = "report", value_name = "FILE")]
    reports: Vec<PathBuf>,

    #[command(flatten)]
    preparing: PolicyArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people; may change
    Human,
    /// JSON of a stable, documented shape
    Json,
    /// The same as one JSON object a line, as it is found
    Ndjson,
    /// JUnit's XML, which CI systems show
    Junit,
    /// A page of HTML that stands alone
    Html,
    /// A comment for a merge request
    Markdown,
}

/// A manifest that was read, with its path.
struct ManifestFile {
    path: PathBuf,
    bundle: ManifestBundle,
}

/// The comparison, and all that it showed.
struct Compared {
    impact: ImpactReport,
    lists: Lists,
    evidence: Evidence,
    source: ReportSource,
    damage: Option<String>,
    coverage: Option<Coverage>,
}

/// Everything that was listed.
type Lists = (Vec<report::ListedChange>, u64, Vec<countersign_replay::NotReplayable>);

impl ManifestFile {
    fn read(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), bundle: ManifestBundle::read(path)? })
    }
}

impl Impact {
    pub(crate) fn run(&self) -> Result<Exit> {
        let filter = self.filter.filter()?;
        for report in &self.reports {
            report_format(report)?;
        }
        if self.folder.is_some() {
            self.questions.check_log()?;
        }
        let candidate = ManifestFile::read(&self.candidate)?;
        let current = self.questions.current.as_deref().map(ManifestFile::read).transpose()?;
        let engine = self.preparing.engine(&candidate.bundle, Optimization::Speed)?;
        let prepare = |file: &ManifestFile| self.prepare(file, &engine);
        let set = prepare(&candidate)?;
        let compared = match (&self.folder, &current) {
            (Some(folder), _) => self.of_log(folder, &candidate, &set, &filter)?,
            (None, Some(current)) => {
                self.of_questions(current, &prepare(current)?, &candidate, &set, &filter)?
            }
            (None, None) => {
                bail!("--current is missing: the manifest of the policies that decide now")
            }
        };
        let (changes, changes_found, not_replayable) = compared.lists;
        let words: BTreeSet<FailOn> = self.fail_on.iter().copied().collect();
        let report = Report {
            candidate: set.digest(),
            source: compared.source,
            failed_on: failed_on(&words, &compared.impact.summary.classes),
            impact: compared.impact,
            changes,
            changes_found,
            not_replayable,
            damage: compared.damage,
            coverage: compared.coverage,
            evidence: compared.evidence,
            partial: self.partial,
        };
        self.print(&report, &words)
    }

    fn prepare(&self, file: &ManifestFile, engine: &Engine) -> Result<PolicySet> {
        self.preparing.prepare(&file.bundle, &file.path, engine)
    }

    fn of_log(
        &self,
        folder: &Path,
        candidate: &ManifestFile,
        set: &PolicySet,
        filter: &Filter,
    ) -> Result<Compared> {
        let key = LogKey::read(folder, self.key.as_ref())?;
        let literals = literals(&[&candidate.bundle])?;
        let mut reader = key.open()?;
        let records = reader.estimated_records();
        let (impact, lists) = self.compare(&mut reader, records, None, (set, &literals), filter)?;
        let head = reader.head();
        let evidence = Evidence::new(&EvidenceSource::Log(head), filter, set.digest(), &impact);
        let damage = impact.ended.as_ref().map(|error| ended_text(error, head.last));
        let source = ReportSource::Log;
        Ok(Compared { impact, lists, evidence, source, damage, coverage: None })
    }

    fn of_questions(
        &self,
        current: &ManifestFile,
        current_set: &PolicySet,
        candidate: &ManifestFile,
        set: &PolicySet,
        filter: &Filter,
    ) -> Result<Compared> {
        let manifest = (&current.bundle, current.path.as_path());
        self.warn_of_subjects(current, candidate)?;
        let literals = literals(&[&current.bundle, &candidate.bundle])?;
        let questions = self.questions.questions(manifest)?;
        let questions = questions.context("a log, --runs or --generate is missing")?;
        let mut values = Values::default();
        let decides = Some(current_set);
        let (source, requested, (impact, lists)) = match questions {
            Questions::Runs(files) => {
                let count = files.len() as u64;
                let mut items = Items(self.questions.read_runs(files, manifest)?);
                let compared =
                    self.compare(&mut items, count, decides, (set, &literals), filter)?;
                (ReportSource::Runs, None, compared)
            }
            Questions::Generated { count, bases } => {
                let made = self.questions.made(count, bases, &literals);
                let mut items = Items(values.watch(made));
                let compared =
                    self.compare(&mut items, count, decides, (set, &literals), filter)?;
                (ReportSource::Generated, Some(count), compared)
            }
        };
        let names = [current_set, set].into_iter().flat_map(|set| set.bindings());
        let names = names.map(|binding| binding.identity().name.to_string()).collect();
        let coverage = requested
            .map(|requested| values.coverage(requested, &literals, &impact.summary, &names));
        let of = EvidenceSource::Questions { current: current_set.digest() };
        let evidence = Evidence::new(&of, filter, set.digest(), &impact);
        Ok(Compared { impact, lists, evidence, source, damage: None, coverage })
    }

    /// Compares what a source of about so many items has.
    fn compare(
        &self,
        source: &mut dyn Source,
        items: u64,
        current: Option<&PolicySet>,
        (set, literals): (&PolicySet, &SettingsLiterals),
        filter: &Filter,
    ) -> Result<(ImpactReport, Lists)> {
        let options = ImpactOptions {
            filter: filter.clone(),
            sampling: self.sample,
            workers: workers(),
            with_verdicts: self.verdicts,
        };
        progress::with_progress("comparing", "decisions", |progress: &Progress| {
            progress.set_even_steps(usize::try_from(items).unwrap_or(usize::MAX));
            let mut lister = Lister::new(
                (set, literals),
                progress,
                self.max_changes,
                self.explain,
                self.format == ReportFormat::Ndjson,
            );
            let report = impact(source, current, set, &options, &mut lister);
            match lister.print_error {
                Some(error) => Err(error),
                None => Ok((report, (lister.changes, lister.changes_found, lister.not_replayable))),
            }
        })
    }

    /// Warns where the manifests give tokens different subjects: the comparison is of the current ones.
    fn warn_of_subjects(&self, current: &ManifestFile, candidate: &ManifestFile) -> Result<()> {
        let subjects = |file: &ManifestFile| {
            file.bundle.subjects().with_context(|| file.path.display().to_string())
        };
        if subjects(current)? != subjects(candidate)? {
            output::warn_or_log(
                "the manifests give tokens different subjects: both policy sets decide on those of --current",
            );
        }
        Ok(())
    }

    fn print(&self, report: &Report, words: &BTreeSet<FailOn>) -> Result<Exit> {
        for file in &self.reports {
            let text = formatted(report_format(file)?, report, words)?;
            files::replace(file, text.as_bytes(), true)?;
        }
        match self.format {
            ReportFormat::Ndjson => {
                let line = PrintedLine::Summary(Box::new(PrintedSummary::new(report)));
                output::print(&format!("{}\n", serde_json::to_string(&line)?))?;
            }
            format => output::print(&formatted(format, report, words)?)?,
        }
        let problems = report.problems();
        for problem in problems.iter().filter(|_| self.format != ReportFormat::Human) {
            output::error(&anyhow::anyhow!("{problem}"));
        }
        Ok(match (problems.is_empty(), report.failed_on.is_empty()) {
            (false, _) => Exit::Failed,
            (true, false) => Exit::Refused,
            (true, true) => Exit::Success,
        })
    }
}

/// The whole report in a form.
fn formatted(format: ReportFormat, report: &Report, words: &BTreeSet<FailOn>) -> Result<String> {
    Ok(match format {
        ReportFormat::Human => text::text(report),
        ReportFormat::Json | ReportFormat::Ndjson => {
            let mut text = serde_json::to_string_pretty(&Printed::new(report))?;
            text.push('\n');
            text
        }
        ReportFormat::Junit => junit::report(report, words)?,
        ReportFormat::Html => html::page(report),
        ReportFormat::Markdown => markdown::comment(report),
    })
}

/// The form of a report by the extension of its file.
fn report_format(file: &Path) -> Result<ReportFormat> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok(ReportFormat::Html),
        Some("json") => Ok(ReportFormat::Json),
        Some("md") => Ok(ReportFormat::Markdown),
        Some("xml") => Ok(ReportFormat::Junit),
        _ => bail!(
            "{}: expected a name that ends in `.html`, `.md`, `.json` or `.xml`",
            file.display()
        ),
    }
}

/// Parses the share of a sample.
fn sampling(text: &str) -> Result<Sampling, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Sampling::All),
        ("none", _) => Ok(Sampling::Off),
        (_, Ok(share)) if share > 0 => Ok(Sampling::OneIn(share)),
        _ => Err("expected `all`, `none`, or a number from 1 on".to_owned()),
    }
}
