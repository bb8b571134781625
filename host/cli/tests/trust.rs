//! `check`, `trust`, `subjects` and `env`, as a shell sees them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig};
use serde_json::{Value, json};
use support::{countersign, folder};

const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";

#[test]
fn a_configuration_is_checked_before_it_is_deployed() {
    let folder = folder();
    let ran = countersign(folder.path(), "check --policies countersign.toml");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("good  gcp RS256 gcp-workload-identity-provider:demo"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("workspaces with at most 29 characters"), "{}", ran.stdout);

    let config = "policies = \"countersign.toml\"\nstate = \"state\"\n[tokens]\n\
                  es256-audiences = [\"api://AzureADTokenExchange\"]\n";
    fs::write(folder.path().join("issuer.toml"), config).unwrap();
    let manifest = folder.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap().replace(
        "url = \"https://oidc.example.com\"",
        "url = \"https://oidc.example.com:8443\"\naudiences = { \"https://entra.example.com\" = \"azure\" }",
    );
    fs::write(&manifest, &text).unwrap();
    let long = "a-workspace-of-more-than-twenty-nine-characters";
    let line = format!("check --config issuer.toml --definition {long}/{DEFINITION} --format json");
    let ran = countersign(folder.path(), &line);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let checked: Value = serde_json::from_str(&ran.stdout).unwrap();
    let found: Vec<_> = checked["checked"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|one| one["violations"].as_array().unwrap())
        .map(|violation| violation["code"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["azure-algorithm", "aws-issuer", "gcp-subject", "azure-audience"]);
    // Errors in the other files of a service, and policies that do not load.
    let tls = config.replace(
        "[tokens]",
        "[listen]\ncertificate = \"absent.pem\"\nkey = \"absent.key\"\n[tokens]",
    );
    fs::write(folder.path().join("with-tls.toml"), tls).unwrap();
    let ran = countersign(folder.path(), "check --config with-tls.toml");
    assert!(ran.status == 1 && ran.stderr.contains("absent.pem"), "{}", ran.stderr);
    let ran = countersign(folder.path(), "check");
    assert!(ran.stderr.contains("--policies"), "{}", ran.stderr);
    fs::write(&manifest, text.replace("ttl-ceiling.wasm", "absent.wasm")).unwrap();
    let ran = countersign(folder.path(), "check --config issuer.toml");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("absent.wasm"), "{}", ran.stderr);
}

#[test]
fn trust_is_written_and_found_good() {
    let folder = folder();
    for cloud in ["aws", "azure", "gcp", "stackit"] {
        for (format, file) in [("json", "trust.json"), ("hcl", "trust.tf")] {
            let line = format!(
                "trust {cloud} --policies countersign.toml --definition my-workspace/{DEFINITION} --format {format}"
            );
            let ran = countersign(folder.path(), &line);
            assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{line}");
            assert!(
                ran.stdout.contains(&format!(
                    "workspace.my-workspace.buildingblockdefinition.{DEFINITION}"
                ))
            );
            fs::write(folder.path().join(file), ran.stdout).unwrap();
            let ran = countersign(folder.path(), &format!("trust lint {file} --format json"));
            assert_eq!((ran.status, ran.stdout.as_str()), (0, "[]\n"), "{line}");
        }
    }
    for (line, says) in [
        ("trust aws --policies countersign.toml", "give the trusted ones with --definition"),
        (
            "trust aws --policies countersign.toml --definition my-workspace",
            "expected WORKSPACE/UUID",
        ),
        (
            &format!(
                "trust aws --policies countersign.toml --definition a/{DEFINITION} --audience api://AzureADTokenExchange"
            ),
            "could be replayed there",
        ),
    ] {
        let ran = countersign(folder.path(), line);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{line}");
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
}

#[test]
fn an_option_of_another_cloud_is_refused() {
    let folder = folder();
    for (line, says) in [
        ("trust gcp --application", "--application is an option of `trust azure`"),
        ("trust azure --existing-provider", "--existing-provider is an option of `trust aws`"),
    ] {
        let ran = countersign(folder.path(), &format!("{line} --policies countersign.toml"));
        assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn findings_are_printed_with_their_place() {
    let folder = folder();
    let prefix = "locals {}\nresource \"google_iam_workload_identity_pool_provider\" \"x\" {\n  \
                  attribute_condition = \"assertion.sub.startsWith('system:serviceaccount:demo:workspace.team')\"\n  \
                  oidc {\n    issuer_uri = \"https://oidc.example.com\"\n    allowed_audiences = [\"x\"]\n  }\n}\n";
    fs::write(folder.path().join("a.tf"), prefix).unwrap();
    let ran = countersign(folder.path(), "trust lint a.tf");
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.starts_with("a.tf:3: prefix-admits-neighbour: "), "{}", ran.stdout);
    assert_eq!(ran.stderr, "1 trust statement, 1 file, 2 findings\n");
}

#[test]
fn steps_are_kept_in_a_file() {
    let folder = folder();
    let named = format!(
        "--policies countersign.toml --definition my-workspace/{DEFINITION} --by tester --now 7"
    );
    let begin = format!("subjects begin {named} --runner {RUNNER}");
    let ran = countersign(folder.path(), &begin);
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr.contains("subject-migrations = \"subject-migrations.json\""),
        "{}",
        ran.stderr
    );
    let manifest = folder.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let moves = "meshstack-id = \"demo\"\nsubject-migrations = \"subject-migrations.json\"";
    let text = text.replacen("meshstack-id = \"demo\"", moves, 1);
    fs::write(&manifest, &text).unwrap();
    // The file is not created implicitly: a lost one must be noticed.
    let ran = countersign(folder.path(), &begin);
    assert!(ran.status == 1 && ran.stderr.contains("--create"), "{}", ran.stderr);
    // A definition that has its own subject already would lose it.
    let create = format!("{begin} --create");
    let ran = countersign(folder.path(), &create);
    assert!(
        ran.status == 1 && ran.stderr.contains("have its own subject already"),
        "{}",
        ran.stderr
    );
    let text = text.replacen(
        "subject-migrations",
        "subject-profile = \"by-runner\"\nsubject-migrations",
        1,
    );
    fs::write(&manifest, &text).unwrap();

    let ran = countersign(folder.path(), &create);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, format!("my-workspace {DEFINITION}: begun\n"));
    // Trust now accepts both.
    let ran = countersign(folder.path(), "trust azure --policies countersign.toml --format json");
    let trust: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names: Vec<_> =
        trust.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, [format!("definition-{DEFINITION}"), format!("runner-{RUNNER}")]);
    fs::write(folder.path().join("both.json"), ran.stdout).unwrap();
    // Decisions are made with the runner's subject.
    let ask = format!(
        "evaluate --policies countersign.toml --run run.json --ttl 60 --runner {RUNNER} \
                       --audience aws-workload-identity-provider:demo --format json"
    );
    let subject = |folder: &std::path::Path| {
        let ran = countersign(folder, &ask);
        let decision: Value = serde_json::from_str(&ran.stdout).unwrap();
        decision["claims"]["token"]["subject"].as_str().unwrap().to_owned()
    };
    assert_eq!(subject(folder.path()), format!("system:serviceaccount:demo:{RUNNER}"));
    for (line, says) in [
        (begin.clone(), "is begun; `begin` cannot follow"),
        (format!("subjects cut-over {named}"), "--trust"),
        (format!("subjects cut-over {named} --trust run.json"), "admit nobody"),
        (
            format!("subjects roll-back {named} --without-trust"),
            "is begun; `roll-back` cannot follow",
        ),
        (format!("subjects finish {named} --without-log"), "is begun; `finish` cannot follow"),
        (begin.replace("my-workspace/", "other/"), "belongs to workspace my-workspace"),
    ] {
        let ran = countersign(folder.path(), &line);
        assert_eq!(ran.status, 1, "{line}");
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
    let ran = countersign(folder.path(), &format!("subjects cut-over {named} --trust both.json"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(subject(folder.path()).contains("workspace.my-workspace"));
    let ran = countersign(folder.path(), &format!("subjects roll-back {named} --without-trust"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let moves = fs::read_to_string(folder.path().join("subject-migrations.json")).unwrap();
    let moves: Value = serde_json::from_str(&moves).unwrap();
    let history = &moves["migrations"][0]["history"];
    assert_eq!(
        history[2],
        json!({"step": "roll-back", "time": 7, "by": "tester", "evidence": "no trust"})
    );
    assert!(
        history[1]["evidence"].as_str().unwrap().starts_with("trust of azure sha256:"),
        "{history}"
    );
    let ran =
        countersign(folder.path(), "subjects report --policies countersign.toml --trust both.json");
    assert_eq!(
        ran.stdout,
        format!(
            "my-workspace {DEFINITION}: begun, tokens are by-runner\n  trust of azure: the runner's admitted, the \
             definition's admitted\n0% of 1 definitions have their own subject\n"
        )
    );
    let ran = countersign(folder.path(), "subjects report --policies countersign.toml --share");
    assert_eq!(ran.stdout, "0\n");
}

#[test]
fn an_environment_is_printed_for_a_shell() {
    let folder = folder();
    let ran = countersign(
        folder.path(),
        "env aws --role-arn arn:aws:iam::123456789012:role/runs --region eu-central-1 --token-file /it's",
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "export AWS_ROLE_ARN='arn:aws:iam::123456789012:role/runs'\n\
         export AWS_ROLE_SESSION_NAME='countersign'\n\
         export AWS_WEB_IDENTITY_TOKEN_FILE='/it'\\''s'\n\
         export AWS_REGION='eu-central-1'\n"
    );
    let ran = countersign(
        folder.path(),
        &format!("env azure --client-id {RUNNER} --tenant-id t --subscription-id {DEFINITION}"),
    );
    for line in [
        "ARM_USE_OIDC='true'",
        "ARM_OIDC_TOKEN_FILE_PATH='/var",
        &format!("ARM_CLIENT_ID='{RUNNER}'"),
        &format!("ARM_SUBSCRIPTION_ID='{DEFINITION}'"),
    ] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let ran = countersign(folder.path(), "env stackit --service-account a@sa.stackit.cloud");
    assert!(ran.stdout.contains("STACKIT_USE_OIDC='1'"), "{}", ran.stdout);
    let ran = countersign(
        folder.path(),
        "env gcp --audience //iam.googleapis.com/p/providers/x --service-account a@b.c --write c.json",
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let file: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("c.json")).unwrap()).unwrap();
    assert_eq!(file["type"], "external_account");
    assert!(
        file["service_account_impersonation_url"]
            .as_str()
            .unwrap()
            .ends_with("/a@b.c:generateAccessToken")
    );
    let ran = countersign(
        folder.path(),
        "env gcp --audience //iam.googleapis.com/p/providers/x --service-account a/../b --write c.json",
    );
    assert_eq!(ran.status, 1);
}

/// A log of decisions with these records.
fn log(folder: &Path, records: &[Value]) {
    struct Key;
    impl CheckpointKey for Key {
        fn kid(&self) -> &str {
            "k"
        }
        fn sign(&self, _message: &[u8]) -> Option<String> {
            Some("s".to_owned())
        }
        fn verify(&self, _message: &[u8], signature: &str) -> bool {
            signature == "s"
        }
    }
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, LogConfig::default(), Box::new(Key)).unwrap();
    let records: Vec<_> = records.iter().map(|record| record.to_string().into_bytes()).collect();
    log.append(&records, 1).unwrap();
    // Nobody checks its checkpoints here.
    fs::write(folder.join("checkpoint-key.json"), "{}").unwrap();
}

/// A token that a cloud would refuse is refused before it is signed.
#[test]
fn a_cut_over_needs_trust_wherever_there_is_some() {
    let folder = folder();
    let manifest = folder.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let moves = "subject-profile = \"by-runner\"\nsubject-migrations = \"moves.json\"\nmeshstack-id = \"demo\"";
    fs::write(&manifest, text.replacen("meshstack-id = \"demo\"", moves, 1)).unwrap();
    let named = |workspace: &str| {
        format!("--policies countersign.toml --definition {workspace}/{DEFINITION} --by tester")
    };
    let long = "a-workspace-of-more-than-twenty-nine-characters";
    let begin = |workspace: &str| {
        let _ = fs::remove_file(folder.path().join("moves.json"));
        let ran = countersign(
            folder.path(),
            &format!("subjects begin --create {} --runner {RUNNER}", named(workspace)),
        );
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    };
    let cut_over = |workspace: &str, trust: &str| {
        let ran =
            countersign(folder.path(), &format!("subjects cut-over {} {trust}", named(workspace)));
        (ran.status, ran.stderr)
    };
    let old = format!("system:serviceaccount:demo:{RUNNER}");
    let new =
        format!("system:serviceaccount:demo:workspace.team.buildingblockdefinition.{DEFINITION}");
    let role = |subjects: &Value, deny: Option<&str>| {
        let federated = json!({"Federated": "arn:aws:iam::1:oidc-provider/oidc.example.com"});
        let statement = |effect: &str, subjects: &Value| {
            json!({"Effect": effect, "Principal": federated, "Action": "sts:AssumeRoleWithWebIdentity",
                   "Condition": {"StringLike": {"oidc.example.com:aud": "aws-workload-identity-provider:demo",
                                                "oidc.example.com:sub": subjects}}})
        };
        let mut statements = vec![statement("Allow", subjects)];
        statements.extend(deny.map(|deny| statement("Deny", &json!(deny))));
        json!({"Statement": statements}).to_string()
    };
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write("both.json", role(&json!([old, new]), None));
    write("old.json", role(&json!([old]), None));
    write("denied.json", role(&json!([old, new]), Some("*workspace*")));
    let condition = "assertion.sub.startsWith('system:serviceaccount:demo:')";
    write("gcp.json", json!([{"bindings": [{"role": "roles/iam.workloadIdentityUser", "members":
        ["principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*"]}]}, {
        "name": "projects/1/locations/global/workloadIdentityPools/p/providers/a",
        "oidc": {"issuerUri": "https://oidc.example.com", "allowedAudiences": ["gcp-workload-identity-provider:demo"]},
        "attributeMapping": {"google.subject": "assertion.sub"}, "attributeCondition": condition,
    }]).to_string());
    begin("team");
    for (trust, says) in [
        ("--trust old.json", "does not admit"),
        ("--trust denied.json", "does not admit"),
        ("--trust both.json --trust old.json", "`old.json"),
        ("--trust both.json --audience sts.amazonaws.com", "does not admit"),
    ] {
        let (status, said) = cut_over("team", trust);
        assert!(status == 1 && said.contains(says), "{trust}: {said}");
    }
    assert_eq!(cut_over("team", "--trust both.json --trust gcp.json").0, 0);
    // GCP's own limit: trust would admit the token, but the issuer would not sign it.
    begin(long);
    let (status, said) = cut_over(long, "--trust gcp.json");
    assert!(status == 1 && said.contains("gcp-subject"), "{said}");
    let ran = countersign(folder.path(), &format!("subjects abandon {}", named(long)));
    assert_eq!(ran.stdout, format!("{long} {DEFINITION}: abandoned\n"));
    // Trust must admit the audiences that runs have, not only the usual one.
    let record = |kind: &str, profile: &str, audience: &str| {
        json!({"kind": kind, "time": 1, "issued": {"jti": "j", "token": "t", "algorithm": "RS256",
            "subject_profile": profile, "expires_at": 2},
            "decision": {"id": "d", "outcome": "approved", "claims": {"runner": RUNNER, "token": {"audiences": [audience]},
            "run": {"id": "r", "behavior": "APPLY", "building_block": {"workspace": "a"},
                    "definition": {"id": DEFINITION, "workspace": "team"}}}}})
    };
    let usual = "aws-workload-identity-provider:demo";
    begin("team");
    log(&folder.path().join("usual"), &[record("token", "by-runner", usual)]);
    let other = [usual, "sts.amazonaws.com"].map(|audience| record("token", "by-runner", audience));
    log(&folder.path().join("other"), &other);
    let (status, said) = cut_over("team", "--trust both.json --log other");
    assert!(status == 1 && said.contains("for `sts.amazonaws.com`"), "{said}");
    // A record of an unknown version could mean anything.
    log(&folder.path().join("strange"), &[record("token", "by-moon", usual)]);
    let (status, said) = cut_over("team", "--trust both.json --log strange");
    assert!(status == 1 && said.contains("strange: record 1: unknown subject format"), "{said}");
    log(&folder.path().join("later"), &[json!({"kind": 7})]);
    let (status, said) = cut_over("team", "--trust both.json --log later");
    assert!(status == 1 && said.contains("later: record 1: not understood"), "{said}");
    assert_eq!(cut_over("team", "--trust both.json --log usual"), (0, String::new()));
    // An invalid log proves nothing.
    begin("team");
    assert_eq!(cut_over("team", "--trust both.json").0, 0);
    fs::create_dir(folder.path().join("log")).unwrap();
    write("log/checkpoint-key.json", "{}".to_owned());
    let ran = countersign(folder.path(), &format!("subjects finish {} --log log", named("team")));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("checkpoint-key.json"), "{}", ran.stderr);
}
