//! `countersign trust lint`

mod baseline;
mod junit;
mod sarif;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use countersign_trust::{Finding, Severity};

use super::files::{self, Read};
use crate::output::{self, Exit, FAILURE, Styled};

/// Lint trust policies: report what admits too much, or can never match
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust lint backplane/
  tofu show -json plan > plan.json && countersign trust lint plan.json
  aws iam get-role --role-name runs > role.json && countersign trust lint role.json
  countersign trust lint backplane/ --format json > known.json
  countersign trust lint backplane/ --baseline known.json --fail-on warning

Files that end with .tf, .tofu, .tf.json, .tofu.json and .hcl are OpenTofu, .yaml, .yml and .template
CloudFormation, all others JSON: plans and states of OpenTofu, CloudFormation, Azure Resource Manager,
and what the clouds' commands print. Of a folder, everything of these is read. A part that the files do
not determine is a finding too, and so is a variable: a caller may replace its default. A plan has all
values.

A comment in the file accepts a finding of its line, or of the next one:
  # countersign: accept no-audience the provider has one client id

The JSON is a list with `code`, `severity` (`error`, `warning`, `note`), `file`, `place` (a line, or a
JSON pointer), `message`, and `accepted` with the reason of a comment. docs/clouds.md lists all codes.

Exit status: 0 no findings, or only accepted ones, those of the baseline and those below --fail-on;
1 findings, or no trust statement was found.")]
pub(super) struct Lint {
    /// The files, or folders
    #[arg(required = true, value_name = "PATH")]
    files: Vec<PathBuf>,

    /// The least severity that fails
    #[arg(long, value_enum, default_value_t = FailOn::Note)]
    fail_on: FailOn,

    /// Findings that are known: an earlier output of --format json. They do not fail
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = LintFormat::Human)]
    format: LintFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Every finding, so that success means that everything was read
    Note,
    /// Trust that is wider than it should be
    Warning,
    /// Trust that admits what it must not, or that does not work
    Error,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// For people; may change.
    Human,
    /// JSON of a stable, documented shape.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit's XML, for test reports.
    Junit,
}

impl FailOn {
    fn least(self) -> Severity {
        match self {
            Self::Note => Severity::Note,
            Self::Warning => Severity::Warning,
            Self::Error => Severity::Error,
        }
    }
}

impl Lint {
    pub(super) fn run(&self) -> Result<Exit> {
        let Read { trust, texts, .. } = files::read(&self.files)?;
        let findings = trust.lint();
        let baseline = self.baseline.as_deref().map(baseline::read).transpose()?;
        let (known, new): (Vec<_>, Vec<_>) = findings
            .iter()
            .partition(|finding| baseline.as_ref().is_some_and(|known| known.contains(finding)));
        let fails = new
            .iter()
            .any(|finding| finding.accepted.is_none() && finding.severity >= self.fail_on.least());
        match self.format {
            LintFormat::Json => output::print_json(&findings)?,
            LintFormat::Sarif => output::print_json(&sarif::report(&new, &texts))?,
            LintFormat::Junit => {
                output::print(&junit::report(&new, &texts, self.fail_on.least())?)?
            }
            LintFormat::Human => {
                let mut text = String::new();
                for Finding { code, file, place, message, accepted, .. } in &new {
                    if accepted.is_none() {
                        let _ =
                            writeln!(text, "{file}:{place}: {}: {message}", Styled(FAILURE, code));
                    }
                }
                output::print(&text)?;
                let accepted = new.iter().filter(|finding| finding.accepted.is_some()).count();
                let mut counts = vec![
                    plural(trust.len(), "trust statement", "trust statements"),
                    plural(trust.files(), "file", "files"),
                    plural(new.len() - accepted, "finding", "findings"),
                ];
                counts.extend((accepted > 0).then(|| format!("{accepted} accepted")));
                counts.extend(
                    (!known.is_empty()).then(|| format!("{} of the baseline", known.len())),
                );
                output::status(&counts.join(", "));
            }
        }
        if let Some(baseline) = &baseline {
            let gone = baseline.gone(&findings);
            if gone > 0 {
                output::status(&format!(
                    "{gone} findings of the baseline are no more: write it again"
                ));
            }
        }
        if trust.is_empty() {
            output::status("the files contain no trust statement");
        }
        Ok(if fails || trust.is_empty() { Exit::Failed } else { Exit::Success })
    }
}

fn plural(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
