//! `countersign policy test`

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use countersign::{Engine, Optimization, visible};
use countersign_authoring::{
    CaseOutcome, CaseRunner, Claim, Mutations, SettingsOutcome, TestReport,
};
use serde::Serialize;

use super::coverage::{PolicyCoverage, PrintedCoverage};
use super::folder::FolderArguments;
use super::junit;
use crate::output::{self, DIM, Exit, FAILURE, STRONG, SUCCESS, Styled};
use crate::progress;
use countersign_deployment::engine;

/// The interval at which `--watch` compares file fingerprints.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);

/// Run the test cases of a policy through its component, and again with each claim changed
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy test
  countersign policy test --watch
  countersign policy test --format junit > report.xml
  countersign policy test --coverage --min-coverage 100

Cases run in the evaluator's sandbox, under the limits of a binding. If all pass, each is run again with each
claim changed (another workspace, behavior, audience, author, time, …). If no case notices a change of a claim,
either the policy does not read that claim or no case covers it.
`depends-on` in cases.toml declares the claims that verdicts depend on. A declared claim whose changes go unnoticed
(missed) fails the test, and so does an undeclared one whose changes are noticed.

The settings of cases must fit the policy's schema. The settings in `[[settings]]` are passed to the policy
without that check.

--coverage finds the lines of the policy that no case reaches. It compiles the source once more, without
optimisation, into target/coverage, and is only available for policies in Rust. Coverage is measured if all cases
pass, and is not part of JUnit's XML.

The JSON has `policy`, `version`, `digest`, `passed`, `cases` (`name`, `expected`, `found`, `passed`,
`detail`, `fuel`, `memory_bytes`, `output_bytes`), `settings` (`name`, `expected`, `found`, `passed`,
`detail`), `claims` (`claim`, `changes`, `noticed`, `example`), `missed` and `undeclared`, which are
null where cases failed, and `coverage` (`covered`, `lines`, `missed`: `file`, `line`), which is null
without --coverage as well.

Exit status: 0 if everything passed, 1 otherwise.")]
pub(super) struct Test {
    #[command(flatten)]
    folder: FolderArguments,

    /// Test again whenever a file changes
    #[arg(long, conflicts_with = "format")]
    watch: bool,

    /// Measure line coverage
    #[arg(long)]
    coverage: bool,

    /// Fail if less than this percentage of lines is reached
    #[arg(long, value_name = "PERCENT", requires = "coverage")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = TestFormat::Human)]
    format: TestFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// For people; may change
    Human,
    /// JSON of a stable, documented shape
    Json,
    /// JUnit's XML, which CI systems show
    Junit,
}

/// A tested policy with its report.
pub(super) struct Tested {
    pub policy: String,
    pub version: String,
    pub digest: String,
    pub report: TestReport,
    /// Measured where it was requested and all cases passed.
    pub coverage: Option<PolicyCoverage>,
}

impl Tested {
    fn passed(&self) -> bool {
        self.report.passed() && self.coverage.as_ref().is_none_or(PolicyCoverage::passed)
    }
}

impl Test {
    pub(super) fn run(&self) -> Result<Exit> {
        let engine = engine::engine_without_check(Optimization::None)?;
        if self.watch {
            return self.watch(&engine);
        }
        let tested = self.test(&engine)?;
        match self.format {
            TestFormat::Human => output::print(&text(&tested))?,
            TestFormat::Json => output::print_json(&Printed::new(&tested))?,
            TestFormat::Junit => output::print(&junit::report(&tested)?)?,
        }
        Ok(if tested.passed() { Exit::Success } else { Exit::Failed })
    }

    fn test(&self, engine: &Engine) -> Result<Tested> {
        let folder = self.folder.read()?;
        let (runner, report) = progress::with_spinner("testing", || {
            let (cases, run, settings) = (&folder.cases, &folder.run, folder.settings.clone());
            let component = &folder.component;
            let runner = CaseRunner::new(engine, component, folder.limits, cases, run, settings)?;
            let runner = runner.checked_by(engine::settings_check(output::warn_or_log));
            let report = runner.run()?;
            anyhow::Ok((runner, report))
        })?;
        let coverage = if self.coverage && report.cases_passed() {
            Some(PolicyCoverage::of(&runner, self.folder.folder(), self.min_coverage)?)
        } else {
            None
        };
        let description = runner.policy().description();
        Ok(Tested {
            policy: description.name.clone(),
            version: description.version.clone(),
            digest: runner.policy().digest().to_string(),
            report,
            coverage,
        })
    }

    fn watch(&self, engine: &Engine) -> Result<Exit> {
        loop {
            let fingerprints = self.folder.fingerprints();
            match self.test(engine) {
                Ok(tested) => output::print(&text(&tested))?,
                Err(error) => output::error(&error),
            }
            output::status("waiting for changes; press Ctrl-C to stop");
            while self.folder.fingerprints() == fingerprints {
                thread::sleep(WATCH_INTERVAL);
            }
        }
    }
}

#[derive(Serialize)]
struct Printed<'t> {
    policy: &'t str,
    version: &'t str,
    digest: &'t str,
    passed: bool,
    cases: Vec<PrintedCase<'t>>,
    settings: Vec<PrintedSettings<'t>>,
    claims: Option<Vec<PrintedClaim<'t>>>,
    missed: Option<Vec<&'static str>>,
    undeclared: Option<Vec<&'static str>>,
    coverage: Option<PrintedCoverage<'t>>,
}

#[derive(Serialize)]
struct PrintedCase<'t> {
    name: &'t str,
    expected: &'t str,
    found: &'t str,
    passed: bool,
    detail: &'t [String],
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
}

#[derive(Serialize)]
struct PrintedSettings<'t> {
    name: &'t str,
    expected: &'t str,
    found: Option<&'t str>,
    passed: bool,
    detail: &'t [String],
}

#[derive(Serialize)]
struct PrintedClaim<'t> {
    claim: &'static str,
    changes: usize,
    noticed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<PrintedExample<'t>>,
}

#[derive(Serialize)]
struct PrintedExample<'t> {
    case: &'t str,
    change: &'t str,
}

impl<'t> Printed<'t> {
    fn new(tested: &'t Tested) -> Self {
        let report = &tested.report;
        let paths = |claims: Vec<Claim>| claims.into_iter().map(Claim::path).collect();
        let mutations = report.mutations.as_ref();
        Self {
            policy: &tested.policy,
            version: &tested.version,
            digest: &tested.digest,
            passed: tested.passed(),
            cases: report.cases.iter().map(of_case).collect(),
            settings: report.settings.iter().map(of_settings).collect(),
            claims: mutations.map(|mutations| {
                let claims = mutations.claims();
                claims
                    .map(|(claim, report)| PrintedClaim {
                        claim: claim.path(),
                        changes: report.changes,
                        noticed: report.noticed,
                        example: report
                            .example
                            .as_ref()
                            .map(|(case, change)| PrintedExample { case, change }),
                    })
                    .collect()
            }),
            missed: mutations.map(|mutations| paths(mutations.missed())),
            undeclared: mutations.map(|mutations| paths(mutations.undeclared())),
            coverage: tested.coverage.as_ref().map(PolicyCoverage::printed),
        }
    }
}

fn of_case(case: &CaseOutcome) -> PrintedCase<'_> {
    PrintedCase {
        name: &case.name,
        expected: &case.expected,
        found: &case.found,
        passed: case.passed(),
        detail: &case.detail,
        fuel: case.used.fuel,
        memory_bytes: case.used.memory_bytes,
        output_bytes: case.used.output_bytes,
    }
}

fn of_settings(case: &SettingsOutcome) -> PrintedSettings<'_> {
    PrintedSettings {
        name: &case.name,
        expected: &case.expected,
        found: case.found.as_deref(),
        passed: case.passed(),
        detail: &case.detail,
    }
}

fn text(tested: &Tested) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, tested);
    text
}

fn write(text: &mut String, tested: &Tested) -> std::fmt::Result {
    let Tested { policy, version, digest, report, coverage } = tested;
    writeln!(text, "{} {version} {}", Styled(STRONG, policy), Styled(DIM, digest))?;
    for case in &report.cases {
        outcome(text, case.passed(), &case.name, &case.expected, &case.found, &case.detail)?;
    }
    for case in &report.settings {
        let name = format!("settings: {}", case.name);
        let found = case.found.as_deref().unwrap_or("no problem: the settings were accepted");
        outcome(text, case.passed(), &name, &case.expected, found, &case.detail)?;
    }
    let count = report.cases.len() + report.settings.len();
    let failed = report.cases.iter().filter(|case| !case.passed()).count()
        + report.settings.iter().filter(|case| !case.passed()).count();
    writeln!(text, "\n{count} cases, {failed} failed")?;
    match &report.mutations {
        Some(mutations) => of_mutations(text, mutations),
        None => writeln!(text, "claims are changed once all cases pass"),
    }?;
    coverage.iter().try_for_each(|coverage| coverage.write(text))
}

fn outcome(
    text: &mut String,
    passed: bool,
    name: &str,
    expected: &str,
    found: &str,
    detail: &[String],
) -> std::fmt::Result {
    if passed {
        return writeln!(text, "  {}  {}", Styled(SUCCESS, "pass"), visible(name));
    }
    writeln!(text, "  {}  {}", Styled(FAILURE, "FAIL"), visible(name))?;
    writeln!(text, "        expected  {}", visible(expected))?;
    writeln!(text, "        found     {}", visible(found))?;
    detail.iter().try_for_each(|line| writeln!(text, "                  {}", visible(line)))
}

fn of_mutations(text: &mut String, mutations: &Mutations) -> std::fmt::Result {
    writeln!(
        text,
        "changed single claims {} times; the cases notice changes of",
        mutations.changes()
    )?;
    for (claim, report) in mutations.claims().filter(|(_, report)| report.noticed > 0) {
        let (noticed, changes) = (report.noticed, report.changes);
        writeln!(text, "  {:<30} {noticed} of {changes}", claim.path())?;
    }
    let paths = |claims: &[Claim]| claims.iter().map(|c| c.path()).collect::<Vec<_>>().join(", ");
    let unnoticed = mutations.unnoticed();
    writeln!(text, "and of no other: {}", Styled(DIM, paths(&unnoticed)))?;
    let (missed, undeclared) = (mutations.missed(), mutations.undeclared());
    if !missed.is_empty() {
        let what = "missed: declared in `depends-on`, but no case notices a change:";
        writeln!(text, "  {} {}", Styled(FAILURE, what), paths(&missed))?;
    }
    if !undeclared.is_empty() {
        let what = "undeclared: not in `depends-on`, but a verdict depends on it:";
        writeln!(text, "  {} {}", Styled(FAILURE, what), paths(&undeclared))?;
    }
    if !mutations.is_declared() {
        let what = "declare the claims that verdicts depend on with `depends-on` in cases.toml";
        writeln!(text, "  {}", Styled(DIM, what))?;
    }
    Ok(())
}
