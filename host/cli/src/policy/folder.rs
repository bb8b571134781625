//! The folder of a policy.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use countersign::{Limits, MAX_RUN_TEXT_BYTES, MAX_SETTINGS_BYTES, Settings};
use countersign_authoring::Cases;
use serde_json::Value;

use super::freshness;
use super::language::Language;
use crate::output;
use countersign_deployment::files;

/// The run that cases start from where a folder has no run.json.
const RUN: &str = include_str!("../../../../examples/run.json");

/// The arguments that select a policy.
#[derive(Args)]
pub(super) struct FolderArguments {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The component [default: policy.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,

    /// The limits, as in `limits.profile` of a binding [default: by the language of the policy]
    #[arg(long, value_enum)]
    profile: Option<Profile>,

    /// Only the case of this name; repeat it for several. Without all cases, no claim is changed
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
}

/// A named set of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// For a compiled policy
    Compiled,
    /// For a policy that contains an engine or an interpreter
    Interpreter,
}

impl Profile {
    pub(crate) fn limits(self) -> Limits {
        match self {
            Self::Compiled => Limits::DEFAULT,
            Self::Interpreter => Limits::INTERPRETER,
        }
    }

    /// The value of `limits.profile` in a manifest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Compiled => "compiled",
            Self::Interpreter => "interpreter",
        }
    }
}

/// The contents of a policy's folder.
pub(super) struct PolicyFolder {
    /// The language of the policy, where the folder has its source.
    pub language: Option<Language>,
    pub component: Vec<u8>,
    pub cases: Cases,
    /// The run object that cases start from.
    pub run: Value,
    /// The settings of cases that give none.
    pub settings: Settings,
    /// The limits that cases run under.
    pub limits: Limits,
}

impl FolderArguments {
    /// The folder of the policy.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the cases that are selected; none where all are.
    pub(super) fn selected(&self) -> &[String] {
        &self.cases
    }

    /// Reads the component, `cases.toml`, and, where they exist, `run.json` and `settings.json`.
    pub(super) fn read(&self) -> Result<PolicyFolder> {
        let component = self.component();
        if !component.exists() {
            bail!(
                "{}: no component; run `countersign policy build`, or name one with --component",
                component.display()
            );
        }
        let cases = self.folder.join("cases.toml");
        let text = files::read_whole_text(&cases, 4 << 20)
            .context("a policy's folder needs `cases.toml`, its test cases")?;
        let run = self.folder.join("run.json");
        let run = if run.exists() {
            let bytes = files::read(&run, MAX_RUN_TEXT_BYTES as u64)?;
            serde_json::from_slice(&bytes).with_context(|| run.display().to_string())?
        } else {
            serde_json::from_str(RUN)?
        };
        let language = Language::of(&self.folder).ok();
        self.check_freshness(language, &component)?;
        let settings = match language.filter(|language| language.is_text()) {
            Some(language) => self.text_settings(language)?,
            None => self.settings_file()?,
        };
        let profile = self.profile.or(language.map(Language::profile));
        let of_cases = || cases.display().to_string();
        let mut parsed = Cases::parse(&text).with_context(of_cases)?;
        if let Some(key) = language.and_then(Language::own_settings) {
            parsed = parsed.within(&settings, key)?;
        }
        parsed = parsed.select(&self.cases).with_context(of_cases)?;
        Ok(PolicyFolder {
            language,
            limits: profile.unwrap_or(Profile::Compiled).limits(),
            settings,
            component: files::read(&component, Limits::CEILING.component_bytes)?,
            cases: parsed,
            run,
        })
    }

    /// Fails where the component is older than what it is built of: the build may have failed, and what is tested would be
    /// another policy.
    fn check_freshness(&self, language: Option<Language>, component: &Path) -> Result<()> {
        let Some(language) = language.filter(|_| self.component.is_none()) else { return Ok(()) };
        let sources = freshness::sources(language, &self.folder);
        let built = freshness::modified(component).unwrap_or(SystemTime::UNIX_EPOCH);
        match freshness::newer_than(built, &sources) {
            None => Ok(()),
            Some(source) => bail!(
                "{}: older than {}; run `countersign policy build`",
                component.display(),
                source.display()
            ),
        }
    }

    /// Makes the settings of the texts, and warns if `settings.json`, which a binding uses, is not up to date.
    fn text_settings(&self, language: Language) -> Result<Settings> {
        let settings = language.settings(&self.folder)?;
        let built = self.folder.join("settings.json");
        if built.exists() && self.settings_file()?.digest() != settings.digest() {
            output::warn(&format!(
                "{} is out of date; run `countersign policy build`",
                built.display()
            ));
        }
        Ok(settings)
    }

    fn settings_file(&self) -> Result<Settings> {
        let path = self.folder.join("settings.json");
        if !path.exists() {
            return Ok(Settings::default());
        }
        let text = files::read_whole_text(&path, MAX_SETTINGS_BYTES as u64)?;
        Settings::from_json(&text).with_context(|| path.display().to_string())
    }

    /// The fingerprints of all files that a test reads.
    pub(super) fn fingerprints(&self) -> FileFingerprints {
        let language = Language::of(&self.folder).ok();
        let sources = language.map(|language| freshness::sources(language, &self.folder));
        let texts = language.map(|language| language.files(&self.folder));
        let of_folder = ["cases.toml", "run.json", "settings.json"].map(str::to_owned).into_iter();
        let of_folder =
            of_folder.chain(texts.unwrap_or_default()).map(|name| self.folder.join(name));
        FileFingerprints(
            of_folder
                .chain([self.component()])
                .chain(sources.unwrap_or_default())
                .map(|path| fingerprint(&path))
                .collect(),
        )
    }

    fn component(&self) -> PathBuf {
        self.component.clone().unwrap_or_else(|| self.folder.join("policy.wasm"))
    }
}

/// The modification times and sizes of files. Files with equal fingerprints are taken to be unchanged.
#[derive(PartialEq, Eq)]
pub(super) struct FileFingerprints(Vec<Option<(SystemTime, u64)>>);

fn fingerprint(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
