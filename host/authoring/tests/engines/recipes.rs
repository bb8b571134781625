//! The rule of the cookbook that is there in each language, decided by all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use countersign::{
    Audience, Claims, Facts, PolicySet, Run, SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_engines::EngineName;
use countersign_test_artifacts::COOKBOOK;
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::comparison::answer;
use crate::{RUN, component, prepare};

/// The number of claims that all of them decide on.
const CLAIMS: usize = 10_000;

const VERSIONS: [&str; 16] = [
    "1.8",
    "1.8.0",
    "v1.8.2",
    "1.10.1",
    "2.0.0",
    "10.0",
    "1.7.9",
    "0.15.0",
    "v1",
    ">= 1.8",
    "1.9.0-rc1",
    "1.08.0",
    "1.8.0.1",
    "1.",
    "",
    "vv1.8",
];

fn read(recipe: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cookbook").join(recipe).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recipes, prepared.
fn recipes() -> Vec<(&'static str, PolicySet)> {
    let (_, rust) = COOKBOOK.iter().find(|(name, _)| *name == "team-standard-rust").unwrap();
    let text = |language: &str, file: &str| read(&format!("team-standard-{language}"), file);
    let of = |engine, settings| (component(engine), settings);
    let all = [
        ("rust", (rust.to_vec(), json!({}))),
        ("rego", of(EngineName::Rego, json!({"policy": text("rego", "policy.rego")}))),
        ("cedar", of(EngineName::Cedar, json!({"policies": text("cedar", "policies.cedar")}))),
        ("cel", of(EngineName::Cel, json!({"policy": text("cel", "policy.cel.yaml")}))),
        (
            "javascript",
            of(
                EngineName::Javascript,
                json!({"files": {"policy.js": text("javascript", "policy.js")}}),
            ),
        ),
        (
            "python",
            of(EngineName::Python, json!({"files": {"policy.py": text("python", "policy.py")}})),
        ),
    ];
    let prepared = all.map(|(language, (component, settings))| {
        let set = prepare(&component, &settings);
        (language, set.unwrap_or_else(|error| panic!("{language}: {error}")))
    });
    prepared.into()
}

/// Claims that meet each part of the rule. Of their times, some are within two days of a change of clocks in Berlin.
fn claims(choices: &mut Choices, base: &Value) -> Claims {
    let mut run = base.clone();
    let owners = ["team-a", "team-a", "team-shop-prod", "my-workspace", "team", "a-team-b"];
    run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!(choices.of(&owners));
    run["spec"]["behavior"] = json!(choices.of(&["APPLY", "DETECT", "DESTROY", "DESTROY"]));
    run["spec"]["trigger"] = match choices.of(&["User", "ApiKey", "ApiUser", "System", ""]) {
        &"" => Value::Null,
        kind => json!({"author": {"type": kind, "identifier": "ci"}}),
    };
    let kind = choices.of(&["TERRAFORM", "TERRAFORM", "MANUAL", "GITHUB_WORKFLOW"]);
    let version = choices.of(&VERSIONS);
    run["spec"]["buildingBlockDefinition"]["spec"]["implementation"] =
        json!({"type": kind, "terraformVersion": version});
    let run = Run::parse(run.to_string().as_bytes()).unwrap();
    // 2027-03-28, 01:00 UTC and 2027-10-31, 01:00 UTC.
    let change = *choices.of(&[1_806_195_600_u64, 1_824_944_400]);
    let near = change - 2 * 86_400 + choices.below(4 * 86_400);
    let far = 1_800_000_000 + choices.below(1 << 28);
    let time = *choices.of(&[near, far]);
    let audience = Audience::parse("aws-workload-identity-provider:demo").unwrap();
    let ttl = *choices.of(&[60, 599, 600, 601, 3600]);
    let token = TokenRequest::new(vec![audience], ttl, time).unwrap();
    let meshstack_id = "demo".parse().unwrap();
    let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
    Claims::new(run, None, Facts::default(), &subject, token).unwrap()
}

#[test]
#[ignore = "prepares six policies and decides many times: `make languages`"]
fn one_rule_answers_alike_in_each_language() {
    let recipes = recipes();
    let base: Value = serde_json::from_str(RUN).unwrap();
    let mut choices = Choices(21);
    let mut met = BTreeMap::<String, usize>::new();
    for number in 0..CLAIMS {
        let claims = claims(&mut choices, &base);
        let token = claims.token().clone();
        let mut first: Option<Value> = None;
        for (language, set) in &recipes {
            let decision = set.evaluate(claims.clone());
            let result = &decision.trace()[0].result;
            let found = answer(result, &token);
            let expected = first.get_or_insert_with(|| found.clone());
            assert_eq!(&found, expected, "claims {number}: {language}: {result:?}: {claims:?}");
        }
        match first {
            Some(Value::Array(codes)) => {
                for code in codes {
                    *met.entry(code.as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
            Some(grant) => {
                *met.entry(format!("permit for {}", grant["seconds"])).or_default() += 1;
            }
            None => {}
        }
    }
    // Each reason and each grant was met, and often.
    let codes = ["destroy-by-machines", "destroy-on-weekdays", "not-a-team", "opentofu-too-old"];
    let grants = [60, 599, 600, 601, 3600].map(|seconds| format!("permit for {seconds}"));
    for answer in codes.iter().map(|code| (*code).to_owned()).chain(grants) {
        assert!(met.get(&answer).is_some_and(|count| *count > 50), "{answer}: {met:?}");
    }
}
