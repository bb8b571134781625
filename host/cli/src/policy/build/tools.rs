//! Build tools that are installed into the policy's folder.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::output;

/// A build tool and the commands that install it.
pub(super) struct Tool<'t> {
    pub name: &'static str,
    /// The file that exists once the tool is installed.
    pub file: &'t Path,
    /// Commands with their arguments, run in the folder.
    pub commands: &'t [&'t [&'t str]],
}

impl Tool<'_> {
    /// Installs the tool if it is missing and `install` is set.
    ///
    /// # Errors
    /// When it is missing and `install` is not set, naming the commands; and when a command fails.
    pub(super) fn ensure(&self, folder: &Path, install: bool) -> Result<()> {
        if self.file.exists() {
            return Ok(());
        }
        let lines: Vec<String> = self.commands.iter().map(|words| words.join(" ")).collect();
        if !install {
            bail!(
                "{} is not installed; run `{}` in {}, or use --install",
                self.name,
                lines.join(" && "),
                folder.display()
            );
        }
        for words in self.commands {
            let Some((program, arguments)) = words.split_first() else { continue };
            run(folder, program, arguments)?;
        }
        if !self.file.exists() {
            bail!("{}: still missing after `{}`", self.file.display(), lines.join(" && "));
        }
        Ok(())
    }
}

/// Runs a command that installs something, and shows its output.
pub(super) fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    output::status(&format!("running {program} {}", arguments.join(" ")));
    let mut command = Command::new(program);
    let status = command.current_dir(folder).args(arguments).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("could not start {program}: is it installed?"))?;
    if !status.success() {
        bail!("{program} {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Runs a command of a build, and shows its output only if it fails.
pub(super) fn run_quietly(folder: &Path, program: &Path, command: &mut Command) -> Result<()> {
    let output = command.current_dir(folder).output();
    let output = output.with_context(|| format!("could not start {}", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = countersign::visible(String::from_utf8_lossy(&said).trim_end());
        bail!("the build failed ({})\n{said}", output.status);
    }
    Ok(())
}
