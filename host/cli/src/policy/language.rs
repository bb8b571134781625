//! The languages that policies are written in.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use countersign::{MAX_SETTINGS_BYTES, Settings};
use countersign_engines::EngineName;
use serde_json::value::RawValue;

use super::folder::Profile;
use super::{freshness, modules, python_files, rego};
use countersign_deployment::files;

/// The file by which a policy in Python says that CPython runs it.
pub(super) const CPYTHON_MARK: &str = "requirements.txt";

/// A language that policies are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, with the SDK
    Rust,
    /// JavaScript
    Javascript,
    /// TypeScript
    Typescript,
    /// Python
    Python,
    /// Python, run by CPython
    #[value(skip)]
    Cpython,
    /// Rego, the language of Open Policy Agent
    Rego,
    /// Cedar
    Cedar,
    /// CEL, the language of Kubernetes' admission policies
    Cel,
}

impl Language {
    /// The file by which a folder's language is recognised.
    const MARKS: [(&'static str, Self); 7] = [
        ("Cargo.toml", Self::Rust),
        ("policy.js", Self::Javascript),
        ("policy.ts", Self::Typescript),
        (python_files::MAIN, Self::Python),
        ("policy.rego", Self::Rego),
        ("policies.cedar", Self::Cedar),
        ("policy.cel.yaml", Self::Cel),
    ];

    /// The language of the policy in a folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let found: Vec<_> =
            Self::MARKS.into_iter().filter(|(mark, _)| folder.join(mark).exists()).collect();
        match found.as_slice() {
            // The tools that build a component with CPython in it are listed there.
            [(_, Self::Python)] if folder.join(CPYTHON_MARK).exists() => Ok(Self::Cpython),
            [(_, language)] => Ok(*language),
            [(one, _), (other, _), ..] => {
                bail!("{}: found both {one} and {other}; keep one", folder.display())
            }
            [] => bail!(
                "{}: found no policy, expected Cargo.toml (Rust), policy.js, policy.ts, policy.py, policy.rego, \
                 policies.cedar or policy.cel.yaml; `countersign policy new` creates a folder",
                folder.display()
            ),
        }
    }

    /// The source file of the policy.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Javascript => "policy.js",
            Self::Typescript => "policy.ts",
            Self::Python | Self::Cpython => python_files::MAIN,
            Self::Rego => "policy.rego",
            Self::Cedar => "policies.cedar",
            Self::Cel => "policy.cel.yaml",
        }
    }

    /// The limits that a policy in this language needs.
    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Rust => Profile::Compiled,
            Self::Javascript
            | Self::Typescript
            | Self::Python
            | Self::Cpython
            | Self::Rego
            | Self::Cedar
            | Self::Cel => Profile::Interpreter,
        }
    }

    /// Says that the policy is text, which the component of an engine takes as its settings.
    pub(super) fn is_text(self) -> bool {
        self.engine().is_some()
    }

    /// The engine that evaluates policies in this language, for a language that [is text](Self::is_text).
    pub(super) fn engine(self) -> Option<EngineName> {
        match self {
            Self::Rego => Some(EngineName::Rego),
            Self::Cedar => Some(EngineName::Cedar),
            Self::Cel => Some(EngineName::Cel),
            Self::Javascript | Self::Typescript => Some(EngineName::Javascript),
            Self::Python => Some(EngineName::Python),
            Self::Rust | Self::Cpython => None,
        }
    }

    /// The modules of the policy by their paths in its folder, in a language that has modules.
    fn modules(self, folder: &Path) -> Option<Result<BTreeMap<String, String>>> {
        match self {
            Self::Javascript | Self::Typescript => Some(modules::read(folder, self.source())),
            Self::Python => Some(python_files::read(folder)),
            Self::Rust | Self::Cpython | Self::Rego | Self::Cedar | Self::Cel => None,
        }
    }

    /// The files beside those that are keys of their own, by their paths in the folder, for a language that has them.
    fn further_files(self, folder: &Path) -> Result<BTreeMap<String, String>> {
        match self {
            Self::Rego => rego::read(folder, false),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// The files of a folder that make up the engine's settings.
    pub(super) fn files(self, folder: &Path) -> Vec<String> {
        let mut files: Vec<String> =
            self.texts().iter().map(|(file, _)| (*file).to_owned()).collect();
        // What cannot be read now may be readable at the next look.
        if let Some(own) = self.modules(folder) {
            files.extend(own.unwrap_or_default().into_keys());
            files.push(self.source().to_owned());
        }
        if self == Self::Rego {
            files.extend(rego::paths(folder).unwrap_or_default());
        }
        files
    }

    /// The key of the engine's settings that the policy's own ones have, for an engine that takes the settings of cases
    /// as those of the policy.
    pub(super) fn own_settings(self) -> Option<&'static str> {
        match self {
            Self::Javascript | Self::Typescript | Self::Python => Some("settings"),
            Self::Rust | Self::Cpython | Self::Rego | Self::Cedar | Self::Cel => None,
        }
    }

    /// The files of a folder that each are one key of the engine's settings. The first is the policy; the others are
    /// optional.
    fn texts(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rego => &[("policy.rego", "policy"), ("data.json", "data")],
            Self::Cedar => &[
                ("policies.cedar", "policies"),
                ("schema.cedarschema", "schema"),
                ("entities.json", "entities"),
                ("default-verdict.json", "default-verdict"),
            ],
            Self::Cel => &[("policy.cel.yaml", "policy"), ("data.json", "data")],
            Self::Javascript | Self::Typescript | Self::Python => {
                &[("policy-settings.json", "settings")]
            }
            Self::Rust | Self::Cpython => &[],
        }
    }

    /// The JSON file of a folder that a pointer into the engine's settings leads into, with the pointer there.
    pub(super) fn json_file(self, pointer: &str) -> Option<(&'static str, &str)> {
        self.texts().iter().filter(|(file, _)| file.ends_with(".json")).find_map(|(file, key)| {
            let rest = pointer.strip_prefix('/')?.strip_prefix(key)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((*file, rest))
        })
    }

    /// The sources of the policy in a folder, by their paths there.
    pub(super) fn sources(self, folder: &Path) -> Result<BTreeMap<String, String>> {
        if let Some(modules) = self.modules(folder) {
            return modules;
        }
        let mut sources = BTreeMap::new();
        for file in freshness::sources(self, folder) {
            let text = files::read_whole_text(&file, MAX_SETTINGS_BYTES as u64)?;
            let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
            sources.insert(name, text);
        }
        Ok(sources)
    }

    /// Makes the engine's settings of the texts in a folder, for a language that [is text](Self::is_text).
    pub(super) fn settings(self, folder: &Path) -> Result<Settings> {
        if self == Self::Cedar && folder.join("otherwise.json").exists() {
            // Ignoring the old name would deny where the author chose another default verdict.
            bail!(
                "{}: renamed to default-verdict.json; rename the file",
                folder.join("otherwise.json").display()
            );
        }
        let mut members = BTreeMap::new();
        if let Some(files) = self.modules(folder) {
            members.insert("files", serde_json::value::to_raw_value(&files?)?);
        }
        for (file, key) in self.texts() {
            let path = folder.join(file);
            if !path.exists() && !members.is_empty() {
                continue;
            }
            let text = files::read_whole_text(&path, MAX_SETTINGS_BYTES as u64)?;
            // Verbatim, so that a duplicate key reaches the reader of settings, which refuses it.
            let value: Box<RawValue> = match file.ends_with(".json") {
                true => serde_json::from_str(&text).with_context(|| path.display().to_string())?,
                false => serde_json::value::to_raw_value(&text)?,
            };
            members.insert(*key, value);
        }
        let further = self.further_files(folder)?;
        if !further.is_empty() {
            members.insert("files", serde_json::value::to_raw_value(&further)?);
        }
        Settings::from_json(&serde_json::to_string(&members)?)
            .with_context(|| format!("{}: the files do not make valid settings", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Engines say the line of an error in the text that they get.
    #[test]
    fn a_text_keeps_the_lines_that_it_begins_with() {
        let texts = Language::MARKS.into_iter().filter(|(_, language)| language.is_text());
        for (file, language) in texts {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(file), "\n\n  text\n").unwrap();
            let settings = language.settings(folder.path()).unwrap();
            assert!(settings.as_json().contains(r#""\n\n  text\n""#), "{file}");
        }
    }
}
