//! `countersign policy lock`, `outdated` and `update`

use anyhow::{Result, bail};
use clap::Args;
use countersign::Digest;
use countersign_deployment::PolicyRegistries;
use countersign_registry::{LockFile, LockedPolicy, PinnedReference, Reference, Source};
use serde::Serialize;

use super::{ManifestArgument, fetch_all, print, set_floors, wait_for};
use crate::output::{self, Exit, Format};
use crate::progress;

/// Pin the policies of registries that a manifest names, in countersign.lock
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy lock
  countersign policy lock --policies countersign.toml

The lock file lies beside the manifest and has its name, with `.lock` in the place of `.toml`. It has the digests of manifest
and layer, the length, the revision and the signers of every policy that a binding names by `oci://…`. A tag gets the digest
that it has now, unless the file pins it already: `update` moves it. What no binding names is dropped. Everything is verified
and fetched into the store before the file is written.

Commit the file: it is what was reviewed, and what is loaded.

The JSON is that of `countersign fetch`.

Exit status: 0 if the file is written, 1 otherwise.")]
pub(crate) struct Lock {
    #[command(flatten)]
    manifest: ManifestArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Show the tags that name another policy now than countersign.lock says
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy outdated
  countersign policy outdated --format json

Asks the registries for the digests of tags, and verifies nothing: `update` does.

The JSON has `policies`, each with `reference`, `locked` and `current` (digests; `locked` is null where the tag is not pinned).

Exit status: 0 if no tag has moved, 1 otherwise.")]
pub(crate) struct Outdated {
    #[command(flatten)]
    manifest: ManifestArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Move tags in countersign.lock to what they name now
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy update
  countersign policy update oci://registry.example/policies/who-may:1

Moves all tags that the manifest names, or the given ones. What they name is verified by the `[[trusted-signer]]`s and fetched
into the store first, and has to have the revision that is pinned or a higher one, unless --allow-older is given.

The JSON is that of `countersign fetch`.

Exit status: 0 if the file is written, 1 otherwise.")]
pub(crate) struct Update {
    /// The tags, as the manifest has them [default: all]
    #[arg(value_name = "REFERENCE")]
    references: Vec<Reference>,

    #[command(flatten)]
    manifest: ManifestArgument,

    /// Accept policies that are older than those that are pinned
    #[arg(long)]
    allow_older: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Lock {
    pub(crate) fn run(&self) -> Result<Exit> {
        write(&self.manifest, |_, pinned| pinned.is_none(), false, self.format)
    }
}

impl Update {
    pub(crate) fn run(&self) -> Result<Exit> {
        let registries = self.manifest.read()?;
        for reference in &self.references {
            if registries.references().iter().all(|(_, of)| of != reference) {
                bail!("{reference}: no binding of the manifest names it so");
            }
        }
        let is_wanted = |reference: &Reference| {
            self.references.is_empty() || self.references.contains(reference)
        };
        write(&self.manifest, |reference, _| is_wanted(reference), self.allow_older, self.format)
    }
}

/// Writes the lock file anew, with the tags moved that `moves` says.
fn write(
    manifest: &ManifestArgument,
    moves: impl Fn(&Reference, Option<&PinnedReference>) -> bool,
    allow_older: bool,
    format: Format,
) -> Result<Exit> {
    let registries = manifest.read()?;
    let mut wanted = Vec::new();
    for (reference, pinned) in registries.pinned() {
        let target = match (&reference, pinned) {
            (Reference::Tagged(repository, tag), pinned) if moves(&reference, pinned.as_ref()) => {
                let digest = async { Ok(registries.client.resolve(repository, tag).await?) };
                let digest = progress::with_spinner("asking the registry", || wait_for(digest))
                    .map_err(|error| with_code(error, &reference))?;
                repository.pinned(digest)
            }
            (_, Some(pinned)) => pinned,
            (_, None) => bail!("{reference}: not pinned"),
        };
        wanted.push((reference, target));
    }
    let targets: Vec<_> = wanted.iter().map(|(_, target)| target.clone()).collect();
    let source = Source::Registry(&registries.client);
    let fetched = fetch_all(&registries, source, &targets, allow_older)?;
    let mut lock = LockFile::default();
    for ((reference, _), fetched) in wanted.into_iter().zip(&fetched) {
        let locked = LockedPolicy::of(&fetched.manifest);
        let before = registries.lock.get(&reference);
        if let Some(before) =
            before.filter(|before| before.revision > locked.revision && !allow_older)
        {
            bail!(
                "{reference}: names revision {} now, which is older than {}, the one that is pinned; `--allow-older` accepts it \
                 (older-than-floor)",
                locked.revision,
                before.revision
            );
        }
        lock.insert(reference, locked);
        if let Some(engine) = &fetched.engine {
            let reference = Reference::Pinned(engine.reference().clone());
            lock.insert(reference, LockedPolicy::of(engine));
        }
    }
    registries.write_lock(&lock)?;
    set_floors(&registries, fetched.iter().map(|fetched| &fetched.manifest), allow_older)?;
    print(&fetched, format)?;
    output::status(&format!("wrote {}", registries.lock_path().display()));
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Moved {
    reference: String,
    locked: Option<Digest>,
    current: Digest,
}

#[derive(Serialize)]
struct OutdatedJson {
    policies: Vec<Moved>,
}

impl Outdated {
    pub(crate) fn run(&self) -> Result<Exit> {
        let registries = self.manifest.read()?;
        let moved = progress::with_spinner("asking the registry", || moved(&registries))?;
        let exit = if moved.is_empty() { Exit::Success } else { Exit::Failed };
        if self.format == Format::Json {
            output::print_json(&OutdatedJson { policies: moved })?;
            return Ok(exit);
        }
        let mut text = String::new();
        for Moved { reference, locked, current } in &moved {
            let locked = locked.map_or("not pinned".to_owned(), |locked| locked.to_string());
            text.push_str(&format!("{reference}\n  pinned   {locked}\n  current  {current}\n"));
        }
        output::print(&text)?;
        if !moved.is_empty() {
            output::status("`countersign policy update` verifies and pins what is current");
        }
        Ok(exit)
    }
}

/// The tags that name something else than what is pinned.
fn moved(registries: &PolicyRegistries) -> Result<Vec<Moved>> {
    let mut moved = Vec::new();
    for (reference, pinned) in registries.pinned() {
        let Reference::Tagged(repository, tag) = &reference else { continue };
        let resolve = async { Ok(registries.client.resolve(repository, tag).await?) };
        let current = wait_for(resolve).map_err(|error| with_code(error, &reference))?;
        let locked = pinned.map(|pinned| pinned.digest);
        if locked != Some(current) {
            moved.push(Moved { reference: reference.to_string(), locked, current });
        }
    }
    Ok(moved)
}

/// The error of a registry about a reference, with its code.
fn with_code(error: anyhow::Error, reference: &Reference) -> anyhow::Error {
    let code = error.downcast_ref::<countersign_registry::ClientError>().map(|error| error.code());
    match code {
        Some(code) => anyhow::anyhow!("{reference}: {error} ({code})"),
        None => error.context(reference.to_string()),
    }
}
