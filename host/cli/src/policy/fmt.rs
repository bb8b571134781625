//! `countersign policy fmt`

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{MAX_SETTINGS_BYTES, Optimization, Policy};
use countersign_deployment::{engine, files};

use super::ask::ask;
use super::build::engines::EngineArguments;
use super::language::Language;
use crate::cache::CacheArguments;
use crate::output::{self, Exit};
use crate::progress;

/// Format the source of a policy
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy fmt
  countersign policy fmt --check      # for CI: fails where something would change

Cedar is formatted by Cedar's own formatter, which is part of the engine, and Rust by `cargo fmt`. For other languages this
program has no formatter, and says which one the language's own users take: `opa fmt`, `prettier` or `ruff format`.

Exit status: 0 if the source is formatted; 1 with --check if it is not, and on errors.")]
pub(super) struct Fmt {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Change nothing, and fail if the source is not formatted
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    engines: EngineArguments,

    #[command(flatten)]
    cache: CacheArguments,
}

impl Fmt {
    pub(super) fn run(&self) -> Result<Exit> {
        let language = Language::of(&self.folder)?;
        let other = match language {
            Language::Cedar => return self.cedar(),
            Language::Rust => return self.rust(),
            Language::Rego => "`opa fmt --write .`",
            Language::Javascript | Language::Typescript => "`npx prettier --write .`",
            Language::Python | Language::Cpython => "`ruff format`",
            Language::Cel => "a formatter of YAML; expressions stay as they are",
        };
        bail!(
            "{}: this program has no formatter of the language; use {other}",
            self.folder.join(language.source()).display()
        )
    }

    fn cedar(&self) -> Result<Exit> {
        let path = self.folder.join(Language::Cedar.source());
        let text = files::read_whole_text(&path, MAX_SETTINGS_BYTES as u64)?;
        let component = self.engines.read(Language::Cedar.engine().context("no engine")?)?;
        let limits = Language::Cedar.profile().limits();
        let engine = engine::engine_without_check(Optimization::None, self.cache.open()?)?;
        let settings = Language::Cedar.settings(&self.folder)?;
        let answers = progress::with_spinner("formatting", || {
            let policy = Arc::new(Policy::load(&engine, &component, &limits)?);
            ask(&policy, &settings, limits, "format")
        })?;
        let formatted = formatted(&answers).context("the engine gave no text")?;
        if formatted == text {
            return Ok(Exit::Success);
        }
        if self.check {
            output::error(&anyhow::anyhow!(
                "{}: not formatted; run `countersign policy fmt`",
                path.display()
            ));
            return Ok(Exit::Failed);
        }
        files::replace(&path, formatted.as_bytes(), false)?;
        output::status(&format!("formatted {}", path.display()));
        Ok(Exit::Success)
    }

    fn rust(&self) -> Result<Exit> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.folder).arg("fmt");
        cargo.args(self.check.then_some("--check"));
        let status = cargo.status().context("cargo: not installed; see https://rustup.rs")?;
        Ok(if status.success() { Exit::Success } else { Exit::Failed })
    }
}

/// The text of which the answers are parts, in hexadecimal digits.
fn formatted(answers: &[(String, String)]) -> Option<String> {
    let digits: String = answers.iter().map(|(_, message)| message.as_str()).collect();
    let digits: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits?.chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together() {
        let answers = |parts: &[&str]| {
            parts.iter().map(|part| ("/format".to_owned(), (*part).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(formatted(&answers(&["7065", "726d"])).as_deref(), Some("perm"));
        assert_eq!(formatted(&answers(&["c3", "a4"])).as_deref(), Some("ä"));
        for wrong in ["7", "7g", "ff"] {
            assert_eq!(formatted(&answers(&[wrong])), None, "{wrong}");
        }
    }
}
