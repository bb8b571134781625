//! `countersign policy export` and `import`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::Limits;
use countersign_deployment::PolicyRegistries;
use countersign_registry::{Fetched, OciLayout, Source, VerifiedManifest};

use super::{ManifestArgument, fetch_all, not_locked, print, set_floors};
use crate::output::{self, Exit, Format};
use crate::{clock, progress};

/// Write the policies of a manifest into a folder, to carry them where no registry is
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign fetch && countersign policy export file://policies-2026-01
  tar -cf policies.tar policies-2026-01

The folder is an OCI image layout, with manifests, layers and signatures, of everything that the manifest pins. All of it comes
out of the store, and is verified on its way.

Exit status: 0 if the folder is written, 1 otherwise.")]
pub(crate) struct Export {
    /// The new folder: DIR or file://DIR
    #[arg(value_name = "DIR")]
    folder: String,

    #[command(flatten)]
    manifest: ManifestArgument,
}

/// Take policies out of a folder that `export` has written, into the store
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy import file://policies-2026-01

Each policy is verified by the `[[trusted-signer]]`s of the manifest, as one that comes from a registry is: the folder is trusted
with nothing. What is older than what the manifest pins of it is refused from then on, as after `countersign fetch`.

The JSON is that of `countersign fetch`.

Exit status: 0 if all policies of the folder are in the store, 1 otherwise.")]
pub(crate) struct Import {
    /// The folder: DIR or file://DIR
    #[arg(value_name = "DIR")]
    folder: String,

    #[command(flatten)]
    manifest: ManifestArgument,

    /// Accept policies that are older than those that were accepted before
    #[arg(long)]
    allow_older: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The path of a folder, which may be written as a URL without a host.
fn folder(text: &str) -> Result<PathBuf> {
    match text.strip_prefix("file://") {
        None if text.contains("://") => bail!("{text}: expected a folder, or file:// and a folder"),
        None => Ok(text.into()),
        Some("") => bail!("file://: expected a folder after it"),
        // Nothing is decoded: a folder is named as the system names it.
        Some(path) => Ok(path.into()),
    }
}

impl Export {
    pub(crate) fn run(&self) -> Result<Exit> {
        let folder = folder(&self.folder)?;
        let registries = self.manifest.read()?;
        let now = clock::now(None)?;
        let mut policies = Vec::new();
        for (reference, pinned) in registries.pinned() {
            let pinned = pinned.with_context(|| not_locked(&reference, &registries))?;
            let limit = Limits::CEILING.component_bytes;
            let policy = registries.store.load(&pinned, &registries.trust, limit, now)?;
            policies.extend(policy.engine);
            policies.push(policy.manifest);
        }
        if policies.is_empty() {
            bail!("no binding names a policy of a registry");
        }
        progress::with_spinner("writing", || {
            OciLayout::write(&folder, &registries.store, &policies)
        })?;
        output::status(&format!("wrote {}", folder.display()));
        Ok(Exit::Success)
    }
}

/// The manifests that are in use: what is pinned, out of the folder or, where it was there already, out of the store. What
/// else the folder has, such as engines, says nothing about versions.
fn in_use(registries: &PolicyRegistries, fetched: &[Fetched]) -> Result<Vec<VerifiedManifest>> {
    let (limit, now) = (Limits::CEILING.component_bytes, clock::now(None)?);
    let pinned = registries.pinned().into_iter().filter_map(|(_, pinned)| pinned);
    let in_use = pinned.filter_map(|pinned| {
        let manifests = fetched.iter().map(|fetched| &fetched.manifest);
        let of_folder = manifests.into_iter().find(|manifest| *manifest.reference() == pinned);
        // One that cannot be loaded is not in use.
        of_folder.cloned().or_else(|| {
            let stored = registries.store.load(&pinned, &registries.trust, limit, now);
            stored.ok().map(|stored| stored.manifest)
        })
    });
    Ok(in_use.collect())
}

impl Import {
    pub(crate) fn run(&self) -> Result<Exit> {
        let folder = folder(&self.folder)?;
        let registries = self.manifest.read()?;
        let layout = OciLayout::open(&folder)?;
        let references = layout.references()?;
        if references.is_empty() {
            bail!(
                "{}: no policy; `countersign policy export` writes such folders",
                folder.display()
            );
        }
        let source = Source::Layout(&layout);
        let fetched = fetch_all(&registries, source, &references, self.allow_older)?;
        set_floors(&registries, &in_use(&registries, &fetched)?, self.allow_older)?;
        print(&fetched, self.format)?;
        Ok(Exit::Success)
    }
}
