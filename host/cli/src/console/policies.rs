//! The policy sets that a console explains decisions by: manifests, and the releases of a service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use countersign::{Digest, Engine, Limits, Optimization, PolicySet};
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
    releases: Option<ReleaseStore>,
    kept: Mutex<Vec<(Digest, Arc<KnownPolicies>)>>,
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
        self.add_manifest(&manifest_of(config)?);
        self.releases = Some(ReleaseStore::of_config(config)?);
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
                    .and_then(|bundle| self.prepare(&bundle, manifest.path.display().to_string()));
                let known = known.with_context(|| manifest.path.display().to_string());
                known.map_err(|error| countersign::visible(&format!("{error:#}")))
            })
            .clone()
    }

    fn of_release(&self, store: &ReleaseStore, digest: Digest) -> Result<Arc<KnownPolicies>> {
        let release = store.release(digest)?;
        self.prepare(&store.bundle(&release)?, format!("release {digest}"))
    }

    fn prepare(&self, bundle: &ManifestBundle, origin: String) -> Result<Arc<KnownPolicies>> {
        let policies = bundle.prepare(&self.engine)?;
        let mut settings = Vec::new();
        for binding in &bundle.manifest.bindings {
            settings.push((binding.name.to_string(), bundle.settings_of(binding)?.to_owned()));
        }
        let signed = self.signed(bundle, &policies);
        Ok(Arc::new(KnownPolicies { origin, policies, settings, signed }))
    }

    /// Verifies the signatures of the policies of a set that come from registries, by the rules and pins of the manifest as it
    /// is. A release may have another version of a policy than is pinned now: nothing is known of its signatures.
    fn signed(
        &self,
        bundle: &ManifestBundle,
        policies: &PolicySet,
    ) -> Vec<(String, Result<SignedPolicy, String>)> {
        let references = bundle.manifest.bindings.iter();
        let references: Vec<_> =
            references.filter_map(|entry| Some((&entry.name, entry.reference()?))).collect();
        let Some(manifest) = self.manifests.first().filter(|_| !references.is_empty()) else {
            return Vec::new();
        };
        let registries = PolicyRegistries::read(&manifest.path).map_err(text);
        let signed = |name: &str, reference: &Reference| {
            let registries = registries.as_ref().map_err(Clone::clone)?;
            let binding = policies.bindings().iter().find(|of| of.identity().name.as_str() == name);
            let pinned = registries.lock.pinned(reference).ok_or("no version of it is pinned")?;
            let (limit, now) = (Limits::CEILING.component_bytes, clock::now(None));
            let now = now.map_err(|error| format!("{error:#}"))?;
            let stored = registries.store.load(&pinned, &registries.trust, limit, now);
            let stored = stored.map_err(text)?;
            if binding.map(|of| of.identity().policy) != Some(stored.component.digest()) {
                return Err("the version that is pinned now is another one".to_owned());
            }
            Ok(SignedPolicy {
                reference: format!("oci://{pinned}"),
                revision: stored.manifest.policy().revision,
                signers: stored.manifest.signers().iter().map(ToString::to_string).collect(),
            })
        };
        let signed = references
            .into_iter()
            .map(|(name, reference)| (name.to_string(), signed(name.as_str(), reference)));
        signed.collect()
    }
}

/// An error with its sources.
fn text(error: impl std::error::Error + Send + Sync + 'static) -> String {
    countersign::visible(&format!("{:#}", anyhow::Error::new(error)))
}

impl PolicySource for ConsolePolicies {
    fn known(&self) -> Vec<(Digest, String)> {
        let of_manifest = |manifest: &Manifest| {
            let known = self.of_manifest(manifest).ok()?;
            Some((known.policies.digest(), known.origin.clone()))
        };
        let mut known: Vec<_> = self.manifests.iter().filter_map(of_manifest).collect();
        let releases = self.releases.as_ref().and_then(|store| store.releases().ok());
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
        let Some(store) = &self.releases else { return Ok(None) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = kept.iter().find(|(known, _)| *known == digest) {
            return Ok(Some(Arc::clone(known)));
        }
        let releases = store.releases().map_err(|error| error.to_string())?;
        if !releases.iter().any(|release| release.release == digest) {
            return Ok(None);
        }
        let known = self.of_release(store, digest);
        let known = known.map_err(|error| countersign::visible(&format!("{error:#}")))?;
        if kept.len() == MAX_KEPT {
            kept.remove(0);
        }
        kept.push((digest, Arc::clone(&known)));
        Ok(Some(known))
    }
}
