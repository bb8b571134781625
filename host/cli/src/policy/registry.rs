//! Policies in registries: `countersign policy push`, `sign`, `lock` and the others, and `countersign fetch`.

mod carry;
mod inspect;
mod lock;
mod pull;
mod push;
mod sign;

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_deployment::PolicyRegistries;
use countersign_registry::{
    Fetched, Fetcher, PinnedReference, Reference, RegistryClient, Repository, Source,
    VerifiedManifest,
};
use serde::Serialize;
use tokio::runtime::Builder;

pub(crate) use self::carry::{Export, Import};
pub(crate) use self::inspect::{Inspect, Verify};
pub(crate) use self::lock::{Lock, Outdated, Update};
pub(crate) use self::pull::Pull;
pub(crate) use self::push::Push;
pub(crate) use self::sign::Sign;
use crate::output::{self, Exit, Format};
use crate::{clock, progress};

/// The manifest that names registries, signers and policies.
#[derive(Args)]
pub(crate) struct ManifestArgument {
    /// The manifest, for its `[[registry]]`s, `[[trusted-signer]]`s and references
    #[arg(long, short, value_name = "FILE", default_value = "countersign.toml")]
    policies: PathBuf,
}

impl ManifestArgument {
    fn read(&self) -> Result<PolicyRegistries> {
        Ok(PolicyRegistries::read(&self.policies)?)
    }

    /// The client with the `[[registry]]`s of the manifest, where there is one.
    fn client_or_usual(&self) -> Result<RegistryClient> {
        Ok(match self.policies.exists() {
            true => self.read()?.client,
            false => PolicyRegistries::usual_client(),
        })
    }
}

/// Fetch the policies that a manifest pins into its store, so that everything else works without a registry
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign fetch
  countersign fetch --policies countersign.toml --format json

Every policy that a binding names by `oci://…@sha256:…`, or by a tag that countersign.lock pins, is verified by the
`[[trusted-signer]]`s before its layer is downloaded, and kept in the store (`[policy-store] folder`). What is there already
is verified and not fetched again. `serve`, `evaluate` and all other commands read the store alone.

The revision of a policy cannot go back: of each repository, what is older than everything in use is refused from then on.
--allow-older accepts it, and what it brings is the lowest from then on.

The JSON has `policies`, each with `reference`, `manifest`, `layer`, `bytes`, `revision`, `signers` and `fetched`.

Exit status: 0 if all are in the store, 1 otherwise.")]
pub(crate) struct Fetch {
    #[command(flatten)]
    manifest: ManifestArgument,

    /// Accept policies that are older than those that were accepted before
    #[arg(long)]
    allow_older: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Fetch {
    pub(crate) fn run(&self) -> Result<Exit> {
        let registries = self.manifest.read()?;
        let mut wanted = Vec::new();
        for (reference, pinned) in registries.pinned() {
            wanted.push(pinned.with_context(|| not_locked(&reference, &registries))?);
        }
        let source = Source::Registry(&registries.client);
        let fetched = fetch_all(&registries, source, &wanted, self.allow_older)?;
        let in_use = fetched.iter().map(|fetched| &fetched.manifest);
        set_floors(&registries, in_use, self.allow_older)?;
        print(&fetched, self.format)?;
        Ok(Exit::Success)
    }
}

/// The message where a tag has no entry in the lock file.
fn not_locked(reference: &Reference, registries: &PolicyRegistries) -> String {
    let lock = registries.lock_path().display();
    format!(
        "{reference}: a tag that {lock} does not pin; `countersign policy lock` does (not-locked)"
    )
}

/// Fetches policies, one after the other.
fn fetch_all(
    registries: &PolicyRegistries,
    source: Source<'_>,
    wanted: &[PinnedReference],
    allow_older: bool,
) -> Result<Vec<Fetched>> {
    let (store, trust) = (&registries.store, &registries.trust);
    let fetcher = Fetcher { source, store, trust, allow_older };
    let now = clock::now(None)?;
    progress::with_progress("fetching", "policies", |progress| {
        progress.set_of(wanted.len());
        wait_for(async {
            let mut fetched = Vec::new();
            for reference in wanted {
                fetched.push(fetcher.fetch(reference, now).await?);
                progress.set(fetched.len());
            }
            anyhow::Ok(fetched)
        })
    })
}

/// Raises the floors of repositories to what is in use, and lowers them to it before where that may be older.
fn set_floors<'m>(
    registries: &PolicyRegistries,
    in_use: impl IntoIterator<Item = &'m VerifiedManifest>,
    allow_older: bool,
) -> Result<()> {
    let in_use = in_use
        .into_iter()
        .map(|manifest| (manifest.reference().repository.clone(), manifest.policy().revision));
    let in_use: Vec<(Repository, u64)> = in_use.collect();
    if allow_older {
        for (repository, revision) in &in_use {
            registries.store.lower_floor(repository, *revision)?;
        }
    }
    Ok(registries.store.raise_floors(in_use)?)
}

/// Waits for work that is asynchronous.
fn wait_for<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[derive(Serialize)]
struct FetchedJson {
    reference: String,
    manifest: Digest,
    layer: Digest,
    bytes: u64,
    revision: u64,
    signers: Vec<Digest>,
    fetched: bool,
}

#[derive(Serialize)]
struct Policies {
    policies: Vec<FetchedJson>,
}

impl FetchedJson {
    fn new(manifest: &VerifiedManifest, fetched: bool) -> Self {
        let policy = manifest.policy();
        Self {
            reference: manifest.reference().to_string(),
            manifest: manifest.reference().digest,
            layer: policy.layer.digest,
            bytes: policy.layer.size,
            revision: policy.revision,
            signers: manifest.signers().to_vec(),
            fetched,
        }
    }
}

/// Prints policies that are in the store.
fn print(fetched: &[Fetched], format: Format) -> Result<()> {
    let policies = fetched.iter().flat_map(|fetched| {
        let all = fetched.engine.iter().chain([&fetched.manifest]);
        all.map(|manifest| FetchedJson::new(manifest, !fetched.was_there))
    });
    let policies: Vec<_> = policies.collect();
    if format == Format::Json {
        return output::print_json(&Policies { policies });
    }
    let mut text = String::new();
    for policy in &policies {
        let (what, signers) =
            (if policy.fetched { "fetched" } else { "present" }, policy.signers.len());
        text.push_str(&format!(
            "{what}  {}  revision {}, {} bytes, {signers} {}\n",
            policy.reference,
            policy.revision,
            policy.bytes,
            if signers == 1 { "signer" } else { "signers" }
        ));
    }
    output::print(&text)
}
