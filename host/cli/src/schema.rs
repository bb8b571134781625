//! `countersign schema`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Digest, Engine, Limits, Optimization, Policy, visible};
use countersign_deployment::{
    ManifestBundle, PolicySchema, engine, files, manifest_schema, read_manifest,
};
use countersign_schema::SettingsSchema;

use crate::output::{self, Exit};
use crate::progress;

/// Write the JSON Schema of `countersign.toml` for editors, with the settings of its policies
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign schema --policies countersign.toml > countersign.schema.json
  countersign schema same-workspace.wasm ttl-ceiling.wasm > countersign.schema.json
  countersign schema   # without policies; settings are any table

Put this before the first line of countersign.toml, and editors that know Taplo's comment (Even Better TOML of
VS Code, and others) complete and check it:

  #:schema ./countersign.schema.json

The settings of a binding are those of the policy at its path, as in the manifest or on the command line.
Invalid settings do not matter here. Write the schema again when a policy has changed.

The schema is in draft-07, the newest that these editors support: policies' schemas are converted from draft
2020-12, and keywords without an equivalent are left out. A policy whose schema hosts do not use (`countersign
inspect` shows the reason) accepts any table as settings, and stderr says so.

Exit status: 0 written, 1 anything else.")]
pub(crate) struct Schema {
    /// Components, by the paths that bindings have
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The manifest that names the policies
    #[arg(long, short, value_name = "FILE", conflicts_with = "files")]
    policies: Option<PathBuf>,
}

/// A policy that was loaded, and its schema.
struct Described {
    path: String,
    policy: Policy,
    schema: SettingsSchema,
}

impl Schema {
    pub(crate) fn run(&self) -> Result<Exit> {
        let described = progress::with_spinner("compiling", || match &self.policies {
            Some(manifest) => of_manifest(manifest),
            None => of_files(&self.files),
        })?;
        let policies = described.iter().map(|of| PolicySchema {
            path: &of.path,
            name: &of.policy.description().name,
            summary: &of.policy.description().summary,
            schema: &of.schema,
        });
        output::print_json(&manifest_schema(&policies.collect::<Vec<_>>()))?;
        Ok(Exit::Success)
    }
}

/// The policies of a manifest, each path once. No settings are read.
fn of_manifest(path: &Path) -> Result<Vec<Described>> {
    let name = || path.display().to_string();
    let manifest = read_manifest(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let engine = engine::engine(Optimization::None, None, output::warn_or_log)?;
    let mut seen = BTreeSet::new();
    let mut described = Vec::new();
    let mut bundle: Option<ManifestBundle> = None;
    for binding in &manifest.bindings {
        let place = || format!("{}: binding `{}`", name(), binding.name);
        if !seen.insert((&binding.policy, binding.digest)) {
            continue;
        }
        let limit = binding.limits.component_bytes;
        let bytes = match &binding.reference {
            None => {
                files::read_component(&folder.join(&binding.policy), limit).with_context(place)?
            }
            Some(_) => {
                let read = match &bundle {
                    Some(bundle) => bundle,
                    None => bundle.insert(ManifestBundle::read(path)?),
                };
                read.file(&binding.policy).context("the policy was not read")?.to_vec()
            }
        };
        // The pin is checked first: bytes that it does not cover must not reach the compiler.
        let found = Digest::of(&bytes);
        if let Some(pinned) = binding.digest.filter(|pinned| *pinned != found) {
            let path = &binding.policy;
            bail!("{}: {path}: the digest is {found}, but the manifest pins {pinned}", place());
        }
        if described.iter().all(|of: &Described| of.path != binding.policy) {
            let of = describe(&engine, binding.policy.clone(), &bytes, &binding.limits);
            described.extend(of.with_context(place)?);
        }
    }
    Ok(described)
}

fn of_files(paths: &[PathBuf]) -> Result<Vec<Described>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let engine = engine::engine(Optimization::None, None, output::warn_or_log)?;
    let mut described = Vec::new();
    for path in paths {
        let name = path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
        let bytes = files::read_component(path, Limits::CEILING.component_bytes)?;
        // The profile of its bindings is unknown here.
        described.extend(describe(&engine, name.to_owned(), &bytes, &Limits::INTERPRETER)?);
    }
    Ok(described)
}

/// Loads a policy; `None`, with a warning on stderr, if its schema cannot be used.
fn describe(
    engine: &Engine,
    path: String,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Option<Described>> {
    let policy = Policy::load(engine, bytes, limits)
        .map_err(|problem| anyhow::anyhow!("{path}: {problem} ({})", problem.code()))?;
    let Some(schema) = &policy.description().settings_schema else { return Ok(None) };
    match SettingsSchema::parse(schema) {
        Ok(schema) => Ok(Some(Described { path, policy, schema })),
        Err(why) => {
            let why = visible(&format!("{path}: the settings schema is not used: {why}"));
            output::warn(&why);
            Ok(None)
        }
    }
}
