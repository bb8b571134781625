//! The policy sets that a console explains decisions by: manifests, and the releases of a service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use countersign::{BindingName, Digest, Engine, Limits, Optimization, PolicySet};
use countersign_compiler_worker::CacheFolder;
use countersign_console::{KnownPolicies, PolicySource, SignedPolicy};
use countersign_deployment::{ManifestBundle, PolicyRegistries, ReleaseStore, engine, manifest_of};
use countersign_registry::Reference;

use crate::{clock, output};

/// The releases that stay prepared.
const MAX_KEPT: usize = 4;

/// The manifests and releases that a console was given. A set is prepared when it is asked for first.
pub(crate) struct ConsolePolicies {
    engine: Engine,
    manifests: Vec<Manifest>,
    releases: Option<Releases>,
    kept: Mutex<Vec<(Digest, Arc<KnownPolicies>)>>,
}

/// The releases of a service, and its manifest, whose rules are those of their policies.
struct Releases {
    store: ReleaseStore,
    manifest: PathBuf,
}

/// A manifest, with its policies once they are prepared, or the reason that they cannot be.
struct Manifest {
    path: PathBuf,
    prepared: Mutex<Option<Result<Arc<KnownPolicies>, String>>>,
}

impl ConsolePolicies {
    /// Knows none yet.
    ///
    /// # Errors
    /// When the system gives no engine.
    pub(crate) fn new(cache: Option<CacheFolder>) -> Result<Self> {
        let engine = engine::engine(Optimization::Speed, cache, output::warn_or_log)?;
        Ok(Self { engine, manifests: Vec::new(), releases: None, kept: Mutex::default() })
    }

    /// Adds the policy set of a manifest.
    pub(crate) fn add_manifest(&mut self, path: &Path) {
        self.manifests.push(Manifest { path: path.to_owned(), prepared: Mutex::default() });
    }

    /// Adds the manifest and the releases of a service.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(crate) fn add_config(&mut self, config: &Path) -> Result<()> {
        let manifest = manifest_of(config)?;
        self.add_manifest(&manifest);
        self.releases = Some(Releases { store: ReleaseStore::of_config(config)?, manifest });
        Ok(())
    }

    /// Prepares the policies of all manifests.
    ///
    /// # Errors
    /// At the first one that cannot be prepared.
    pub(crate) fn prepare_manifests(&self) -> Result<()> {
        for manifest in &self.manifests {
            self.of_manifest(manifest).map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }

    fn of_manifest(&self, manifest: &Manifest) -> Result<Arc<KnownPolicies>, String> {
        let mut prepared = manifest.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared
            .get_or_insert_with(|| {
                let known = ManifestBundle::read(&manifest.path)
                    .map_err(anyhow::Error::from)
                    .and_then(|bundle| {
                        let origin = manifest.path.display().to_string();
                        self.prepare(&bundle, &manifest.path, origin)
                    });
                let known = known.with_context(|| manifest.path.display().to_string());
                known.map_err(|error| shown(&error))
            })
            .clone()
    }

    fn of_release(&self, of: &Releases, digest: Digest) -> Result<Arc<KnownPolicies>> {
        let release = of.store.release(digest)?;
        self.prepare(&of.store.bundle(&release)?, &of.manifest, format!("release {digest}"))
    }

    fn prepare(
        &self,
        bundle: &ManifestBundle,
        manifest: &Path,
        origin: String,
    ) -> Result<Arc<KnownPolicies>> {
        let policies = bundle.prepare(&self.engine)?;
        let mut settings = Vec::new();
        for binding in &bundle.manifest.bindings {
            settings.push((binding.name.to_string(), bundle.settings_of(binding)?.to_owned()));
        }
        let signed = signed(manifest, bundle, &policies);
        Ok(Arc::new(KnownPolicies { origin, policies, settings, signed }))
    }
}

/// Verifies the signatures of the policies of a set that come from registries, by the rules and pins of a manifest as it is.
/// A release may have another version of a policy than is pinned now: nothing is known of its signatures.
fn signed(
    manifest: &Path,
    bundle: &ManifestBundle,
    policies: &PolicySet,
) -> Vec<(String, Result<SignedPolicy, String>)> {
    let bindings = bundle.manifest.bindings.iter();
    let references = bindings.filter_map(|entry| Some((&entry.name, entry.reference()?)));
    let mut references = references.peekable();
    if references.peek().is_none() {
        return Vec::new();
    }
    let registries = PolicyRegistries::read(manifest).map_err(anyhow::Error::from);
    let registries = registries.and_then(|registries| Ok((registries, clock::now(None)?)));
    let registries = registries.map_err(|error| shown(&error));
    let signed = |name: &BindingName, reference: &Reference| {
        let (registries, now) = registries.as_ref().map_err(Clone::clone)?;
        let component = policies.bindings().iter().map(countersign::Binding::identity);
        let component = component.filter(|of| of.name == *name).map(|of| of.policy).next();
        signed_policy(registries, reference, component, *now).map_err(|error| shown(&error))
    };
    references.map(|(name, reference)| (name.to_string(), signed(name, reference))).collect()
}

fn signed_policy(
    registries: &PolicyRegistries,
    reference: &Reference,
    component: Option<Digest>,
    now: u64,
) -> Result<SignedPolicy> {
    let pinned = registries.lock.pinned(reference).context("no version of it is pinned")?;
    let limit = Limits::CEILING.component_bytes;
    let stored = registries.store.load(&pinned, &registries.trust, limit, now)?;
    ensure!(
        component == Some(stored.component.digest()),
        "the version that is pinned now is another one"
    );
    Ok(SignedPolicy {
        reference: format!("oci://{pinned}"),
        revision: stored.manifest.policy().revision,
        signers: stored.manifest.signers().iter().map(ToString::to_string).collect(),
    })
}

/// An error with its sources.
fn shown(error: &anyhow::Error) -> String {
    countersign::visible(&format!("{error:#}"))
}

impl PolicySource for ConsolePolicies {
    fn known(&self) -> Vec<(Digest, String)> {
        let of_manifest = |manifest: &Manifest| {
            let known = self.of_manifest(manifest).ok()?;
            Some((known.policies.digest(), known.origin.clone()))
        };
        let mut known: Vec<_> = self.manifests.iter().filter_map(of_manifest).collect();
        let releases = self.releases.as_ref().and_then(|of| of.store.releases().ok());
        for release in releases.into_iter().flatten() {
            if !known.iter().any(|(digest, _)| *digest == release.release) {
                known.push((release.release, "a release of the service".to_owned()));
            }
        }
        known
    }

    fn find(&self, digest: Digest) -> Result<Option<Arc<KnownPolicies>>, String> {
        let of_manifests = self.manifests.iter().filter_map(|one| self.of_manifest(one).ok());
        if let Some(known) = of_manifests.into_iter().find(|one| one.policies.digest() == digest) {
            return Ok(Some(known));
        }
        let Some(of_service) = &self.releases else { return Ok(None) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = kept.iter().find(|(known, _)| *known == digest) {
            return Ok(Some(Arc::clone(known)));
        }
        let releases = of_service.store.releases().map_err(|error| error.to_string())?;
        if !releases.iter().any(|release| release.release == digest) {
            return Ok(None);
        }
        let known = self.of_release(of_service, digest).map_err(|error| shown(&error))?;
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push((digest, Arc::clone(&known)));
        Ok(Some(known))
    }
}
