//! Clients of the doors beside the token endpoint, in other languages: an API server that has tokens signed, Envoy, and the
//! examples of `POST /v1/decisions`. `make e2e` installs them.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use platform::{AWS, DEFINITION, ISSUER, MANIFEST, Platform};
use serde_json::{Value, json};
use service::{Served, configure, run};

const ROLE: &str = "arn:aws:iam::123456789012:role/runs";
const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";

/// A second binding, which lets no token live for more than an hour.
const CEILING: &str = r#"
[[binding]]
name = "short"
policy = "ttl-ceiling.wasm"
scope = "all"
settings = { apply = 3600, detect = 900, destroy = 3600 }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// The folder into which `make e2e` installs the clients.
fn installed(name: &str) -> PathBuf {
    let folder =
        std::env::var_os("COUNTERSIGN_E2E").expect("`make e2e` says where the clients are");
    PathBuf::from(folder).join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Runs a client, and gives its status and what it printed.
fn client(mut command: Command, environment: &[(&str, String)]) -> (i32, Value) {
    let keep = |name: &str| std::env::var_os(name).map(|value| (name.to_owned(), value));
    let ran = command
        .env_clear()
        .envs(["PATH", "HOME", "LANG"].into_iter().filter_map(keep))
        .env("no_proxy", "*")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .output()
        .unwrap();
    let stdout = String::from_utf8(ran.stdout).unwrap();
    let status = ran.status.code().unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(status <= 2 && !stderr.contains("Traceback"), "{command:?}: {stdout}{stderr}");
    (status, serde_json::from_str(stdout.trim()).unwrap_or(Value::String(stderr.into_owned())))
}

fn python(script: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(source("e2e/python").join(script));
    command
}

/// The claims that a cluster writes for the pod of a run, with the lifetime that the client makes times of.
fn pod(run: &str, audience: &str, lifetime: u64) -> Value {
    let account = format!("workspace.my-workspace.buildingblockdefinition.{DEFINITION}");
    json!({
        "lifetime": lifetime,
        "iss": ISSUER, "sub": format!("system:serviceaccount:demo:{account}"), "aud": [audience],
        "jti": "a7c1d0f2-5f0b-4d30-9a51-0d0dd0a4a001",
        "kubernetes.io": {
            "namespace": "demo", "serviceaccount": {"name": account, "uid": "1"},
            "pod": {"name": format!("runner-{run}-x7k2p"), "uid": "2"},
            "node": {"name": "node", "uid": "3"},
        },
    })
}

/// Has claims signed by an API server that starts anew, and gives its answers.
fn api_server(folder: &Path, asked: &[Value]) -> Vec<Value> {
    let environment = [
        ("SOCKET", folder.join("signer.sock").display().to_string()),
        ("PROTOS", installed("protos").display().to_string()),
        ("ASKED", Value::from(asked).to_string()),
        ("TOKEN_FILE", folder.join("token").display().to_string()),
    ];
    let (status, said) = client(python("api_server.py"), &environment);
    assert_eq!((status, &said["max"]), (0, &json!(86_400)), "{said}");
    said["answers"].as_array().unwrap().clone()
}

fn code(answer: &Value) -> (&str, &str) {
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    (text("code"), text("says"))
}

fn signer_table() -> String {
    let uid = rustix::process::getuid().as_raw();
    format!(
        "[kubernetes-signer]\nsocket = \"signer.sock\"\nsocket-uids = [{uid}]\nmode = \"enforce\"\n\
         pass = [\"{API_SERVER}\"]\ndecide = [\"{AWS}\"]\nnamespaces = [\"demo\"]\n"
    )
}

/// From a pod to credentials of a cloud.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn an_api_server_has_its_tokens_signed() {
    let migrations = "{\"version\": 1, \"migrations\": []}\n";
    let manifest = format!("{MANIFEST}{CEILING}");
    let platform = Platform::start(&manifest, migrations, &signer_table()).await;
    let trust = platform.json(&format!(
        "trust aws --policies countersign.toml --format json --definition my-workspace/{DEFINITION}"
    ));
    platform.stand_in.change(|setup| {
        setup.aws_providers = [(ISSUER.to_owned(), vec![AWS.to_owned()])].into();
        setup.aws_roles = [(ROLE.to_owned(), trust)].into();
    });
    let approved = platform.register(DEFINITION, "team-a").await;
    let refused = platform.register(DEFINITION, "team-b").await;
    let answers = api_server(
        platform.folder.path(),
        &[
            pod(&refused, AWS, 3600),
            pod(&approved, AWS, 7200),
            pod(&approved, "vault", 3600),
            pod(&refused, API_SERVER, 3607),
            pod(&approved, AWS, 3600),
        ],
    );
    for (at, part) in
        [(0, "foreign-workspace"), (1, "door-cannot-narrow"), (2, "audience-unmapped")]
    {
        let (code, says) = code(&answers[at]);
        assert!(code == "PERMISSION_DENIED" && says.contains(part), "{part}: {}", answers[at]);
    }
    assert!(answers[3]["token"].is_string(), "{}", answers[3]);
    assert!(answers[4]["token"].is_string(), "{}", answers[4]);
    // The pod takes its token to its cloud.
    let line = format!(
        "env aws --role-arn {ROLE} --region eu-central-1 --token-file {} --format json",
        platform.path("token").display()
    );
    let printed = platform.json(&line);
    let mut variables: Vec<_> = printed
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap().to_owned()))
        .collect();
    variables.push(("AWS_ENDPOINT_URL_STS", format!("http://{}", platform.stand_in.http)));
    let (_, outcome) = client(python("aws.py"), &variables);
    assert_eq!(outcome["admitted"], true, "{outcome}");
    // All of it is on record, and nothing that enforcing would refuse was signed.
    let ran = platform.countersign("log service-accounts state/log --format json");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.status, 0, "{report}");
    let count = |name: &str| report[name].as_u64().unwrap();
    let counts = ["passed", "approved", "refused", "would_refuse"].map(count);
    assert_eq!(counts, [1, 1, 3, 0], "{report}");

    // Policies and database are down, and the service cannot even start: the cluster lives.
    let Platform { folder, served, .. } = platform;
    assert_eq!(served.stop(), 0);
    fs::remove_file(folder.path().join("same-workspace.wasm")).unwrap();
    fs::remove_file(folder.path().join("state/issuer.db")).unwrap();
    fs::create_dir(folder.path().join("state/issuer.db")).unwrap();
    let mut child = support::command(folder.path())
        .args(["serve", "--config", "issuer.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answers =
        api_server(folder.path(), &[pod(&approved, AWS, 3600), pod(&approved, API_SERVER, 3607)]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code(&answers[0]).0, "UNAVAILABLE", "{}", answers[0]);
    assert!(answers[1]["token"].is_string(), "{}", answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn envoy_lets_pass_what_policies_approve() {
    let migrations = "{\"version\": 1, \"migrations\": []}\n";
    let table = "[ext-authz]\naddress = \"127.0.0.1:0\"\n";
    let platform = Platform::start(&format!("{MANIFEST}{CEILING}"), migrations, table).await;
    let approved = platform.register(DEFINITION, "team-a").await;
    let refused = platform.register(DEFINITION, "team-b").await;
    let logged = platform.served.logged();
    let listening = logged.lines().find(|line| line.contains("\"listening\"")).unwrap();
    let listening: Value = serde_json::from_str(listening).unwrap();
    let gate = listening["ext_authz"].as_str().unwrap().to_owned();
    let exchange = |run: &str, ttl: &str| {
        let secret = format!("run-token-of-{run}-with-many-bits");
        let body = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
             &subject_token={secret}&run={run}&audience={AWS}"
        );
        json!({"body": body, "extensions": {"ttl-seconds": ttl}})
    };
    let ask = |asked: &[Value]| {
        let environment = [("GATE", gate.clone()), ("ASKED", Value::from(asked).to_string())];
        let (status, said) = client(python("ext_authz.py"), &environment);
        assert_eq!(status, 0, "{said}");
        said.as_array().unwrap().clone()
    };
    let answers = ask(&[
        exchange(&approved, "3600"),
        exchange(&refused, "3600"),
        exchange(&approved, "7200"),
        json!({"body": "", "extensions": {"ttl-seconds": "3600"}}),
        json!({"body": "x", "extensions": {}}),
    ]);
    assert_eq!(answers[0]["code"], 0, "{}", answers[0]);
    let decision = answers[0]["headers"]["x-countersign-decision"].as_str().unwrap();
    let shown = platform.countersign(&format!("log show state/log --digest {decision}"));
    assert_eq!(shown.status, 0, "{}", shown.stderr);
    for (at, http, part) in [
        (1, 403, "foreign-workspace"),
        (2, 403, "door-cannot-narrow"),
        (3, 500, "with_request_body"),
        (4, 500, "ttl-seconds"),
    ] {
        let answer = &answers[at];
        assert!(answer["code"] != 0 && answer["http"] == http, "{answer}");
        assert!(answer["body"].as_str().unwrap().contains(part), "{part}: {answer}");
    }
    // The log's guard finds that the database is gone: no record, so no OK.
    fs::remove_file(platform.path("state/issuer.db")).unwrap();
    let answers = ask(&[exchange(&approved, "3600")]);
    assert!(answers[0]["code"] != 0 && answers[0]["http"] == 503, "{}", answers[0]);
}

/// Makes the command of a client.
type MakeCommand = fn() -> Command;

/// Each example asks for a decision: approved, refused, and none at all.
#[test]
#[ignore = "`make e2e` installs the clients"]
fn the_examples_ask_for_decisions() {
    let folder = support::folder();
    let api_key = configure(folder.path(), "");
    fs::write(folder.path().join("key"), &api_key).unwrap();
    fs::write(folder.path().join("wrong"), "csk_unknown").unwrap();
    let mut approved = run();
    approved["spec"].as_object_mut().unwrap().remove("runToken");
    let mut refused = approved.clone();
    refused["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-z".into();
    fs::write(folder.path().join("approved.json"), approved.to_string()).unwrap();
    fs::write(folder.path().join("refused.json"), refused.to_string()).unwrap();
    let served = Served::start(folder.path());
    let clients: [(&str, MakeCommand); 3] = [
        ("Go", || Command::new(installed("decide-go"))),
        ("Python", || {
            let mut command = Command::new("python3");
            command.arg(source("examples/clients/python/decide.py"));
            command
        }),
        ("TypeScript", || {
            let mut command = Command::new("node");
            command.arg(installed("node/decide.js"));
            command
        }),
    ];
    for (language, command) in clients {
        let ask = |run: &str, key: &str, port: &str| {
            let path = |name: &str| folder.path().join(name).display().to_string();
            let environment = [
                ("SERVICE_URL", format!("http://{port}")),
                ("API_KEY_FILE", path(key)),
                ("RUN_FILE", path(run)),
                ("AUDIENCE", AWS.to_owned()),
                ("TTL_SECONDS", "900".to_owned()),
            ];
            client(command(), &environment)
        };
        let address = served.address.to_string();
        let (status, answer) = ask("approved.json", "key", &address);
        assert_eq!(status, 0, "{language}: {answer}");
        assert_eq!(answer["terms"]["ttl_seconds"], 900, "{language}: {answer}");
        let (status, answer) = ask("refused.json", "key", &address);
        assert_eq!(status, 2, "{language}: {answer}");
        assert!(answer["reasons"][0]["code"].is_string(), "{language}: {answer}");
        let decision = answer["decision"].as_str().unwrap();
        let shown =
            support::countersign(folder.path(), &format!("log show state/log --digest {decision}"));
        assert_eq!(shown.status, 0, "{language}: {}", shown.stderr);
        // An error is no answer, and neither is silence.
        assert_eq!(ask("approved.json", "wrong", &address).0, 1, "{language}");
        assert_eq!(ask("approved.json", "key", "127.0.0.1:1").0, 1, "{language}");
    }
    assert_eq!(served.stop(), 0);
}
