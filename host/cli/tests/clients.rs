//! From a run to credentials, with the clouds' own clients. `make e2e` installs those that are not written in Rust.
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

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use platform::{AWS, AZURE, DEFINITION, GCP, ISSUER, MANIFEST, Platform, STACKIT};
use serde_json::{Value, json};

/// A definition that no cloud trusts.
const UNTRUSTED: &str = "b23cfb9a-6974-444f-9d33-000000000000";
const ROLE: &str = "arn:aws:iam::123456789012:role/runs";
const IDENTITY: &str = "00000000-1111-4222-8333-444444444444";
const ACCOUNT: &str = "runs@sa.stackit.cloud";
const PROVIDER: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/runs/providers/countersign";

/// A platform whose clouds have the trust that `countersign trust` writes for one definition.
async fn platform(more: &str) -> Platform {
    let platform = Platform::start(MANIFEST, "{\"version\": 1, \"migrations\": []}\n", more).await;
    let trust = |cloud: &str| {
        platform.json(&format!(
            "trust {cloud} --policies countersign.toml --format json --definition my-workspace/{DEFINITION}"
        ))
    };
    let (role, credentials) = (trust("aws"), trust("azure"));
    let (provider, account) = (trust("gcp"), trust("stackit"));
    let list = |value: Value| value.as_array().unwrap().clone();
    platform.stand_in.change(|setup| {
        setup.aws_providers = [(ISSUER.to_owned(), vec![AWS.to_owned()])].into();
        setup.aws_roles = [(ROLE.to_owned(), role)].into();
        setup.azure_identities = [(IDENTITY.to_owned(), list(credentials))].into();
        setup.gcp_providers = [(PROVIDER.to_owned(), provider)].into();
        setup.stackit_accounts = [(ACCOUNT.to_owned(), list(account))].into();
    });
    platform
}

/// The outcome of a client: credentials or not, and the cloud's message.
#[derive(Debug)]
struct Outcome {
    admitted: bool,
    says: String,
}

/// The folder into which `make e2e` installs the clients.
fn installed() -> PathBuf {
    let folder =
        std::env::var_os("COUNTERSIGN_E2E").expect("`make e2e` says where the clients are");
    PathBuf::from(folder)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e")
}

fn python(script: &str, environment: &BTreeMap<String, String>) -> Outcome {
    let mut command = Command::new(installed().join("python/bin/python"));
    command.arg(scripts().join("python").join(script));
    outcome(command, environment)
}

fn node(script: &str, environment: &BTreeMap<String, String>) -> Outcome {
    let mut command = Command::new("node");
    command.arg(installed().join("node").join(script));
    outcome(command, environment)
}

fn outcome(mut command: Command, environment: &BTreeMap<String, String>) -> Outcome {
    let keep = |name: &str| std::env::var_os(name).map(|value| (name.to_owned(), value));
    let ran = command
        .env_clear()
        .envs(["PATH", "HOME", "LANG"].into_iter().filter_map(keep))
        // No other machine is reached.
        .env("no_proxy", "*")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment)
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8(ran.stdout).unwrap(), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {stdout}{stderr}");
    let said: Value = serde_json::from_str(stdout.trim()).unwrap();
    let says = said["says"].as_str().unwrap().to_owned();
    Outcome { admitted: said["admitted"].as_bool().unwrap(), says }
}

/// The environment that `countersign env` prints, and more.
fn environment(
    platform: &Platform,
    line: &str,
    more: &[(&str, String)],
) -> BTreeMap<String, String> {
    let printed = platform.json(&format!("{line} --format json"));
    let printed = printed.as_object().unwrap().iter();
    let mut all: BTreeMap<_, _> =
        printed.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    all
}

/// The four cases of a client whose token is in a file: admitted; refused by the policy, so that no cloud sees a
/// token; refused by the cloud for its subject, and for its audience.
async fn four_cases(
    platform: &Platform,
    audience: &str,
    client: impl Fn() -> Outcome,
    (by_subject, by_audience): (&str, &str),
) {
    let run = platform.register(DEFINITION, "team-a").await;
    let ran = platform.token(&run, audience);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let outcome = client();
    assert!(outcome.admitted, "{outcome:?}");

    // The same definition and the same trust, for another consumer.
    let stranger = platform.register(DEFINITION, "team-b").await;
    let ran = platform.token(&stranger, audience);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("refused "), "{}", ran.stderr);
    assert!(!platform.path("token").exists());
    let outcome = client();
    assert!(!outcome.admitted && outcome.says.contains("no token"), "{outcome:?}");

    let untrusted = platform.register(UNTRUSTED, "team-a").await;
    assert_eq!(platform.token(&untrusted, audience).status, 0);
    let outcome = client();
    assert!(!outcome.admitted && outcome.says.contains(by_subject), "{outcome:?}");

    let other = if audience == AWS { GCP } else { AWS };
    assert_eq!(platform.token(&run, other).status, 0);
    let outcome = client();
    assert!(!outcome.admitted && outcome.says.contains(by_audience), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn boto3() {
    let platform = platform("").await;
    let token = platform.path("token");
    let variables = environment(
        &platform,
        &format!(
            "env aws --role-arn {ROLE} --region eu-central-1 --token-file {}",
            token.display()
        ),
        &[("AWS_ENDPOINT_URL_STS", format!("http://{}", platform.stand_in.http))],
    );
    let client = || python("aws.py", &variables);
    four_cases(&platform, AWS, client, ("Not authorized to perform", "Incorrect token audience"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn azure_identity() {
    let platform = platform("").await;
    let token = platform.path("token");
    let https = platform.stand_in.https.unwrap();
    let variables = environment(
        &platform,
        &format!(
            "env azure --client-id {IDENTITY} --tenant-id tenant --token-file {}",
            token.display()
        ),
        &[
            ("STAND_IN_HTTPS", format!("https://{https}")),
            ("REQUESTS_CA_BUNDLE", platform.path("authority.pem").display().to_string()),
        ],
    );
    four_cases(
        &platform,
        AZURE,
        || python("entra.py", &variables),
        ("No matching federated identity record", "not exactly"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn google_auth_by_file() {
    let platform = platform("").await;
    let token = platform.path("token");
    let line = format!(
        "env gcp --audience {PROVIDER} --write credentials.json --sts-url http://{}/v1/token --token-file {}",
        platform.stand_in.http,
        token.display()
    );
    let variables = environment(&platform, &line, &[]);
    let client = || {
        let outcome = python("gcp.py", &variables);
        // This client has its own message.
        let says = outcome.says.replace("was not found", "no token");
        Outcome { says, ..outcome }
    };
    four_cases(
        &platform,
        GCP,
        client,
        ("rejected by the attribute condition", "does not match the expected audience"),
    )
    .await;
}

/// By URL there is no file, and no `countersign token`: the client itself asks for each token.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn google_auth_by_url() {
    let platform = platform("").await;
    let client = |run: &str, audience: &str| {
        let line = format!(
            "env gcp --audience {PROVIDER} --write credentials.json --sts-url http://{}/v1/token --url {} \
             --run {run} --run-token-file {run}.run-token --token-audience {audience}",
            platform.stand_in.http,
            platform.url()
        );
        let authority = platform.path("authority.pem").display().to_string();
        python("gcp.py", &environment(&platform, &line, &[("REQUESTS_CA_BUNDLE", authority)]))
    };
    let run = platform.register(DEFINITION, "team-a").await;
    let outcome = client(&run, GCP);
    assert!(outcome.admitted, "{outcome:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(platform.path("credentials.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it has a run token in it");
    let stranger = platform.register(DEFINITION, "team-b").await;
    let outcome = client(&stranger, GCP);
    assert!(!outcome.admitted && outcome.says.contains("access_denied"), "{outcome:?}");
    let untrusted = platform.register(UNTRUSTED, "team-a").await;
    let outcome = client(&untrusted, GCP);
    assert!(
        !outcome.admitted && outcome.says.contains("rejected by the attribute condition"),
        "{outcome:?}"
    );
    let outcome = client(&run, AWS);
    assert!(
        !outcome.admitted && outcome.says.contains("does not match the expected audience"),
        "{outcome:?}"
    );
}

/// The environment of PyJWT and jose.
fn verifier(platform: &Platform) -> BTreeMap<String, String> {
    let subject = format!(
        "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.{DEFINITION}"
    );
    let authority = platform.path("authority.pem").display().to_string();
    [
        ("TOKEN_FILE", platform.path("token").display().to_string()),
        ("JWKS_URL", format!("{}/jwks.json", platform.url())),
        ("CA_FILE", authority.clone()),
        ("NODE_EXTRA_CA_CERTS", authority),
        ("ISSUER", ISSUER.to_owned()),
        ("AUDIENCE", GCP.to_owned()),
        ("SUBJECT", subject),
        ("PROVIDER", PROVIDER.to_owned()),
        ("STAND_IN_HTTP", format!("http://{}", platform.stand_in.http)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn pyjwt() {
    let platform = platform("").await;
    let variables = verifier(&platform);
    four_cases(
        &platform,
        GCP,
        || python("verify.py", &variables),
        ("InvalidSubjectError", "InvalidAudienceError"),
    )
    .await;
}

/// With ES256, which GCP accepts, too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn jose() {
    let platform = platform(&format!("[tokens]\nes256-audiences = [\"{GCP}\"]")).await;
    let variables = verifier(&platform);
    let client = || node("verify.mjs", &variables);
    four_cases(
        &platform,
        GCP,
        client,
        ("unexpected \"sub\" claim value", "unexpected \"aud\" claim value"),
    )
    .await;
}

/// `openidconnect` finds the issuer by its name, as it would anywhere, and checks all of discovery, signature,
/// issuer, audience and expiry. What it has verified is exchanged at STACKIT, which has no client here.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "`make e2e` installs the client"]
async fn openidconnect() {
    let platform = platform("").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let token = |audience: &str, run: &str| {
        let ran = platform.token(run, audience);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        fs::read_to_string(platform.path("token")).unwrap()
    };
    let good = token(STACKIT, &run);
    let claims = verified(&platform, &good, STACKIT).unwrap();
    let subject = format!(
        "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.{DEFINITION}"
    );
    assert_eq!(claims, subject);
    assert_eq!(stackit(&platform, &good).await, None);

    let stranger = platform.register(DEFINITION, "team-b").await;
    assert_eq!(platform.token(&stranger, STACKIT).status, 2);

    let untrusted = platform.register(UNTRUSTED, "team-a").await;
    let of_another = token(STACKIT, &untrusted);
    assert_ne!(verified(&platform, &of_another, STACKIT).unwrap(), subject);
    assert!(
        stackit(&platform, &of_another)
            .await
            .unwrap()
            .contains("no federated identity provider matches")
    );

    // Entra's audience is not STACKIT's.
    let elsewhere = token(AZURE, &run);
    assert!(verified(&platform, &elsewhere, STACKIT).unwrap_err().contains("audience"));
    assert!(
        stackit(&platform, &elsewhere)
            .await
            .unwrap()
            .contains("no federated identity provider matches")
    );
    let mut forged = good.clone();
    forged.replace_range(good.len() - 20..good.len() - 16, "AAAA");
    assert!(verified(&platform, &forged, STACKIT).is_err());
}

/// The subject of a token as the crate `openidconnect` has verified it, or why it rejects the token.
fn verified(platform: &Platform, token: &str, audience: &str) -> Result<String, String> {
    fs::write(platform.path("presented-token"), token).unwrap();
    let path = |name: &str| platform.path(name).display().to_string();
    let environment = [
        ("ISSUER", ISSUER.to_owned()),
        ("ISSUER_ADDRESS", platform.served.address.to_string()),
        ("CA_FILE", path("authority.pem")),
        ("TOKEN_FILE", path("presented-token")),
        ("AUDIENCE", audience.to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let client = installed().join("countersign-e2e-openidconnect");
    let outcome = outcome(Command::new(client), &environment);
    if outcome.admitted { Ok(outcome.says) } else { Err(outcome.says) }
}

/// STACKIT's error for a token; `None` when it issues an access token.
async fn stackit(platform: &Platform, token: &str) -> Option<String> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair(
            "client_assertion_type",
            "urn:schwarz:params:oauth:client-assertion-type:workload-jwt",
        )
        .append_pair("client_id", ACCOUNT)
        .append_pair("client_assertion", token)
        .finish();
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = request.post(format!("http://{}/oauth/v2/token", platform.stand_in.http));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(form).send().await.unwrap();
    let fine = response.status().is_success();
    let body = response.text().await.unwrap();
    (!fine).then_some(body)
}

/// The case that no cloud can express: one definition, one trust policy, two consumers, of which one is permitted.
#[tokio::test(flavor = "multi_thread")]
async fn one_trust_and_two_consumers() {
    let platform = platform("").await;
    let subjects = async |owner: &str| {
        let run = platform.register(DEFINITION, owner).await;
        let question: Value = serde_json::from_str(support::RUN).unwrap();
        let mut question = json!({"run": question, "audiences": [AWS], "ttl_seconds": 900});
        question["run"]["metadata"]["uuid"] = json!(run);
        question["run"]["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!(owner);
        let request = platform.client.post(format!("{}/v1/decisions", platform.url()));
        let request =
            request.bearer_auth(&platform.api_key).header("content-type", "application/json");
        let answer =
            request.body(question.to_string()).send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        (platform.token(&run, AWS).status, answer["subject"].clone(), answer["outcome"].clone())
    };
    let (one, other) = (subjects("team-a").await, subjects("team-b").await);
    assert_eq!((one.0, &one.2), (0, &json!("approved")));
    assert_eq!((other.0, &other.2), (2, &json!("refused")));
    assert_eq!(one.1, other.1, "all that AWS could compare is the same");
}
