//! Permits the definition workspace itself, and the workspaces on its list.

use countersign_policy::{IdentifierSet, Run, Token, Verdict, Workspace, policy, settings};

/// Access to the definitions.
#[settings]
pub struct Settings {
    /// Workspaces that may use the definitions as well.
    #[serde(default)]
    also: IdentifierSet<Workspace>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
    let consumer = &run.building_block.workspace;
    if *consumer == run.definition.workspace || settings.also.contains(consumer) {
        // Says who may have a token. A policy that only limits tokens answers `Verdict::restrict()` instead.
        return Verdict::permit();
    }
    Verdict::deny("not-listed", format!("ask the platform team to put workspace `{consumer}` on the list"))
}
