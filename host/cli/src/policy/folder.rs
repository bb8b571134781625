//! The folder of a policy.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use countersign::{Limits, MAX_RUN_BYTES, MAX_SETTINGS_BYTES, Settings};
use countersign_authoring::Cases;
use serde_json::Value;

use super::language::Language;
use crate::output;
use countersign_deployment::files;

/// The run that cases change where a folder has none of its own: the published one.
const RUN: &str = include_str!("../../../../examples/run.json");

/// Which policy.
#[derive(Args)]
pub struct FolderArguments {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The component [default: policy.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,

    /// The limits, as a binding's `limits.profile` [default: by the language of the policy in the folder]
    #[arg(long, value_enum)]
    profile: Option<Profile>,
}

/// Limits by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// For a compiled policy
    Compiled,
    /// For one that has an engine or an interpreter in it
    Interpreter,
}

impl Profile {
    pub fn limits(self) -> Limits {
        match self {
            Self::Compiled => Limits::DEFAULT,
            Self::Interpreter => Limits::INTERPRETER,
        }
    }

    /// What it is called in a manifest.
    pub fn word(self) -> &'static str {
        match self {
            Self::Compiled => "compiled",
            Self::Interpreter => "interpreter",
        }
    }
}

/// What was read of a folder.
pub struct PolicyFolder {
    pub component: Vec<u8>,
    pub cases: Cases,
    /// The run object that cases change.
    pub run: Value,
    /// The settings of cases that have none.
    pub settings: Settings,
    /// The limits that the policy is to have.
    pub limits: Limits,
}

impl FolderArguments {
    /// The folder of the policy.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the component, `cases.toml`, and `run.json` and `settings.json` where they are there.
    pub fn read(&self) -> Result<PolicyFolder> {
        let component = self.component();
        if !component.exists() {
            bail!(
                "{}: no component; `countersign policy build` makes it, or name it by --component",
                component.display()
            );
        }
        let cases = self.folder.join("cases.toml");
        let text = files::read_text(&cases, 4 << 20)
            .context("a policy's folder has `cases.toml`: what it is to answer")?;
        let run = self.folder.join("run.json");
        let run = if run.exists() {
            let bytes = files::read(&run, MAX_RUN_BYTES as u64)?;
            serde_json::from_slice(&bytes).with_context(|| run.display().to_string())?
        } else {
            serde_json::from_str(RUN)?
        };
        let language = Language::of(&self.folder).ok();
        let settings = match language.filter(|language| language.is_text()) {
            Some(language) => self.texts(language)?,
            None => self.settings_file()?,
        };
        let profile = self.profile.or(language.map(Language::profile));
        Ok(PolicyFolder {
            limits: profile.unwrap_or(Profile::Compiled).limits(),
            settings,
            component: files::read(&component, Limits::CEILING.component_bytes)?,
            cases: Cases::parse(&text).with_context(|| cases.display().to_string())?,
            run,
        })
    }

    /// The settings that the texts make. A binding has those that were written, so it is said where they differ.
    fn texts(&self, language: Language) -> Result<Settings> {
        let settings = language.settings(&self.folder)?;
        let written = self.folder.join("settings.json");
        if written.exists() && self.settings_file()?.digest() != settings.digest() {
            output::warn(&format!(
                "{} is not what the texts make; `countersign policy build` writes it",
                written.display()
            ));
        }
        Ok(settings)
    }

    fn settings_file(&self) -> Result<Settings> {
        let path = self.folder.join("settings.json");
        if !path.exists() {
            return Ok(Settings::default());
        }
        let text = files::read_text(&path, MAX_SETTINGS_BYTES as u64)?;
        Settings::from_json(&text).with_context(|| path.display().to_string())
    }

    /// What is looked at to see whether anything has changed.
    pub fn looks(&self) -> Vec<Option<(SystemTime, u64)>> {
        let look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let texts = Language::of(&self.folder).map(Language::texts).unwrap_or_default();
        let of_folder = ["cases.toml", "run.json", "settings.json"];
        let texts = texts.iter().map(|(file, _)| file);
        let of_folder = of_folder.iter().chain(texts).map(|name| self.folder.join(name));
        of_folder.chain([self.component()]).map(|path| look(&path)).collect()
    }

    fn component(&self) -> PathBuf {
        self.component.clone().unwrap_or_else(|| self.folder.join("policy.wasm"))
    }
}
