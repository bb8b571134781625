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

// What a policy compares with (`use countersign_policy::{AuthorKind, Behavior, Implementation}`):
//   run.behavior                   Behavior::{Apply, Detect, Destroy}; Detect is a dry run
//   run.definition.implementation  Implementation::{Manual, Terraform, GithubWorkflow, GitlabCicd, AzureDevops, Other}
//   run.trigger…author_kind        AuthorKind::{User, ApiKey, ApiUser, System, Other}
// Their `as_str` is the contract's word, such as "api-key". None: `run.trigger` of a run that nobody triggered, the
// `reason` of a trigger, `run.runner`, and `project` and `platform` of `run.building_block`.
