//! The findings of a check.

use std::fmt;

use crate::tree::Place;

/// The most findings that are kept of each severity: beyond, the first ones are what an author works at.
const MAX_FINDINGS: usize = 100;

/// The weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is not taken.
    Error,
    /// The policy is taken, and its author is told.
    Warning,
}

/// Something that is wrong with a policy, or that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Its place.
    pub place: Place,
    /// Its weight.
    pub severity: Severity,
    /// The name of the rule of the check, such as `unused-import`.
    pub name: &'static str,
    /// The problem, what was expected and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match self.severity {
            Severity::Error => Ok(()),
            // A warning has a name so that it can be looked up and talked about.
            Severity::Warning => write!(f, " ({})", self.name),
        }
    }
}

/// Findings, as they come.
#[derive(Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds an error.
    pub fn error(&mut self, name: &'static str, place: Place, message: impl Into<String>) {
        self.add(Severity::Error, name, place, message.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, name: &'static str, place: Place, message: impl Into<String>) {
        self.add(Severity::Warning, name, place, message.into());
    }

    /// Adds one that was found before.
    pub fn push(&mut self, finding: Finding) {
        self.add(finding.severity, finding.name, finding.place, finding.message);
    }

    /// Says that no more of a severity are kept, so that nothing has to be found out about them.
    pub fn is_full(&self, severity: Severity) -> bool {
        self.0.iter().filter(|finding| finding.severity == severity).count() >= MAX_FINDINGS
    }

    /// Takes all of another.
    pub fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|finding| self.push(finding));
    }

    /// Those of a severity.
    pub fn of(&self, severity: Severity) -> Self {
        Self(self.0.iter().filter(|finding| finding.severity == severity).cloned().collect())
    }

    /// The findings by their places, each once.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.0.sort();
        self.0.dedup();
        self.0
    }

    fn add(&mut self, severity: Severity, name: &'static str, place: Place, message: String) {
        if !self.is_full(severity) {
            self.0.push(Finding { place, severity, name, message });
        }
    }
}
