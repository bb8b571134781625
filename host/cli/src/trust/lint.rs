//! `countersign trust lint`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_trust::{Finding, TrustFiles};

use crate::output::{self, Exit, FAILURE, Format, Styled};
use countersign_deployment::files;

/// The maximum length of a file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Lint trust policies: report what admits too much, or can never match
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust lint backplane/*.tf
  aws iam get-role --role-name runs > role.json && countersign trust lint role.json

Files that end with .tf or .hcl are OpenTofu, all others JSON as the clouds' commands print it. The
files of a folder are evaluated together: `local`, and `for_each` and `count` over known values. A
part that the files do not determine is a finding too, and so is a variable: a caller may replace its
default.

The JSON is a list with `code`, `file`, `place` (a line, or a JSON pointer) and `message`.
docs/clouds.md lists all codes.

Exit status: 0 no findings, 1 findings, or a file cannot be read, or no trust statement was found.")]
pub(super) struct Lint {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Lint {
    pub(super) fn run(&self) -> Result<Exit> {
        let trust = read(&self.files)?;
        let findings = trust.lint();
        match self.format {
            Format::Json => output::print_json(&findings)?,
            Format::Human => {
                let mut text = String::new();
                for Finding { code, file, place, message } in &findings {
                    let _ = writeln!(text, "{file}:{place}: {}: {message}", Styled(FAILURE, code));
                }
                output::print(&text)?;
                let counts = [
                    plural(trust.len(), "trust statement", "trust statements"),
                    plural(trust.files(), "file", "files"),
                    plural(findings.len(), "finding", "findings"),
                ];
                output::status(&counts.join(", "));
            }
        }
        if trust.is_empty() {
            output::status("the files contain no trust statement");
        }
        Ok(if findings.is_empty() && !trust.is_empty() { Exit::Success } else { Exit::Failed })
    }
}

fn plural(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Reads and parses trust files together.
pub(crate) fn read(paths: &[PathBuf]) -> Result<TrustFiles> {
    Ok(read_with_digest(paths)?.0)
}

/// Reads and parses trust files together, and returns the digest of what was read.
pub(crate) fn read_with_digest(paths: &[PathBuf]) -> Result<(TrustFiles, Digest)> {
    let (mut texts, mut digests) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        let bytes = files::read(path, MAX_FILE_BYTES)?;
        digests.extend_from_slice(Digest::of(&bytes).as_bytes());
        let text = String::from_utf8(bytes);
        texts.push((name.clone(), text.map_err(|_| anyhow::anyhow!("not UTF-8")).context(name)?));
    }
    Ok((TrustFiles::parse(&texts)?, Digest::of(&digests)))
}
