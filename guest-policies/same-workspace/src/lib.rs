//! Permits runs of the definition workspace itself, and of the workspaces on its list.

use countersign_policy::{Run, Token, Verdict, Workspace, policy, settings};

/// Who beside the definition workspace may use its definitions.
#[settings]
pub struct Settings {
    /// Workspaces that may use the definitions as well.
    #[serde(default)]
    also: Vec<Workspace>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
    let consumer = &run.building_block.workspace;
    let platform_team = &run.definition.workspace;
    if consumer == platform_team || settings.also.iter().any(|workspace| workspace == consumer) {
        return Verdict::permit();
    }
    Verdict::deny(
        "foreign-workspace",
        format!(
            "workspace `{consumer}` may not use definitions of workspace `{platform_team}`: it is \
             neither the same workspace nor on its list"
        ),
    )
}
