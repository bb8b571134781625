//! `countersign console`

mod policies;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use countersign_console::{
    AllowedHosts, Console as Pages, ConsoleConfig, LogName, LogSource, serve,
};
use countersign_deployment::ReleaseStore;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

pub(crate) use self::policies::ConsolePolicies;
use crate::cache::CacheArguments;
use crate::log::{checkpoint_key, folder_of};
use crate::output::Exit;
use crate::serve::{LogForm, Stop, begin_logging};

/// The stack of a thread, with room for a guest's.
const STACK_BYTES: usize = 3 << 20;

/// Show decision logs as pages: search, decisions explained, refusals, releases, policies, keys
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign console --log state/log --policies countersign.toml
  countersign console --config issuer.toml --reports reports

  # A copy of a log and an archive, read where neither can be written
  countersign console --log live=/copies/log --log archive=/archive/log --index /var/tmp/console

  # As JSON, for programs
  curl -s 'http://127.0.0.1:8090/log/records.json?outcome=refused&workspace=team-a&since=2026-11-01'

It listens on loopback (127.0.0.1:8090 by default), reads, and changes nothing but its indexes. It authenticates nobody:
whoever reaches it reads all that the logs have. It answers to localhost, to the address that it listens on and to each
--host, and refuses requests for other names and from pages of other sites. A service shows the same at /console of its
listener for probes, to callers with the permission `read` (docs/console.md).

Each log is verified while it is indexed, from its first record on at each start, and followed while it grows: each page
says up to which checkpoint. A log that is damaged or cut is shown up to there. The index is a file of SQLite beside the
log, which can be removed and is built anew then.

Decisions are explained by the policy sets that made them: those of the manifests given by --policies, with their components
as they were, and with --config those of the service and all of its releases.

SIGTERM, SIGINT and SIGQUIT stop it: requests finish first.

Exit status: 0 stopped, 1 anything else.")]
pub(crate) struct Console {
    /// A folder with a log, or with an archive of one; repeat it for several. NAME is its name in paths [default: the
    /// folder's own name]
    #[arg(long = "log", value_name = "[NAME=]FOLDER", required_unless_present = "config")]
    logs: Vec<LogArgument>,

    /// The configuration of a service, `issuer.toml`: its log, its policies and its releases
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The manifest of a policy set that decided; repeat it for several
    #[arg(long, short, value_name = "FILE")]
    policies: Vec<PathBuf>,

    /// A folder with reports of `countersign impact --format json`
    #[arg(long, value_name = "FOLDER")]
    reports: Option<PathBuf>,

    /// The public key of a log's checkpoints, a JWK Set, where there is one log [default: checkpoint-key.json in its folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// The folder of the indexes [default: beside each log]
    #[arg(long, value_name = "FOLDER")]
    index: Option<PathBuf>,

    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)))]
    listen: SocketAddr,

    /// A name that it is reached by, beside localhost and its address; repeat it for several
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,

    #[command(flatten)]
    cache: CacheArguments,

    /// The format of its own log
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    log_format: LogForm,
}

/// A log by its folder, with its name.
#[derive(Debug, Clone)]
struct LogArgument {
    name: Option<String>,
    folder: PathBuf,
}

impl FromStr for LogArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name has no slash: a folder with `=` in it is given as a path.
        match text.split_once('=') {
            Some((name, folder)) if !name.contains('/') => {
                LogName::parse(name).map_err(|error| error.to_string())?;
                Ok(Self { name: Some(name.to_owned()), folder: PathBuf::from(folder) })
            }
            _ => Ok(Self { name: None, folder: PathBuf::from(text) }),
        }
    }
}

impl Console {
    pub(crate) fn run(&self) -> Result<Exit> {
        let logs = self.sources()?;
        if let Some(reports) = &self.reports {
            ensure!(reports.is_dir(), "--reports: {}: not a folder", reports.display());
        }
        let policies = self.known_policies()?;
        let _flush = begin_logging(self.log_format)?;
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_stack_size(STACK_BYTES)
            .build()
            .context("failed to start threads")?;
        runtime.block_on(async {
            let stop = Stop::listen()?;
            let listener = TcpListener::bind(self.listen)
                .await
                .with_context(|| format!("--listen {}", self.listen))?;
            let address = listener.local_addr()?;
            let names: Vec<_> = logs.iter().map(|log| log.name.as_str().to_owned()).collect();
            let config = ConsoleConfig {
                logs,
                policies: Arc::new(policies),
                reports: self.reports.clone(),
                base: "",
                hosts: Some(self.allowed_hosts(address)),
            };
            let console = Pages::open(config).await?;
            if !address.ip().is_loopback() {
                tracing::warn!(
                    "it listens beyond this machine and authenticates nobody: whoever reaches it reads all of the logs"
                );
            }
            tracing::info!(%address, url = format!("http://{address}/"), logs = names.join(" "), "listening");
            serve(console, listener, stop.recv()).await?;
            tracing::info!("stopped");
            Ok(Exit::Success)
        })
    }

    fn allowed_hosts(&self, address: SocketAddr) -> AllowedHosts {
        let own = Some(address.ip()).filter(|ip| !ip.is_unspecified());
        let own = own.map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
        AllowedHosts::loopback_and(own.into_iter().chain(self.hosts.iter().cloned()))
    }

    /// The logs, each with its key and the file of its index.
    fn sources(&self) -> Result<Vec<LogSource>> {
        let mut logs = self.logs.clone();
        if let Some(config) = &self.config {
            let folder = ReleaseStore::of_config(config)?.log();
            logs.insert(0, LogArgument { name: None, folder });
        }
        ensure!(
            self.key.is_none() || logs.len() == 1,
            "--key: expected one log, found {}",
            logs.len()
        );
        let mut names = BTreeSet::new();
        let source = |log: &LogArgument| {
            let name = log.name()?;
            if !names.insert(name.clone()) {
                bail!(
                    "two logs have the name `{}`: give one of them another, `--log NAME=FOLDER`",
                    name.as_str()
                );
            }
            let index = match &self.index {
                Some(folder) => {
                    std::fs::create_dir_all(folder)
                        .with_context(|| folder.display().to_string())?;
                    folder.join(format!("{}.console.db", name.as_str()))
                }
                None => index_beside(&log.folder),
            };
            log_source(name, &log.folder, self.key.as_deref(), index)
        };
        logs.iter().map(source).collect()
    }

    fn known_policies(&self) -> Result<ConsolePolicies> {
        let mut known = ConsolePolicies::new(self.cache.open()?)?;
        for manifest in &self.policies {
            known.add_manifest(manifest);
        }
        if let Some(config) = &self.config {
            known.add_config(config)?;
        }
        // A manifest that cannot be used is reported now, and not by the first page that needs it.
        known.prepare_manifests()?;
        Ok(known)
    }
}

impl LogArgument {
    fn name(&self) -> Result<LogName> {
        if let Some(name) = &self.name {
            return Ok(LogName::parse(name)?);
        }
        let folder =
            self.folder.canonicalize().with_context(|| self.folder.display().to_string())?;
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        LogName::parse(name).with_context(|| {
            format!("{}: give the log a name: `--log NAME=FOLDER`", self.folder.display())
        })
    }
}

/// The log in a folder, as the console shows it.
pub(crate) fn log_source(
    name: LogName,
    folder: &Path,
    key: Option<&Path>,
    index: PathBuf,
) -> Result<LogSource> {
    let folder = folder_of(folder)?.to_owned();
    let key = Arc::new(checkpoint_key(&folder, key)?);
    Ok(LogSource { name, folder, key, index })
}

/// The file of a log's index: beside its folder, as nothing but records is in that.
pub(crate) fn index_beside(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or("log");
    folder.with_file_name(format!("{name}.console.db"))
}
