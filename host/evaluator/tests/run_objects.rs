//! Run objects: what is read, what is dropped, what is refused and with which words.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{AuthorKind, Behavior, Implementation, Run};
use serde_json::{Value, json};
use support::{PUBLISHED_RUN, claims_for, decide, enforce, token};

const CREATED: &str = include_str!("data/published-create.json");

/// The published run with one value changed; `Value::Null` as text `-` removes it.
fn changed(pointer: &str, value: &Value) -> String {
    let mut run: Value = serde_json::from_str(PUBLISHED_RUN).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = run.pointer_mut(parent).unwrap();
    match value {
        Value::String(remove) if remove == "-" => {
            parent.as_object_mut().unwrap().remove(key);
        }
        value => parent[key] = value.clone(),
    }
    run.to_string()
}

#[track_caller]
fn refuses(pointer: &str, value: Value, expected: &str) {
    let error = Run::parse(changed(pointer, &value).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[track_caller]
fn accepts(pointer: &str, value: Value) -> Run {
    Run::parse(changed(pointer, &value).as_bytes()).unwrap()
}

#[test]
fn the_published_runs_parse() {
    let run = Run::parse(PUBLISHED_RUN.as_bytes()).unwrap();
    assert_eq!(run, Run::parse(CREATED.as_bytes()).unwrap());
    assert_eq!(run.id.as_str(), "b3116611-e08b-4b00-91c5-10365b25a6ef");
    assert_eq!(run.number, 1);
    assert_eq!(run.behavior, Behavior::Apply);
    assert_eq!(run.building_block.id.as_str(), "68ce5455-2a4a-4a4b-a324-6a6c18cab85a");
    assert_eq!(run.building_block.workspace.as_str(), "my-workspace");
    assert_eq!(run.building_block.project.as_ref().unwrap().as_str(), "my-project");
    assert_eq!(run.building_block.platform.as_ref().unwrap().as_str(), "my-platform.my-location");
    assert_eq!(run.building_block.parents, []);
    assert_eq!(run.definition.id.as_str(), "b23cfb9a-6974-444f-9d33-62134a632373");
    assert_eq!(run.definition.workspace.as_str(), "my-workspace");
    assert_eq!(run.definition.version, 1);
    assert_eq!(run.definition.implementation, Implementation::Terraform);
    assert_eq!(run.trigger, None);
}

#[test]
fn what_a_runner_receives_parses_too() {
    let author = json!({"identifier": "ada@example.com", "type": "User", "displayName": "Ada"});
    let run = accepts("/spec/trigger", json!({"reason": "ORDERED", "author": author}));
    let trigger = run.trigger.unwrap();
    assert_eq!(trigger.reason.as_deref(), Some("ORDERED"));
    assert_eq!(
        (trigger.author.as_str(), trigger.author_kind),
        ("ada@example.com", AuthorKind::User)
    );

    let uuid = "68ce5455-2a4a-4a4b-a324-6a6c18cab85b";
    let parents = json!([{"buildingBlockUuid": uuid, "definitionUuid": uuid, "more": 1}]);
    let run = accepts("/spec/buildingBlock/spec/parentBuildingBlocks", parents);
    assert_eq!(run.building_block.parents[0].definition.as_str(), uuid);

    assert_eq!(
        accepts("/spec/buildingBlock/spec/projectIdentifier", json!("-")).building_block.project,
        None
    );
    assert_eq!(
        accepts("/spec/buildingBlock/spec/fullPlatformIdentifier", Value::Null)
            .building_block
            .platform,
        None
    );
    accepts("/spec/buildingBlock/spec/parentBuildingBlocks", json!("-"));
    accepts("/spec/unknown", json!({"deep": [[[]]], "n": 1.5e300}));
    accepts("/status", json!("WHATEVER"));
    accepts("/_links", json!(7));
    accepts("/spec/buildingBlock/spec/inputs", json!("anything"));
}

#[test]
fn secrets_are_dropped_at_the_parser() {
    const SECRET: &str = "s3cr3t-value";
    let mut run: Value = serde_json::from_str(PUBLISHED_RUN).unwrap();
    run["spec"]["runToken"] = SECRET.into();
    run["spec"]["buildingBlock"]["spec"]["inputs"] = json!([{"key": "k", "value": SECRET, "type": "STRING", "isSensitive": true, "isEnvironment": false}]);
    for field in ["sshPrivateKey", "appPem", "pipelineTriggerToken", "personalAccessToken"] {
        run["spec"]["buildingBlockDefinition"]["spec"]["implementation"][field] = SECRET.into();
    }
    let run = Run::parse(run.to_string().as_bytes()).unwrap();
    assert!(!format!("{run:?} {run:#?}").contains(SECRET));
    assert_eq!(run, Run::parse(PUBLISHED_RUN.as_bytes()).unwrap());

    // Nor does a policy see any of it, or a record hold it.
    let decision = decide(&[enforce("a", r#""echo""#)], claims_for(run, token(&["aws"], 60)));
    let record = serde_json::to_string(&decision.record()).unwrap();
    assert!(record.contains("b3116611") && !record.contains(SECRET), "{record}");
}

#[test]
fn errors_do_not_repeat_what_may_be_a_secret() {
    const SECRET: &str = "s3cr3t-value";
    for pointer in [
        "/spec/runNumber",
        "/spec/buildingBlock",
        "/metadata",
        "/spec/buildingBlockDefinition/spec/implementation",
        "/spec/trigger",
    ] {
        let error = Run::parse(changed(pointer, &SECRET.into()).as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
    for broken in [
        PUBLISHED_RUN.replace("\"test\"", SECRET),
        PUBLISHED_RUN.replace("\"test\"", &format!("\"{SECRET}")),
        PUBLISHED_RUN.replace("\"test\"", &format!("\"{SECRET}\\q\"")),
    ] {
        let error = Run::parse(broken.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
}

#[test]
fn what_is_missing_or_of_another_type() {
    refuses("/kind", json!("-"), "/kind: missing, expected a word");
    refuses(
        "/kind",
        json!("meshProject"),
        "/kind: expected `meshBuildingBlockRun`, found `meshProject`",
    );
    refuses("/apiVersion", json!("v2"), "/apiVersion: expected `v1`, found `v2`");
    refuses("/metadata", json!([]), "/metadata: expected an object, found an array");
    refuses("/metadata/uuid", json!(null), "/metadata/uuid: expected an identifier, found null");
    refuses("/spec", json!("-"), "/spec: missing, expected an object");
    refuses(
        "/spec/runNumber",
        json!("1"),
        "/spec/runNumber: expected a whole number from 0 to 2^53 - 1, found a string",
    );
    refuses(
        "/spec/runNumber",
        json!(-1),
        "/spec/runNumber: expected a whole number from 0 to 2^53 - 1, found another number",
    );
    refuses(
        "/spec/runNumber",
        json!(1.0),
        "/spec/runNumber: expected a whole number from 0 to 2^53 - 1, found another number",
    );
    refuses(
        "/spec/runNumber",
        json!(1_u64 << 53),
        "/spec/runNumber: expected a whole number from 0 to 2^53 - 1, found another number",
    );
    refuses("/spec/trigger", json!(true), "/spec/trigger: expected an object, found a boolean");
    refuses("/spec/trigger", json!({}), "/spec/trigger/author: missing, expected an object");
    refuses(
        "/spec/trigger",
        json!({"author": {"identifier": "", "type": "User"}}),
        "/spec/trigger/author/identifier: expected a text of 1 to 255 bytes on one line, found a text of another length",
    );
    refuses(
        "/spec/trigger",
        json!({"author": {"identifier": "a\nb", "type": "User"}}),
        "/spec/trigger/author/identifier: expected a text of 1 to 255 bytes on one line, found a text with control characters",
    );
    refuses(
        "/spec/buildingBlock/spec/parentBuildingBlocks",
        json!([1]),
        "/spec/buildingBlock/spec/parentBuildingBlocks/0: expected an object, found a number",
    );
    refuses(
        "/spec/buildingBlock/spec/parentBuildingBlocks",
        json!(vec![1; 257]),
        "/spec/buildingBlock/spec/parentBuildingBlocks: expected an array of at most 256 parents, found a longer array",
    );
}

#[test]
fn what_is_unknown_in_a_security_decision_refuses() {
    refuses(
        "/spec/behavior",
        json!("apply"),
        "/spec/behavior: expected one of `APPLY`, `DETECT`, `DESTROY`, found `apply`",
    );
    refuses(
        "/spec/behavior",
        json!("APPLY "),
        "/spec/behavior: expected one of `APPLY`, `DETECT`, `DESTROY`, found `APPLY `",
    );
    refuses(
        "/spec/buildingBlockDefinition/spec/implementation/type",
        json!("PULUMI\u{1b}[0m"),
        "/spec/buildingBlockDefinition/spec/implementation/type: expected one of `MANUAL`, \
         `TERRAFORM`, `GITHUB_WORKFLOW`, `GITLAB_CICD`, `AZURE_DEVOPS`, found `PULUMI\\u{1b}[0m`",
    );
    refuses(
        "/spec/trigger",
        json!({"author": {"identifier": "a", "type": "Robot"}}),
        "/spec/trigger/author/type: expected one of `User`, `ApiKey`, `ApiUser`, `System`, found `Robot`",
    );
}

#[test]
fn identifiers_are_parsed_and_never_normalised() {
    let workspace = "/spec/buildingBlock/spec/workspaceIdentifier";
    for text in [
        "",
        " ",
        "My-Workspace",
        "my-workspace ",
        "my-workspace.",
        "a.b",
        "a/b",
        "a:definition:b",
        "a%3Ab",
        "a\u{ff1a}b",
        "a\u{2024}b",
        "*",
        "a*",
        "?",
        "${a}",
        "a\u{0}",
        "a\u{200b}",
        "\u{430}",
        "a--b",
        "-a",
    ] {
        let error = Run::parse(changed(workspace, &json!(text)).as_bytes()).unwrap_err();
        let start = format!("{workspace}: expected a workspace identifier");
        assert!(error.to_string().starts_with(&start), "{text:?}: {error}");
    }
    for text in [
        "B3116611-E08B-4B00-91C5-10365B25A6EF",
        "{b3116611-e08b-4b00-91c5-10365b25a6ef}",
        "00000000-0000-0000-0000-000000000000",
    ] {
        refuses(
            "/metadata/uuid",
            json!(text),
            &format!(
                "/metadata/uuid: expected a UUID in canonical lower case that is not nil, found `{text}`"
            ),
        );
    }
}

#[test]
fn texts_that_two_readers_could_read_differently() {
    let doubled = |from: &str, to: &str| {
        let text = PUBLISHED_RUN.replacen(from, to, 1);
        assert_ne!(text, PUBLISHED_RUN);
        Run::parse(text.as_bytes()).unwrap_err().to_string()
    };
    let twice = doubled(r#""spec" : {"#, r#""spec" : {}, "spec" : {"#);
    assert!(twice.ends_with("the key `spec` appears twice in one object"), "{twice}");
    let escaped = doubled(r#""spec" : {"#, r#""\u0073pec" : {}, "spec" : {"#);
    assert!(escaped.ends_with("the key `spec` appears twice in one object"), "{escaped}");
    let deep = doubled(r#""version" : 1,"#, r#""version" : 1, "version" : 2,"#);
    assert!(deep.ends_with("the key `version` appears twice in one object"), "{deep}");
    let inputs = doubled(r#""inputs" : ["#, r#""inputs" : [], "inputs" : ["#);
    assert!(inputs.ends_with("the key `inputs` appears twice in one object"), "{inputs}");
    let unknown = doubled(r#""status""#, r#""x": [{"a": 1, "a": 1}], "status""#);
    assert!(unknown.ends_with("the key `a` appears twice in one object"), "{unknown}");
    let trailing = doubled("\n}", "\n} x");
    assert!(trailing.contains("not JSON") || trailing.contains("expected"), "{trailing}");
}

/// Nobody reads inputs, so nothing in them is a reason to refuse; nor do they count.
#[test]
fn inputs_are_dropped_whatever_they_hold() {
    let expected = Run::parse(PUBLISHED_RUN.as_bytes()).unwrap();
    let file = format!("{{\"value\": \"{}\"}}", "a".repeat(3 << 20));
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let many = format!("{}0", "0,".repeat(200_000));
    for inputs in [
        r#"{"key": "k", "key": "k"}"#,
        r#"{"value": 1e999}, {"value": -1e999}, 123456789012345678901234567890"#,
        r#"{"value": "\ud800"}, "\udc00\ud800""#,
        r#"{"__proto__": 1, "": 2, "": 3}"#,
        &file,
        &deep,
        &many,
    ] {
        let text =
            PUBLISHED_RUN.replacen(r#""inputs" : ["#, &format!(r#""inputs" : [ {inputs},"#), 1);
        assert_ne!(text, PUBLISHED_RUN);
        let run = Run::parse(text.as_bytes());
        assert_eq!(run.as_ref(), Ok(&expected), "{}", &inputs[..inputs.len().min(60)]);
        // Elsewhere it refuses.
        let text = PUBLISHED_RUN.replacen(
            r#""behavior""#,
            &format!(r#""x" : [ {inputs} ], "behavior""#),
            1,
        );
        assert!(Run::parse(text.as_bytes()).is_err(), "{}", &inputs[..inputs.len().min(60)]);
    }
    let whole = PUBLISHED_RUN.replacen(r#""test""#, &format!("\"{}\"", "a".repeat(16 << 20)), 1);
    let error = Run::parse(whole.as_bytes()).unwrap_err().to_string();
    let expected = format!("the text has {} bytes, at most 16777216 are allowed", whole.len());
    assert_eq!(error, expected);
}

#[test]
fn size_and_depth_are_bounded() {
    // Inputs do not count.
    let run = changed("/spec/buildingBlock/spec/inputs", &json!("-"));
    let padded = format!("{run}{}", " ".repeat(countersign::MAX_RUN_BYTES - run.len()));
    assert!(Run::parse(padded.as_bytes()).is_ok());
    let error = Run::parse(format!("{padded} ").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the text has 1048577 bytes, at most 1048576 are allowed");
    let deep = "[".repeat(100_000);
    let error = Run::parse(deep.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 65: nested deeper than 64 levels");
}

#[test]
fn facts_of_a_run_object_are_those_that_rules_ask_for() {
    let implementation = "/spec/buildingBlockDefinition/spec/implementation";
    let facts = |pointer: &str, value: Value| {
        let (run, facts) = Run::parse_with_facts(changed(pointer, &value).as_bytes()).unwrap();
        assert_eq!(run, Run::parse(changed(pointer, &value).as_bytes()).unwrap());
        let facts = facts.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_owned()));
        facts.collect::<Vec<_>>()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let published = [
        pair("building-block-name", "block"),
        pair("opentofu-version", "v1"),
        pair("repository-url", "https://example.com"),
    ];
    assert_eq!(facts("/status", json!("-")), published);
    assert_eq!(facts("/spec/buildingBlock/spec/displayName", json!("-")), published[1..]);
    let all = json!({
        "type": "TERRAFORM", "terraformVersion": "1.8.2", "repositoryUrl": "git@git.example.com:a/b.git",
        "repositoryPath": "modules/x", "refName": "v3", "repository": "owner/name", "branch": "other",
        "sshPrivateKey": "s3cr3t", "pipelineTriggerToken": "s3cr3t",
    });
    let found = facts(implementation, all);
    assert_eq!(
        found[1..],
        [
            pair("opentofu-version", "1.8.2"),
            pair("repository", "owner/name"),
            pair("repository-path", "modules/x"),
            pair("repository-ref", "v3"),
            pair("repository-url", "git@git.example.com:a/b.git"),
        ]
    );
    // None of what is no fact, and never a secret.
    for value in [
        json!({"type": "TERRAFORM", "repositoryUrl": "https://user:s3cr3t@git.example.com/a"}),
        json!({"type": "TERRAFORM", "terraformVersion": ""}),
        json!({"type": "TERRAFORM", "terraformVersion": 1.8}),
        json!({"type": "TERRAFORM", "terraformVersion": "a\nb"}),
        json!({"type": "TERRAFORM", "terraformVersion": "a".repeat(1025)}),
        json!({"type": "TERRAFORM", "terraformVersion": null}),
    ] {
        assert_eq!(facts(implementation, value.clone()), published[..1], "{value}");
    }
}

#[test]
fn the_documentation_has_the_facts() {
    let page = include_str!("../../../docs/policies.md");
    for fact in countersign::OBJECT_FACTS {
        let row = format!("| `{}` | `", fact.name);
        let row = page.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
        assert!(row.ends_with(&format!(" | {} |", fact.summary)), "{}", fact.name);
    }
}
