//! Decides by the JavaScript policy in its settings, evaluated by `boa_engine`.
//!
//! The policy is a module, `policy.js` or `policy.ts`, and the files that it imports by relative paths. It exports
//! `evaluate(settings, run, token)`, which returns a verdict made by a function of the module `countersign`, and
//! optionally `check(settings)`, which returns the problems of the policy's own settings. The module is loaded once,
//! when the settings are taken; the state that this leaves is what every evaluation begins with.

mod absent;
mod chains;
mod claims;
mod declarations;
mod engine;
mod errors;
mod exports;
mod fields;
mod globals;
mod grant;
mod jumps;
mod local_time;
mod modules;
mod names;
mod nesting;
mod own_settings;
mod reads;
mod typescript;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;

use boa_engine::{Context, JsObject, JsValue};
use countersign_policy::{Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::claims::Claims;
use engine_shared::{JsonObject, samples, stage};

use crate::modules::Files;

/// The rounds of warming up. Caches of property accesses settle in the second.
const WARM_UP_ROUNDS: usize = 2;

/// The iterations of a loop while warming up. A policy that does not end for the sample may end for real runs, and must
/// not use up the fuel of `configure`.
const WARM_UP_ITERATIONS: u64 = 10_000;

/// The interpreter's word for an error of its own limits.
const LIMIT: &str = "RuntimeLimitError";

/// A policy in JavaScript.
#[settings]
pub struct Settings {
    /// The texts of the policy by their paths: `policy.js` or `policy.ts`, and the files that it imports.
    files: BTreeMap<String, String>,
    /// The settings of the policy itself, which its functions `check` and `evaluate` receive.
    #[serde(default)]
    settings: Option<JsonObject>,
    /// Takes no policy that has a warning, and says which: `policy build` asks so.
    #[serde(default)]
    warnings: bool,
}

/// A policy that is loaded, has accepted its settings, and has decided a few times.
pub struct Prepared {
    context: RefCell<Context>,
    evaluate: JsObject,
    settings: JsValue,
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
    let files = Files::new(settings.files).map_err(|problem| vec![problem])?;
    let (mut context, loader) = engine::context(files);
    let main = loader.load(&mut context).map_err(|problem| vec![problem])?;
    let warnings = loader.warnings();
    if settings.warnings && !warnings.is_empty() {
        return Err(warnings);
    }
    let exports = exports::of(&main, loader.files(), &mut context)?;
    let own = settings.settings.unwrap_or_default();
    let own = own_settings::to_value(&own, &mut context)
        .unwrap_or_else(|error| fault(&error.to_string()));
    exports.check(&own, loader.files(), &mut context)?;
    own_settings::freeze(&own, &mut context).unwrap_or_else(|error| fault(&error.to_string()));
    let (context, evaluate) = (RefCell::new(context), exports.evaluate);
    let prepared = Prepared { context, evaluate, settings: own, claims: loader.claims() };
    warm_up(&prepared);
    Ok(prepared)
}

/// Decides on samples, so that whatever the engine does lazily is part of the snapshot. The verdicts do not matter: a
/// policy may fail on a sample and work on real runs.
fn warm_up(prepared: &Prepared) {
    let limits = |iterations| {
        prepared.context.borrow_mut().runtime_limits_mut().set_loop_iteration_limit(iterations);
    };
    limits(WARM_UP_ITERATIONS);
    for run in (0..WARM_UP_ROUNDS).flat_map(|_| samples()) {
        // A regular expression has no limit but the fuel.
        stage::evaluating_sample(&run);
        if decide(prepared, &run, &sample::token()).is_err_and(|text| text.contains(LIMIT)) {
            break;
        }
    }
    stage::over();
    limits(u64::MAX);
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|problem| fault(&problem))
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, String> {
    let (context, claims) = (&mut *prepared.context.borrow_mut(), &prepared.claims);
    let run = claims::of_run(claims, run, context);
    let arguments = [prepared.settings.clone(), run, claims::of_token(claims, token, context)];
    let returned = prepared
        .evaluate
        .call(&JsValue::undefined(), &arguments, context)
        .map_err(|error| errors::text(&error, context))?;
    verdict::of(&returned, token)
        .ok_or_else(|| format!("`evaluate` returned {}", verdict::misfit(&returned)))
}

/// Ends the guest. A policy that fails has not permitted: the host turns the panic into a fault with this message.
#[expect(clippy::panic, reason = "a guest reports a fault by panicking")]
fn fault(message: &str) -> ! {
    panic!("{message}")
}

#[cfg(test)]
mod tests;
