//! `countersign policy push`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{
    Description, Digest, Limits, MAX_SETTINGS_BYTES, Optimization, Policy, Settings, visible,
};
use countersign_deployment::{engine, files};
use countersign_registry::{
    ImageManifest, MAX_SIDE_BYTES, NewContent, NewPolicy, PinnedReference, PolicyManifest,
    Reference, publish,
};
use serde::Serialize;

use super::{ManifestArgument, wait_for};
use crate::cache::CacheArguments;
use crate::output::{self, Exit, Format};
use crate::policy::language::Language;
use crate::progress;

/// Publish a policy in a registry, under a tag
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy push . oci://registry.example/policies/who-may:1.0.0
  countersign policy push target/policies/ttl-ceiling.wasm oci://registry.example/policies/ttl-ceiling:1.0.0
  countersign policy push . oci://registry.example/policies/mine:1 --engine oci://registry.example/engines/rego@sha256:…

PATH is the folder of a policy that `countersign policy build` has built, or a component. With a component travel its
description, its settings schema and the cases of its folder. A policy that is text (Rego, Cedar, CEL, JavaScript, Python)
is published as its settings, with the digest of its engine, which is published once, as a component of its own: --engine
names it.

The layout is that of CNCF's TAG Runtime, and the same policy gives the same bytes. The revision orders the versions of a
repository; without --revision it is one more than that of the policy that the tag names now, and the same for the same
policy. `countersign policy sign` signs what was published: nobody accepts it before.

Prints the reference by digest, for `sign` and for a manifest. The JSON has `reference`, `manifest`, `layer` and `revision`.

Exit status: 0 if the policy is published, 1 otherwise.")]
pub(crate) struct Push {
    /// The folder of the policy, or its component
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// The repository and the tag: oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "REFERENCE")]
    reference: Reference,

    /// The engine of a policy that is text: oci://HOST/REPOSITORY@sha256:…
    #[arg(long, value_name = "REFERENCE")]
    engine: Option<PinnedReference>,

    /// The number that orders versions; an older one does not come back
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,

    /// The version of a policy that is text [default: the tag]
    #[arg(long, value_name = "VERSION")]
    policy_version: Option<String>,

    /// The sentence on the decisions of a policy that is text
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,

    /// The author
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,

    /// The time of creation in RFC 3339 [default: 1970, so that the same policy gives the same bytes]
    #[arg(long, value_name = "TIME")]
    created: Option<String>,

    #[command(flatten)]
    manifest: OptionalManifest,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The manifest, where there is one: a publisher needs none.
#[derive(Args)]
pub(super) struct OptionalManifest {
    /// A manifest, for its `[[registry]]`s [default: countersign.toml, if there is one]
    #[arg(long, short, value_name = "FILE")]
    policies: Option<PathBuf>,
}

impl OptionalManifest {
    /// The client of registries.
    pub(super) fn client(&self) -> Result<countersign_registry::RegistryClient> {
        let path = self.policies.clone();
        let path =
            path.or_else(|| Some(PathBuf::from("countersign.toml")).filter(|path| path.exists()));
        Ok(match path {
            Some(policies) => ManifestArgument { policies }.read()?.client,
            None => countersign_deployment::PolicyRegistries::usual_client(),
        })
    }
}

#[derive(Serialize)]
struct PublishedJson {
    reference: String,
    manifest: Digest,
    layer: Digest,
    revision: u64,
}

impl Push {
    pub(crate) fn run(&self) -> Result<Exit> {
        let Reference::Tagged(repository, tag) = &self.reference else {
            bail!("{}: expected a tag, under which the policy is published", self.reference);
        };
        if let Some(created) = &self.created
            && humantime::parse_rfc3339(created).is_err()
        {
            bail!("--created: expected a time such as 2026-01-31T00:00:00Z");
        }
        let client = self.manifest.client()?;
        let mut policy = self.policy()?;
        if let NewContent::Text { engine, component, .. } = &policy.content {
            let found =
                progress::with_spinner("asking the registry", || component_of(&client, engine))?;
            if found != *component {
                bail!(
                    "--engine: its component is {found}, and the policy was built with {component}; publish that engine, or \
                     build the policy with this one"
                );
            }
        }
        policy.author.clone_from(&self.author);
        policy.created.clone_from(&self.created);
        let published = progress::with_spinner("publishing", || {
            wait_for(async { Ok(publish(&client, repository, tag, &policy, self.revision).await?) })
        })?;
        let reference = published.reference.to_string();
        if self.format == Format::Json {
            output::print_json(&PublishedJson {
                manifest: published.reference.digest,
                reference,
                layer: published.layer,
                revision: published.revision,
            })?;
        } else {
            output::print(&format!("{reference}\n"))?;
            output::status(&format!(
                "published as revision {}; `countersign policy sign` signs it",
                published.revision
            ));
        }
        Ok(Exit::Success)
    }

    /// The policy at the path.
    fn policy(&self) -> Result<NewPolicy> {
        let is_folder = self.path.is_dir();
        let component = match is_folder {
            true => self.path.join("policy.wasm"),
            false => self.path.clone(),
        };
        let bytes = files::read_component(&component, Limits::CEILING.component_bytes)
            .context("`countersign policy build` builds the component")?;
        let described = self.describe(&component, &bytes)?;
        let language = is_folder.then(|| Language::of(&self.path).ok()).flatten();
        let beside = match is_folder {
            true => self.path.join("cases.toml"),
            false => self.path.with_extension("cases.toml"),
        };
        let text = language.filter(|language| language.is_text());
        // Cases of settings that are not published say nothing without them.
        let of_settings = is_folder && text.is_none() && self.path.join("settings.json").exists();
        let side = |path: PathBuf| {
            let is_there = !of_settings && path.exists();
            is_there.then(|| files::read(&path, MAX_SIDE_BYTES)).transpose()
        };
        let cases = side(beside)?;
        let run = match is_folder && cases.is_some() {
            true => side(self.path.join("run.json"))?,
            false => None,
        };
        let Some(language) = text else {
            if self.engine.is_some() {
                bail!("--engine: for a policy that is text, and {} is none", component.display());
            }
            return Ok(NewPolicy {
                content: NewContent::Component(bytes),
                name: described.name,
                version: described.version,
                summary: described.summary,
                revision: 0,
                settings_schema: described.settings_schema.map(String::into_bytes),
                cases,
                run,
                created: None,
                author: None,
            });
        };
        let engine = self.engine.clone().with_context(|| {
            format!(
                "--engine is needed: the policy is a text for the engine `{}`, which is published once, as a component",
                described.name
            )
        })?;
        let settings = language.settings(&self.path)?;
        self.check_built(&settings)?;
        let repository = self.reference.repository().name();
        let name = repository.rsplit('/').next().unwrap_or(repository).to_owned();
        let tag = match &self.reference {
            Reference::Tagged(_, tag) => tag.to_string(),
            Reference::Pinned(_) => String::new(),
        };
        Ok(NewPolicy {
            content: NewContent::Text {
                settings: settings.as_json().as_bytes().to_vec(),
                engine,
                component: Digest::of(&bytes),
                own_settings: language.own_settings().map(str::to_owned),
            },
            summary: self
                .summary
                .clone()
                .unwrap_or_else(|| format!("A policy for {}", described.name)),
            name,
            version: self.policy_version.clone().unwrap_or(tag),
            revision: 0,
            settings_schema: None,
            cases,
            run,
            created: None,
            author: None,
        })
    }

    /// The policy's own words; it has to load before it is published.
    fn describe(&self, path: &Path, bytes: &[u8]) -> Result<Description> {
        let engine = engine::engine(Optimization::None, self.cache.open()?, output::warn_or_log)?;
        let loaded = progress::with_spinner("checking the component", || {
            Policy::load(&engine, bytes, &Limits::INTERPRETER)
        });
        let policy = loaded.map_err(|problem| {
            anyhow::anyhow!(
                "{}: {} ({})",
                path.display(),
                visible(&problem.to_string()),
                problem.code()
            )
        })?;
        Ok(policy.description().clone())
    }

    /// Fails where the texts were changed since they were built: what was tested would be another policy.
    fn check_built(&self, settings: &Settings) -> Result<()> {
        let path = self.path.join("settings.json");
        let built = files::read_whole_text(&path, MAX_SETTINGS_BYTES as u64)
            .context("`countersign policy build` makes it")?;
        let built = Settings::from_json(&built).with_context(|| path.display().to_string())?;
        if built.digest() != settings.digest() {
            bail!("{}: out of date; run `countersign policy build`", path.display());
        }
        Ok(())
    }
}

/// The digest of the component of an engine, as its manifest has it. The manifest is the one that was named.
fn component_of(
    client: &countersign_registry::RegistryClient,
    engine: &PinnedReference,
) -> Result<Digest> {
    let (bytes, _) = wait_for(async { Ok(client.inspect(engine).await?) })
        .with_context(|| format!("--engine {engine}"))?;
    if Digest::of(&bytes) != engine.digest {
        bail!("--engine {engine}: the registry has another manifest");
    }
    let of_engine = || format!("--engine {engine}");
    let manifest = ImageManifest::parse(&bytes).with_context(of_engine)?;
    Ok(PolicyManifest::of(&manifest).with_context(of_engine)?.layer.digest)
}
