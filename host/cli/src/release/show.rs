//! `countersign release status` and `countersign release list`

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use countersign::{Digest, visible};
use countersign_deployment::{Release, ReleaseState, ServiceNote};
use countersign_issuer::ReplicaEntry;
use serde::Serialize;

use super::{ServiceArgument, count};
use crate::output::{self, DIM, Exit, FAILURE, Format, Styled};

/// Show what decides, what is tried beside it, and what the service has seen
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign release status --config issuer.toml
  countersign release status --config issuer.toml --format json

The JSON has `step` (the last one), `active`, `active_since`, `previous` (which a rollback goes back to), `candidate` (null
each where there is none), and `service`: `running`, `recorded` and `taken` (the last steps that are on record and that it
decides by), `deciding` (its policy set), `problem`, and `candidate`: `release`, `since`, `compared`, `skipped`, `classes`
and `faults`. Of replicas, `replicas` has each: `name`, `age_seconds` (since it was last seen), `stopped`, `step` (the last one
that it has taken), `deciding` (the step since which its release decides) and `candidate` (the one that it has prepared).

Exit status: 0 shown, 1 anything else, also where the service does not decide by the active release.")]
pub(super) struct Status {
    #[command(flatten)]
    service: ServiceArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// List the releases that were staged, the latest last
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign release list --config issuer.toml --format json

The JSON has an object a release: `release`, `staged_at`, `program`, `manifest`, `files`, `bindings`, `cases`, and `is`:
`active`, `previous`, `candidate` or null.

Exit status: 0 listed, 1 anything else.")]
pub(super) struct List {
    #[command(flatten)]
    service: ServiceArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct StatusJson<'s> {
    step: u64,
    active: Option<Digest>,
    active_since: Option<u64>,
    previous: Option<Digest>,
    candidate: Option<Digest>,
    service: ServiceJson<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<Vec<ReplicaJson<'s>>>,
}

#[derive(Serialize)]
struct ReplicaJson<'s> {
    name: &'s str,
    age_seconds: u64,
    stopped: bool,
    step: u64,
    deciding: u64,
    candidate: Option<&'s str>,
}

#[derive(Serialize)]
struct ServiceJson<'s> {
    running: bool,
    #[serde(flatten)]
    note: &'s ServiceNote,
}

#[derive(Serialize)]
struct Listed<'l> {
    #[serde(flatten)]
    release: &'l Release,
    is: Option<&'static str>,
}

impl Status {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        let (state, note, running) = (store.state()?, store.note()?, store.is_served()?);
        let replicas = store.replicas()?;
        match self.format {
            Format::Json => output::print_json(&StatusJson {
                step: state.step,
                active: state.active,
                active_since: state.active.map(|_| state.active_since),
                previous: state.previous(),
                candidate: state.candidate,
                service: ServiceJson { running, note: &note },
                replicas: replicas
                    .as_ref()
                    .map(|entries| entries.iter().map(ReplicaJson::new).collect()),
            })?,
            Format::Human => {
                let mut text = text(&state, &note, running);
                for replica in replicas.iter().flatten() {
                    let _ = writeln!(text, "replica    {}", of_replica(&state, replica));
                }
                output::print(&text)?;
            }
        }
        let follows = state.active.is_none() || note.deciding == state.active;
        Ok(if running && !follows { Exit::Failed } else { Exit::Success })
    }
}

impl<'s> ReplicaJson<'s> {
    fn new(entry: &'s ReplicaEntry) -> Self {
        let releases = &entry.beat.releases;
        Self {
            name: &entry.name,
            age_seconds: entry.age_seconds,
            stopped: entry.stopped,
            step: releases.step,
            deciding: releases.deciding,
            candidate: Some(releases.candidate.as_str()).filter(|candidate| !candidate.is_empty()),
        }
    }
}

/// The releases as a replica has taken them, in a line.
fn of_replica(state: &ReleaseState, entry: &ReplicaEntry) -> String {
    let (name, taken) = (visible(&entry.name), &entry.beat.releases);
    if entry.stopped {
        return format!("{name} {}", Styled(DIM, "stopped".to_owned()));
    }
    let (seen, step) = (entry.age_seconds, taken.step);
    let mut line = format!("{name} seen {seen} s ago: step {step}");
    if let Some(candidate) = state.candidate {
        let is_prepared = taken.candidate == candidate.to_string();
        line.push_str(if is_prepared {
            ", candidate prepared"
        } else {
            ", candidate not prepared"
        });
    }
    if taken.deciding < state.active_step {
        let behind = format!("decides since step {}, before the active release", taken.deciding);
        line = format!("{line}; {}", Styled(FAILURE, behind));
    }
    line
}

impl List {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        let (state, releases) = (store.state()?, store.releases()?);
        let listed = releases.iter().map(|release| Listed { release, is: is(&state, release) });
        let listed: Vec<_> = listed.collect();
        if self.format == Format::Json {
            output::print_json(&listed)?;
            return Ok(Exit::Success);
        }
        for Listed { release, is } in &listed {
            let time = output::time(release.staged_at);
            let bindings = count(release.bindings.len() as u64, "binding");
            let is = is.map(|is| format!(" {is}")).unwrap_or_default();
            output::print(&format!("{} staged {time}, {bindings}{is}\n", release.release))?;
        }
        if listed.is_empty() {
            output::status("no release; the manifest of the configuration decides");
        }
        Ok(Exit::Success)
    }
}

fn is(state: &ReleaseState, release: &Release) -> Option<&'static str> {
    let is = |digest: Option<Digest>| digest == Some(release.release);
    match (is(state.active), is(state.candidate), is(state.previous())) {
        (true, _, _) => Some("active"),
        (_, true, _) => Some("candidate"),
        (_, _, true) => Some("previous"),
        _ => None,
    }
}

fn text(state: &ReleaseState, note: &ServiceNote, running: bool) -> String {
    let mut text = String::new();
    let none = |what: &str| Styled(DIM, what.to_owned()).to_string();
    let active = state.active.map_or_else(
        || none("none: the manifest of the configuration decides"),
        |active| format!("{active} since {}", output::time(state.active_since)),
    );
    let or_none =
        |digest: Option<Digest>| digest.map_or_else(|| none("none"), |digest| digest.to_string());
    let _ = writeln!(text, "active     {active}");
    let _ = writeln!(text, "previous   {}", or_none(state.previous()));
    let _ = writeln!(text, "candidate  {}", or_none(state.candidate));
    if let Some(trial) =
        note.candidate.as_ref().filter(|trial| Some(trial.release) == state.candidate)
    {
        let (since, compared) = (output::time(trial.since), trial.compared);
        let _ = writeln!(
            text,
            "  {compared} decisions compared since {since}, {} skipped",
            trial.skipped
        );
        for (class, number) in trial.classes.iter().filter(|(_, number)| **number > 0) {
            let _ = writeln!(text, "  {number:>9}  {}", visible(class));
        }
        let _ = writeln!(text, "  {:>9}  fault", trial.faults);
    }
    let service = match (running, note.deciding) {
        (false, _) => none("not running"),
        (true, None) => none("starting"),
        (true, Some(deciding)) if state.active.is_none_or(|active| active == deciding) => {
            format!("decides by {deciding}")
        }
        (true, Some(deciding)) => {
            let behind = format!("decides by {deciding}, which is not the active release");
            Styled(FAILURE, behind).to_string()
        }
    };
    let _ = writeln!(text, "service    {service}");
    if let Some(problem) = &note.problem {
        let _ = writeln!(text, "  {}", Styled(FAILURE, visible(problem)));
    }
    text
}
