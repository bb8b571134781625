//! The policies of registries, followed by a running service: what the manifest pins is fetched, and where a tag leads
//! elsewhere, or a release decides in the place of the manifest, the moved policies are staged as a release.
//!
//! Nothing decides by what is found here before somebody promotes it, and nothing that goes wrong here changes what decides.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_deployment::{
    FollowError, FollowedPins, ManifestBundle, NewRelease, PolicyRegistries, ReleaseError,
};
use countersign_issuer::Service;
use countersign_registry::LockFile;
use tokio::task::spawn_blocking;

use super::releases::Releases;
use crate::cache::CacheArguments;
use crate::clock;
use crate::release::run_cases;

/// Follows the registries of the manifest, where the configuration says so.
pub(super) fn watch(service: Arc<Service>, releases: Arc<Releases>, cache: CacheArguments) {
    let Some(interval) = releases.loader().config().releases.follow else { return };
    tokio::spawn(async move {
        let (mut told, mut staged): (Option<String>, _) = (None, LockFile::default());
        loop {
            let problem = look(&service, &releases, &cache, &mut staged).await.err();
            let problem = problem.map(|error| countersign::visible(&format!("{error:#}")));
            // Each problem is said when it begins, and not at each look.
            if let Some(error) = problem.as_ref().filter(|error| told.as_ref() != Some(error)) {
                tracing::warn!(
                    error,
                    "failed to follow policies of registries; what decides stays"
                );
            }
            if problem.is_none() && told.is_some() {
                tracing::info!("follows policies of registries again");
            }
            told = problem;
            tokio::time::sleep(interval.max(Duration::from_secs(1))).await;
        }
    });
}

/// Looks once. `staged` has the pins that were staged last, or were staged before.
async fn look(
    service: &Arc<Service>,
    releases: &Arc<Releases>,
    cache: &CacheArguments,
    staged: &mut LockFile,
) -> Result<()> {
    let path = releases.loader().manifest_path();
    let read = path.clone();
    let registries = spawn_blocking(move || PolicyRegistries::read(&read)).await?;
    let registries = registries.inspect_err(|_| service.record_registry_poll(Err("manifest")))?;
    if registries.references().is_empty() {
        return Ok(());
    }
    let now = clock::now(None)?;
    let followed = registries.follow(now).await;
    service.record_registry_poll(followed.as_ref().map(|_| now).map_err(FollowError::code));
    let followed = followed?;
    // Without a release, the manifest decides, and a reload takes what it pins.
    let has_release = releases.taken().await.active().is_some();
    if (followed.has_moved || has_release) && followed.lock != *staged {
        let lock = followed.lock.clone();
        stage(service, releases, path, followed, cache.clone()).await?;
        *staged = lock;
    }
    Ok(())
}

/// Stages the moved policies as a release, unless they were staged before: what was rolled back, or not promoted, is not
/// brought up again.
async fn stage(
    service: &Arc<Service>,
    releases: &Arc<Releases>,
    path: PathBuf,
    followed: FollowedPins,
    cache: CacheArguments,
) -> Result<()> {
    let (of_thread, deciding) = (Arc::clone(releases), service.policy_set());
    let staged = spawn_blocking(move || {
        let (loader, store) = (of_thread.loader(), of_thread.store());
        let bundle = ManifestBundle::read_with(&path, &followed.lock)?;
        let policies = loader.prepare(&bundle)?;
        let release = policies.digest();
        // Another replica may have been faster.
        store.follow()?;
        match store.release(release) {
            _ if release == deciding => return Ok(None),
            Err(ReleaseError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(None),
        }
        let cases = run_cases(&bundle, &path, &cache, Some(&followed.lock))?;
        let new = NewRelease { bundle: &bundle, policies: &policies, cases };
        anyhow::Ok(Some(store.stage(&new, clock::now(None)?)?))
    });
    if let Some(step) =
        staged.await?.context("policies of registries have moved, and cannot be staged")?
    {
        service.record_registry_release();
        tracing::info!(release = %step.release, step = step.step, "staged moved policies of registries");
    }
    Ok(())
}
