//! `countersign serve`

mod console;
mod ext_authz;
#[cfg(unix)]
mod kubernetes;
mod log_lines;
mod logging;
#[cfg(unix)]
mod open_files;
mod registries;
mod releases;
mod reload;
mod signals;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use countersign_deployment::{Loader, ServiceState, Snapshot};
use countersign_http::{Listeners, Tls, serve};
use countersign_issuer::{Permission, Service, TraceSink};
use countersign_traces::{TraceExporter, TracesConfig};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::MissedTickBehavior;

pub(crate) use self::logging::{LogForm, begin as begin_logging};
use self::releases::Releases;
use self::signals::Sighup;
pub(crate) use self::signals::Stop;
use crate::cache::CacheArguments;
use crate::output::{self, Exit};

/// The interval of maintenance: key rotation and the removal of expired runs.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);

/// The interval at which a service that could not be prepared is tried again, where a cluster needs the process meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The stack of a host thread, with room for a guest's.
const STACK_BYTES: usize = 3 << 20;

/// The time for which the service waits at its end until traces are sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Serve the token endpoint: register runs, exchange tokens, decide by policies
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign serve --config issuer.toml

The configuration names the address (127.0.0.1:8080 by default), the manifest, the trusted issuers,
and the folder of its state: the database, the decision log and the keys, which are created if missing. examples/issuer.toml has every key, docs/issuer.md describes the service, and
`GET /openapi.json` its API.

SIGHUP, or a change in the content of the manifest, of a file that it names, or of the
configuration, reloads policies, API keys, trusted issuers and the certificate. New policies
are prepared beside those in use and replace them together; if anything fails, those in use stay.
API keys and trusted issuers are replaced separately, even if policies fail. SIGHUP also fetches the
keys of trusted issuers anew, so that one that was withdrawn is no longer accepted. Where a release is
active (`countersign release`), it decides in the place of the manifest's bindings. Other changes of
the configuration require a restart. SIGTERM, SIGINT and SIGQUIT stop the service: requests finish,
then log and database are closed. Other signals that would end it are ignored and logged.

The service logs to stderr, a line of JSON for each event: warnings and errors at once, others within
five milliseconds. `--log-format text` is for people. RUST_LOG sets the level
(`RUST_LOG=countersign=debug`).

Under systemd it says when it is ready, reloads and stops, and keeps a watchdog quiet until only a restart can mend it
(`Type=notify`, `WatchdogSec=`); deploy/systemd has a unit.

Exit status: 0 stopped, 1 anything else.")]
pub(crate) struct Serve {
    /// The configuration, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    cache: CacheArguments,

    /// The format of the service's own log
    #[arg(long, value_enum, default_value_t = LogForm::Json)]
    log_format: LogForm,
}

impl Serve {
    pub(crate) fn run(&self) -> Result<Exit> {
        let log = logging::begin(self.log_format)?;
        // From here on every message is a log line.
        match self.start(&log.dropped()) {
            Ok(done) => Ok(done),
            Err(error) => {
                let error = countersign::visible(&format!("{error:#}"));
                tracing::error!(error, "fatal error");
                Ok(Exit::Failed)
            }
        }
    }

    fn start(&self, dropped_log_lines: &Arc<AtomicU64>) -> Result<Exit> {
        #[cfg(unix)]
        open_files::raise_limit();
        let (loader, snapshot) =
            Loader::open(&self.config, self.cache.open()?, output::warn_or_log)?;
        let loader = Arc::new(loader);
        let config = loader.config();
        let traces = traces()?;
        let runtime = Builder::new_multi_thread()
            .enable_all()
            // A thread for each concurrent decision, since a decision blocks its thread, and some for files.
            .max_blocking_threads(config.settings.max_requests + 16)
            .thread_stack_size(STACK_BYTES)
            .build()
            .context("failed to start threads")?;
        let served = self.serve(&runtime, &loader, snapshot, (dropped_log_lines, traces.as_ref()));
        // Within the time that a supervisor gives: a collector that does not answer holds up nobody.
        if let Some(traces) = &traces {
            traces.flush(FLUSH_TIMEOUT);
        }
        // Requests had their grace period; threads that still block are abandoned.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    fn serve(
        &self,
        runtime: &Runtime,
        loader: &Arc<Loader>,
        snapshot: Snapshot,
        (dropped_log_lines, traces): (&Arc<AtomicU64>, Option<&Arc<TraceExporter>>),
    ) -> Result<Exit> {
        let config = loader.config();
        // First: a port in use should be reported before the policies are prepared.
        let bind = |key: &str, address: SocketAddr| {
            runtime
                .block_on(TcpListener::bind(address))
                .with_context(|| format!("{}: {key}: {address}", self.config.display()))
        };
        let main = bind("listen.address", config.listen.address)?;
        let probes =
            config.listen.probes.map(|address| bind("listen.probes", address)).transpose()?;
        let gate = config.ext_authz.as_ref().map(|gate| bind("ext-authz.address", gate.address));
        let gate = gate.transpose()?;
        let address = main.local_addr()?;
        let probes_address = probes.as_ref().map(TcpListener::local_addr).transpose()?;
        // Before the log is opened and policies are prepared, so that a signal meanwhile is not missed and ends nothing at
        // once.
        let (stop, sighup) = runtime.block_on(async {
            #[cfg(unix)]
            signals::ignore_others()?;
            anyhow::Ok((Stop::listen()?, Sighup::listen()?))
        })?;
        let mut stop = Box::pin(stop.recv());
        // Before the log is opened and policies are prepared: the cluster waits for neither.
        #[cfg(unix)]
        let signer = kubernetes::KubernetesSigner::begin(runtime, loader, &snapshot)?;
        #[cfg(unix)]
        let keep_trying = signer.is_some();
        #[cfg(not(unix))]
        let keep_trying = false;
        let prepared = runtime.block_on(async {
            tokio::select! {
                prepared = prepare_or_retry(loader, snapshot, keep_trying) => prepared.map(Some),
                () = &mut stop => Ok(None),
            }
        });
        let Some((Prepared { service, tls, releases }, snapshot)) = prepared? else {
            #[cfg(unix)]
            if let Some(signer) = signer {
                runtime.block_on(signer.stop());
            }
            tracing::info!("stopped before it has served");
            return Ok(Exit::Success);
        };
        service.count_dropped_log_lines(Arc::clone(dropped_log_lines));
        if let Some(traces) = traces {
            let sink: Arc<dyn TraceSink> = Arc::<TraceExporter>::clone(traces);
            service.collect_traces(sink, traces.dropped());
        }
        if let Some(tls) = &tls {
            reload::show_certificate(&service, tls);
        }
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "plain HTTP beyond this machine: runners' tokens can be read in transit"
            );
        }
        runtime.block_on(async {
            // Before the first decision, so that none is before the steps that led to its policies.
            releases.begin(&service).await?;
            #[cfg(unix)]
            if let Some(signer) = &signer {
                signer.attach(&service)?;
            }
            let (of_reload, of_releases) = (Arc::clone(&service), Arc::clone(&releases));
            reload::watch(of_reload, of_releases, tls.clone(), sighup, snapshot);
            registries::watch(Arc::clone(&service), Arc::clone(&releases), self.cache.clone());
            releases::watch(Arc::clone(&service), releases);
            run_maintenance(Arc::clone(&service));
            if let Some(database) = &config.database {
                if database.url.is_exposed() {
                    tracing::warn!("the connection to the database is plain beyond this machine");
                }
                run_beats(Arc::clone(&service), database.poll / 3).await;
            }
            supervisor::keep_watchdog_quiet(&service);
            let gate_at = gate.as_ref().and_then(|gate| gate.local_addr().ok());
            let gate = gate.map(|listener| ext_authz::Gate::begin(&service, listener));
            let scheme = if tls.is_some() { "https" } else { "http" };
            let issuer = service.url().as_str();
            let (state, policy_set) = (&config.state, service.policy_set().to_string());
            let (api_keys, trusted_issuers) = (config.api_keys.len(), config.trusted_issuers.len());
            let probes_at = probes_address.map(tracing::field::display);
            tracing::info!(
                %address, scheme, issuer, state, policy_set, api_keys, trusted_issuers,
                probes = probes_at, ext_authz = gate_at.map(tracing::field::display), "listening"
            );
            if !config.any_principal_has(Permission::Runs) {
                tracing::warn!(
                    "no principal may register runs, so no token can be issued: add an `[[api-key]]`"
                );
            }
            let stop = async {
                stop.await;
                tracing::info!("stopping: requests finish");
                supervisor::is_stopping();
                // Both before the log is closed.
                if let Some(gate) = gate {
                    gate.stop().await;
                }
                #[cfg(unix)]
                if let Some(signer) = signer {
                    signer.stop().await;
                }
            };
            let console = self.console(config.any_principal_has(Permission::Read), &probes).await;
            supervisor::is_serving();
            let pages = console.as_ref().map(console::pages);
            let served = serve(service, Listeners { main, tls, probes, console: pages }, stop).await;
            if let Some(console) = console {
                console.close().await;
            }
            served?;
            tracing::info!("stopped");
            Ok(Exit::Success)
        })
    }

    /// The console, where somebody may read and there is a listener for it.
    async fn console(
        &self,
        may_read: bool,
        probes: &Option<TcpListener>,
    ) -> Option<Arc<countersign_console::Console>> {
        if !may_read {
            return None;
        }
        if probes.is_none() {
            tracing::warn!(
                "a principal may `read`, and there is no listener for the console: set `listen.probes`"
            );
            return None;
        }
        // Tokens do not wait for somebody who reads.
        let opened = console::open(&self.config, &self.cache).await;
        let console = opened.inspect_err(|error| {
            let error = countersign::visible(&format!("{error:#}"));
            tracing::error!(error, "the console is not shown");
        });
        console.ok()
    }
}

/// Starts to send traces, where an endpoint is configured.
fn traces() -> Result<Option<Arc<TraceExporter>>> {
    let variable = |name: &'static str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        // No value that is supported.
        Err(std::env::VarError::NotUnicode(_)) => Some("\u{fffd}".to_owned()),
    };
    let Some(config) = TracesConfig::read(variable)? else { return Ok(None) };
    let collector = config.collector();
    let exporter = TraceExporter::start(config)?;
    tracing::info!(collector, "sends traces");
    Ok(Some(exporter))
}

/// Everything that a service starts with.
struct Prepared {
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    releases: Arc<Releases>,
}

/// Prepares the service; where `keep_trying`, until that succeeds, since a cluster needs this process also while it decides
/// nothing. Gives the files that it was prepared from.
async fn prepare_or_retry(
    loader: &Arc<Loader>,
    mut snapshot: Snapshot,
    keep_trying: bool,
) -> Result<(Prepared, Snapshot)> {
    loop {
        match prepare(loader, &snapshot).await {
            Ok(prepared) => return Ok((prepared, snapshot)),
            Err(error) if keep_trying => {
                let error = countersign::visible(&format!("{error:#}"));
                tracing::error!(
                    error,
                    "cannot decide; signing for the cluster's API server alone, and trying again"
                );
                // A supervisor that waits for longer would end the process, and the cluster's tokens with it.
                supervisor::is_serving();
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        let (reading, before) = (Arc::clone(loader), snapshot.clone());
        if let Ok(read) = tokio::task::spawn_blocking(move || reading.snapshot(&before)).await {
            snapshot = read;
        }
    }
}

/// Opens the state of the service, prepares its policies, and starts it.
async fn prepare(loader: &Arc<Loader>, snapshot: &Snapshot) -> Result<Prepared> {
    let state = ServiceState::open(loader, &loader.issuer(snapshot)?).await?;
    for recovered in &state.recovered {
        tracing::warn!(?recovered, "quarantined an incomplete record left by a crash");
    }
    let (preparing, of_thread) = (Arc::clone(loader), snapshot.clone());
    let shared = state.shared();
    let prepared = tokio::task::spawn_blocking(move || {
        let (releases, deployment) = Releases::open(&preparing, &of_thread, shared)?;
        let authorizer = preparing.authorizer(&of_thread, &deployment.installation.url)?;
        anyhow::Ok((releases, deployment, authorizer))
    });
    let tls = loader.tls(snapshot)?.map(|tls| Tls::new(tls.certificate(), tls.key()));
    let tls = tls.transpose().context("listen.certificate")?.map(Arc::new);
    let (releases, deployment, authorizer) = prepared.await??;
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix limits descriptors"))]
    let mut parts = state.into_parts(loader, deployment, authorizer);
    #[cfg(unix)]
    open_files::leave_room(&mut parts.config);
    // Files and a database are read for it, which blocks.
    let service = tokio::task::spawn_blocking(move || Service::start(parts)).await??;
    Ok(Prepared { service, tls, releases: Arc::new(releases) })
}

/// Tells the other replicas that this one is there, first of all at once. An error is said when it begins and when it ends.
async fn run_beats(service: Arc<Service>, interval: Duration) {
    let mut failing = beat(&service, false).await;
    tokio::spawn(async move {
        let mut due = tokio::time::interval(interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            failing = beat(&service, failing).await;
        }
    });
}

async fn beat(service: &Arc<Service>, failing: bool) -> bool {
    match service.beat().await {
        Err(problem) if !failing => {
            tracing::error!(?problem, "failed to reach the other replicas; trying again");
            true
        }
        Err(_) => true,
        Ok(()) if failing => {
            tracing::info!("reached the other replicas again");
            false
        }
        Ok(()) => false,
    }
}

fn run_maintenance(service: Arc<Service>) {
    tokio::spawn(async move {
        let mut due = tokio::time::interval(MAINTENANCE_INTERVAL);
        loop {
            due.tick().await;
            if let Err(problem) = service.run_maintenance().await {
                tracing::error!(?problem, "maintenance failed; trying again");
            }
        }
    });
}
