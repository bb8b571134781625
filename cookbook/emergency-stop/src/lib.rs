//! Denies every run of a stopped definition; abstains from any other.

use countersign_policy::{DefinitionId, IdentifierMap, Run, Token, Verdict, policy, settings};

/// Stopped definitions.
#[settings]
pub struct Settings {
    /// The definitions that are stopped, by UUID, each with the message for a refused run.
    stopped: IdentifierMap<DefinitionId, String>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
    // For every behavior: a dry run executes the definition's code with credentials, too.
    match settings.stopped.get(&run.definition.id) {
        None => Verdict::abstain(),
        Some(why) => Verdict::deny(
            "definition-stopped",
            format!("definition `{}` is stopped: {why}", run.definition.id),
        ),
    }
}
