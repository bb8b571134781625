//! Returns the verdict in its settings, for tests of a host. It decides nothing by itself.

use std::sync::atomic::{AtomicU32, Ordering};

use countersign_policy::{Fact, Grant, Reason, Run, Token, Verdict, policy, settings};

/// The scripted verdict.
#[settings]
pub struct Settings {
    /// The verdict for every run.
    answer: Answer,
}

/// An answer.
#[settings]
pub enum Answer {
    /// Permits with exactly this grant.
    Permit {
        /// `max-ttl` of the grant.
        #[serde(default)]
        max_ttl: Option<u32>,
        /// `audiences` of the grant.
        #[serde(default)]
        audiences: Option<Vec<String>>,
        /// `claims` of the grant, as name and value.
        #[serde(default)]
        claims: Vec<(String, String)>,
    },
    /// Restricts with exactly this grant.
    Restrict {
        /// `max-ttl` of the grant.
        #[serde(default)]
        max_ttl: Option<u32>,
        /// `audiences` of the grant.
        #[serde(default)]
        audiences: Option<Vec<String>>,
        /// `claims` of the grant, as name and value.
        #[serde(default)]
        claims: Vec<(String, String)>,
    },
    /// Denies with these reasons, as code and message.
    Deny(Vec<(String, String)>),
    /// Permits a run that has this fact, as name and value, and denies every other one.
    Fact(String, String),
    /// Permits a run of which the condition with this name in the table of the contract is true, and denies every other
    /// one.
    Sees(String),
    /// Decides by the rules that tests compare languages by, for these workspaces.
    Rules(Vec<String>),
    /// Abstains.
    Abstain,
    /// Denies, with the number of evaluations of this instance as the message.
    Count,
    /// Denies with its whole input as text.
    Echo,
    /// Denies with this many reasons of this many bytes each.
    Flood {
        /// Number of reasons.
        reasons: u32,
        /// Bytes of each message.
        bytes: u32,
    },
    /// Panics with a message.
    Panic(String),
    /// Never answers.
    Loop,
    /// Asks for memory without end.
    Grow,
    /// Calls itself without end.
    Recurse,
}

mod rules;
mod sees;

policy!(Settings, evaluate);

static EVALUATIONS: AtomicU32 = AtomicU32::new(0);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let evaluations = EVALUATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    match &settings.answer {
        Answer::Permit { max_ttl, audiences, claims } => {
            grant(*max_ttl, audiences.as_ref(), claims).permit()
        }
        Answer::Restrict { max_ttl, audiences, claims } => {
            grant(*max_ttl, audiences.as_ref(), claims).restrict()
        }
        Answer::Deny(reasons) => Verdict::Deny(
            reasons.iter().map(|(code, message)| Reason::new(code, message)).collect(),
        ),
        Answer::Fact(name, value) => {
            if run.facts.iter().any(|fact| fact.name == *name && fact.value == *value) {
                Verdict::Permit(Grant { max_ttl: None, audiences: None, claims: Vec::new() })
            } else {
                Verdict::deny("no-fact", format!("{} facts", run.facts.len()))
            }
        }
        Answer::Sees(name) => match sees::sees(name, run, token) {
            true => Verdict::permit(),
            false => Verdict::deny("no", "not seen"),
        },
        Answer::Rules(also) => rules::decide(also, run, token),
        Answer::Abstain => Verdict::abstain(),
        Answer::Count => Verdict::deny("count", evaluations.to_string()),
        Answer::Echo => Verdict::deny("echo", format!("{run:?} {token:?}")),
        Answer::Flood { reasons, bytes } => {
            let message = "x".repeat(*bytes as usize);
            Verdict::Deny((0..*reasons).map(|_| Reason::new("flood", message.as_str())).collect())
        }
        #[expect(clippy::panic, reason = "what it is for")]
        Answer::Panic(message) => panic!("{message}"),
        Answer::Loop => forever(),
        Answer::Grow => grow(),
        Answer::Recurse => {
            Verdict::deny("recursed", recurse(u64::from(token.ttl_seconds)).to_string())
        }
    }
}

fn grant(
    max_ttl: Option<u32>,
    audiences: Option<&Vec<String>>,
    claims: &[(String, String)],
) -> Grant {
    let claim =
        |(name, value): &(String, String)| Fact { name: name.clone(), value: value.clone() };
    Grant { max_ttl, audiences: audiences.cloned(), claims: claims.iter().map(claim).collect() }
}

fn forever() -> Verdict {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn grow() -> Verdict {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(std::hint::black_box(Vec::with_capacity(1 << 20)));
    }
}

#[expect(unconditional_recursion, reason = "what it is for")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1))) + 1
}
