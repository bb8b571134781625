//! Which lines of a policy its cases reach, for `countersign policy test --coverage`.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign::visible;
use countersign_authoring::{CaseRunner, CodeLine, Coverage};
use countersign_component::Toolchain;
use serde::Serialize;

use super::language::Language;
use super::rust::RustPackage;
use crate::output::{DIM, FAILURE, Styled};
use crate::progress;

/// Which lines of a policy its cases reach.
pub struct PolicyCoverage {
    coverage: Coverage,
    /// Each line that no case reaches, with its text.
    missed: Vec<(CodeLine, String)>,
    /// How many of a hundred lines must be reached.
    least: Option<u8>,
}

impl PolicyCoverage {
    /// Compiles the policy in a folder once more, and follows the cases through it.
    pub fn of(runner: &CaseRunner<'_>, folder: &Path, least: Option<u8>) -> Result<Self> {
        let language = Language::of(folder)
            .context("lines are counted in the source, and of policies in Rust alone")?;
        if language != Language::Rust {
            bail!(
                "{}: lines are counted of policies in Rust alone; without --coverage the cases are run",
                folder.join(language.source()).display()
            );
        }
        let package = RustPackage::of(folder)?;
        let toolchain = Toolchain::find()?;
        let module = progress::with_spinner("compiling for coverage", || {
            package.module_for_coverage(toolchain)
        })?;
        let coverage = runner.coverage(&module, &|path| package.own(path))?;
        let text = |line: &CodeLine| package.line(&line.file, line.line).unwrap_or_default();
        let missed = coverage.missed().map(|line| (line.clone(), text(line))).collect();
        Ok(Self { coverage, missed, least })
    }

    /// Whether as many lines are reached as must be.
    pub fn passed(&self) -> bool {
        self.least.is_none_or(|least| self.coverage.is_at_least(least))
    }

    /// For people.
    pub fn write(&self, text: &mut String) -> std::fmt::Result {
        let (covered, lines) = (self.coverage.covered(), self.coverage.lines());
        write!(text, "{covered} of {lines} lines are reached by a case")?;
        match self.least.filter(|_| !self.passed()) {
            Some(least) => writeln!(text, " {}", Styled(FAILURE, format!("less than {least}%")))?,
            None => text.push('\n'),
        }
        if !self.missed.is_empty() {
            writeln!(text, "lines of the policy that no case reaches")?;
        }
        self.missed.iter().try_for_each(|(CodeLine { file, line }, code)| {
            writeln!(text, "  {}:{line}  {}", visible(file), Styled(DIM, visible(code)))
        })
    }

    /// For programs.
    pub fn printed(&self) -> PrintedCoverage<'_> {
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
pub struct PrintedCoverage<'c> {
    covered: usize,
    lines: usize,
    missed: Vec<PrintedLine<'c>>,
}

#[derive(Serialize)]
struct PrintedLine<'c> {
    file: &'c str,
    line: u32,
}
