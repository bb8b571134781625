//! `countersign policy build`

pub(super) mod engines;
mod places;
mod python;
mod rust;
mod tools;
mod types;
mod warnings;
pub(super) mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Fault, Limits, Mode, Optimization, Policy,
    Scope, Settings, imports, visible,
};
use countersign_schema::SettingsSchema;
use serde::Serialize;

use self::types::Types;
use self::warnings::{Warning, of_policy};
use super::language::Language;
use super::rego;
use crate::cache::CacheArguments;
use crate::output::{self, DIM, Exit, Format, STRONG, Styled};
use crate::progress;
use countersign_deployment::{engine, files};

/// The world of a policy's component: wit/policy.wit.
const WORLD: &str = "countersign:policy/token-policy@1.0.0";

/// Build the component of a policy, and check that the evaluator loads it
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy build
  countersign policy build who-may --install

Writes policy.wasm into the folder. For JavaScript, TypeScript, Python, Rego, Cedar and CEL that is the component of the
engine, and the policy's files become its settings, settings.json. Engines are no part of this program: `make engines` in
its source builds them, and `make install` installs them with it.

For Rust, settings.schema.json is written anew first where the sources have changed since.

For Rego, every `….rego` of the folder but `…_test.rego` is part of the policy, and data.json and data.yaml of each folder of
`data`. Warnings about the policy go to standard error.

If a build tool is not installed, the command that installs it is printed; --install runs it.

The JSON has `component`, `bytes`, `digest`, `world`, `policy`, `version`, `profile` (the value for
`limits.profile` of a binding), `settings` (`file`, `digest`), which is null where the policy has no engine, `types`
(the checker of types, or null), and `warnings` (texts that begin with file, line and column). With an engine, the
digest of the settings identifies the policy; that of the component identifies the engine.

A warning is of what is likely to be a mistake: a comparison with a word as the run object spells it (`ApiKey`), where
a policy sees `api-key`, is never true; a claim that not every run has, such as the trigger, is read without a test.
--deny-warnings fails where there is one.

Types of JavaScript and TypeScript are checked by tsc, with jsconfig.json or tsconfig.json, those of Python by pyright,
mypy or ty, where the project has one of these: no build needs them. --types require asks for it, as in CI. What does not
fit is an error.

Exit status: 0 if the component was built and the evaluator loads it, and with --deny-warnings nothing is warned of
(`policy.wasm` is written even then); 1 otherwise.")]
pub(super) struct Build {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Install missing build tools
    #[arg(long)]
    install: bool,

    /// Fail where there is a warning
    #[arg(long)]
    deny_warnings: bool,

    /// When to check types, in JavaScript, TypeScript and Python
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Types::Auto)]
    types: Types,

    #[command(flatten)]
    engines: engines::EngineArguments,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Built {
    component: String,
    bytes: usize,
    digest: String,
    world: &'static str,
    policy: String,
    version: String,
    profile: &'static str,
    settings: Option<BuiltSettings>,
    /// The checker of types.
    types: Option<&'static str>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct BuiltSettings {
    file: String,
    digest: String,
}

impl Build {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.folder.canonicalize();
        let folder = folder.with_context(|| self.folder.display().to_string())?;
        let language = Language::of(&folder)?;
        let bytes = match language {
            Language::Rust => rust::build(&folder, self.install)?,
            Language::Cpython => python::build(&folder, self.install)?,
            Language::Javascript
            | Language::Typescript
            | Language::Python
            | Language::Rego
            | Language::Cedar
            | Language::Cel => {
                self.engines.read(language.engine().context("the language has no engine")?)?
            }
        };
        // Checked as the evaluator does, before anything is written.
        if let Some(import) = imports(&bytes)?.first() {
            bail!("the component imports `{}`, and a policy imports nothing", visible(import));
        }
        let limits = language.profile().limits();
        let engine = engine::engine(Optimization::None, self.cache.open()?, output::warn_or_log)?;
        let policy = progress::with_spinner("checking the component", || {
            Policy::load(&engine, &bytes, &limits)
        })?;
        let (digest, description) = (policy.digest(), policy.description().clone());
        if let Some(schema) = &description.settings_schema
            && let Err(why) = SettingsSchema::parse(schema)
        {
            output::warn(&format!(
                "hosts ignore the settings schema: {}; only the policy checks its settings",
                visible(&why.to_string())
            ));
        }
        let mut warnings = words::warnings(language, &folder)?;
        let checker;
        let settings = match language.is_text() {
            true => {
                let (settings, policy) = (language.settings(&folder)?, Arc::new(policy));
                // The engine says more of a mistake than a checker of types, so it is asked first.
                check_settings(language, &folder, &policy, settings.clone(), limits)?;
                checker = types::check(self.types, language, &folder)?;
                let written = self.write_settings(&settings)?;
                warnings.extend(match language {
                    Language::Rego => {
                        let texts = rego::warnings(&policy, &settings, limits)?;
                        texts.into_iter().map(Warning).collect()
                    }
                    _ => of_policy(&policy, &settings, limits)?,
                });
                Some(written)
            }
            false => {
                checker = types::check(self.types, language, &folder)?;
                None
            }
        };
        warnings.iter().for_each(|Warning(text)| output::warn(&visible(text)));
        let path = self.folder.join("policy.wasm");
        files::replace(&path, &bytes, false)?;
        let built = Built {
            component: path.display().to_string(),
            bytes: bytes.len(),
            digest: digest.to_string(),
            world: WORLD,
            policy: description.name,
            version: description.version,
            profile: language.profile().name(),
            settings,
            types: checker,
            warnings: warnings.into_iter().map(|Warning(text)| text).collect(),
        };
        match self.format {
            Format::Json => output::print_json(&built)?,
            Format::Human => output::print(&text(&built))?,
        }
        let denied = self.deny_warnings && !built.warnings.is_empty();
        Ok(if denied { Exit::Failed } else { Exit::Success })
    }

    /// Writes the settings to `settings.json`.
    fn write_settings(&self, settings: &Settings) -> Result<BuiltSettings> {
        let path = self.folder.join("settings.json");
        files::replace(&path, settings.as_json().as_bytes(), false)?;
        let digest = settings.digest().to_string();
        Ok(BuiltSettings { file: path.display().to_string(), digest })
    }
}

/// Configures the policy with its settings.
fn check_settings(
    language: Language,
    folder: &Path,
    policy: &Arc<Policy>,
    settings: Settings,
    limits: Limits,
) -> Result<()> {
    let prepared = progress::with_spinner("checking the policy", || {
        anyhow::Ok(Binding::prepare(Arc::clone(policy), binding(settings, limits)?))
    })?;
    match prepared {
        Ok(_) => Ok(()),
        // The engine itself can say nothing any more.
        Err(error @ BindingError::Configure { fault: Fault::Stack { .. } | Fault::Trap { .. }, .. }) => {
            Err(anyhow::Error::new(error).context(
                "the engine's stack may have overflowed: where hundreds of operators, brackets, conditions or functions are \
                 in each other, give parts of them names of their own",
            ))
        }
        Err(error) => Err(places::with_places(error, language, folder).into()),
    }
}

/// The binding by which a policy is checked.
fn binding(settings: Settings, limits: Limits) -> Result<BindingConfig> {
    Ok(BindingConfig {
        name: BindingName::parse("build")?,
        settings,
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits,
        claims: Vec::new(),
    })
}

fn text(built: &Built) -> String {
    let Built {
        component,
        bytes,
        digest,
        world,
        policy,
        version,
        profile,
        settings,
        types,
        warnings: _,
    } = built;
    let mut text = format!(
        "{} {version}\n  component  {} {}\n  digest     {digest}\n  world      {world}, no imports\n",
        Styled(STRONG, policy),
        visible(component),
        Styled(DIM, format!("{bytes} bytes")),
    );
    if *profile != "compiled" {
        text.push_str(&format!("  limits     profile = {profile:?}\n"));
    }
    if let Some(BuiltSettings { file, digest }) = settings {
        text.push_str(&format!("  settings   {} {digest}\n", visible(file)));
    }
    if let Some(checker) = types {
        text.push_str(&format!("  types      checked by {checker}\n"));
    }
    text
}
