//! `countersign policy new`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::BindingName;

use super::folder::Language;
use crate::output::{self, Done};

/// Make the folder of a policy that builds, and whose cases pass
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy new who-may && cd who-may && countersign policy build && countersign policy test

It has the policy, its cases, a sample run, settings of editors, and a workflow for CI. For Rust it has the SDK
of this version as well, in vendor/, since that is not on crates.io.")]
pub struct New {
    /// The name of the policy, and of its folder: lower-case words joined by dashes
    #[arg(value_name = "NAME")]
    name: BindingName,

    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../templates/", $file))
    };
}

macro_rules! vendored {
    ($($file:literal,)*) => {
        [$((concat!("vendor/", $file), include_str!(concat!("../../../../", $file)))),*]
    };
}

const RUN: &str = include_str!("../../../../examples/run.json");
const CI: &str = template!("common/ci.yml");

impl New {
    pub fn run(&self) -> Result<Done> {
        let folder = PathBuf::from(self.name.as_str());
        if folder.exists() {
            bail!("{}: there already", folder.display());
        }
        let mut files =
            vec![("run.json", RUN.to_owned()), (".github/workflows/policy.yml", CI.to_owned())];
        match self.lang {
            Language::Rust => files.extend(self.rust()),
        }
        files.push(("README.md", self.readme()));
        for (name, text) in files {
            write(&folder.join(name), &text)?;
        }
        output::print(&format!("{}\n", folder.display()))?;
        output::say(&format!(
            "next: cd {} && countersign policy build && countersign policy test",
            folder.display()
        ));
        Ok(Done::Fine)
    }

    fn rust(&self) -> Vec<(&'static str, String)> {
        let cargo = template!("rust/Cargo.toml").replace("NAME", self.name.as_str());
        let editor = "{\n  \"rust-analyzer.check.command\": \"clippy\"\n}\n";
        let mut files = vec![
            ("Cargo.toml", cargo),
            ("src/lib.rs", template!("rust/lib.rs").to_owned()),
            ("settings.schema.json", template!("rust/settings.schema.json").to_owned()),
            ("cases.toml", template!("rust/cases.toml").to_owned()),
            (".gitignore", "/target\n/policy.wasm\n".to_owned()),
            (".vscode/settings.json", editor.to_owned()),
        ];
        let sdk = vendored![
            "wit/policy.wit",
            "guest-policies/sdk/Cargo.toml",
            "guest-policies/sdk/src/arena.rs",
            "guest-policies/sdk/src/bindings.rs",
            "guest-policies/sdk/src/export.rs",
            "guest-policies/sdk/src/identifier.rs",
            "guest-policies/sdk/src/lib.rs",
            "guest-policies/sdk/src/panic.rs",
            "guest-policies/sdk/src/sample.rs",
            "guest-policies/sdk/src/settings.rs",
            "guest-policies/sdk/src/settings/error.rs",
            "guest-policies/sdk/src/settings/reader.rs",
            "guest-policies/sdk/src/testing.rs",
            "guest-policies/sdk/src/verdict.rs",
            "guest-policies/sdk/src/words.rs",
            "guest-policies/sdk/macros/Cargo.toml",
            "guest-policies/sdk/macros/src/lib.rs",
        ];
        files.extend(sdk.map(|(name, text)| (name, text.to_owned())));
        files
    }

    fn readme(&self) -> String {
        let written = match self.lang {
            Language::Rust => "src/lib.rs",
        };
        format!(
            "# {}\n\nThe policy is in {written}; cases.toml says what it is to answer.\n\n```sh\ncountersign policy \
             build    # policy.wasm\ncountersign policy test     # --watch\ncountersign policy bench\n```\n",
            self.name
        )
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let name = || path.display().to_string();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(name)?;
    }
    fs::write(path, text).with_context(name)
}
