//! `countersign runs watch`

mod cluster;
mod job;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::RunId;
use serde::Serialize;
use tokio::runtime::Builder;

use self::cluster::{Cluster, ClusterError, EventKind};
use self::job::{JobOfRun, KubernetesJob};
use super::client::{Api, ApiError, ServiceArguments};
use crate::output::{self, Exit, Format};
use crate::serve::Stop;

/// The first pause after a failure; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Register the runs of a cluster's Jobs, and finish each when its Job ends
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign runs watch --url https://oidc.example.com --api-key-file control-plane.key --namespace demo
  countersign runs watch --url http://127.0.0.1:8080 --api-key-file control-plane.key --namespace demo \\
      --cluster https://10.0.0.1:6443 --cluster-ca-file ca.crt --cluster-token-file token

A Job is one of a run if it has the label `countersign/run` with the run's UUID. It needs the annotations
`countersign/runner` with the UUID of the runner, and `countersign/run-object` with the run object (a
meshBuildingBlockRun; leave out its inputs and tokens, which everybody who may read Jobs could read). The name of its pods
leads to the run, so call it `runner-UUID`. docs/kubernetes.md has a Job, and the Role that this command needs.

Within a pod the cluster, its certificates and the service account's token are found where Kubernetes puts them. The
token's file is read again for each request. After a failure the command tries again, at first after half a second and
at last every 30 seconds; it ends only if the cluster denies the first list.

A line is printed for each run that is registered, finished or refused; the JSON is an object a line with `event`
(`registered`, `finished` or `refused`), `run`, `job` and `problem` (null, or why the service or the watch refused it).

Exit status: 0 stopped by a signal, 1 anything else.")]
pub(super) struct Watch {
    #[command(flatten)]
    service: ServiceArguments,

    /// The namespace of the Jobs
    #[arg(long, value_name = "NAMESPACE")]
    namespace: String,

    /// The URL of the cluster's API server, instead of the one that this pod belongs to
    #[arg(long, value_name = "URL")]
    cluster: Option<String>,

    /// Certificate authorities (PEM) to verify the API server with
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    )]
    cluster_ca_file: PathBuf,

    /// The token that the API server is shown
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )]
    cluster_token_file: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Line<'l> {
    event: &'static str,
    run: &'l str,
    job: &'l str,
    problem: Option<&'l str>,
}

/// The runs of a cluster, as far as this process has seen them.
struct Watcher<'w> {
    cluster: Cluster,
    api: Api,
    format: Format,
    namespace: &'w str,
    /// Runs that were registered and not finished.
    live: BTreeSet<RunId>,
    /// Runs that were refused or finished: nothing more is done about them, and nothing more is said.
    done: BTreeSet<RunId>,
    /// True once a list was given.
    has_listed: bool,
}

/// The reason to begin again with a list.
enum Again {
    /// The cluster does not have the changes since then any more, or its connection ended.
    Now,
    /// Something failed.
    Later(String),
    /// It fails again and again.
    Never(anyhow::Error),
}

impl Watch {
    pub(super) fn run(&self) -> Result<Exit> {
        let is_label = |text: &str| {
            (1..=63).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_label(&self.namespace) {
            bail!("--namespace: expected the name of a namespace");
        }
        let cluster = Cluster::new(
            self.cluster.as_deref(),
            &self.cluster_ca_file,
            self.cluster_token_file.clone(),
        )?;
        let mut watcher = Watcher {
            cluster,
            api: self.service.api()?,
            format: self.format,
            namespace: &self.namespace,
            live: BTreeSet::new(),
            done: BTreeSet::new(),
            has_listed: false,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stop = Stop::listen().context("failed to listen for signals")?;
            tokio::select! {
                () = stop.recv() => Ok(Exit::Success),
                error = watcher.watch() => Err(error),
            }
        })
    }
}

impl Watcher<'_> {
    /// Watches for ever.
    async fn watch(&mut self) -> anyhow::Error {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut had_event = false;
            match self.list_and_watch(&mut had_event).await {
                Again::Now if had_event => pause = FIRST_PAUSE,
                Again::Now => {}
                Again::Later(problem) => {
                    if had_event {
                        pause = FIRST_PAUSE;
                    }
                    let problem = countersign::visible(&problem);
                    output::status(&format!("{problem}; trying again in {} ms", pause.as_millis()));
                }
                Again::Never(error) => return error,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn list_and_watch(&mut self, had_event: &mut bool) -> Again {
        let listed = match self.cluster.jobs(self.namespace).await {
            Ok(listed) => listed,
            Err(error @ ClusterError::Status { status: 401 | 403 | 404, .. })
                if !self.has_listed =>
            {
                return Again::Never(anyhow::Error::new(error).context(
                    "the cluster denies the list of Jobs; docs/kubernetes.md has the Role that it needs",
                ));
            }
            Err(error) => return Again::Later(error.to_string()),
        };
        self.has_listed = true;
        let present: BTreeSet<_> = listed.jobs.iter().filter_map(|job| job.run()).collect();
        // Their Jobs went away while nobody watched. They end first: no other Job's trouble keeps their tokens coming.
        let gone: Vec<_> = self.live.difference(&present).cloned().collect();
        for run in gone {
            if let Err(again) = self.finish(&run, "").await {
                return again;
            }
        }
        for job in &listed.jobs {
            if let Err(again) = self.see(job).await {
                return again;
            }
        }
        let mut version = listed.resource_version;
        loop {
            let mut watch = match self.cluster.watch(self.namespace, &version).await {
                Ok(watch) => watch,
                Err(ClusterError::Gone) => return Again::Now,
                Err(error) => return Again::Later(error.to_string()),
            };
            let mut is_empty = true;
            loop {
                let event = match watch.next().await {
                    Ok(Some(event)) => event,
                    // The API server ends each watch after a while.
                    Ok(None) => break,
                    Err(ClusterError::Gone) => return Again::Now,
                    Err(error) => return Again::Later(error.to_string()),
                };
                (is_empty, *had_event) = (false, true);
                let seen = match event.kind {
                    EventKind::Seen => self.see(&event.job).await,
                    EventKind::Deleted => match event.job.run() {
                        Some(run) if self.live.contains(&run) => {
                            self.finish(&run, event.job.name()).await
                        }
                        _ => Ok(()),
                    },
                    EventKind::Bookmark => Ok(()),
                };
                if let Err(again) = seen {
                    return again;
                }
                version = event.resource_version;
            }
            if is_empty {
                // A server that ends every watch at once would be asked for ever.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
        }
    }

    /// Registers or finishes the run of a Job, as the Job is.
    async fn see(&mut self, job: &KubernetesJob) -> Result<(), Again> {
        let Some(run) = job.run() else {
            let problem = "the label `countersign/run` is no UUID of a run";
            return self.print("refused", "", job.name(), Some(problem));
        };
        if self.done.contains(&run) {
            return Ok(());
        }
        if job.has_ended() {
            return match self.live.contains(&run) {
                true => self.finish(&run, job.name()).await,
                // It ended before anybody watched, or was registered by a process before this one.
                false => self.finish_if_there(&run, job.name()).await,
            };
        }
        if self.live.contains(&run) {
            return Ok(());
        }
        let JobOfRun { runner, object } = match job.of_run(&run) {
            Ok(of_run) => of_run,
            Err(problem) => return self.refuse(run, job.name(), &problem),
        };
        match self.api.register(&run, &runner, object).await {
            Ok(()) => {
                self.print("registered", run.as_str(), job.name(), None)?;
                self.live.insert(run);
                Ok(())
            }
            Err(error) => self.not_done(run, job.name(), &error),
        }
    }

    async fn finish(&mut self, run: &RunId, job: &str) -> Result<(), Again> {
        match self.api.finish(run).await {
            // Forgotten by the service: it gets no token either.
            Ok(()) | Err(ApiError::Status { status: 404, .. }) => {
                self.print("finished", run.as_str(), job, None)?;
                self.live.remove(run);
                self.done.insert(run.clone());
                Ok(())
            }
            Err(error) => self.not_done(run.clone(), job, &error),
        }
    }

    /// Finishes a run that a process before this one may have registered.
    async fn finish_if_there(&mut self, run: &RunId, job: &str) -> Result<(), Again> {
        match self.api.finish(run).await {
            Ok(()) => {
                self.print("finished", run.as_str(), job, None)?;
                self.done.insert(run.clone());
                Ok(())
            }
            Err(ApiError::Status { status: 404, .. }) => {
                self.done.insert(run.clone());
                Ok(())
            }
            Err(error) => self.not_done(run.clone(), job, &error),
        }
    }

    /// The way on after the service did not do as it was asked: nothing changes a refusal, and everything else may.
    fn not_done(&mut self, run: RunId, job: &str, error: &ApiError) -> Result<(), Again> {
        match error {
            ApiError::Status { status: 400 | 404 | 409 | 413 | 415, .. } => {
                self.refuse(run, job, &error.to_string())
            }
            _ => Err(Again::Later(format!("run {run}: {error}"))),
        }
    }

    fn refuse(&mut self, run: RunId, job: &str, problem: &str) -> Result<(), Again> {
        self.print("refused", run.as_str(), job, Some(problem))?;
        self.live.remove(&run);
        self.done.insert(run);
        Ok(())
    }

    fn print(
        &self,
        event: &'static str,
        run: &str,
        job: &str,
        problem: Option<&str>,
    ) -> Result<(), Again> {
        let line = match self.format {
            Format::Json => serde_json::to_string(&Line { event, run, job, problem })
                .map_err(|error| Again::Never(error.into()))?,
            Format::Human => {
                let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
                output::one_line(&format!("{event} {run} {job}{problem}"))
            }
        };
        output::print(&format!("{line}\n")).map_err(Again::Never)
    }
}
