//! `countersign trust lint`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_trust::{Finding, TrustFiles};

use crate::output::{self, Exit, FAILURE, Format, Styled};
use countersign_deployment::files;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Look through trust for what lets in too much, or can never match
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust lint backplane/*.tf
  aws iam get-role --role-name runs > role.json && countersign trust lint role.json

Files that end with .tf or .hcl are OpenTofu's, all others JSON as clouds' commands print it. Those
that are given together are read together, a folder at a time: `local`, `for_each` and `count` over
what is known are followed. What the files do not say is a finding too, and so is what a variable
says: its default may be replaced.

The JSON is a list with `code`, `file`, `place` (a line, or a JSON pointer) and `message`.
docs/clouds.md has all codes.

Exit status: 0 nothing was found, 1 something was, or a file cannot be read, or nobody is let in.")]
pub struct Lint {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Lint {
    pub fn run(&self) -> Result<Exit> {
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
                    plural(trust.len(), "way in", "ways in"),
                    plural(trust.files(), "file", "files"),
                    plural(findings.len(), "finding", "findings"),
                ];
                output::status(&counts.join(", "));
            }
        }
        if trust.is_empty() {
            output::status("nothing here lets anybody in: are these the right files?");
        }
        Ok(if findings.is_empty() && !trust.is_empty() { Exit::Success } else { Exit::Failed })
    }
}

fn plural(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Reads files of trust together.
pub fn read(paths: &[PathBuf]) -> Result<TrustFiles> {
    Ok(read_with_digest(paths)?.0)
}

/// The same, and the digest of what was read.
pub fn read_with_digest(paths: &[PathBuf]) -> Result<(TrustFiles, Digest)> {
    let (mut texts, mut digests) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.display().to_string();
        let bytes = files::read(path, MAX_FILE)?;
        digests.extend_from_slice(Digest::of(&bytes).as_bytes());
        let text = String::from_utf8(bytes);
        texts.push((name.clone(), text.map_err(|_| anyhow::anyhow!("not UTF-8")).context(name)?));
    }
    Ok((TrustFiles::parse(&texts)?, Digest::of(&digests)))
}
