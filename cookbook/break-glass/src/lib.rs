//! Denies changes, except by a person for whom the glass was broken, and until a time.

mod instant;

use std::num::NonZeroU32;

use countersign_policy::serde::de::{Deserialize, Deserializer, Error};
use countersign_policy::{AuthorKind, Behavior, Grant, Run, Token, Verdict, policy, settings};
pub use instant::Instant;

/// The maximum duration of an opening, in seconds: 4 hours.
const LONGEST: u64 = 4 * 3600;

/// The default maximum TTL of tokens during an opening, in seconds.
const MAX_TTL: u32 = 900;

/// Emergency access by person.
#[settings]
pub struct Settings {
    /// The people who may change something, each within a period. Empty: nobody may.
    #[serde(default, deserialize_with = "openings")]
    openings: Vec<Opening>,
    /// The maximum TTL of a token, in seconds. Default: 900.
    #[serde(default)]
    max_ttl: Option<NonZeroU32>,
}

/// A person, and a period of at most 4 hours.
#[settings]
pub struct Opening {
    /// The person's identifier, as runs have it.
    person: String,
    /// The start: `2026-09-21T14:00:00Z`.
    from: Instant,
    /// The end, exclusive.
    until: Instant,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    if run.behavior == Behavior::Detect {
        return Verdict::abstain();
    }
    let Some(trigger) = &run.trigger else {
        return Verdict::deny(
            "author-not-known",
            "changes are closed, and the run does not say who triggered it",
        );
    };
    // Identifiers are unique within a kind alone: a machine account may be called like the person.
    let person = (trigger.author_kind == AuthorKind::User).then_some(&trigger.author);
    let theirs = settings.openings.iter().filter(|opening| Some(&opening.person) == person);
    let Some(left) = theirs.filter_map(|opening| opening.left(token.issued_at)).max() else {
        return Verdict::deny(
            "glass-not-broken",
            format!("changes are closed, and the glass is not broken for `{}`", trigger.author),
        );
    };
    // No token outlives the opening.
    Grant::new()
        .ttl_at_most(settings.max_ttl.map_or(MAX_TTL, NonZeroU32::get), token)
        .ttl_at_most(u32::try_from(left).unwrap_or(u32::MAX), token)
        .restrict()
}

impl Opening {
    /// The seconds left at `now`, at least 1; `None` outside of the period.
    fn left(&self, now: u64) -> Option<u64> {
        let begun = now >= self.from.0;
        self.until.0.checked_sub(now).filter(|left| begun && *left > 0)
    }
}

/// Rejects an opening without a near end: it would be a permanent back door.
fn openings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Opening>, D::Error> {
    let openings = Vec::<Opening>::deserialize(deserializer)?;
    let fits = |opening: &Opening| {
        let length = opening.until.0.checked_sub(opening.from.0);
        length.is_some_and(|seconds| (1..=LONGEST).contains(&seconds))
    };
    match openings.iter().find(|opening| !fits(opening)) {
        None => Ok(openings),
        Some(opening) => Err(D::Error::custom(format_args!(
            "expected openings that end within 4 hours after they begin, unlike that for `{}`",
            opening.person
        ))),
    }
}
