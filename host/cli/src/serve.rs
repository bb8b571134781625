//! `countersign serve`

mod loading;
mod logging;
mod reload;
mod signals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use countersign_decision_log::{Folder, LogConfig, LogWriter};
use countersign_http::{Tls, serve};
use countersign_issuer::{
    CheckpointSigner, Clock, KeyFolder, KeyRing, Permission, Service, ServiceParts, SqliteStore,
    SystemClock, open_log,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub use self::loading::{Loader, beside, read_config};
use self::logging::LogForm;
use self::signals::Sighup;
pub use self::signals::Stop;
use crate::cache::CacheArguments;
use crate::files;
use crate::output::Done;

/// How often what is due is done: keys, and forgetting.
const HOUSEKEEPING: Duration = Duration::from_secs(15);

/// What a host thread needs for what a guest may use of its stack.
const STACK_BYTES: usize = 3 << 20;

/// Issue tokens over HTTP: runs are registered, runners exchange tokens, policies decide
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign serve --config issuer.toml

The configuration says where it listens (on 127.0.0.1:8080 unless it says otherwise), which
manifest decides, who is trusted, and where its state is: the database, the decision log and the
keys, which are made where they are not there. examples/issuer.toml has every key of it,
docs/issuer.md says how it works, and `GET /openapi.json` what is answered.

SIGHUP, or a change of the manifest, of a file that it names, or of the configuration, has
policies, API keys, trusted issuers and the certificate read again. Policies are prepared beside
those in use and take their place together; where anything fails, those in use stay. Who may ask is
replaced on its own, also where policies fail. The other settings are read at the start.
SIGTERM and SIGINT stop it: requests finish, then log and database are closed.

It logs to stderr, one line of JSON an event; `--log-format text` is for people. RUST_LOG says how
much (`RUST_LOG=countersign=debug`).

Exit status: 0 stopped, 1 anything else.")]
pub struct Serve {
    /// The configuration, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of its own log
    #[arg(long, value_enum, default_value_t = LogForm::Json)]
    log_format: LogForm,
}

impl Serve {
    pub fn run(&self) -> Result<Done> {
        logging::begin(self.log_format)?;
        // From here on what is said is a line of the log.
        match self.start() {
            Ok(done) => Ok(done),
            Err(error) => {
                let error = countersign::visible(&format!("{error:#}"));
                tracing::error!(error, "fatal error");
                Ok(Done::Failed)
            }
        }
    }

    fn start(&self) -> Result<Done> {
        #[cfg(unix)]
        raise_open_files();
        let loader = Arc::new(Loader::new(&self.config, self.cache.open()?)?);
        let config = loader.config();
        let runtime = Builder::new_multi_thread()
            .enable_all()
            // One for each request that decides, since policies take turns, and some for files.
            .max_blocking_threads(config.settings.most_requests + 16)
            .thread_stack_size(STACK_BYTES)
            .build()
            .context("the system gives no threads")?;
        let served = self.serve(&runtime, &loader);
        // What still blocks then is cut off: requests were given their time.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    fn serve(&self, runtime: &Runtime, loader: &Arc<Loader>) -> Result<Done> {
        let config = loader.config();
        // First, so that somebody else's port is not found out after everything else.
        let listener =
            runtime.block_on(TcpListener::bind(config.listen.address)).with_context(|| {
                format!("{}: listen.address: {}", self.config.display(), config.listen.address)
            })?;
        let address = listener.local_addr()?;
        // Both before anything is read, so that what happens meanwhile is not missed.
        let (stop, asked) =
            runtime.block_on(async { anyhow::Ok((Stop::listen()?, Sighup::listen()?)) })?;
        let at_start = loader.looks();
        let (parts, tls) = runtime.block_on(prepare(loader))?;
        let service = Service::start(parts)?;
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "plain HTTP beyond this machine: runners' tokens can be read on the way"
            );
        }
        runtime.block_on(async {
            let (of_reload, loader) = (Arc::clone(&service), Arc::clone(loader));
            reload::keep_up(of_reload, loader, tls.clone(), asked, at_start);
            run_maintenance(Arc::clone(&service));
            let scheme = if tls.is_some() { "https" } else { "http" };
            let issuer = service.url().as_str();
            let (state, policy_set) = (&config.state, service.policy_set().to_string());
            let (api_keys, trusted_issuers) = (config.api_keys.len(), config.trusted_issuers.len());
            tracing::info!(
                %address, scheme, issuer, state, policy_set, api_keys, trusted_issuers, "listening"
            );
            if !config.any_principal_has(Permission::Runs) {
                tracing::warn!(
                    "nobody may register runs, so no token can be issued: add an `[[api-key]]`"
                );
            }
            let stop = async {
                stop.recv().await;
                tracing::info!("stopping: requests finish");
            };
            serve(service, listener, tls, stop).await?;
            tracing::info!("stopped");
            Ok(Done::Fine)
        })
    }
}

/// Opens everything that has a place, and prepares what decides.
async fn prepare(loader: &Arc<Loader>) -> Result<(ServiceParts, Option<Arc<Tls>>)> {
    let config = loader.config();
    let state = loader.path(&config.state);
    files::private_folder(&state)?;
    let keys = KeyFolder::open(&state.join("keys"))?;
    let (log, clock) = log(&state.join("log"), &keys)?;
    let database = state.join("issuer.db");
    let store =
        SqliteStore::open(&database).await.with_context(|| database.display().to_string())?;
    let of_thread = Arc::clone(loader);
    let loaded = tokio::task::spawn_blocking(move || of_thread.load()).await??;
    let access = loader.access(&loaded.url)?;
    let tls = loaded.tls.map(|(certificate, key)| Tls::new(&certificate, &key)).transpose();
    let tls = tls.context("listen.certificate")?.map(Arc::new);
    let parts = ServiceParts {
        url: loaded.url,
        config: config.settings.clone(),
        context: loaded.deciding,
        authorizer: access,
        keys: KeyRing::in_folder(&keys),
        store: Arc::new(store),
        log,
        clock,
    };
    Ok((parts, tls))
}

/// Opens the decision log, and gives a clock that is not before what it says.
fn log(path: &Path, keys: &KeyFolder) -> Result<(LogWriter, Arc<dyn Clock>)> {
    let name = || path.display().to_string();
    let disk = Folder::open(path).with_context(name)?;
    let key = CheckpointSigner::open(keys, path)?;
    let clock = Arc::new(SystemClock::monotonic_from(key.last_signed()?.unwrap_or(0)));
    let (log, recovered) =
        open_log(disk, LogConfig::default(), key, clock.clone()).with_context(name)?;
    for recovered in recovered {
        tracing::warn!(?recovered, "quarantined an incomplete record left by a crash");
    }
    Ok((log, clock))
}

fn run_maintenance(service: Arc<Service>) {
    tokio::spawn(async move {
        let mut due = tokio::time::interval(HOUSEKEEPING);
        loop {
            due.tick().await;
            if let Err(problem) = service.run_maintenance().await {
                tracing::error!(?problem, "maintenance failed; trying again");
            }
        }
    });
}

/// Each copy of a policy has a memory file, and each connection a socket.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // Where it cannot be raised, it is as before.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit { current: limit.maximum.or(Some(1 << 20)), maximum: limit.maximum },
        );
    }
}
