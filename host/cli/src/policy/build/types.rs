//! Checks types with the checker that the author has: none is a library, and a policy has to be built without any.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use countersign::visible;

use super::super::language::Language;
use super::super::python_files;
use crate::progress;

/// When types are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Types {
    /// Where the project has a checker: in node_modules or .venv of the folder, or of one around it
    Auto,
    /// Always: with the project's checker, else with one on the path; fails where there is none
    Require,
    /// Never
    Skip,
}

/// A family of languages with the checkers of their types.
struct Family {
    /// The folder in which a project has them.
    tools: &'static str,
    checkers: &'static [Checker],
    install: &'static str,
}

struct Checker {
    name: &'static str,
    arguments: &'static [&'static str],
}

const SCRIPTS: Family = Family {
    tools: "node_modules/.bin",
    checkers: &[Checker {
        name: "tsc",
        arguments: &["--noEmit", "--pretty", "false", "--project"],
    }],
    install: "npm install --save-dev typescript",
};

const PYTHON: Family = Family {
    tools: ".venv/bin",
    checkers: &[
        Checker { name: "pyright", arguments: &[] },
        Checker { name: "mypy", arguments: &["--no-color-output", "--no-error-summary"] },
        Checker { name: "ty", arguments: &["check", "--output-format", "concise"] },
    ],
    install: "python3 -m venv .venv && .venv/bin/pip install ty",
};

/// Checks the types of the policy in a folder, and gives the name of the checker.
///
/// # Errors
/// When types do not fit, with what the checker says; and when types have to be checked and nothing can.
pub(super) fn check(
    when: Types,
    language: Language,
    folder: &Path,
) -> Result<Option<&'static str>> {
    let (family, targets) = match language {
        _ if when == Types::Skip => return Ok(None),
        Language::Typescript => (SCRIPTS, vec!["tsconfig.json".to_owned()]),
        Language::Javascript => (SCRIPTS, vec!["jsconfig.json".to_owned()]),
        Language::Python => (PYTHON, python_files::read(folder)?.into_keys().collect()),
        _ if when == Types::Auto => return Ok(None),
        _ => bail!(
            "--types require: the types of policies in JavaScript, TypeScript and Python can be checked"
        ),
    };
    let is_missing = |target: &&String| !folder.join(target).exists();
    let found = match find(&family, folder, when) {
        Some(found) => found,
        None if when == Types::Auto => return Ok(None),
        None => bail!(
            "no type checker is installed, expected {}; run `{}`",
            family.checkers.iter().map(|checker| checker.name).collect::<Vec<_>>().join(", "),
            family.install
        ),
    };
    let (checker, program) = found;
    match targets.iter().find(is_missing) {
        Some(_) if when == Types::Auto => return Ok(None),
        Some(target) => {
            bail!("{}: expected this file to check types by", folder.join(target).display())
        }
        None => {}
    }
    let output = progress::with_spinner("checking types", || {
        Command::new(&program).current_dir(folder).args(checker.arguments).args(targets).output()
    });
    let output = output.with_context(|| format!("could not start {}", program.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = visible(String::from_utf8_lossy(&said).trim_end());
        bail!("types do not fit, says {} ({})\n{said}", checker.name, output.status);
    }
    Ok(Some(checker.name))
}

/// Finds a checker of the project, else one on the path if it is `Require`d.
fn find(family: &Family, folder: &Path, when: Types) -> Option<(&'static Checker, PathBuf)> {
    let around = folder.ancestors().map(|folder| folder.join(family.tools));
    let path = std::env::var_os("PATH").filter(|_| when == Types::Require).unwrap_or_default();
    let folders = around.chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders.into_iter().find_map(|folder| {
        family.checkers.iter().find_map(|checker| {
            let program = folder.join(checker.name);
            program.is_file().then_some((checker, program))
        })
    })
}
