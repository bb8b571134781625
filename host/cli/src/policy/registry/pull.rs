//! `countersign policy pull`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::Limits;
use countersign_deployment::files;
use countersign_registry::{Reference, Source};

use super::{ManifestArgument, fetch_all, print, wait_for};
use crate::output::{Exit, Format};
use crate::{clock, progress};

/// Fetch one policy and write its files into a folder
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy pull oci://registry.example/policies/who-may@sha256:… --output who-may
  countersign policy pull oci://registry.example/policies/who-may:1 --output who-may

Verifies the policy by the `[[trusted-signer]]`s of the manifest, as `countersign fetch` does, and writes policy.wasm and, where
the policy has them, settings.json, cases.toml and run.json. `countersign policy test` then runs its cases, and `countersign inspect`
shows what the component is. Nothing is written of a policy that is not trusted.

The JSON is that of `countersign fetch`.

Exit status: 0 if the files are written, 1 otherwise.")]
pub(crate) struct Pull {
    /// The policy: oci://HOST/REPOSITORY@sha256:…, or with a tag
    #[arg(value_name = "REFERENCE")]
    reference: Reference,

    /// The folder
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    output: PathBuf,

    #[command(flatten)]
    manifest: ManifestArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Pull {
    pub(crate) fn run(&self) -> Result<Exit> {
        let registries = self.manifest.read()?;
        let pinned = match &self.reference {
            Reference::Pinned(pinned) => pinned.clone(),
            Reference::Tagged(repository, tag) => {
                let digest = async { Ok(registries.client.resolve(repository, tag).await?) };
                let digest = progress::with_spinner("asking the registry", || wait_for(digest))?;
                repository.pinned(digest)
            }
        };
        let source = Source::Registry(&registries.client);
        let fetched = fetch_all(&registries, source, std::slice::from_ref(&pinned), false)?;
        let limit = Limits::CEILING.component_bytes;
        let policy = registries.store.load(&pinned, &registries.trust, limit, clock::now(None)?)?;
        let (cases, run) = match registries.store.cases(&policy.manifest)? {
            Some(cases) => (Some(cases.text), cases.run),
            None => (None, None),
        };
        let written = [
            ("policy.wasm", Some(policy.component.into_bytes())),
            ("settings.json", policy.settings.map(countersign_registry::VerifiedLayer::into_bytes)),
            ("cases.toml", cases),
            ("run.json", run),
        ];
        let written = written.into_iter();
        let written = written.filter_map(|(name, bytes)| Some((self.output.join(name), bytes?)));
        let written: Vec<_> = written.collect();
        // All before any is written: a folder with a part of a policy is none.
        if let Some((path, _)) = written.iter().find(|(path, _)| path.exists()) {
            bail!("{}: exists; name another folder with --output", path.display());
        }
        std::fs::create_dir_all(&self.output).with_context(|| self.output.display().to_string())?;
        for (path, bytes) in &written {
            files::replace(path, bytes, false)?;
        }
        print(&fetched, self.format)?;
        Ok(Exit::Success)
    }
}
