//! Lowers the TTL of a token to a ceiling by behavior: a dry run needs less time than a change.

use std::num::NonZeroU32;

use countersign_policy::{Behavior, Grant, Run, Token, Verdict, policy, settings};

/// The maximum TTL by behavior, in seconds. A behavior without one is not limited.
#[settings]
pub struct Settings {
    /// Ceiling for APPLY.
    #[serde(default)]
    apply: Option<NonZeroU32>,
    /// Ceiling for DETECT.
    #[serde(default)]
    detect: Option<NonZeroU32>,
    /// Ceiling for DESTROY.
    #[serde(default)]
    destroy: Option<NonZeroU32>,
    /// The treatment of a request for a longer TTL.
    #[serde(default)]
    longer: Longer,
}

/// The treatment of a request for a TTL above the ceiling.
#[settings]
#[derive(Default, Clone, Copy)]
pub enum Longer {
    /// The token gets the ceiling.
    #[default]
    Narrow,
    /// The request is denied, so that the requester learns to request less.
    Deny,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let (behavior, ceiling) = match run.behavior {
        Behavior::Apply => ("APPLY", settings.apply),
        Behavior::Detect => ("DETECT", settings.detect),
        Behavior::Destroy => ("DESTROY", settings.destroy),
    };
    let Some(ceiling) = ceiling.map(NonZeroU32::get) else { return Verdict::abstain() };
    let asked_for = token.ttl_seconds;
    match settings.longer {
        Longer::Deny if asked_for > ceiling => Verdict::deny(
            "ttl-above-ceiling",
            format!("{asked_for} seconds asked for, but {behavior} gets at most {ceiling}"),
        ),
        Longer::Deny | Longer::Narrow => Grant::new().ttl_at_most(ceiling, token).restrict(),
    }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    #[test]
    fn each_behavior_has_its_own_ceiling() {
        let settings =
            parse_settings(r#"{"apply": 3600, "detect": 900, "destroy": 7200}"#).unwrap();
        for (behavior, max_ttl) in [
            (Behavior::Apply, Some(3600)),
            (Behavior::Detect, Some(900)),
            (Behavior::Destroy, None),
        ] {
            let run = Run { behavior, ..testing::run() };
            let grant = Grant { max_ttl, ..Grant::new() };
            assert_eq!(evaluate(&settings, &run, &testing::token()), Verdict::Restrict(grant));
        }
    }
}
