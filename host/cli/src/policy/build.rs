//! `countersign policy build`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Limits, Optimization, Policy, imports, visible};
use countersign_component::{BuildError, Toolchain, compile, component};
use countersign_schema::SettingsSchema;
use serde::Serialize;

use super::folder::Language;
use crate::output::{self, DIM, Done, Format, STRONG, Styled};
use crate::{files, preparation, progress};

/// The world of a policy's component, as wit/policy.wit has it.
const WORLD: &str = "countersign:policy/token-policy@1.0.0";

/// Build a policy to a component, and check it as the evaluator will
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy build
  countersign policy build who-may --install

It writes policy.wasm into the folder.

What is missing is said, with the command that brings it; --install runs that.

The JSON has `component`, `bytes`, `digest`, `world`, `policy` and `version`.

Exit status: 0 built, and the evaluator takes it; 1 anything else.")]
pub struct Build {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Install what is missing
    #[arg(long)]
    install: bool,

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
}

impl Build {
    pub fn run(&self) -> Result<Done> {
        let language = Language::of(&self.folder)?;
        let bytes = match language {
            Language::Rust => self.compile()?,
        };
        // What the evaluator would say, before anything is written.
        if let Some(import) = imports(&bytes)?.first() {
            bail!("the component imports `{}`, and a policy imports nothing", visible(import));
        }
        let engine = preparation::engine(Optimization::None)?;
        let policy = progress::during("checking the component", || {
            Policy::load(&engine, &bytes, &Limits::DEFAULT)
        })?;
        if let Some(schema) = &policy.description().settings_schema
            && let Err(why) = SettingsSchema::parse(schema)
        {
            output::warn(&format!(
                "a host does not use the settings schema: {}; the policy alone checks its settings",
                visible(&why.to_string())
            ));
        }
        let path = self.folder.join("policy.wasm");
        files::replace(&path, &bytes, false)?;
        let built = Built {
            component: path.display().to_string(),
            bytes: bytes.len(),
            digest: policy.digest().to_string(),
            world: WORLD,
            policy: policy.description().name.clone(),
            version: policy.description().version.clone(),
        };
        match self.format {
            Format::Json => output::print_json(&built)?,
            Format::Human => output::print(&text(&built))?,
        }
        Ok(Done::Fine)
    }

    fn compile(&self) -> Result<Vec<u8>> {
        let toolchain = match Toolchain::find() {
            Err(BuildError::NoToolchain) if self.install => {
                install("rustup", &["target", "add", "wasm32-unknown-unknown"])?;
                Toolchain::find()?
            }
            found => found.map_err(|error| match error {
                BuildError::NoToolchain => {
                    anyhow::anyhow!("{error}. --install runs the first")
                }
                other => other.into(),
            })?,
        };
        let folder =
            self.folder.canonicalize().with_context(|| self.folder.display().to_string())?;
        let package = package(&folder)?;
        // Without a lock file cargo makes one: a new policy has none.
        let locked = folder.join("Cargo.lock").exists();
        let modules = progress::during("compiling", || {
            compile(toolchain, &folder, &[&package], &folder.join("target"), locked)
        })?;
        let module = modules.join(format!("{}.wasm", package.replace('-', "_")));
        let bytes = fs::read(&module).with_context(|| {
            format!("{}: is `crate-type = [\"cdylib\", \"rlib\"]` in Cargo.toml?", module.display())
        })?;
        Ok(component(&bytes)?)
    }
}

/// The name of the package in a folder.
fn package(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let text = files::read_text(&path, 1 << 20)?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    Ok(name.with_context(|| format!("{}: no `package.name`", path.display()))?.to_owned())
}

/// Runs a command that brings what is missing, and shows what it says.
fn install(program: &str, arguments: &[&str]) -> Result<()> {
    output::say(&format!("running {program} {}", arguments.join(" ")));
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| format!("{program} could not be started"))?;
    if !status.success() {
        bail!("{program} {}: {status}", arguments.join(" "));
    }
    Ok(())
}

fn text(built: &Built) -> String {
    let Built { component, bytes, digest, world, policy, version } = built;
    format!(
        "{} {version}\n  component  {} {}\n  digest     {digest}\n  world      {world}, no imports\n",
        Styled(STRONG, policy),
        visible(component),
        Styled(DIM, format!("{bytes} bytes")),
    )
}
