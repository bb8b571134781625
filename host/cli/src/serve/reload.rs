//! Reading again who may ask, and what decides: each beside what is in use, and in its place as a whole or not at
//! all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use countersign_http::Tls;
use countersign_issuer::{Problem, Service};
use tokio::task::spawn_blocking;

use super::loading::{Loader, Looks};
use super::signals::Sighup;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reads everything again when the signal comes, or a file has changed.
pub fn keep_up(
    service: Arc<Service>,
    loader: Arc<Loader>,
    tls: Option<Arc<Tls>>,
    mut asked: Sighup,
    at_start: Looks,
) {
    tokio::spawn(async move {
        let looks = async |loader: &Arc<Loader>| {
            let loader = Arc::clone(loader);
            spawn_blocking(move || loader.looks()).await.ok()
        };
        let mut before = Some(at_start);
        let mut due = tokio::time::interval(LOOK);
        loop {
            let why = tokio::select! {
                () = asked.recv() => "asked to",
                _ = due.tick() => {
                    if looks(&loader).await == before {
                        continue;
                    }
                    "a file has changed"
                }
            };
            // Before they are read, so that what changes meanwhile is read once more.
            before = looks(&loader).await;
            match reload_access(&service, &loader).await {
                Ok(()) => tracing::info!(why, "reloaded access configuration"),
                Err(error) => tracing::error!(
                    why,
                    error = text(&error),
                    "who may ask stays as it was: the configuration cannot be used"
                ),
            }
            match reload(&service, &loader, tls.as_deref()).await {
                Ok(digest) => tracing::info!(why, policy_set = digest, "policies were replaced"),
                Err(error) => {
                    service.record_reload_failure();
                    if error.is::<NotOnRecord>() {
                        // Nothing is wrong with the files: they are read again at the next look.
                        before = None;
                    }
                    tracing::error!(
                        why,
                        error = text(&error),
                        "the policies in use stay: the new ones cannot be used"
                    );
                }
            }
        }
    });
}

fn text(error: &anyhow::Error) -> String {
    countersign::visible(&format!("{error:#}"))
}

/// The form of subjects has changed, and there was no room in the log to say so.
#[derive(Debug)]
struct NotOnRecord(Problem);

impl std::fmt::Display for NotOnRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the form of subjects: {:?}", self.0)
    }
}

impl std::error::Error for NotOnRecord {}

/// On its own: whom nobody trusts any more must not wait for policies to be right.
async fn reload_access(service: &Service, loader: &Arc<Loader>) -> Result<()> {
    let (loader, url) = (Arc::clone(loader), service.url().clone());
    service.replace_authorizer(spawn_blocking(move || loader.access(&url)).await??);
    Ok(())
}

async fn reload(service: &Service, loader: &Arc<Loader>, tls: Option<&Tls>) -> Result<String> {
    let loading = Arc::clone(loader);
    let loaded = spawn_blocking(move || loading.load()).await??;
    if loaded.takes_restart {
        tracing::warn!(
            "changes of `state`, `address`, [tokens], [runs], [keys] and [limits] require a restart"
        );
    }
    if loaded.url != *service.url() {
        bail!("issuer.url has changed, which takes a restart: every trust in it breaks");
    }
    match (tls, &loaded.tls) {
        (Some(tls), Some((certificate, key))) => {
            tls.replace(certificate, key).context("listen.certificate")?;
        }
        (None, None) => {}
        _ => bail!("listen.certificate was added or removed, which takes a restart"),
    }
    let digest = loaded.deciding.policies.digest().to_string();
    service.replace(loaded.deciding).map_err(NotOnRecord)?;
    Ok(digest)
}
