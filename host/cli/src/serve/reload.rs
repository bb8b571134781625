//! Reloads of the access configuration and the policies. Each is prepared beside the one in use and replaces it
//! atomically, or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use countersign_deployment::{Loader, Snapshot};
use countersign_http::Tls;
use countersign_issuer::{Problem, Service};
use tokio::task::spawn_blocking;

use super::releases::Releases;
use super::signals::Sighup;
use super::supervisor;
use crate::clock;

/// The minimum time between two polls of the files.
const INTERVAL: Duration = Duration::from_secs(2);

/// The reciprocal of the share of a processor that polling may use. Every poll reads and hashes all files, since length
/// and modification time do not prove that a file is unchanged: 20 ms of a processor with SHA extensions for a component
/// of 20 MB. A set of many such components is polled less often.
const SHARE: u32 = 50;

/// The reason of a reload that an operator asked for.
const SIGHUP: &str = "SIGHUP";

/// The seconds before the end of a certificate from which on it is said.
const SOON: u64 = 7 * 86_400;

/// Reloads on the signal, and when the content of a file has changed.
pub(super) fn watch(
    service: Arc<Service>,
    releases: Arc<Releases>,
    tls: Option<Arc<Tls>>,
    mut sighup: Sighup,
    at_start: Snapshot,
) {
    tokio::spawn(async move {
        let loader = Arc::clone(releases.loader());
        let mut current = at_start;
        let (mut pause, mut retry) = (INTERVAL, false);
        loop {
            let why = tokio::select! {
                () = sighup.recv() => Some(SIGHUP),
                () = tokio::time::sleep(pause) => None,
            };
            // The files are read here and nowhere else: a reload takes what this look has seen, so a file that
            // changes meanwhile is seen by the next.
            let started = Instant::now();
            let Some(next) = look(&loader, current.clone()).await else { continue };
            pause = INTERVAL.max(started.elapsed() * SHARE);
            let is_changed = next.fingerprints() != current.fingerprints();
            current = next;
            let Some(why) = why.or((is_changed || retry).then_some("a file has changed")) else {
                continue;
            };
            supervisor::is_reloading();
            retry = reload(&service, &releases, tls.as_deref(), &current, why).await;
            supervisor::is_serving();
        }
    });
}

/// Reads the files, off the threads that serve requests.
async fn look(loader: &Arc<Loader>, before: Snapshot) -> Option<Snapshot> {
    let loader = Arc::clone(loader);
    spawn_blocking(move || loader.snapshot(&before)).await.ok()
}

/// Reloads from a snapshot. Returns true if the same files should be tried again.
async fn reload(
    service: &Arc<Service>,
    releases: &Releases,
    tls: Option<&Tls>,
    snapshot: &Snapshot,
    why: &'static str,
) -> bool {
    let loader = releases.loader();
    match reload_access(service, loader, snapshot.clone()).await {
        Ok(()) => {
            tracing::info!(why, "reloaded access configuration");
            // Those of an issuer that was added.
            service.keep_trusted_keys_fresh();
        }
        Err(error) => {
            service.record_reload_failure();
            tracing::error!(
                why,
                error = text(&error),
                "failed to reload access configuration; the current one stays in use"
            );
        }
    }
    if why == SIGHUP {
        // A key that was withdrawn is not in a file that has changed. Policies do not wait for issuers' answers.
        let service = Arc::clone(service);
        tokio::spawn(async move { service.refetch_trusted_keys().await });
    }
    match reload_certificate(service, loader, tls, snapshot) {
        Ok(None) => {}
        Ok(Some(expires)) => tracing::info!(why, expires, "reloaded the certificate"),
        Err(error) => {
            service.record_reload_failure();
            tracing::error!(
                why,
                error = text(&error),
                "failed to reload the certificate; the current one stays in use"
            );
        }
    }
    match reload_policies(service, releases, snapshot.clone()).await {
        Ok(digest) => {
            tracing::info!(why, policy_set = digest, "reloaded policies");
            false
        }
        Err(error) => {
            service.record_reload_failure();
            tracing::error!(
                why,
                error = text(&error),
                "failed to reload policies; the current ones stay in use"
            );
            // The files are fine in this case, so they are tried again.
            error.is::<NotOnRecord>()
        }
    }
}

fn text(error: &anyhow::Error) -> String {
    countersign::visible(&format!("{error:#}"))
}

/// The format of subjects has changed, and the decision log had no room for the record of it.
#[derive(Debug)]
struct NotOnRecord(Problem);

impl std::fmt::Display for NotOnRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed to record the formats of subjects: {:?}", self.0)
    }
}

impl std::error::Error for NotOnRecord {}

/// Reloads the access configuration separately: revoking a caller must not wait for valid policies.
async fn reload_access(service: &Service, loader: &Arc<Loader>, snapshot: Snapshot) -> Result<()> {
    let (loader, url) = (Arc::clone(loader), service.url().clone());
    service.replace_authorizer(spawn_blocking(move || loader.authorizer(&snapshot, &url)).await??);
    Ok(())
}

/// Reloads the certificate separately: one that is wrong keeps no policy out, and the other way round.
fn reload_certificate(
    service: &Service,
    loader: &Loader,
    tls: Option<&Tls>,
    snapshot: &Snapshot,
) -> Result<Option<String>> {
    let (tls, files) = match (tls, loader.tls(snapshot)?) {
        (None, None) => return Ok(None),
        (Some(tls), Some(files)) => (tls, files),
        _ => bail!("listen.certificate was added or removed, which requires a restart"),
    };
    tls.replace(files.certificate(), files.key(), clock::now(None)?)
        .context("listen.certificate")?;
    show_certificate(service, tls);
    Ok(Some(crate::output::time(tls.validity().not_after)))
}

/// Shows the validity of the certificate that is in use, and logs when it has ended or will soon.
pub(super) fn show_certificate(service: &Service, tls: &Tls) {
    let validity = tls.validity();
    service.record_certificate(validity.not_after);
    let Ok(now) = clock::now(None) else { return };
    let expires = crate::output::time(validity.not_after);
    if let Err(error) = validity.check(now) {
        let error = error.to_string();
        tracing::error!(error, expires, "the certificate is not valid: clients refuse it");
    } else if validity.not_after - now < SOON {
        tracing::warn!(expires, "the certificate expires soon");
    }
}

async fn reload_policies(
    service: &Service,
    releases: &Releases,
    snapshot: Snapshot,
) -> Result<String> {
    // Until the context is replaced: a release that is taken meanwhile would be undone.
    let mut taken = releases.taken().await;
    let loader = Arc::clone(releases.loader());
    let active = taken.active();
    let deployment = spawn_blocking(move || match active {
        Some(policies) => loader.deployment_with(&snapshot, policies),
        None => loader.deployment(&snapshot),
    });
    let deployment = deployment.await??;
    let changed = releases.loader().require_restart(&deployment.config);
    if !changed.is_empty() {
        let keys = changed.join(", ");
        tracing::warn!(keys, "changes in the configuration require a restart");
    }
    if deployment.installation.url != *service.url() {
        bail!("issuer.url has changed, which requires a restart: every trust in it breaks");
    }
    let digest = deployment.context.policies.digest().to_string();
    service.replace(deployment.context).map_err(NotOnRecord)?;
    taken.replaced(releases, service);
    Ok(digest)
}
