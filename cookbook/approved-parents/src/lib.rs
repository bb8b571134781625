//! Denies runs of building blocks that are not built on approved definitions; abstains otherwise.

use countersign_policy::{
    Behavior, DefinitionId, IdentifierSet, Run, Token, Verdict, policy, settings,
};

/// Definitions that are approved to build upon.
#[settings]
pub struct Settings {
    /// The definitions that a parent may be made from.
    approved: IdentifierSet<DefinitionId>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
    // A building block on an unapproved parent must still be destroyable.
    if run.behavior == Behavior::Destroy {
        return Verdict::abstain();
    }
    let parents = &run.building_block.parents;
    // `all` over no parents is true, so the empty list needs its own check.
    if parents.is_empty() {
        return Verdict::deny(
            "no-parent",
            "it must be built on a building block, and has no parent",
        );
    }
    // One approved parent does not make up for another.
    match parents.iter().find(|parent| !settings.approved.contains(&parent.definition)) {
        None => Verdict::abstain(),
        Some(parent) => Verdict::deny(
            "parent-not-approved",
            format!(
                "parent `{}` is made from definition `{}`, which is not approved to build upon",
                parent.building_block, parent.definition
            ),
        ),
    }
}
