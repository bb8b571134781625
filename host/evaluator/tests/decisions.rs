//! The rules of combination, one by one, through real instances of a policy that answers what it
//! is told to.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{Claims, Decision, Facts, Limits, Outcome, Scope};
use support::{Scripted, claims, decide, enforce, set, shadow, token};

/// The outcome of a decision, on one line.
fn summary(decision: &Decision) -> String {
    match decision.outcome() {
        Outcome::Approved(terms) => {
            let audiences: Vec<_> = terms.audiences.iter().map(|a| a.as_str()).collect();
            let claims: Vec<_> = terms.claims.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let parts = [format!("{}s", terms.ttl_seconds), audiences.join("+"), claims.join(",")];
            format!("approved {}", parts.join(" ")).trim_end().to_owned()
        }
        Outcome::Refused(reasons) => {
            let reasons: Vec<_> = reasons
                .iter()
                .map(|reason| match &reason.binding {
                    Some(binding) => format!("{binding}:{}", reason.code),
                    None => reason.code.clone(),
                })
                .collect();
            format!("refused {}", reasons.join(" "))
        }
    }
}

/// Decides in the given order and in the reverse one: order never matters.
#[track_caller]
fn check<const N: usize>(mut bindings: [Scripted<'_>; N], expected: &str) {
    let decision = decide(&bindings, claims());
    assert_eq!(summary(&decision), expected);
    bindings.reverse();
    let reversed = decide(&bindings, claims());
    assert_eq!(summary(&reversed), expected, "in reverse order");
    assert_eq!(decision.id(), reversed.id());
}

const PERMIT: &str = r#"{"permit": {}}"#;
const RESTRICT: &str = r#"{"restrict": {}}"#;
const ABSTAIN: &str = r#""abstain""#;
const DENY: &str = r#"{"deny": [["no", "because"]]}"#;

#[test]
fn at_least_one_permit_is_needed() {
    check([enforce("a", PERMIT)], "approved 3600s aws+azure");
    check([enforce("a", PERMIT), enforce("b", ABSTAIN)], "approved 3600s aws+azure");
    check([enforce("a", ABSTAIN)], "refused no-permit");
    check([enforce("a", ABSTAIN), enforce("b", ABSTAIN)], "refused no-permit");
}

#[test]
fn a_restriction_is_no_permit() {
    check([enforce("a", RESTRICT)], "refused no-permit");
    check([enforce("a", RESTRICT), enforce("b", ABSTAIN)], "refused no-permit");
    check([enforce("a", RESTRICT), enforce("b", RESTRICT)], "refused no-permit");
    check([enforce("a", RESTRICT), shadow("b", PERMIT)], "refused no-permit");
    check([enforce("a", RESTRICT), enforce("b", DENY)], "refused b:no");
    check([enforce("a", RESTRICT), enforce("b", PERMIT)], "approved 3600s aws+azure");
}

#[test]
fn a_restriction_narrows_as_a_permit_does() {
    let ttl = r#"{"restrict": {"max-ttl": 900}}"#;
    check([enforce("a", ttl), enforce("b", PERMIT)], "approved 900s aws+azure");
    check(
        [enforce("a", ttl), enforce("b", r#"{"permit": {"max-ttl": 60}}"#)],
        "approved 60s aws+azure",
    );
    let aws = r#"{"restrict": {"audiences": ["aws"]}}"#;
    check([enforce("a", aws), enforce("b", PERMIT)], "approved 3600s aws");
    let azure = r#"{"permit": {"audiences": ["azure"]}}"#;
    check([enforce("a", aws), enforce("b", azure)], "refused no-audience-left");
    let red = r#"{"restrict": {"claims": [["team", "red"]]}}"#;
    check([enforce("a", red), enforce("b", PERMIT)], "approved 3600s aws+azure team=red");
    let blue = r#"{"permit": {"claims": [["team", "blue"]]}}"#;
    check([enforce("a", red), enforce("b", blue)], "refused b:conflicting-claim");
    // And one that widens is a fault.
    let wide = r#"{"restrict": {"max-ttl": 3601}}"#;
    check([enforce("a", wide), enforce("b", PERMIT)], "refused a:grant-widens-ttl");
}

#[test]
fn a_binding_that_may_not_permit_restricts() {
    let capped = |name, answer| Scripted { may_permit: false, ..enforce(name, answer) };
    check([capped("a", PERMIT)], "refused no-permit");
    check([capped("a", PERMIT), capped("b", PERMIT)], "refused no-permit");
    check([capped("a", PERMIT), enforce("b", RESTRICT)], "refused no-permit");
    check(
        [capped("a", r#"{"permit": {"max-ttl": 900}}"#), enforce("b", PERMIT)],
        "approved 900s aws+azure",
    );
    // What it denies counts, and so does a fault of it.
    check([capped("a", DENY), enforce("b", PERMIT)], "refused a:no");
    check([capped("a", r#"{"panic": "no"}"#), enforce("b", PERMIT)], "refused a:panic");
    // The record has what the policy answered, and why that did not count.
    let decision = decide(&[capped("a", PERMIT)], claims());
    let record = serde_json::to_value(decision.record()).unwrap();
    assert_eq!(record["trace"][0]["verdict"], serde_json::json!({ "permit": {} }));
    assert_eq!(record["trace"][0]["may_permit"], false);
    assert_eq!(record["reasons"][0]["code"], "no-permit");
    // It is part of what decides.
    assert_ne!(set(&[capped("a", PERMIT)]).digest(), set(&[enforce("a", PERMIT)]).digest());
}

#[test]
fn any_deny_refuses_and_every_reason_is_given() {
    check([enforce("a", DENY)], "refused a:no");
    check([enforce("a", PERMIT), enforce("b", DENY)], "refused b:no");
    check(
        [enforce("a", DENY), enforce("b", r#"{"deny": [["one", ""], ["two", ""]]}"#)],
        "refused a:no b:one b:two",
    );
    check([enforce("a", PERMIT), enforce("b", r#"{"deny": []}"#)], "refused b:no-reason-given");
}

#[test]
fn any_fault_of_an_enforcing_binding_refuses_under_its_own_code() {
    for (answer, code) in [
        (r#""loop""#, "out-of-fuel"),
        (r#""recurse""#, "trap"),
        (r#""grow""#, "memory"),
        (r#"{"panic": "no"}"#, "panic"),
        (r#"{"flood": {"reasons": 1, "bytes": 100000}}"#, "output-too-large"),
        (r#"{"flood": {"reasons": 10000, "bytes": 0}}"#, "output-too-large"),
    ] {
        let expected = format!("refused b:{code}");
        check([enforce("a", PERMIT), enforce("b", answer)], &expected);
    }
}

#[test]
fn a_deny_and_a_fault_are_both_named() {
    check([enforce("a", r#"{"panic": "no"}"#), enforce("b", DENY)], "refused a:panic b:no");
}

#[test]
fn the_smallest_ttl_counts() {
    check([enforce("a", r#"{"permit": {"max-ttl": 900}}"#)], "approved 900s aws+azure");
    check(
        [
            enforce("a", r#"{"permit": {"max-ttl": 900}}"#),
            enforce("b", r#"{"permit": {"max-ttl": 60}}"#),
            enforce("c", PERMIT),
        ],
        "approved 60s aws+azure",
    );
    check([enforce("a", r#"{"permit": {"max-ttl": 3600}}"#)], "approved 3600s aws+azure");
}

#[test]
fn audiences_intersect_and_none_left_refuses() {
    let aws = r#"{"permit": {"audiences": ["aws"]}}"#;
    let azure = r#"{"permit": {"audiences": ["azure"]}}"#;
    let both = r#"{"permit": {"audiences": ["azure", "aws", "aws"]}}"#;
    check([enforce("a", aws)], "approved 3600s aws");
    check([enforce("a", both)], "approved 3600s aws+azure");
    check([enforce("a", aws), enforce("b", both), enforce("c", PERMIT)], "approved 3600s aws");
    check([enforce("a", aws), enforce("b", azure)], "refused no-audience-left");
    check([enforce("a", r#"{"permit": {"audiences": []}}"#)], "refused no-audience-left");
}

#[test]
fn claims_are_united_and_two_values_refuse() {
    let red = r#"{"permit": {"claims": [["team", "red"]]}}"#;
    let blue = r#"{"permit": {"claims": [["team", "blue"]]}}"#;
    let cost = r#"{"permit": {"claims": [["cost", "1"]]}}"#;
    check([enforce("a", red), enforce("b", cost)], "approved 3600s aws+azure cost=1,team=red");
    check([enforce("a", red), enforce("b", red)], "approved 3600s aws+azure team=red");
    check([enforce("a", red), enforce("b", blue)], "refused b:conflicting-claim");
}

#[test]
fn a_grant_that_widens_is_a_fault_and_never_clipped() {
    for (grant, code) in [
        (r#"{"max-ttl": 3601}"#, "grant-widens-ttl"),
        (r#"{"max-ttl": 0}"#, "grant-widens-ttl"),
        (r#"{"audiences": ["gcp"]}"#, "grant-widens-audiences"),
        (r#"{"audiences": ["aws", "AWS"]}"#, "grant-widens-audiences"),
        (r#"{"claims": [["sub", "x"]]}"#, "grant-reserved-claim"),
        (r#"{"claims": [["https://aws.amazon.com/tags", "x"]]}"#, "grant-reserved-claim"),
        (r#"{"claims": [["other", "x"]]}"#, "grant-unlisted-claim"),
        (r#"{"claims": [["Team", "x"]]}"#, "grant-unlisted-claim"),
        (r#"{"claims": [["", "x"]]}"#, "grant-bad-claim"),
        (r#"{"claims": [["team", "x"], ["team", "x"]]}"#, "grant-bad-claim"),
        (r#"{"claims": [["team", "\u0007"]]}"#, "grant-bad-claim"),
    ] {
        let answer = format!(r#"{{"permit": {grant}}}"#);
        check([enforce("a", &answer), enforce("b", PERMIT)], &format!("refused a:{code}"));
    }
    let long = format!(r#"{{"permit": {{"claims": [["team", "{}"]]}}}}"#, "x".repeat(1025));
    check([enforce("a", &long)], "refused a:grant-bad-claim");
}

#[test]
fn shadow_bindings_never_change_the_decision() {
    for answer in [
        PERMIT,
        ABSTAIN,
        DENY,
        r#"{"permit": {"max-ttl": 1, "audiences": [], "claims": [["team", "blue"]]}}"#,
        r#"{"permit": {"max-ttl": 9999}}"#,
        r#"{"panic": "no"}"#,
        r#""loop""#,
    ] {
        let red = r#"{"permit": {"claims": [["team", "red"]]}}"#;
        check([enforce("a", red), shadow("b", answer)], "approved 3600s aws+azure team=red");
        check([enforce("a", DENY), shadow("b", answer)], "refused a:no");
        check([enforce("a", ABSTAIN), shadow("b", answer)], "refused no-permit");
        check([shadow("b", answer)], "refused no-applicable-binding");
    }
}

#[test]
fn shadow_bindings_are_on_record() {
    let decision = decide(&[enforce("a", PERMIT), shadow("b", DENY)], claims());
    let record = serde_json::to_value(decision.record()).unwrap();
    assert_eq!(record["trace"][1]["binding"], "b");
    assert_eq!(record["trace"][1]["mode"], "shadow");
    assert_eq!(record["trace"][1]["verdict"]["deny"][0]["code"], "no");
}

#[test]
fn a_scope_admits_by_equality_only() {
    let run = support::run();
    let other = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    for (scope, applies) in [
        (Scope::All, true),
        (Scope::OwningWorkspace("team-a".parse().unwrap()), true),
        (Scope::OwningWorkspace("team".parse().unwrap()), false),
        (Scope::OwningWorkspace("team-a-b".parse().unwrap()), false),
        (Scope::OwningWorkspace("my-workspace".parse().unwrap()), false),
        (Scope::DefinitionWorkspace("my-workspace".parse().unwrap()), true),
        (Scope::DefinitionWorkspace("my-work".parse().unwrap()), false),
        (Scope::DefinitionWorkspace("team-a".parse().unwrap()), false),
        (Scope::Definition(run.definition.id.clone()), true),
        (Scope::Definition(other), false),
    ] {
        let expected = if applies { "refused a:no" } else { "approved 3600s aws+azure" };
        let denies = Scripted { scope: scope.clone(), ..enforce("a", DENY) };
        check([denies, enforce("b", PERMIT)], expected);
        let permits = Scripted { scope, ..enforce("a", PERMIT) };
        let expected =
            if applies { "approved 3600s aws+azure" } else { "refused no-applicable-binding" };
        check([permits], expected);
    }
}

#[test]
fn every_evaluation_has_a_fresh_instance() {
    let policies = set(&[enforce("a", r#""count""#), enforce("b", r#""count""#)]);
    for _ in 0..3 {
        let decision = policies.evaluate(claims());
        let Outcome::Refused(reasons) = decision.outcome() else { panic!("{decision:?}") };
        let counts: Vec<_> = reasons.iter().map(|reason| reason.message.as_str()).collect();
        assert_eq!(counts, ["1", "1"]);
    }
}

#[test]
fn one_evaluation_after_a_fault_is_as_good_as_any() {
    let policies = set(&[enforce("a", PERMIT)]);
    let before = policies.evaluate(claims()).id();
    for answer in [r#""loop""#, r#""grow""#, r#""recurse""#, r#"{"panic": "no"}"#] {
        decide(&[enforce("b", answer)], claims());
        assert_eq!(policies.evaluate(claims()).id(), before, "{answer}");
    }
}

#[test]
fn text_of_a_policy_is_escaped_and_bounded() {
    let answer = r#"{"deny": [["\u001b[31mred", "two\nlines \u202e and more"]]}"#;
    let decision = decide(&[enforce("a", answer)], claims());
    let Outcome::Refused(reasons) = decision.outcome() else { panic!("{decision:?}") };
    assert_eq!(reasons[0].code, "malformed-code");
    assert_eq!(reasons[0].message, "\\u{1b}[31mred: two\\u{a}lines \\u{202e} and more");

    let answer = r#"{"flood": {"reasons": 40, "bytes": 1100}}"#;
    let decision = decide(&[enforce("a", answer)], claims());
    let Outcome::Refused(reasons) = decision.outcome() else { panic!("{decision:?}") };
    assert_eq!(reasons.len(), 16);
    assert_eq!(reasons[0].message.len(), 1024);
    assert!(reasons[0].message.ends_with('…'));
}

#[test]
fn a_panic_is_told_to_the_operator_and_not_to_the_requester() {
    let decision = decide(&[enforce("a", r#"{"panic": "secret\u001b plan"}"#)], claims());
    let Outcome::Refused(reasons) = decision.outcome() else { panic!("{decision:?}") };
    assert_eq!(reasons[0].message, "the policy of `a` gave no valid verdict");
    let fault = decision.trace()[0].result.clone().unwrap_err();
    let detail = fault.to_string();
    assert!(detail.starts_with("panicked: secret\\u{1b} plan ("), "{detail}");
    assert!(detail.contains("scripted/src/lib.rs"), "{detail}");
}

#[test]
fn fuel_is_on_record_where_it_can_be_trusted() {
    let policies = set(&[
        enforce("a", PERMIT),
        enforce("b", r#""loop""#),
        enforce("c", r#""grow""#),
        enforce("d", r#"{"panic": "no"}"#),
    ]);
    let decision = policies.evaluate(claims());
    let fuel: Vec<_> = decision.trace().iter().map(|entry| entry.used.fuel).collect();
    assert!(fuel[0].is_some_and(|fuel| (1_000..100_000).contains(&fuel)), "{fuel:?}");
    assert_eq!(fuel[1], Some(Limits::DEFAULT.fuel));
    assert_eq!(fuel[2], None);
    assert!(fuel[3].is_some_and(|fuel| (1_000..100_000).contains(&fuel)), "{fuel:?}");
    let memory: Vec<_> = decision.trace().iter().map(|entry| entry.used.memory_bytes).collect();
    assert!(memory[0].is_some_and(|bytes| bytes > 0 && bytes % 65_536 == 0), "{memory:?}");
    assert_eq!(memory[1..], [None, None, None]);
    let again = policies.evaluate(claims());
    assert_eq!(decision.trace(), again.trace());
}

#[test]
fn limits_are_the_bindings_own() {
    let permit = Scripted {
        limits: Limits { fuel: 1_000, ..enforce("a", PERMIT).limits },
        ..enforce("a", PERMIT)
    };
    check([permit], "refused a:out-of-fuel");
    let limits = Limits { fuel: Limits::CEILING.fuel, wall_clock_ms: 30, ..Limits::DEFAULT };
    check([Scripted { limits, ..enforce("a", r#""loop""#) }], "refused a:deadline");
    let flood = r#"{"flood": {"reasons": 1, "bytes": 100000}}"#;
    let limits = Limits { output_bytes: 200_000, ..Limits::DEFAULT };
    check([Scripted { limits, ..enforce("a", flood) }], "refused a:flood");
}

#[test]
fn a_policy_sees_the_run_and_the_token_and_no_more() {
    let runner = Some(support::runner());
    let form = support::subject_form();
    let claims =
        Claims::new(support::run(), runner, Facts::default(), &form, token(&["aws"], 42)).unwrap();
    let decision = decide(&[enforce("a", r#""echo""#)], claims);
    let Outcome::Refused(reasons) = decision.outcome() else { panic!("{decision:?}") };
    assert_eq!(
        reasons[0].message,
        "Run { id: \"b3116611-e08b-4b00-91c5-10365b25a6ef\", number: 1, behavior: Behavior::Apply, \
         building-block: BuildingBlock { id: \"68ce5455-2a4a-4a4b-a324-6a6c18cab85a\", workspace: \
         \"team-a\", project: Some(\"my-project\"), platform: \
         Some(\"my-platform.my-location\"), parents: [] }, definition: Definition { id: \
         \"b23cfb9a-6974-444f-9d33-62134a632373\", workspace: \"my-workspace\", version: 1, \
         implementation: Implementation::Terraform }, trigger: None, runner: \
         Some(\"98520496-627d-43e6-82da-ce499179ff3f\"), facts: [] } Token { subject: \
         \"system:serviceaccount:test:workspace.my-workspace.buildingblockdefinition.\
         b23cfb9a-6974-444f-9d33-62134a632373\", audiences: [\"aws\"], ttl-seconds: 42, issued-at: \
         1790000000 }"
    );
}
