//! Policies in CEL: their verdicts, and what is said of texts that are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::{Fault, Policy, Verdict};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::verdicts::decide;
use crate::{check_refused, component, unoptimised};

const RULES: &str = "\
variables:
- name: owner
  expression: run.building_block.workspace
permit:
- when: variables.owner == run.definition.workspace
- when: variables.owner in data.also
  max_ttl: 900
deny:
- code: ttl-above-ceiling
  message: at most an hour
  when: token.ttl_seconds > 3600
";

pub(crate) fn settings() -> Value {
    json!({"policy": RULES, "data": {"also": ["team-a", "team-b"]}})
}

fn engine() -> Arc<Policy> {
    unoptimised(&component(EngineName::Cel))
}

/// A verdict in few words.
fn words(result: &Result<Verdict, Fault>) -> String {
    match result {
        Ok(Verdict::Permit(grant)) => format!("permit {:?}", grant.max_ttl),
        Ok(Verdict::Restrict(grant)) => format!("restrict {:?}", grant.max_ttl),
        Ok(Verdict::Deny(reasons)) => {
            let codes: Vec<_> = reasons.iter().map(|reason| reason.code.to_string()).collect();
            format!("deny {}", codes.join(" "))
        }
        Ok(Verdict::Abstain) => "abstain".to_owned(),
        Err(fault) => format!("{}: {fault}", fault.code()),
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn rules_permit_restrict_deny_and_abstain() {
    let engine = engine();
    for (policy, expected) in [
        ("permit: [{when: 'true'}]", "permit None"),
        (
            "permit: [{when: 'true', max_ttl: 900}, {when: 'true', max_ttl: 600}]",
            "permit Some(600)",
        ),
        ("restrict: [{when: 'true', max_ttl: token.ttl_seconds / 2}]", "restrict Some(1800)"),
        ("permit: [{when: 'true'}]\nrestrict: [{when: 'true', max_ttl: 60}]", "permit Some(60)"),
        (
            "deny: [{code: a, message: b, when: 'true'}, {code: c, message: d, when: 'true'}]",
            "deny a c",
        ),
        ("permit: [{when: 'true'}]\ndeny: [{code: a, message: b, when: 'true'}]", "deny a"),
        ("permit: [{when: run.number < 0}]", "abstain"),
        // Numbers have 64 bits.
        (
            "permit: [{when: data.exact == 9007199254740993 && data.big == 18446744073709551615u}]",
            "permit None",
        ),
        (
            "permit: [{when: '[3, 1, 2].exists(n, n == 2) && \"ab\".matches(\"^a\")'}]",
            "permit None",
        ),
    ] {
        let data = json!({"exact": 9_007_199_254_740_993_u64, "big": u64::MAX});
        let (result, approved) = decide(&engine, &json!({"policy": policy, "data": data}));
        assert_eq!(words(&result), expected, "{policy}");
        assert_eq!(approved, expected.starts_with("permit"), "{policy}");
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn an_expression_that_fails_is_a_fault_with_its_place() {
    let engine = engine();
    for (policy, says) in [
        ("permit:\n- when: run.runner == 'a'", "policy.cel.yaml:2:12: there is no `runner`"),
        ("permit:\n- when: data.list[9] == 1", "policy.cel.yaml:2:18: the list is shorter"),
        ("permit:\n- when: data.list", "policy.cel.yaml:2:9: when: expected bool, found list"),
        (
            "permit:\n- when: 9223372036854775807 + run.number > 0",
            "the result does not fit into 64 bits",
        ),
        ("permit:\n- when: data.list.all(n, n > 'a')", "`>` does not take (int, string)"),
        // Beside a denial as well.
        (
            "deny:\n- {code: a, message: b, when: true}\npermit:\n- when: run.runner == 'a'",
            "policy.cel.yaml:4:12: there is no `runner`",
        ),
    ] {
        let (result, approved) = decide(&engine, &json!({"policy": policy, "data": {"list": [1]}}));
        match &result {
            Err(Fault::Panic { message }) => assert!(message.contains(says), "{policy}: {message}"),
            other => panic!("{policy}: {other:?}"),
        }
        assert!(!approved);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let engine = engine();
    for (settings, says) in [
        (json!({}), "/policy: missing"),
        (json!({"policy": "permit: []", "data": []}), "/data: "),
        (json!({"policy": "permit: ["}), "/policy: policy.cel.yaml:2:1: not YAML"),
        (
            json!({"policy": "allow: []"}),
            "/policy: policy.cel.yaml:1:1: `allow`: unknown key, expected one of `variables`",
        ),
        (
            json!({"policy": "permit:\n- when: run.id =="}),
            "/policy: policy.cel.yaml:2:18: mismatched input",
        ),
        (json!({"policy": "permit:\n- when: rum.id == ''"}), "2:9: `rum` is not declared"),
        (json!({"policy": "permit:\n- when: now() > 1"}), "`now` is not declared"),
        (
            json!({"policy": "permit:\n- when: run.behaviour == 'apply'"}),
            "`run` has no `behaviour`",
        ),
        (
            json!({"policy": "permit:\n- when: run.behavior == 'APPLY'"}),
            "`run.behavior` is never `APPLY`",
        ),
    ] {
        check_refused(&engine, &settings, says);
    }
}

/// The order of what a map holds is no one's promise, but it is the same in every evaluation.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn the_same_settings_give_the_same_verdict() {
    let engine = engine();
    let names: BTreeMap<_, _> = (0..64).map(|n| (format!("k{n}"), n)).collect();
    let policy = "deny:\n- {code: a, message_expression: 'data.names.map(k, k).filter(k, k != \"\")[0]', when: true}";
    let settings = json!({"policy": policy, "data": {"names": names}});
    let (first, _) = decide(&engine, &settings);
    for _ in 0..3 {
        assert_eq!(decide(&engine, &settings).0, first);
    }
}
