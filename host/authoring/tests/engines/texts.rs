//! Texts that an engine does not take.

use std::sync::Arc;

use countersign::{Engine, Fault, Policy};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::{CEDAR_SCHEMA, LIMITS, RUN, bind, component, refusal, unoptimised};

#[test]
#[ignore = "needs the engines: `make languages`"]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let [cedar, rego] = [EngineName::Cedar, EngineName::Rego].map(|engine| {
        let component = component(engine);
        Arc::new(Policy::load(&Engine::new().unwrap(), &component, &LIMITS).unwrap())
    });
    let forbid = |annotations: &str| format!("{annotations} forbid(principal, action, resource);");
    let mut differ = Vec::new();
    for (policy, settings, says) in [
        (&rego, json!({"policy": "package countersign\npermit if {"}), "/policy: "),
        (&rego, json!({"policy": "package countersign\npermit if {"}), "policy.rego:2"),
        (
            &rego,
            json!({"policy": "package other\npermit := true"}),
            "/policy: expected package `countersign`, found `other`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nallow := true"}),
            "/policy: expected at least one of the rules `permit`, `restrict` and `deny`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true", "data": 7}),
            "/data: expected an object",
        ),
        (&rego, json!({}), "/policy: missing"),
        (&cedar, json!({"policies": "permit(principal"}), "/policies: "),
        (
            &cedar,
            json!({"policies": ""}),
            "/policies: policies.cedar:1:1: expected at least one policy",
        ),
        (
            &cedar,
            json!({"policies": "permit(principal, action, resource) when { context.run.behaviour == \"x\" };"}),
            "behaviour",
        ),
        (
            &cedar,
            json!({"policies": "permit(principal == ?principal, action, resource);"}),
            "is a template; nothing links it",
        ),
        (
            &cedar,
            json!({"policies": forbid("@max_ttl(\"900\")")}),
            "@max_ttl is for a policy that permits",
        ),
        (
            &cedar,
            json!({"policies": forbid("@cod(\"x\")")}),
            "@cod is not known, expected one of @id, @code",
        ),
        (
            &cedar,
            json!({"policies": "@max_ttl(\"0\") permit(principal, action, resource);"}),
            "@max_ttl: expected seconds, found `0`",
        ),
        (&cedar, json!({"policies": forbid(""), "schema": "entity"}), "/schema: "),
        (&cedar, json!({"policies": forbid(""), "schema": "entity Workspace;"}), "/policies: "),
        (
            &cedar,
            // No `destroy`, and no `trigger`.
            json!({"policies": forbid(""), "schema": CEDAR_SCHEMA.replace("apply, detect, destroy", "apply, detect")}),
            "/schema: ",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "schema": CEDAR_SCHEMA.replace("runner?: String,", "")}),
            "/schema: ",
        ),
        (
            &cedar,
            json!({"policies": "forbid(principal, action, resource) when { context.run has triger };"}),
            "/policies: ",
        ),
        (&cedar, json!({"policies": forbid("@code(\"Not Listed\")")}), "found `Not Listed`"),
        (&cedar, json!({"policies": forbid("@message(\"\")")}), "@message is empty"),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true", "data": {"countersign": {"deny": []}}}),
            "/data/countersign: the name of a package",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit := true\ndeny(x) := {\"code\": x} if x"}),
            "/policy: `deny` is a function",
        ),
        (
            &rego,
            json!({"policy": "package countersign\npermit.max_ttl := 300"}),
            "/policy: the rule `permit.max_ttl`: expected `permit` as a whole",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "entities": [{"uid": {"type": "Team", "id": "a"}, "attrs": {}, "parents": []}]}),
            "/entities/0: `Team::",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "default-verdict": "permit"}),
            "/default-verdict: expected one of `deny`, `restrict`, `abstain`",
        ),
        (
            &cedar,
            json!({"policies": forbid(""), "otherwise": "abstain"}),
            "/otherwise: unknown key, expected one of `policies`, `schema`, `entities`, `default-verdict`",
        ),
        (
            &cedar,
            json!({"policies": forbid("@restrict")}),
            "@restrict is for a policy that permits",
        ),
        (
            &cedar,
            json!({"policies": "@restrict(\"no\") permit(principal, action, resource);"}),
            "@restrict takes no value, found `no`",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nrestrict(x) := {\"max_ttl\": x} if x"}),
            "/policy: `restrict` is a function",
        ),
        (
            &rego,
            json!({"policy": "package countersign\nrestrict.max_ttl := 300"}),
            "/policy: the rule `restrict.max_ttl`: expected `restrict` as a whole",
        ),
    ] {
        let found = refusal(policy, &settings);
        if !found.contains(says) {
            differ.push(format!("{settings}: expected {says}, found {found}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// A rule of another shape says nothing that could be trusted.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_rule_of_another_shape_is_a_fault() {
    let policy = unoptimised(&component(EngineName::Rego));
    let base: Value = serde_json::from_str(RUN).unwrap();
    for (rule, says) in [
        ("permit := 7", "permit: expected true or an object, found 7"),
        ("permit := {\"max-ttl\": 9}", "permit: expected `max_ttl`, `audiences` and `claims`"),
        ("permit := {\"max_ttl\": \"9\"}", "permit.max_ttl: expected seconds, found \"9\""),
        ("permit := {\"max_ttl\": 0}", "permit.max_ttl: expected seconds, found 0"),
        ("permit := {\"audiences\": \"a\"}", "permit.audiences: expected strings"),
        ("permit := {\"claims\": {\"team\": 1}}", "permit.claims: expected an object of strings"),
        ("restrict := 7", "restrict: expected true or an object, found 7"),
        ("restrict := {\"max-ttl\": 9}", "restrict: expected `max_ttl`, `audiences` and `claims`"),
        ("restrict := {\"max_ttl\": 0}", "restrict.max_ttl: expected seconds, found 0"),
        ("restrict := {\"audiences\": [7]}", "restrict.audiences: expected strings"),
        ("restrict := {\"claims\": []}", "restrict.claims: expected an object of strings"),
        ("permit := true\nrestrict := true", "`permit` and `restrict` both have a value"),
        (
            "permit := true\nrestrict := {\"max_ttl\": 9}\ndeny contains {\"code\": \"a\", \"message\": \"b\"}",
            "`permit` and `restrict` both have a value",
        ),
        ("deny := true", "deny: expected a set of reasons, found true"),
        (
            "deny contains \"no\"",
            "deny: expected {\"code\": text, \"message\": text}, found \"no\"",
        ),
        ("deny contains {\"code\": \"a\"}", "deny: expected {\"code\": text"),
        // A denial beside a permit that is wrong is wrong.
        (
            "permit := 7\ndeny contains {\"code\": \"a\", \"message\": \"b\"}",
            "permit: expected true",
        ),
        ("permit if to_number(\"x\") == 1", "policy.rego:2:22: could not parse string as number"),
    ] {
        let set =
            bind(&policy, &json!({"policy": format!("package countersign\n{rule}")})).unwrap();
        let decision = set.evaluate(Choices(1).claims(&base));
        match &decision.trace()[0].result {
            Err(Fault::Panic { message }) => assert!(message.contains(says), "{rule}: {message}"),
            other => panic!("{rule}: {other:?}"),
        }
        assert!(decision.into_approval().is_err(), "{rule}");
    }
}
