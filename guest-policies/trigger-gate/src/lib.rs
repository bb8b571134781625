//! Restricts a behavior to those who may trigger it: destroying, say, to people.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use countersign_policy::{AuthorKind, Behavior, Grant, Run, Token, Verdict, policy, settings};

/// Which kinds of authors may trigger which behavior.
#[settings]
pub struct Settings {
    /// The kinds of authors that may trigger a behavior. A behavior that is not named is not
    /// restricted; one with an empty list is denied to all.
    behaviors: BTreeMap<Behavior, BTreeSet<AuthorKind>>,
    /// The maximum TTL of tokens for authors that are not people, in seconds. Without it, as
    /// requested.
    #[serde(default)]
    machine_max_ttl: Option<NonZeroU32>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let Some(allowed) = settings.behaviors.get(&run.behavior) else { return Verdict::abstain() };
    let behavior = match run.behavior {
        Behavior::Apply => "APPLY",
        Behavior::Detect => "DETECT",
        Behavior::Destroy => "DESTROY",
    };
    let Some(trigger) = &run.trigger else {
        return Verdict::deny(
            "author-not-known",
            format!("{behavior} depends on who triggered the run, and the run does not say"),
        );
    };
    // A kind that only a later host knows cannot be on a list.
    if !allowed.contains(&trigger.author_kind) {
        let kind = kind(trigger.author_kind);
        return Verdict::deny(
            "author-not-allowed",
            format!("{behavior} was triggered by {kind} (`{}`), who may not", trigger.author),
        );
    }
    match settings.machine_max_ttl {
        Some(seconds) if trigger.author_kind != AuthorKind::User => {
            Grant::new().ttl_at_most(seconds.get(), token).restrict()
        }
        _ => Verdict::restrict(),
    }
}

/// The name of a kind of author, for people.
fn kind(kind: AuthorKind) -> &'static str {
    match kind {
        AuthorKind::User => "a person",
        AuthorKind::ApiKey => "an API key of a workspace",
        AuthorKind::ApiUser => "an API user of the platform",
        AuthorKind::System => "the platform itself",
        AuthorKind::Other => "an unknown kind of author",
    }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{Trigger, parse_settings, testing};

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
