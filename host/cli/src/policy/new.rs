//! `countersign policy new`

mod recipes;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use countersign::BindingName;

use self::recipes::Recipe;
use super::folder::Profile;
use super::language::{CPYTHON_MARK, Language};
use crate::output::{self, Exit};

/// Create the folder of a policy that builds and passes its tests
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy new who-may && cd who-may && countersign policy build --install && countersign policy test
  countersign policy new who-may --lang rego
  countersign policy new cost-centre --from cost-centre

The folder has the policy, its test cases, a sample run, editor settings and a CI workflow. For Rust it also has
the SDK of this version, in vendor/, because that is not on crates.io; for JavaScript and TypeScript the types of what
a policy sees, in types/; for Python with --runtime cpython the contract, in wit/.

The policy permits the owner of a definition and the workspaces on a list: it says who may have a token. A policy
that only limits tokens answers restrict in place of permit. With --from it is a recipe of the cookbook
(docs/cookbook.md), in the recipe's language and with its cases.")]
pub(super) struct New {
    /// The name of the policy, and of its folder: lower-case words joined by dashes
    #[arg(value_name = "NAME")]
    name: BindingName,

    /// The language of the policy
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,

    /// The recipe of the cookbook to begin with
    #[arg(long, value_enum, value_name = "RECIPE", conflicts_with_all = ["lang", "runtime"])]
    from: Option<Recipe>,

    /// The interpreter of a policy in Python [default: countersign, the engine]
    #[arg(long, value_enum)]
    runtime: Option<Runtime>,
}

/// An interpreter of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runtime {
    /// The engine, which needs no Python and starts in microseconds
    Countersign,
    /// CPython, with all of its library and with packages, in a component of its own
    Cpython,
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
const CONTRACT: &str = include_str!("../../../../wit/policy.wit");

impl New {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = PathBuf::from(self.name.as_str());
        if folder.exists() {
            bail!("{}: already exists", folder.display());
        }
        let lang = self.language()?;
        let mut files =
            vec![("run.json", RUN.to_owned()), (".github/workflows/policy.yml", ci(lang))];
        files.extend(match lang {
            Language::Rust => self.rust(),
            Language::Javascript => javascript(),
            Language::Typescript => typescript(),
            Language::Python => python(),
            Language::Cpython => self.cpython(),
            Language::Rego => rego(),
            Language::Cedar => cedar(),
            Language::Cel => cel(),
        });
        files.push(("README.md", self.readme(lang)));
        if let Some(recipe) = self.from {
            recipe.lay_over(&mut files);
        }
        for (name, text) in files {
            write(&folder.join(name), &text)?;
        }
        output::print(&format!("{}\n", folder.display()))?;
        output::status(&format!(
            "next: cd {} && countersign policy build --install && countersign policy test",
            folder.display()
        ));
        Ok(Exit::Success)
    }

    /// The language, with the interpreter that was chosen for it.
    fn language(&self) -> Result<Language> {
        if let Some(recipe) = self.from {
            return Ok(recipe.language);
        }
        match (self.lang, self.runtime) {
            (lang, None) | (lang @ Language::Python, Some(Runtime::Countersign)) => Ok(lang),
            (Language::Python, Some(Runtime::Cpython)) => Ok(Language::Cpython),
            (_, Some(_)) => bail!("--runtime is for --lang python"),
        }
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
            "guest-policies/sdk/wit/policy.wit",
            "guest-policies/sdk/Cargo.toml",
            "guest-policies/sdk/src/arena.rs",
            "guest-policies/sdk/src/arena/again.rs",
            "guest-policies/sdk/src/bindings.rs",
            "guest-policies/sdk/src/export.rs",
            "guest-policies/sdk/src/identifier.rs",
            "guest-policies/sdk/src/identifier_set.rs",
            "guest-policies/sdk/src/lib.rs",
            "guest-policies/sdk/src/panic.rs",
            "guest-policies/sdk/src/sample.rs",
            "guest-policies/sdk/src/settings.rs",
            "guest-policies/sdk/src/settings/error.rs",
            "guest-policies/sdk/src/settings/reader.rs",
            "guest-policies/sdk/src/sorted_texts.rs",
            "guest-policies/sdk/src/testing.rs",
            "guest-policies/sdk/src/time_zone.rs",
            "guest-policies/sdk/src/time_zone/calendar.rs",
            "guest-policies/sdk/src/time_zone/rule.rs",
            "guest-policies/sdk/src/time_zone/zones.rs",
            "guest-policies/sdk/src/verdict.rs",
            "guest-policies/sdk/src/words.rs",
            "guest-policies/sdk/macros/Cargo.toml",
            "guest-policies/sdk/macros/src/lib.rs",
        ];
        files.extend(sdk.map(|(name, text)| (name, text.to_owned())));
        files
    }

    fn cpython(&self) -> Vec<(&'static str, String)> {
        let named = |text: &str| text.replace("NAME", self.name.as_str());
        let editor = "{\n  \"python.analysis.extraPaths\": [\"types\"],\n  \"python.analysis.typeCheckingMode\": \
                      \"standard\"\n}\n";
        vec![
            ("policy.py", named(template!("cpython/policy.py"))),
            ("countersign.py", template!("cpython/countersign.py").to_owned()),
            (CPYTHON_MARK, template!("cpython/requirements.txt").to_owned()),
            ("cases.toml", template!("common/cases-with-settings.toml").to_owned()),
            ("wit/policy.wit", CONTRACT.to_owned()),
            (".gitignore", "/.venv\n/types\n/policy.wasm\n__pycache__\n".to_owned()),
            (".vscode/settings.json", editor.to_owned()),
        ]
    }

    fn readme(&self, lang: Language) -> String {
        let (name, written) = (&self.name, lang.source());
        let mut text = format!(
            "# {name}\n\nThe policy is in {written}, its test cases in cases.toml.\n\n```sh\ncountersign policy \
             build    # writes policy.wasm; --install installs missing tools\ncountersign policy test     # --watch\ncountersign \
             policy bench\n```\n\nA binding for countersign.toml:\n\n```toml\n[[binding]]\nname = \"{name}\"\npolicy = \
             \"policy.wasm\"\nscope = \"all\"\n"
        );
        if lang.is_text() {
            text.push_str("settings-file = \"settings.json\"   # written by `policy build`\n");
        }
        if lang.profile() == Profile::Interpreter {
            text.push_str("limits = { profile = \"interpreter\" }\n");
        }
        text.push_str("```\n");
        text
    }
}

fn javascript() -> Vec<(&'static str, String)> {
    let own = [
        ("policy.js", template!("javascript/policy.js")),
        ("jsconfig.json", template!("javascript/jsconfig.json")),
    ];
    modules(own)
}

fn typescript() -> Vec<(&'static str, String)> {
    let own = [
        ("policy.ts", template!("javascript/policy.ts")),
        ("tsconfig.json", template!("javascript/tsconfig.json")),
    ];
    modules(own)
}

/// The files of a policy in JavaScript or TypeScript, with those of one of the two.
fn modules(own: [(&'static str, &'static str); 2]) -> Vec<(&'static str, String)> {
    let common = [
        ("policy-settings.json", template!("javascript/policy-settings.json")),
        ("types/policy.d.ts", template!("javascript/types/policy.d.ts")),
        ("cases.toml", template!("common/cases-with-settings.toml")),
        (".gitignore", "/policy.wasm\n/settings.json\n"),
    ];
    own.into_iter().chain(common).map(|(name, text)| (name, text.to_owned())).collect()
}

fn ci(lang: Language) -> String {
    let fuel = match lang.profile() {
        Profile::Compiled => "1000000",
        Profile::Interpreter => "100000000",
    };
    template!("common/ci.yml").replace("FUEL", fuel)
}

fn python() -> Vec<(&'static str, String)> {
    let editor = "{\n  \"python.analysis.typeCheckingMode\": \"standard\"\n}\n";
    vec![
        ("policy.py", template!("python/policy.py").to_owned()),
        ("policy-settings.json", template!("python/policy-settings.json").to_owned()),
        ("countersign.pyi", template!("python/countersign.pyi").to_owned()),
        ("cases.toml", template!("common/cases-with-settings.toml").to_owned()),
        (".gitignore", "/policy.wasm\n/settings.json\n__pycache__\n".to_owned()),
        (".vscode/settings.json", editor.to_owned()),
    ]
}

fn rego() -> Vec<(&'static str, String)> {
    let editor = "{\n  \"recommendations\": [\"tsandall.opa\"]\n}\n";
    vec![
        ("policy.rego", template!("rego/policy.rego").to_owned()),
        ("data.json", template!("rego/data.json").to_owned()),
        ("cases.toml", template!("common/cases-of-texts.toml").to_owned()),
        (".gitignore", "/policy.wasm\n/settings.json\n".to_owned()),
        (".vscode/extensions.json", editor.to_owned()),
    ]
}

fn cedar() -> Vec<(&'static str, String)> {
    let editor = "{\n  \"recommendations\": [\"cedar-policy.vscode-cedar\"]\n}\n";
    let schema = include_str!("../../../../guest-policies/engines/cedar/src/schema.cedarschema");
    vec![
        ("policies.cedar", template!("cedar/policies.cedar").to_owned()),
        ("schema.cedarschema", schema.to_owned()),
        ("entities.json", template!("cedar/entities.json").to_owned()),
        ("cases.toml", template!("common/cases-of-texts.toml").to_owned()),
        (".gitignore", "/policy.wasm\n/settings.json\n".to_owned()),
        (".vscode/extensions.json", editor.to_owned()),
    ]
}

fn cel() -> Vec<(&'static str, String)> {
    let editor = "{\n  \"recommendations\": [\"redhat.vscode-yaml\"]\n}\n";
    vec![
        ("policy.cel.yaml", template!("cel/policy.cel.yaml").to_owned()),
        ("data.json", template!("cel/data.json").to_owned()),
        ("cases.toml", template!("common/cases-of-texts.toml").to_owned()),
        (".gitignore", "/policy.wasm\n/settings.json\n".to_owned()),
        (".vscode/extensions.json", editor.to_owned()),
    ]
}

fn write(path: &Path, text: &str) -> Result<()> {
    let name = || path.display().to_string();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(name)?;
    }
    fs::write(path, text).with_context(name)
}
