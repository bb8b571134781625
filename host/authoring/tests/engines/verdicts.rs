//! Restrictions, and the default verdict of Cedar.

use std::sync::Arc;

use countersign::{
    Audience, Claims, Fault, Grant, Policy, Run, SubjectFormat, SubjectTemplate, TokenRequest,
    Verdict,
};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::{RUN, bind, component, unoptimised};

/// Evaluates one policy alone, on the published run with a lifetime of an hour.
#[track_caller]
pub(crate) fn decide(policy: &Arc<Policy>, settings: &Value) -> (Result<Verdict, Fault>, bool) {
    let set = bind(policy, settings).unwrap();
    let audience = Audience::parse("aws-workload-identity-provider:demo").unwrap();
    let token = TokenRequest::new(vec![audience], 3600, 1_790_000_000).unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().unwrap(),
    };
    let run = Run::parse(RUN.as_bytes()).unwrap();
    let decision = set
        .evaluate(Claims::new(run, None, countersign::Facts::default(), &subject, token).unwrap());
    let result = decision.trace()[0].result.clone();
    (result, decision.into_approval().is_ok())
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_restriction_narrows_and_never_permits() {
    let any = "permit(principal, action, resource);";
    let (in_rego, in_cedar) =
        (unoptimised(&component(EngineName::Rego)), unoptimised(&component(EngineName::Cedar)));
    let rego = |rules: &str| (&in_rego, json!({"policy": format!("package countersign\n{rules}")}));
    let cedar = |policies: String| (&in_cedar, json!({"policies": policies}));
    for ((policy, settings), verdict, max_ttl) in [
        (rego("restrict := true"), "restrict", None),
        (rego("restrict := {\"max_ttl\": 900}"), "restrict", Some(900)),
        // `false` is no answer, as an undefined rule is none.
        (rego("permit := false\nrestrict := {\"max_ttl\": 900}"), "restrict", Some(900)),
        (rego("permit := {\"max_ttl\": 900}\nrestrict := false"), "permit", Some(900)),
        (cedar(format!("@restrict {any}")), "restrict", None),
        (cedar(format!("@restrict(\"\") @max_ttl(\"900\") {any}")), "restrict", Some(900)),
        // A permit beside it permits, within both.
        (cedar(format!("@restrict @max_ttl(\"900\") {any} {any}")), "permit", Some(900)),
        (cedar(format!("@restrict {any} @max_ttl(\"600\") {any}")), "permit", Some(600)),
        (
            cedar(format!("@restrict @max_ttl(\"900\") {any} @restrict @max_ttl(\"600\") {any}")),
            "restrict",
            Some(600),
        ),
    ] {
        let (result, approved) = decide(policy, &settings);
        let found = match &result {
            Ok(Verdict::Permit(grant)) => ("permit", grant.max_ttl),
            Ok(Verdict::Restrict(grant)) => ("restrict", grant.max_ttl),
            other => panic!("{settings}: {other:?}"),
        };
        assert_eq!(found, (verdict, max_ttl), "{settings}");
        assert_eq!(approved, verdict == "permit", "{settings}");
    }
}

/// Whatever the default, a run that no Cedar policy applies to gets no token from it.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn the_default_verdict_of_cedar_never_permits() {
    let policies = "forbid(principal, action == Action::\"destroy\", resource);";
    let cedar = unoptimised(&component(EngineName::Cedar));
    for default in ["deny", "restrict", "abstain"] {
        let settings = json!({"policies": policies, "default-verdict": default});
        let (result, approved) = decide(&cedar, &settings);
        let found = match &result {
            Ok(Verdict::Deny(reasons)) if reasons[0].code == "no-policy-permits" => "deny",
            Ok(Verdict::Restrict(grant)) if *grant == Grant::default() => "restrict",
            Ok(Verdict::Abstain) => "abstain",
            other => panic!("{default}: {other:?}"),
        };
        assert_eq!(found, default);
        assert!(!approved, "{default}");
    }
}
