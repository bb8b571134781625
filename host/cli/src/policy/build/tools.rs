//! Programs of the folder's own that a build needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::output;

/// Something that a build needs, and the commands that bring it.
pub struct Needed<'n> {
    /// What is missing, in a word.
    pub what: &'static str,
    /// The file that is there when it is.
    pub file: &'n Path,
    /// Commands, run in the folder, each with its arguments.
    pub commands: &'n [&'n [&'n str]],
}

impl Needed<'_> {
    /// Brings it when it is missing and may be installed, and says how otherwise.
    pub fn bring(&self, folder: &Path, install: bool) -> Result<()> {
        if self.file.exists() {
            return Ok(());
        }
        let lines: Vec<String> = self.commands.iter().map(|words| words.join(" ")).collect();
        if !install {
            bail!(
                "{} is missing; what brings it: `{}` in {}, or --install",
                self.what,
                lines.join(" && "),
                folder.display()
            );
        }
        for words in self.commands {
            let Some((program, arguments)) = words.split_first() else { continue };
            run(folder, program, arguments)?;
        }
        if !self.file.exists() {
            bail!("{}: not there after `{}`", self.file.display(), lines.join(" && "));
        }
        Ok(())
    }
}

/// Runs a command that brings what is missing, and shows what it says.
pub fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    output::status(&format!("running {program} {}", arguments.join(" ")));
    let mut command = Command::new(program);
    let status = command.current_dir(folder).args(arguments).stdout(std::io::stderr()).status();
    let status =
        status.with_context(|| format!("{program} could not be started: is it installed?"))?;
    if !status.success() {
        bail!("{program} {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Runs a command that makes a component, and shows what it says only when it fails.
pub fn make(folder: &Path, program: &Path, command: &mut Command) -> Result<()> {
    let output = command.current_dir(folder).output();
    let output = output.with_context(|| format!("{} could not be started", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = countersign::visible(String::from_utf8_lossy(&said).trim_end());
        bail!("it does not build ({})\n{said}", output.status);
    }
    Ok(())
}
