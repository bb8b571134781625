//! `countersign release status` and `countersign release list`

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use countersign::{Digest, visible};
use countersign_deployment::{Release, ReleaseState, ServiceNote};
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
and `faults`.

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
        match self.format {
            Format::Json => output::print_json(&StatusJson {
                step: state.step,
                active: state.active,
                active_since: state.active.map(|_| state.active_since),
                previous: state.previous(),
                candidate: state.candidate,
                service: ServiceJson { running, note: &note },
            })?,
            Format::Human => output::print(&text(&state, &note, running))?,
        }
        let follows = state.active.is_none() || note.deciding == state.active;
        Ok(if running && !follows { Exit::Failed } else { Exit::Success })
    }
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
