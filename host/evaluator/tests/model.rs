//! The rules of combination against a model of them: written from DESIGN's text, naive, and
//! sharing nothing with the evaluator but its types.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use countersign::{Decision, Limits, Mode, Outcome, PolicySet, Scope};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use support::{Scripted, claims_for, run, token};

const AUDIENCES: [&str; 4] = ["aws", "azure", "gcp", "stackit"];
const ASKED: [&str; 3] = ["aws", "azure", "gcp"];
const TTL: u32 = 1000;
const ALLOWED: [&str; 2] = ["team", "cost"];

/// The result of a policy.
#[derive(Debug, Clone)]
enum Answer {
    Permit(Grant),
    Restrict(Grant),
    Deny(Vec<&'static str>),
    Abstain,
    Panic,
    Loop,
}

#[derive(Debug, Clone)]
struct Grant {
    ttl: Option<u32>,
    audiences: Option<Vec<&'static str>>,
    claims: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone)]
struct Binding {
    shadow: bool,
    may_permit: bool,
    applies: bool,
    answer: Answer,
}

/// The model's outcome: terms, or every reason as binding and code.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Approved { ttl: u32, audiences: Vec<String>, claims: BTreeMap<String, String> },
    Refused(BTreeSet<(Option<usize>, String)>),
}

fn answer() -> impl Strategy<Value = Answer> {
    let ttl = prop_oneof![
        4 => Just(None),
        6 => (1..=TTL).prop_map(Some),
        1 => select(vec![0, TTL + 1, u32::MAX]).prop_map(Some),
    ];
    let audiences = prop_oneof![
        3 => Just(None),
        3 => subsequence(ASKED.to_vec(), 0..=3).prop_map(Some),
        1 => subsequence(AUDIENCES.to_vec(), 1..=4).prop_map(Some),
    ];
    let name = prop_oneof![8 => select(ALLOWED.to_vec()), 1 => select(vec!["sub", "other", ""])];
    let claims = prop::collection::vec((name, select(vec!["a", "b"])), 0..3);
    let grant = (ttl, audiences, claims).prop_map(|(ttl, audiences, claims)| Grant {
        ttl,
        audiences,
        claims,
    });
    prop_oneof![
        8 => grant.clone().prop_map(Answer::Permit),
        6 => grant.prop_map(Answer::Restrict),
        2 => subsequence(vec!["one", "two", "three"], 0..=3).prop_map(Answer::Deny),
        3 => Just(Answer::Abstain),
        1 => Just(Answer::Panic),
        1 => Just(Answer::Loop),
    ]
}

fn bindings() -> impl Strategy<Value = Vec<Binding>> {
    let shadow = prop::bool::weighted(0.25);
    let (may_permit, applies) = (prop::bool::weighted(0.7), prop::bool::weighted(0.85));
    let binding = (shadow, may_permit, applies, answer()).prop_map(
        |(shadow, may_permit, applies, answer)| Binding { shadow, may_permit, applies, answer },
    );
    prop::collection::vec(binding, 1..6)
}

/// The fault of a grant, by the rules for one.
fn fault_of(answer: &Answer) -> Option<&'static str> {
    match answer {
        Answer::Panic => Some("panic"),
        Answer::Loop => Some("out-of-fuel"),
        Answer::Permit(grant) | Answer::Restrict(grant) => {
            let Grant { ttl, audiences, claims } = grant;
            if ttl.is_some_and(|ttl| ttl == 0 || ttl > TTL) {
                return Some("grant-widens-ttl");
            }
            if audiences.iter().flatten().any(|audience| !ASKED.contains(audience)) {
                return Some("grant-widens-audiences");
            }
            let mut seen = BTreeSet::new();
            for (name, _) in claims {
                match *name {
                    "" => return Some("grant-bad-claim"),
                    "sub" => return Some("grant-reserved-claim"),
                    name if !ALLOWED.contains(&name) => return Some("grant-unlisted-claim"),
                    name if !seen.insert(name) => return Some("grant-bad-claim"),
                    _ => {}
                }
            }
            None
        }
        Answer::Deny(_) | Answer::Abstain => None,
    }
}

fn model(bindings: &[Binding]) -> Expected {
    let deciding: Vec<(usize, &Binding)> = bindings
        .iter()
        .enumerate()
        .filter(|(_, binding)| binding.applies && !binding.shadow)
        .collect();
    let mut reasons = BTreeSet::new();
    for (index, binding) in &deciding {
        if let Some(code) = fault_of(&binding.answer) {
            reasons.insert((Some(*index), code.to_owned()));
        } else if let Answer::Deny(codes) = &binding.answer {
            if codes.is_empty() {
                reasons.insert((Some(*index), "no-reason-given".to_owned()));
            }
            reasons.extend(codes.iter().map(|code| (Some(*index), (*code).to_owned())));
        }
    }
    if !reasons.is_empty() {
        return Expected::Refused(reasons);
    }
    let refused = |code: &str| Expected::Refused([(None, code.to_owned())].into());
    if deciding.is_empty() {
        return refused("no-applicable-binding");
    }
    let (mut ttl, mut audiences, mut permits) = (TTL, ASKED.to_vec(), 0);
    let mut claims: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, binding) in &deciding {
        // A permit lets a run in, and narrows; a restriction narrows.
        let grant = match &binding.answer {
            Answer::Permit(grant) => {
                permits += usize::from(binding.may_permit);
                Some(grant)
            }
            Answer::Restrict(grant) => Some(grant),
            _ => None,
        };
        if let Some(Grant { ttl: ceiling, audiences: kept, claims: added }) = grant {
            ttl = ttl.min(ceiling.unwrap_or(TTL));
            audiences.retain(|audience| kept.as_ref().is_none_or(|kept| kept.contains(audience)));
            for (name, value) in added {
                claims.entry((*name).to_owned()).or_default().insert((*value).to_owned());
            }
        }
    }
    if permits == 0 {
        return refused("no-permit");
    }
    let mut codes = BTreeSet::new();
    if audiences.is_empty() {
        codes.insert((None, "no-audience-left".to_owned()));
    }
    if claims.values().any(|values| values.len() > 1) {
        codes.insert((None, "conflicting-claim".to_owned()));
    }
    if !codes.is_empty() {
        return Expected::Refused(codes);
    }
    let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
    let claims = claims.into_iter().flat_map(|(n, v)| v.into_iter().map(move |v| (n.clone(), v)));
    Expected::Approved { ttl, audiences, claims: claims.collect() }
}

fn script(answer: &Answer) -> Value {
    let grant = |Grant { ttl, audiences, claims }: &Grant| json!({ "max-ttl": ttl, "audiences": audiences, "claims": claims });
    match answer {
        Answer::Permit(narrowed) => json!({ "permit": grant(narrowed) }),
        Answer::Restrict(narrowed) => json!({ "restrict": grant(narrowed) }),
        Answer::Deny(codes) => {
            json!({ "deny": codes.iter().map(|code| (code, "why")).collect::<Vec<_>>() })
        }
        Answer::Abstain => json!("abstain"),
        Answer::Panic => json!({ "panic": "" }),
        Answer::Loop => json!("loop"),
    }
}

/// The set of the given bindings, each named by its place in the model.
fn set_of(bindings: &[(usize, &Binding)]) -> PolicySet {
    let prepared = bindings.iter().map(|(index, binding)| {
        let workspace = if binding.applies { "team-a" } else { "team-b" };
        Scripted {
            name: &format!("binding-{index}"),
            mode: if binding.shadow { Mode::Shadow } else { Mode::Enforce },
            may_permit: binding.may_permit,
            answer: &script(&binding.answer).to_string(),
            scope: Scope::OwningWorkspace(workspace.parse().unwrap()),
            claims: &ALLOWED,
            limits: Limits {
                fuel: 200_000,
                wall_clock_ms: Limits::CEILING.wall_clock_ms,
                ..Limits::DEFAULT
            },
        }
        .prepare()
    });
    PolicySet::new(prepared.collect()).unwrap()
}

fn decide(bindings: &[(usize, &Binding)]) -> Decision {
    set_of(bindings).evaluate(claims_for(run(), token(&ASKED, TTL)))
}

/// The outcome of a decision, in the model's terms.
fn observed(decision: &Decision) -> Expected {
    match decision.outcome() {
        Outcome::Approved(terms) => Expected::Approved {
            ttl: terms.ttl_seconds,
            audiences: terms.audiences.iter().map(ToString::to_string).collect(),
            claims: terms.claims.iter().map(|(n, v)| (n.to_string(), v.clone())).collect(),
        },
        Outcome::Refused(reasons) => {
            let of = |reason: &countersign::Reason| {
                // Which of two grants conflicts with the other is not for the model to say.
                let binding = (reason.code != "conflicting-claim").then_some(&reason.binding);
                let index = binding
                    .and_then(Option::as_ref)
                    .map(|name| name.as_str().strip_prefix("binding-").unwrap().parse().unwrap());
                (index, reason.code.clone())
            };
            Expected::Refused(reasons.iter().map(of).collect())
        }
    }
}

fn indexed(bindings: &[Binding]) -> Vec<(usize, &Binding)> {
    bindings.iter().enumerate().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn the_evaluator_does_what_the_model_says(bindings in bindings()) {
        prop_assert_eq!(observed(&decide(&indexed(&bindings))), model(&bindings));
    }

    #[test]
    fn approved_only_with_a_permit_and_never_with_a_deny_or_an_enforcing_fault(bindings in bindings()) {
        let decision = decide(&indexed(&bindings));
        if let Outcome::Approved(terms) = decision.outcome() {
            let enforcing = decision.trace().iter().filter(|entry| entry.binding.mode == Mode::Enforce);
            let enforcing: Vec<_> = enforcing.collect();
            let permitted = enforcing.iter().any(|entry| {
                entry.binding.may_permit && matches!(entry.result, Ok(countersign::Verdict::Permit(_)))
            });
            let refusing = enforcing.iter().any(|entry| {
                matches!(entry.result, Err(_) | Ok(countersign::Verdict::Deny(_)))
            });
            prop_assert!(permitted);
            prop_assert!(!refusing);
            // Never wider than the request.
            prop_assert!((1..=TTL).contains(&terms.ttl_seconds));
            prop_assert!(!terms.audiences.is_empty());
            prop_assert!(terms.audiences.iter().all(|audience| ASKED.contains(&audience.as_str())));
            prop_assert!(terms.claims.keys().all(|name| ALLOWED.contains(&name.as_str())));
        }
    }

    #[test]
    fn a_restriction_never_counts_as_a_permit(bindings in bindings()) {
        // The same without any permit: whatever else is answered, no token is issued.
        let restricting: Vec<_> = bindings.iter().cloned().map(|binding| match binding.answer {
            Answer::Permit(grant) => Binding { answer: Answer::Restrict(grant), ..binding },
            _ => binding,
        }).collect();
        let decision = decide(&indexed(&restricting));
        prop_assert!(matches!(decision.outcome(), Outcome::Refused(_)), "{:?}", decision.outcome());
        // Nor does a permit of bindings that may not permit.
        let capped: Vec<_> =
            bindings.into_iter().map(|binding| Binding { may_permit: false, ..binding }).collect();
        let decision = decide(&indexed(&capped));
        prop_assert!(matches!(decision.outcome(), Outcome::Refused(_)), "{:?}", decision.outcome());
    }

    #[test]
    fn a_restriction_narrows_exactly_as_a_permit_does(bindings in bindings()) {
        // Beside a binding that permits whatever else is answered, one answer is as good as the other.
        let permits = Binding {
            shadow: false,
            may_permit: true,
            applies: true,
            answer: Answer::Permit(Grant { ttl: None, audiences: None, claims: vec![] }),
        };
        let with = |of: fn(Grant) -> Answer, may_permit| {
            let changed = bindings.iter().cloned().map(|binding| match binding.answer {
                Answer::Permit(grant) | Answer::Restrict(grant) => {
                    Binding { answer: of(grant), may_permit, ..binding }
                }
                _ => binding,
            });
            let all: Vec<_> = changed.chain([permits.clone()]).collect();
            observed(&decide(&indexed(&all)))
        };
        let permitted = with(Answer::Permit, true);
        prop_assert_eq!(&with(Answer::Restrict, true), &permitted);
        prop_assert_eq!(&with(Answer::Permit, false), &permitted);
    }

    #[test]
    fn shadow_never_matters(bindings in bindings()) {
        let all = indexed(&bindings);
        let deciding: Vec<_> = all.iter().copied().filter(|(_, binding)| !binding.shadow).collect();
        if !deciding.is_empty() {
            prop_assert_eq!(observed(&decide(&all)), observed(&decide(&deciding)));
        }
    }

    #[test]
    fn order_never_matters((bindings, order) in bindings().prop_flat_map(|bindings| {
        let order = Just((0..bindings.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(bindings), order)
    })) {
        let shuffled: Vec<_> = order.into_iter().map(|index| (index, &bindings[index])).collect();
        let (decision, other) = (decide(&indexed(&bindings)), decide(&shuffled));
        prop_assert_eq!(decision.id(), other.id());
    }
}
