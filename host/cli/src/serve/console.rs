//! The console of a service: pages over its own log, at `/console` of its listener for probes.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use countersign_console::{Console, ConsoleConfig, LogName};
use countersign_deployment::ReleaseStore;
use countersign_http::{CONSOLE, ConsolePages};

use crate::cache::CacheArguments;
use crate::console::{ConsolePolicies, index_beside, log_source};

/// Opens the console over the log of a service, which is open already.
pub(super) async fn open(config: &Path, cache: &CacheArguments) -> Result<Arc<Console>> {
    let folder = ReleaseStore::of_config(config)?.log();
    let mut policies = ConsolePolicies::new(cache.open()?)?;
    policies.add_config(config)?;
    let log = log_source(LogName::parse("log")?, &folder, None, index_beside(&folder))?;
    let config = ConsoleConfig {
        logs: vec![log],
        policies: Arc::new(policies),
        reports: None,
        base: CONSOLE,
        // Whoever calls has an API key or a token, which no name that leads here brings along.
        hosts: None,
    };
    Ok(Console::open(config).await?)
}

/// The pages, for the listener.
pub(super) fn pages(console: &Arc<Console>) -> ConsolePages {
    let console = Arc::clone(console);
    Arc::new(move |head| {
        let console = Arc::clone(&console);
        Box::pin(async move { console.respond(&head).await })
    })
}
