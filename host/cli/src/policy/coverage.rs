//! Line coverage of a policy in Rust or Rego, for `countersign policy test --coverage`.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign::visible;
use countersign_authoring::{CaseRunner, CodeLine, Coverage, CoverageError, EvaluationBudget};
use countersign_component::Toolchain;
use serde::Serialize;

use super::language::Language;
use super::rego::measure;
use super::rust::RustPackage;
use crate::bounds;
use crate::output::{DIM, FAILURE, Styled};
use crate::progress;

/// The lines of a policy that its cases reach.
pub(super) struct PolicyCoverage {
    coverage: Coverage,
    /// Lines that no case reaches, with their text.
    missed: Vec<(CodeLine, String)>,
    /// The percentage of lines that must be reached.
    min: Option<u8>,
}

impl PolicyCoverage {
    /// Follows the cases through the policy in a folder: in Rust, compiled once more; in Rego, by its engine.
    pub(super) fn of(
        runner: &CaseRunner<'_>,
        folder: &Path,
        cases: usize,
        min: Option<u8>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Self> {
        let language = Language::of(folder).context(
            "coverage is only available for policies in Rust and Rego, and needs their source",
        )?;
        match language {
            Language::Rust => Self::of_rust(runner, folder, min, budget),
            Language::Rego => {
                let coverage = measure::coverage(runner, cases, budget).map_err(with_remedy)?;
                let text = |line: &CodeLine| measure::line(folder, line);
                let missed = coverage.missed().map(|line| (line.clone(), text(line))).collect();
                Ok(Self { coverage, missed, min })
            }
            _ => bail!(
                "{}: coverage is only available for policies in Rust and Rego; omit --coverage to run the cases",
                folder.join(language.source()).display()
            ),
        }
    }

    fn of_rust(
        runner: &CaseRunner<'_>,
        folder: &Path,
        min: Option<u8>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Self> {
        let package = RustPackage::of(folder)?;
        let toolchain = Toolchain::find()?;
        let module = progress::with_spinner("compiling for coverage", || {
            package.module_for_coverage(toolchain)
        })?;
        let coverage = runner
            .coverage(&module, &|path| package.own(path), budget)
            .map_err(|error| with_remedy(error.into()))?;
        let text = |line: &CodeLine| package.line(&line.file, line.line).unwrap_or_default();
        let missed = coverage.missed().map(|line| (line.clone(), text(line))).collect();
        Ok(Self { coverage, missed, min })
    }

    /// Returns true if the required percentage of lines is reached.
    pub(super) fn passed(&self) -> bool {
        self.min.is_none_or(|min| self.coverage.is_at_least(min))
    }

    /// Returns the required percentage of lines, and the counts of those that are reached and of all.
    pub(super) fn required(&self) -> Option<(u8, usize, usize)> {
        self.min.map(|min| (min, self.coverage.covered(), self.coverage.lines()))
    }

    /// Writes the report for people.
    pub(super) fn write(&self, text: &mut String) -> std::fmt::Result {
        let (covered, lines) = (self.coverage.covered(), self.coverage.lines());
        write!(text, "{covered} of {lines} lines are reached by a case")?;
        match self.min.filter(|_| !self.passed()) {
            Some(min) => writeln!(text, " {}", Styled(FAILURE, format!("less than {min}%")))?,
            None => text.push('\n'),
        }
        if !self.missed.is_empty() {
            writeln!(text, "lines of the policy that no case reaches")?;
        }
        self.missed.iter().try_for_each(|(CodeLine { file, line }, code)| {
            writeln!(text, "  {}:{line}  {}", visible(file), Styled(DIM, visible(code)))
        })
    }

    /// The report for programs.
    pub(super) fn printed(&self) -> PrintedCoverage<'_> {
        let missed = self.missed.iter();
        PrintedCoverage {
            covered: self.coverage.covered(),
            lines: self.coverage.lines(),
            missed: missed
                .map(|(line, _)| PrintedLine { file: &line.file, line: line.line })
                .collect(),
        }
    }
}

/// An error with what to do about it, where a bound stopped the measurement.
fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<CoverageError>() {
        Some(stopped @ CoverageError::Stopped(count)) => {
            anyhow::anyhow!("{stopped}; {}", bounds::remedy(count).unwrap_or_default())
        }
        _ => error,
    }
}

#[derive(Serialize)]
pub(super) struct PrintedCoverage<'c> {
    covered: usize,
    lines: usize,
    missed: Vec<PrintedLine<'c>>,
}

#[derive(Serialize)]
struct PrintedLine<'c> {
    file: &'c str,
    line: u32,
}
