//! The rules that tests compare languages by (`host/authoring/tests/engines/alike.rs`), in Rust.

use countersign_policy::{AuthorKind, Behavior, Grant, Run, Token, Verdict};

/// Decides, with the workspaces that are permitted for 15 minutes.
pub(crate) fn decide(also: &[String], run: &Run, token: &Token) -> Verdict {
    let owner = &run.building_block.workspace;
    if token.ttl_seconds > 3600 {
        return Verdict::deny("ttl-above-ceiling", "at most an hour");
    }
    if run.behavior == Behavior::Destroy {
        match &run.trigger {
            None => return Verdict::deny("author-not-known", "who?"),
            Some(trigger) if trigger.author_kind != AuthorKind::User => {
                return Verdict::deny("author-not-allowed", "people alone");
            }
            Some(_) => {}
        }
    } else if run.building_block.parents.len() > 2 {
        return Verdict::deny("too-many-parents", "at most two");
    }
    if *owner == run.definition.workspace {
        return Verdict::permit();
    }
    if also.contains(owner) {
        return Grant::new().ttl_at_most(900, token).claim("team", owner.as_str()).permit();
    }
    if owner.starts_with("abstain") {
        let kept = |audience: &str| !audience.starts_with("https://");
        return Grant::new().ttl_at_most(600, token).keep_audiences(token, kept).restrict();
    }
    Verdict::abstain()
}
