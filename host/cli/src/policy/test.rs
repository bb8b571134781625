//! `countersign policy test`

mod json;
mod junit;
mod text;

use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use countersign::{Engine, Optimization};
use countersign_authoring::{CaseRunner, CaseRunnerError, CasesError, CoverageError, TestReport};

use super::coverage::PolicyCoverage;
use super::folder::FolderArguments;
use super::language::Language;
use super::rego;
use crate::bounds::TotalFuel;
use crate::cache::CacheArguments;
use crate::output::{self, Exit};
use crate::progress;
use countersign_deployment::engine;

/// The interval at which `--watch` compares file fingerprints.
const WATCH_INTERVAL: Duration = Duration::from_millis(300);

/// The finding of a case of settings that the policy did not reject.
const ACCEPTED: &str = "no problem: the settings were accepted";

/// Run the test cases of a policy through its component, and again with each claim changed
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy test
  countersign policy test --watch
  countersign policy test --case 'a stranger is denied'
  countersign policy test --format junit > report.xml
  countersign policy test --coverage --min-coverage 100

A component that is older than its sources (Rust, CPython) is not tested, unless --component names it.

Cases run in the evaluator's sandbox, under the limits of a binding. If all pass, each is run again with each
claim changed (another workspace, behavior, audience, author, time, …). If no case notices a change of a claim,
either the policy does not read that claim or no case covers it.
`depends-on` in cases.toml declares the claims that verdicts depend on. A declared claim whose changes go unnoticed
(missed) fails the test, and so does an undeclared one whose changes are noticed.

A run with a changed claim that ends in a fault gets no token, whatever the policy means: it fails the test, unless a
case expects a fault of that code (`expect = { fault = \"panic\" }`).

A case that cannot be run, because its request or its settings are none, fails alone. The settings of cases must fit
the policy's schema. The settings in `[[settings]]` are passed to the policy without that check.

For Rego, the rules `test_…` of the policy and of its files `…_test.rego` are run as cases too, which have passed if they are
true. Of one that fails, the lines that it printed are shown.

--coverage finds the lines of the policy that no case reaches, for policies in Rust and Rego. Rust is compiled once more,
without optimisation, into target/coverage; for Rego, its engine says the lines. Coverage is measured if all cases
pass; of it, JUnit's XML has only whether --min-coverage is reached.

The evaluations stop before the next one when all of them together took --total-fuel, or, for those that ended
by `deadline`, a minute of `wall-clock-ms`; then the test fails. Each evaluation counts for its fuel, that of making
its instance and of `configure`, or a whole limit where the fuel cannot be read (a trap), for 1 unit for 16 bytes of its memory
and for 10,000 units. Coverage counts in the same way.

The JSON has `policy`, `version`, `digest`, `passed`, `cases` (`name`, `expected`, `found`, `passed`,
`detail`, `error`, `fuel`, `memory_bytes`, `output_bytes`), `settings` (`name`, `expected`, `found`, `passed`,
`detail`, `error`), `claims` (`claim`, `changes`, `noticed`, `example`), `faults` (`claim`, `case`, `change`, `code`,
`detail`, `count`), `missed` and `undeclared`, which are null where cases failed or were selected (`missed` also where
evaluations stopped), `coverage` (`covered`, `lines`, `missed`:
`file`, `line`), which is null without --coverage as well, `evaluations`, `evaluations_planned`, `stopped_by`
(`fuel`, `deadline` or null), and `error`: null, or `case` (or null), `code` (of docs/codes.md, or null) and
`message` of what ended the test, such as a component that does not load. The `error` of a case is null, or has
`code` and `message` of the reason that it was not run; then `found` is null. What is not known is null or empty.
JUnit's XML has either as an error. Both are whole documents.

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

    #[command(flatten)]
    total_fuel: TotalFuel,

    #[command(flatten)]
    cache: CacheArguments,

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

/// A test, as far as it came.
#[derive(Default)]
struct Tested {
    /// The policy, where its component loaded.
    policy: Option<TestedPolicy>,
    /// The outcomes, where nothing ended the test before.
    report: Option<TestReport>,
    /// Measured where it was requested and all cases passed.
    coverage: Option<PolicyCoverage>,
}

struct TestedPolicy {
    name: String,
    version: String,
    digest: String,
}

/// An error that ended a test, for programs.
struct TestError {
    /// The case that it is about, if it is about one.
    case: Option<String>,
    /// The code of a load error or a fault, if it is one.
    code: Option<&'static str>,
    /// The text that is shown for it.
    message: String,
}

impl Tested {
    fn passed(&self) -> bool {
        self.report.as_ref().is_some_and(TestReport::passed)
            && self.coverage.as_ref().is_none_or(PolicyCoverage::passed)
    }
}

impl TestError {
    fn new(error: &anyhow::Error) -> Self {
        let of_run = error.downcast_ref::<CaseRunnerError>();
        let of_coverage = error.downcast_ref::<CoverageError>();
        let of_cases = match error.downcast_ref::<CasesError>() {
            Some(CasesError::Case { case, .. }) => Some(case.as_str()),
            _ => None,
        };
        let case = of_run.and_then(CaseRunnerError::case);
        let case = case.or_else(|| of_coverage.and_then(CoverageError::case)).or(of_cases);
        Self {
            case: case.map(str::to_owned),
            code: of_run.and_then(CaseRunnerError::code),
            message: output::error_text(error),
        }
    }
}

impl Test {
    pub(super) fn run(&self) -> Result<Exit> {
        if self.watch {
            return self.watch(&self.engine()?);
        }
        let mut tested = Tested::default();
        let done = self.engine().and_then(|engine| self.test(&engine, &mut tested));
        let error = done.as_ref().err().map(TestError::new);
        match self.format {
            TestFormat::Human => {
                done?;
                output::print(&text::report(&tested))?;
                return Ok(if tested.passed() { Exit::Success } else { Exit::Failed });
            }
            // A program reads a whole document, whatever happened.
            TestFormat::Json => output::print_json(&json::Printed::new(&tested, error.as_ref()))?,
            TestFormat::Junit => output::print(&junit::report(&tested, error.as_ref())?)?,
        }
        done?;
        Ok(if tested.passed() { Exit::Success } else { Exit::Failed })
    }

    fn engine(&self) -> Result<Engine> {
        Ok(engine::engine_without_check(Optimization::None, self.cache.open()?)?)
    }

    /// Tests the policy, and takes down in `tested` what comes out.
    fn test(&self, engine: &Engine, tested: &mut Tested) -> Result<()> {
        let folder = self.folder.read()?;
        let (cases, run, settings) = (&folder.cases, &folder.run, folder.settings.clone());
        progress::with_progress("testing", "evaluations", |progress| {
            let component = &folder.component;
            let runner = CaseRunner::new(engine, component, folder.limits, cases, run, settings)?;
            let runner = runner.checked_by(engine::settings_check(output::warn_or_log));
            let description = runner.policy().description();
            tested.policy = Some(TestedPolicy {
                name: description.name.clone(),
                version: description.version.clone(),
                digest: runner.policy().digest().to_string(),
            });
            let mut budget = self.total_fuel.budget(progress);
            let mut report = runner.run(&mut budget)?;
            if folder.language == Some(Language::Rego) && self.folder.selected().is_empty() {
                let of_rules = rego::test_rules(
                    runner.policy(),
                    &folder.settings,
                    self.folder.folder(),
                    folder.limits,
                )?;
                report.cases.extend(of_rules);
            }
            let cases_passed = report.cases_passed();
            tested.report = Some(report);
            if self.coverage && cases_passed {
                let (at, min) = (self.folder.folder(), self.min_coverage);
                let count = cases.case.len();
                tested.coverage = Some(PolicyCoverage::of(&runner, at, count, min, &mut budget)?);
            }
            Ok(())
        })
    }

    fn watch(&self, engine: &Engine) -> Result<Exit> {
        loop {
            let fingerprints = self.folder.fingerprints();
            let mut tested = Tested::default();
            match self.test(engine, &mut tested) {
                Ok(()) => output::print(&text::report(&tested))?,
                Err(error) => output::error(&error),
            }
            output::status("waiting for changes; press Ctrl-C to stop");
            while self.folder.fingerprints() == fingerprints {
                thread::sleep(WATCH_INTERVAL);
            }
        }
    }
}
