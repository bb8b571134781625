//! One table of what a policy sees and of what its answers mean, run in every language.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign::{Claims, Facts, Policy, RunnerId};
use countersign_engines::EngineName;
use countersign_test_artifacts::SCRIPTED;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::comparison::answer;
use crate::{RUN, bind, claims_of, component, unoptimised};

const TABLE: &str = include_str!("contract.toml");

/// The languages of the table.
const LANGUAGES: [&str; 7] = ["rego", "cedar", "cel", "javascript", "typescript", "python", "rust"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    sees: Vec<Condition>,
    gives: Vec<Answer>,
}

#[derive(Deserialize)]
struct Condition {
    name: String,
    #[serde(default)]
    bare: bool,
    #[serde(default)]
    without: BTreeMap<String, String>,
    #[serde(flatten)]
    texts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Answer {
    name: String,
    #[serde(default)]
    bare: bool,
    expect: Value,
    #[serde(default)]
    without: BTreeMap<String, String>,
    #[serde(flatten)]
    texts: BTreeMap<String, String>,
}

fn table() -> Table {
    let mut table: Table = toml::from_str(TABLE).unwrap();
    let sees = table.sees.iter_mut().map(|case| (&mut case.texts, &mut case.without));
    let gives = table.gives.iter_mut().map(|case| (&mut case.texts, &mut case.without));
    for (texts, without) in sees.chain(gives) {
        for of_language in [texts, without] {
            if let Some(text) = of_language.get("javascript").cloned() {
                of_language.entry("typescript".to_owned()).or_insert(text);
            }
        }
    }
    table
}

/// The settings of the policy itself, or its data: as a text, for numbers that JSON of other programs does not keep.
fn own_settings() -> Value {
    let text = r#"{"exact": 9007199254740993, "big": 18446744073709551615, "low": -9223372036854775808, "small": 7, "half": 0.5,
        "yes": true, "none": null, "__proto__": {"admin": true}, "constructor": "text"}"#;
    serde_json::from_str(text).unwrap()
}

/// The run with everything that one can have, or the one with nothing that one can lack.
fn claims(bare: bool) -> Claims {
    let mut run: Value = serde_json::from_str(RUN).unwrap();
    let definition = &mut run["spec"]["buildingBlockDefinition"]["spec"];
    definition["workspaceIdentifier"] = json!("platform-team");
    let block = run["spec"]["buildingBlock"]["spec"].as_object_mut().unwrap();
    block.insert("workspaceIdentifier".to_owned(), json!("team-a"));
    let (mut facts, mut runner) = (vec![], None);
    if bare {
        block.retain(|name, _| name != "projectIdentifier" && name != "fullPlatformIdentifier");
    } else {
        let parent = |block: &str, definition: &str| json!({"buildingBlockUuid": block, "definitionUuid": definition});
        block["parentBuildingBlocks"] = json!([
            parent("33333333-3333-4333-8333-333333333333", "11111111-1111-4111-8111-111111111111"),
            parent("44444444-4444-4444-8444-444444444444", "22222222-2222-4222-8222-222222222222"),
        ]);
        let spec = &mut run["spec"];
        spec["runNumber"] = json!(9_007_199_254_740_991_u64);
        spec["behavior"] = json!("DESTROY");
        spec["buildingBlockDefinition"]["spec"]["version"] = json!(9_007_199_254_740_991_u64);
        spec["buildingBlockDefinition"]["spec"]["implementation"]["type"] = json!("GITLAB_CICD");
        spec["trigger"] = json!({
            "author": {"type": "ApiKey", "identifier": "a \"b\" ä"},
            "reason": "a change",
        });
        facts = vec![("cost-centre", "4711"), ("note", "")];
        runner = Some(RunnerId::parse("98520496-627d-43e6-82da-ce499179ff3f").unwrap());
    }
    claims_of(&run.to_string(), runner, Facts::new(facts).unwrap())
}

/// The settings of a policy that permits if a condition is true, and denies otherwise.
fn seeing(language: &str, condition: &str) -> Value {
    match language {
        "rego" => giving(
            language,
            &format!(
                "seen if {{ {condition} }}\npermit := {{}} if seen\n\
                 deny contains {{\"code\": \"no\", \"message\": \"not seen\"}} if not seen"
            ),
        ),
        "cedar" => giving(
            language,
            &format!("permit(principal, action, resource) when {{ {condition} }};"),
        ),
        "cel" => giving(
            language,
            &format!(
                "variables:\n- name: seen\n  expression: >-\n    {condition}\n\
                 permit: [{{when: variables.seen}}]\n\
                 deny: [{{code: no, message: not seen, when: \"!variables.seen\"}}]"
            ),
        ),
        "javascript" | "typescript" => {
            giving(language, &format!("return {condition} ? permit() : deny('no', 'not seen');"))
        }
        "python" => {
            giving(language, &format!("return permit() if {condition} else deny('no', 'not seen')"))
        }
        other => panic!("{other}"),
    }
}

/// The settings of a policy with these rules, or of one whose `evaluate` is this.
fn giving(language: &str, text: &str) -> Value {
    match language {
        "rego" => {
            json!({"policy": format!("package countersign\n{text}"), "data": own_settings()})
        }
        "cedar" => {
            // The table expects an abstention where no policy applies.
            json!({"policies": text, "default-verdict": "abstain"})
        }
        "cel" => json!({"policy": text, "data": own_settings()}),
        "javascript" => json!({"settings": own_settings(), "files": {"policy.js": format!(
            "import {{ abstain, deny, permit, restrict }} from 'countersign';\n\
             export function evaluate(settings, run, token) {{ {text} }}\n"
        )}}),
        "typescript" => json!({"settings": own_settings(), "files": {"policy.ts": format!(
            "import {{ abstain, deny, permit, restrict, type Run, type Token, type Verdict }} from 'countersign';\n\
             interface Settings {{ readonly exact: bigint }}\n\
             export function evaluate(settings: Settings, run: Run, token: Token): Verdict {{ {text} }}\n"
        )}}),
        "python" => json!({"settings": own_settings(), "files": {"policy.py": format!(
            "from countersign import abstain, deny, permit, restrict\n\n\n\
             def evaluate(settings, run, token):\n    {}\n",
            text.trim_start()
        )}}),
        other => panic!("{other}"),
    }
}

fn policy(language: &str) -> Arc<Policy> {
    let engine = match language {
        "rego" => EngineName::Rego,
        "cedar" => EngineName::Cedar,
        "cel" => EngineName::Cel,
        "javascript" | "typescript" => EngineName::Javascript,
        "python" => EngineName::Python,
        "rust" => return unoptimised(SCRIPTED),
        other => panic!("{other}"),
    };
    unoptimised(&component(engine))
}

#[track_caller]
fn check(language: &str, policy: &Arc<Policy>, settings: &Value, bare: bool, expected: &Value) {
    let set = bind(policy, settings).unwrap_or_else(|error| panic!("{language}: {error}"));
    let claims = claims(bare);
    let token = claims.token().clone();
    let decision = set.evaluate(claims);
    let result = &decision.trace()[0].result;
    assert_eq!(&answer(result, &token), expected, "{language}: {settings}: {result:?}");
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn every_language_sees_and_says_the_same() {
    let Table { sees, gives } = table();
    for language in LANGUAGES {
        let policy = policy(language);
        for Condition { name, bare, without, texts } in &sees {
            if without.contains_key(language) {
                continue;
            }
            let settings = match language {
                "rust" => json!({"answer": {"sees": name}}),
                _ => seeing(language, &texts[language]),
            };
            let expected = json!({
                "verdict": "permit",
                "seconds": 3600,
                "audiences": ["api://AzureADTokenExchange", "aws-workload-identity-provider:demo"],
                "claims": {},
            });
            check(language, &policy, &settings, *bare, &expected);
        }
        for Answer { name, bare, expect, without, texts } in &gives {
            let settings = match (language, texts.get(language)) {
                _ if without.contains_key(language) => continue,
                ("rust", Some(text)) => {
                    json!({"answer": serde_json::from_str::<Value>(text).unwrap()})
                }
                (_, Some(text)) => giving(language, text),
                (_, None) => panic!("{name}: {language} is missing, without a reason"),
            };
            check(language, &policy, &settings, *bare, expect);
        }
    }
}

/// Every language has every case, or the reason why not.
#[test]
fn the_table_is_whole() {
    let Table { sees, gives } = table();
    let languages = BTreeSet::from(LANGUAGES);
    for Condition { name, without, texts, .. } in &sees {
        let mut found: Vec<_> = texts.keys().chain(without.keys()).map(String::as_str).collect();
        // The conditions of Rust are in a component of its own, by their names.
        found.extend((!without.contains_key("rust")).then_some("rust"));
        assert_eq!(found.len(), languages.len(), "{name}: each once");
        assert_eq!(BTreeSet::from_iter(found), languages, "{name}");
    }
    for Answer { name, without, texts, .. } in &gives {
        let found: Vec<_> = texts.keys().chain(without.keys()).map(String::as_str).collect();
        assert_eq!(found.len(), languages.len(), "{name}: each once");
        assert_eq!(BTreeSet::from_iter(found), languages, "{name}");
    }
}
