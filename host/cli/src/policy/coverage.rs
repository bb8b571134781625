//! Line coverage of a policy in Rust, for `countersign policy test --coverage`.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign::visible;
use countersign_authoring::{CaseRunner, CodeLine, Coverage, CoverageError, EvaluationBudget};
use countersign_component::Toolchain;
use serde::Serialize;

use super::language::Language;
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
    /// Compiles the policy in a folder once more, and follows the cases through it.
    pub(super) fn of(
        runner: &CaseRunner<'_>,
        folder: &Path,
        min: Option<u8>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Self> {
        let language = Language::of(folder)
            .context("coverage is only available for policies in Rust, and needs their source")?;
        if language != Language::Rust {
            bail!(
                "{}: coverage is only available for policies in Rust; omit --coverage to run the cases",
                folder.join(language.source()).display()
            );
        }
        let package = RustPackage::of(folder)?;
        let toolchain = Toolchain::find()?;
        let module = progress::with_spinner("compiling for coverage", || {
            package.module_for_coverage(toolchain)
        })?;
        let coverage = match runner.coverage(&module, &|path| package.own(path), budget) {
            Err(stopped @ CoverageError::Stopped(count)) => {
                bail!("{stopped}; {}", bounds::remedy(&count).unwrap_or_default())
            }
            measured => measured?,
        };
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
