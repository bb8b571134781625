//! Denies every run of a stopped definition; it has nothing to say about any other.

use std::collections::BTreeMap;

use countersign_policy::{DefinitionId, Run, Token, Verdict, policy, settings};

/// What is stopped.
#[settings]
pub struct Settings {
    /// The definitions that are stopped, by UUID, each with what to tell those who meet it.
    stopped: BTreeMap<DefinitionId, String>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
    // Whatever the run is about to do: a dry run executes the definition's code too, with credentials.
    match settings.stopped.get(run.definition.id.as_str()) {
        None => Verdict::abstain(),
        Some(why) => Verdict::deny(
            "definition-stopped",
            format!("definition `{}` is stopped: {why}", run.definition.id),
        ),
    }
}
