//! Runs to check and to warm up with.

use countersign_policy::{AuthorKind, Behavior, Fact, Parent, Run, Trigger, sample};

/// A run with everything that a run may have.
#[must_use]
pub fn complete() -> Run {
    let mut run = sample::run();
    run.runner = Some(run.id.clone());
    run.building_block.parents = vec![Parent {
        building_block: run.building_block.id.clone(),
        definition: run.definition.id.clone(),
    }];
    run.trigger = Some(Trigger {
        reason: Some("a sample".to_owned()),
        author: "someone@example.com".to_owned(),
        author_kind: AuthorKind::User,
    });
    run.facts = vec![Fact { name: "fact".to_owned(), value: "value".to_owned() }];
    run
}

/// Runs of each behavior, one with every optional field and one with none.
pub fn samples() -> impl Iterator<Item = Run> {
    [Behavior::Apply, Behavior::Detect, Behavior::Destroy].into_iter().flat_map(|behavior| {
        let mut bare = sample::run();
        (bare.building_block.project, bare.building_block.platform) = (None, None);
        [complete(), bare].map(|run| Run { behavior, ..run })
    })
}
