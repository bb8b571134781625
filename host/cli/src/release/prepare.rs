//! Preparing a manifest that is to be a release.

use std::path::Path;

use anyhow::{Context, Result};
use countersign::{Optimization, PolicySet};
use countersign_deployment::{ManifestBundle, engine};

use crate::bounds;
use crate::cache::CacheArguments;
use crate::output;

/// Reads and prepares all of a manifest, as the service will: the same optimisation and the same cache, so that the
/// service finds the code compiled.
pub(super) fn prepare(
    manifest: &Path,
    cache: &CacheArguments,
) -> Result<(ManifestBundle, PolicySet)> {
    let bundle = ManifestBundle::read(manifest)?;
    let preparation = bundle.manifest.preparation;
    let engine =
        engine::engine_with(Optimization::Speed, preparation, cache.open()?, output::warn_or_log)?;
    let of_manifest = || manifest.display().to_string();
    let policies = bounds::prepare(&bundle, &engine, || true).with_context(of_manifest)?;
    // Also those that the manifest prepares on demand: wrong settings are to be found here.
    for binding in policies.bindings() {
        let name = || format!("binding `{}`", binding.identity().name);
        binding.ensure_prepared().with_context(name).with_context(of_manifest)?;
    }
    Ok((bundle, policies))
}
