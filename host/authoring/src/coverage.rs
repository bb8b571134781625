//! Lines of a policy that its cases reach.
//!
//! A module that is compiled without optimisation has a line table (DWARF), which says of what line an instruction is.
//! Into each basic block that holds some of a line is put a store that marks it. Every case is then run in an instance
//! of its own, and its marks are read from the memory that it leaves behind.

mod blocks;
mod guest;
mod lines;
mod marks;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::budget::{EvaluationBudget, EvaluationCount};
use crate::case_runner::CaseRunner;
use crate::cases::{CasesError, Expectation};
use run::{Answer, Guest};

/// Lines of a policy that have code, each with a flag: a case reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    lines: BTreeMap<CodeLine, bool>,
}

/// A line that has code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeLine {
    /// The file, as [`SourceFile::name`] has it.
    pub file: String,
    /// The number of the line, from 1.
    pub line: u32,
}

/// A file of a policy's source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFile {
    /// The name for [`CodeLine::file`].
    pub name: String,
    /// Lines, from 1, that do not count: such as those of types, whose code is derived and nobody's to test.
    pub left_out: Vec<RangeInclusive<u32>>,
}

/// Reasons for which coverage cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoverageError {
    /// The module cannot be taken apart, or put together again.
    #[error("the module that was compiled for coverage cannot be used: {0}")]
    Module(String),
    /// The module has no line table for code of the policy.
    #[error("the module that was compiled for coverage has no line of the policy's own")]
    NoLines,
    /// A case makes no valid request.
    #[error(transparent)]
    Cases(#[from] CasesError),
    /// A case cannot be run.
    #[error("case `{case}`: {problem}")]
    Case {
        /// The case's name.
        case: String,
        /// The reason.
        problem: String,
    },
    /// The source answers a case otherwise than the component.
    #[error(
        "case `{case}`: the component answers `{expected}` as expected, and the source {found}: build the component \
         again if it is older"
    )]
    Differs {
        /// The name of the case.
        case: String,
        /// The kind of the component's verdict.
        expected: &'static str,
        /// The end of the source's evaluation.
        found: String,
    },
    /// The budget ended before all cases were run.
    #[error("coverage: {0}")]
    Stopped(EvaluationCount),
}

impl CoverageError {
    /// Returns the name of the case that it is about, if it is about one.
    pub fn case(&self) -> Option<&str> {
        match self {
            Self::Cases(CasesError::Case { case, .. })
            | Self::Case { case, .. }
            | Self::Differs { case, .. } => Some(case),
            Self::Module(_) | Self::NoLines | Self::Cases(_) | Self::Stopped(_) => None,
        }
    }
}

impl Coverage {
    /// The coverage of lines that something else has counted, each with a flag: a case reaches it.
    pub fn new(lines: BTreeMap<CodeLine, bool>) -> Self {
        Self { lines }
    }

    /// Counts the lines that have code.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Counts the lines that a case reaches.
    pub fn covered(&self) -> usize {
        self.lines.values().filter(|covered| **covered).count()
    }

    /// Returns the lines that no case reaches, by file and number.
    pub fn missed(&self) -> impl Iterator<Item = &CodeLine> {
        self.lines.iter().filter(|(_, covered)| !**covered).map(|(line, _)| line)
    }

    /// Tells whether at least `percent` of a hundred lines are reached.
    pub fn is_at_least(&self, percent: u8) -> bool {
        self.covered() * 100 >= self.lines() * usize::from(percent)
    }
}

impl CaseRunner<'_> {
    /// Finds the lines that the cases reach, those of settings included.
    ///
    /// `module` is the policy as a core module: compiled without optimisation, with line tables and the contract's
    /// types in it. `own` gives a file of the policy by the path that the compiler wrote down, and `None` for a file of
    /// anything else, whose lines do not count.
    ///
    /// Code without optimisation takes more of everything, so a case has a hundred times the fuel that the limits give
    /// it, the memory of [`Limits::CEILING`](countersign::Limits::CEILING), and 1 MiB of native stack: the thread needs
    /// 2 MiB. No time is measured; the budget bounds the fuel of all cases together.
    ///
    /// # Errors
    /// When the file is not a module or has no lines of the policy, when a case ends otherwise than expected, and when
    /// the budget ends.
    pub fn coverage(
        &self,
        module: &[u8],
        own: &dyn Fn(&Path) -> Option<SourceFile>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Coverage, CoverageError> {
        let blocks = blocks::of(module)?;
        let mut lines = BTreeMap::new();
        for (line, code) in lines::of(module, own)? {
            let of_line: BTreeSet<_> =
                code.iter().flat_map(|range| blocks.overlapping(range)).collect();
            // What the linker has left out is no code.
            if !of_line.is_empty() {
                lines.insert(line, of_line);
            }
        }
        if lines.is_empty() {
            return Err(CoverageError::NoLines);
        }
        let marked = marks::insert(module, lines.values().flatten().copied().collect())?;
        let guest = Guest::new(&marked, self.limits())?;
        let reached = self.reached(&guest, budget)?;
        let lines =
            lines.into_iter().map(|(line, blocks)| (line, !blocks.is_disjoint(&reached))).collect();
        Ok(Coverage { lines })
    }

    /// Returns the offsets of the blocks that any case reaches.
    fn reached(
        &self,
        guest: &Guest,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<BTreeSet<usize>, CoverageError> {
        let mut reached = BTreeSet::new();
        let mut left = self.cases.case.len() + self.cases.settings.len();
        for case in &self.cases.case {
            within(budget, left)?;
            left -= 1;
            let error = |problem| CoverageError::Case { case: case.name.clone(), problem };
            let claims = case.input(self.run)?.claims().map_err(|e| error(e.to_string()))?;
            let settings = case.settings(&self.settings)?;
            let ran = guest.run(settings.as_json(), Some(&claims)).map_err(error)?;
            budget.count_fuel(ran.fuel);
            let expected = match &case.expect {
                Expectation::Permit(_) => "permit",
                Expectation::Restrict(_) => "restrict",
                Expectation::Deny(_) => "deny",
                Expectation::Abstain => "abstain",
                // What the host finds wrong with a verdict is a fault as well.
                Expectation::Fault(_) => "fault",
            };
            let ends_itself = case.expect == Expectation::Fault("panic".to_owned());
            let differs = |found: String| {
                let case = case.name.clone();
                Err(CoverageError::Differs { case, expected, found })
            };
            match ran.answer {
                Answer::Trap(_) if ends_itself => {}
                Answer::Verdict(found) if ends_itself => return differs(format!("`{found}`")),
                _ if expected == "fault" => {}
                Answer::Verdict(found) if found == expected => {}
                Answer::Verdict(found) => return differs(format!("`{found}`")),
                Answer::Problems => return differs("does not take the settings".to_owned()),
                Answer::Configured => return differs("nothing".to_owned()),
                Answer::Trap(trap) => return differs(format!("ends with `{trap}`")),
            }
            reached.extend(ran.reached);
        }
        for case in &self.cases.settings {
            within(budget, left)?;
            left -= 1;
            let error = |problem| CoverageError::Case { case: case.name.clone(), problem };
            let ran = guest.run(case.settings()?.as_json(), None).map_err(error)?;
            budget.count_fuel(ran.fuel);
            reached.extend(ran.reached);
        }
        Ok(reached)
    }
}

/// Fails where the budget ended with so many cases left.
fn within(budget: &EvaluationBudget<'_>, left: usize) -> Result<(), CoverageError> {
    match budget.stopped_by() {
        None => Ok(()),
        Some(_) => Err(CoverageError::Stopped(budget.counted(left))),
    }
}

fn of_module(error: impl std::fmt::Display) -> CoverageError {
    CoverageError::Module(error.to_string())
}
