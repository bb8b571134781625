//! Permits a behavior by who triggered the run: destroying, say, only for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use countersign_policy::{
    AuthorKind, Behavior, Grant, Run, Token, Trigger, Verdict, policy, settings,
};

/// Which kinds of authors may trigger which behavior.
#[settings]
pub struct Settings {
    /// The kinds of authors that may trigger a behavior. A behavior that is not named is left
    /// alone; one with an empty list is denied to all.
    behaviors: BTreeMap<BehaviorName, BTreeSet<AuthorName>>,
    /// The longest token life for authors that are no person, in seconds. Without it, as asked
    /// for.
    #[serde(default)]
    machine_max_ttl: Option<NonZeroU32>,
}

/// What a run is about to do.
#[settings]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BehaviorName {
    /// Create or change.
    Apply,
    /// A dry run.
    Detect,
    /// Delete.
    Destroy,
}

/// Who, or what, triggered a run.
#[settings]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorName {
    /// A person.
    User,
    /// A machine account of a workspace.
    ApiKey,
    /// A machine account of the platform.
    ApiUser,
    /// The platform itself.
    System,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let (behavior, name) = match run.behavior {
        Behavior::Apply => (BehaviorName::Apply, "APPLY"),
        Behavior::Detect => (BehaviorName::Detect, "DETECT"),
        Behavior::Destroy => (BehaviorName::Destroy, "DESTROY"),
    };
    let Some(allowed) = settings.behaviors.get(&behavior) else { return Verdict::abstain() };
    let Some(trigger) = &run.trigger else {
        return Verdict::deny(
            "author-not-known",
            format!("{name} depends on who triggered the run, and the run does not say"),
        );
    };
    let (author, kind) = author(trigger);
    if !author.is_some_and(|author| allowed.contains(&author)) {
        return Verdict::deny(
            "author-not-allowed",
            format!("{name} was triggered by {kind} (`{}`), who may not", trigger.author),
        );
    }
    match settings.machine_max_ttl {
        Some(seconds) if author != Some(AuthorName::User) => {
            Grant::new().ttl_at_most(seconds.get(), token).into()
        }
        _ => Verdict::permit(),
    }
}

/// The author's kind as the settings call it, and as people do.
fn author(trigger: &Trigger) -> (Option<AuthorName>, &'static str) {
    match trigger.author_kind {
        AuthorKind::User => (Some(AuthorName::User), "a person"),
        AuthorKind::ApiKey => (Some(AuthorName::ApiKey), "an API key of a workspace"),
        AuthorKind::ApiUser => (Some(AuthorName::ApiUser), "an API user of the platform"),
        AuthorKind::System => (Some(AuthorName::System), "the platform itself"),
        AuthorKind::Other => (None, "an unknown kind of author"),
    }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    #[test]
    fn who_is_not_known_is_no_person() {
        let settings = parse_settings(r#"{"behaviors": {"destroy": ["user"]}}"#).unwrap();
        let mut run = Run { behavior: Behavior::Destroy, ..testing::run() };
        assert!(matches!(evaluate(&settings, &run, &testing::token()), Verdict::Deny(_)));
        run.trigger = Some(Trigger {
            reason: None,
            author: "someone".to_owned(),
            author_kind: AuthorKind::Other,
        });
        assert!(matches!(evaluate(&settings, &run, &testing::token()), Verdict::Deny(_)));
    }
}
