//! Decides by the Python policy in its settings, run by `monty`.
//!
//! The policy is the file `policy.py`, with the files that it imports. It has a function `evaluate` with the parameters
//! `settings`, `run` and `token`, as many of them as it needs, which returns a verdict made by a function of the module
//! `countersign`; and optionally `check(settings)`, which returns the problems of the policy's own settings. The files run
//! once, when the settings are taken; the state that this leaves is what every evaluation begins with.

mod absent;
mod claims;
mod hints;
mod local_time;
mod own_settings;
mod reader;
mod reads;
mod session;
mod source;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;

use countersign_policy::{Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::claims::{Claims, Paths};
use engine_shared::{JsonObject, samples, stage};
use monty_types::MontyObject;

use crate::session::Session;
use crate::source::{MAIN, Source, Sources};

/// A policy in Python.
#[settings]
pub struct Settings {
    /// The texts of the policy by their paths: `policy.py`, and the files that it imports.
    files: BTreeMap<String, String>,
    /// The settings of the policy itself, which its functions `check` and `evaluate` receive.
    #[serde(default)]
    settings: Option<JsonObject>,
    /// Takes no policy that has a warning, and says which: `policy build` asks so.
    #[serde(default)]
    warnings: bool,
}

/// A policy that has run, has accepted its settings, and has decided a few times.
pub struct Prepared {
    session: RefCell<Session>,
    /// The claims that the policy reads.
    claims: Claims,
}

// SAFETY: a component has one thread (the host refuses shared memories).
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static between the contract's functions must be `Sync`")]
unsafe impl Sync for Prepared {}

// SAFETY: as above.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static between the contract's functions must be `Send`")]
unsafe impl Send for Prepared {}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let placed = |wrongs: Vec<source::Wrong>| {
        let placed = |wrong: &source::Wrong| {
            format!("{}:{}:{}: {}", wrong.file, wrong.line, wrong.column, wrong.message)
        };
        wrongs.iter().map(|wrong| problem("/files", placed(wrong))).collect::<Vec<_>>()
    };
    let Sources { files: sources, warnings } = source::read(&settings.files).map_err(placed)?;
    if settings.warnings && !warnings.is_empty() {
        return Err(placed(warnings));
    }
    has_evaluate(&sources).map_err(|message| vec![problem("/files", message)])?;
    let main = sources.iter().find(|source| source.path == MAIN);
    let claims = main.map_or_else(|| Paths::all().claims(), |main| main.reads.claims());
    let own = settings.settings.unwrap_or_default();
    let mut session = Session::new(sources, own_settings::to_object(own))
        .map_err(|message| vec![problem("/files", message)])?;
    let checked = session.check().map_err(|message| vec![problem("/files", message)])?;
    let problems = problems(&checked).map_err(|message| vec![problem("/files", message)])?;
    if !problems.is_empty() {
        return Err(problems);
    }
    // Warms up whatever the interpreter does lazily, before the snapshot. The verdicts do not matter: a policy may fail on
    // a sample and work on real runs.
    let token = sample::token();
    for run in samples() {
        stage::evaluating_sample(&run);
        session.decide_on_sample(claims::of_run(&claims, &run), claims::of_token(&claims, &token));
    }
    stage::over();
    Ok(Prepared { session: RefCell::new(session), claims })
}

/// Checks that there is something to call, with parameters that it can be given.
fn has_evaluate(sources: &[Source]) -> Result<(), String> {
    let expected = "expected `def evaluate(settings, run, token)`, or fewer of these parameters";
    let Some(main) = sources.iter().find(|source| source.path == MAIN) else { return Ok(()) };
    match &main.evaluate {
        _ if main.is_exported => Ok(()),
        None if main.defined.is_empty() => Err(format!("{MAIN}: {expected}")),
        None => Err(format!("{MAIN}: {expected}, found `{}`", main.defined.join("`, `"))),
        Some(parameters) => {
            let known = |name: &&String| !["run", "token", "settings"].contains(&name.as_str());
            match parameters.iter().find(known) {
                Some(other) => Err(format!("{MAIN}: {expected}, found `{other}`")),
                None => Ok(()),
            }
        }
    }
}

/// The problems that the policy's `check` returned.
fn problems(checked: &MontyObject) -> Result<Vec<Problem>, String> {
    let misfit = || {
        let found = match checked {
            MontyObject::String(name) => name.clone(),
            other => other.to_string(),
        };
        format!("{MAIN}: `check` returned {found}, expected a list of Problem(pointer, message)")
    };
    let MontyObject::List(items) = checked else { return Err(misfit()) };
    let item = |item: &MontyObject| match item {
        MontyObject::Tuple(parts) => match parts.as_slice() {
            [MontyObject::String(pointer), MontyObject::String(message)] => {
                Ok(problem(&format!("/settings{pointer}"), message.clone()))
            }
            _ => Err(misfit()),
        },
        _ => Err(misfit()),
    };
    items.iter().map(item).collect()
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|problem| {
        // A policy that fails has not permitted: the host turns the panic into a fault with this message.
        #[expect(clippy::panic, reason = "a guest reports a fault by panicking")]
        {
            panic!("{problem}")
        }
    })
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, String> {
    let Prepared { session, claims } = prepared;
    let (run, seen) = (claims::of_run(claims, run), claims::of_token(claims, token));
    let returned = session.borrow_mut().decide(run, seen)?;
    verdict::of(&returned, token).map_err(|message| format!("{MAIN}: {message}"))
}

fn problem(pointer: &str, message: String) -> Problem {
    Problem { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests;
