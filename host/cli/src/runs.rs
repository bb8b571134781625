//! `countersign runs`

mod client;
mod watch;

use anyhow::Result;
use clap::{ArgGroup, Args, Subcommand};
use countersign::{RunId, RunnerId};
use serde::Serialize;

use self::client::{Run, ServiceArguments};
use crate::output::{self, Exit, Format};

/// The maximum of runs that are asked for at a time.
const PAGE: usize = 1000;

/// List, show and finish the runs that are registered with a service, or register them from a cluster's Jobs
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign runs list --url https://oidc.example.com --api-key-file control-plane.key --live
  countersign runs show --url https://oidc.example.com --api-key-file control-plane.key \\
      b3116611-e08b-4b00-91c5-10365b25a6ef
  countersign runs finish --url https://oidc.example.com --api-key-file control-plane.key \\
      --runner 98520496-627d-43e6-82da-ce499179ff3f
  countersign runs watch --url https://oidc.example.com --api-key-file control-plane.key --namespace demo

The API key needs the permission `runs`. Proxies are not used.")]
pub(crate) struct Runs {
    #[command(subcommand)]
    command: RunsCommand,
}

#[derive(Subcommand)]
enum RunsCommand {
    List(List),
    Show(Show),
    Finish(Finish),
    Watch(watch::Watch),
}

/// List runs in the order of their UUIDs
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign runs list --url https://oidc.example.com --api-key-file control-plane.key --live
  countersign runs list --url http://127.0.0.1:8080 --api-key-file control-plane.key \\
      --runner 98520496-627d-43e6-82da-ce499179ff3f --format json

The JSON has `runs`, each with `run`, `runner`, `workspace`, `definition_workspace`, `definition`,
`state` (`live`, `finished` or `expired`), and in seconds since 1970 `registered_at`, `expires_at` and
`finished_at` (or null); and `next`: `--after` of the runs that follow, or null. Secrets of runs are never shown.

Exit status: 0 done, 1 anything else.")]
struct List {
    #[command(flatten)]
    service: ServiceArguments,

    /// Runs of this runner alone
    #[arg(long, value_name = "UUID")]
    runner: Option<RunnerId>,

    /// Runs alone that may have tokens
    #[arg(long)]
    live: bool,

    /// Runs alone after this one
    #[arg(long, value_name = "UUID")]
    after: Option<RunId>,

    /// The maximum of runs
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Show a run
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign runs show --url https://oidc.example.com --api-key-file control-plane.key \\
      b3116611-e08b-4b00-91c5-10365b25a6ef

The JSON has the members of a run in `countersign runs list --format json`.

Exit status: 0 done, 1 anything else, also where there is no such run.")]
struct Show {
    #[command(flatten)]
    service: ServiceArguments,

    /// The run
    #[arg(value_name = "UUID")]
    run: RunId,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Finish a run, or all live runs of a runner: they get no more tokens
#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).args(["run", "runner"]), after_help = "\
Examples:
  countersign runs finish --url https://oidc.example.com --api-key-file control-plane.key \\
      b3116611-e08b-4b00-91c5-10365b25a6ef
  countersign runs finish --url https://oidc.example.com --api-key-file control-plane.key \\
      --runner 98520496-627d-43e6-82da-ce499179ff3f

What is finished already stays so. Tokens that a run has stay valid until they expire.
The JSON has `run`, or `runner` and `finished`, the number of runs that were live.

Exit status: 0 done, 1 anything else, also where there is no such run.")]
struct Finish {
    #[command(flatten)]
    service: ServiceArguments,

    /// The run
    #[arg(value_name = "UUID")]
    run: Option<RunId>,

    /// The runner
    #[arg(long, value_name = "UUID")]
    runner: Option<RunnerId>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Listed {
    runs: Vec<Run>,
    next: Option<String>,
}

#[derive(Serialize)]
struct FinishedRun<'r> {
    run: &'r str,
}

#[derive(Serialize)]
struct FinishedRunner<'r> {
    runner: &'r str,
    finished: u64,
}

impl Runs {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            RunsCommand::List(command) => command.run(),
            RunsCommand::Show(command) => command.run(),
            RunsCommand::Finish(command) => command.run(),
            RunsCommand::Watch(command) => command.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<Exit> {
        let client = self.service.client()?;
        let limit = usize::try_from(self.limit)?;
        let (mut runs, mut next) = (Vec::new(), self.after.as_ref().map(RunId::to_string));
        loop {
            let page = (limit - runs.len()).min(PAGE).to_string();
            let mut query = vec![("limit", page.as_str())];
            query.extend(self.runner.as_ref().map(|runner| ("runner", runner.as_str())));
            query.extend(self.live.then_some(("live", "true")));
            query.extend(next.as_deref().map(|after| ("after", after)));
            let page = client.page(&query)?;
            runs.extend(page.runs);
            // A service that does not get on would be asked for ever.
            let stands = page.next.is_some() && page.next <= next;
            anyhow::ensure!(!stands, "the service gave a page before the last one");
            next = page.next;
            if next.is_none() || runs.len() >= limit {
                break;
            }
        }
        if self.format == Format::Json {
            output::print_json(&Listed { runs, next })?;
            return Ok(Exit::Success);
        }
        for run in &runs {
            output::print(&format!("{}\n", line(run)))?;
        }
        if let Some(next) = next {
            output::status(&format!("there may be more: --after {}", output::one_line(&next)));
        }
        Ok(Exit::Success)
    }
}

impl Show {
    fn run(&self) -> Result<Exit> {
        let run = self.service.client()?.run(&self.run)?;
        match self.format {
            Format::Json => output::print_json(&run)?,
            Format::Human => output::print(&format!("{}\n", line(&run)))?,
        }
        Ok(Exit::Success)
    }
}

impl Finish {
    fn run(&self) -> Result<Exit> {
        let client = self.service.client()?;
        let json = self.format == Format::Json;
        if let Some(run) = &self.run {
            client.finish(run)?;
            match json {
                true => output::print_json(&FinishedRun { run: run.as_str() })?,
                false => output::print(&format!("finished the run {run}\n"))?,
            }
        }
        if let Some(runner) = &self.runner {
            let finished = client.finish_runner(runner)?;
            match json {
                true => output::print_json(&FinishedRunner { runner: runner.as_str(), finished })?,
                false => {
                    output::print(&format!("finished {finished} runs of the runner {runner}\n"))?
                }
            }
        }
        Ok(Exit::Success)
    }
}

/// A run, for people. What the service says is escaped.
fn line(run: &Run) -> String {
    let until = match run.finished_at {
        Some(at) => format!("since {}", output::time(at)),
        None => format!("until {}", output::time(run.expires_at)),
    };
    let until = if run.state == "expired" {
        format!("since {}", output::time(run.expires_at))
    } else {
        until
    };
    output::one_line(&format!(
        "{} {} {until} of {} by {} on {}",
        run.run, run.state, run.definition_workspace, run.workspace, run.runner
    ))
}
