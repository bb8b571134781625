//! From a pod to its token: an API server with every check of the real one, over the real protocol.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_decision_log::{Disk, Folder};
use serde_json::{Value, json};
use support::api_server::ApiServer;
use support::{
    ACCOUNT, API_SERVER, AWS, AZURE, ISSUER, OTHER_RUNNER, RUN, Running, Setup, encoded, folder,
    pod_claims, records, run, run_of,
};
use tonic::Code;

/// The definition of the published run.
const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";

/// A run of the same definition, for a workspace that may not use it.
const FOREIGN_RUN: &str = "c3116611-e08b-4b00-91c5-10365b25a6ef";

/// A run of another definition.
const OTHER_RUN: &str = "d3116611-e08b-4b00-91c5-10365b25a6ef";

/// A run that has ended.
const FINISHED_RUN: &str = "e3116611-e08b-4b00-91c5-10365b25a6ef";

/// Registers the runs of the table below.
async fn register_runs(running: &Running) {
    running.register(&run()).await;
    let mut foreign = run();
    foreign["metadata"]["uuid"] = FOREIGN_RUN.into();
    foreign["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "other-team".into();
    running.register(&foreign).await;
    running.register(&run_of(OTHER_RUN, "my-workspace", OTHER_RUNNER)).await;
    running.register(&run_of(FINISHED_RUN, "my-workspace", DEFINITION)).await;
    running.finish(FINISHED_RUN).await;
}

fn with(claims: Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims;
    change(&mut claims);
    claims
}

/// The claims of a pod of another run.
fn pod_of(run: &str, now: u64) -> Value {
    with(pod_claims(AWS, 3600, now), |claims| {
        claims["kubernetes.io"]["pod"]["name"] = format!("runner-{run}-x7k2p").into();
    })
}

/// Claims that parse, and the code with which they are refused.
fn refused(now: u64) -> Vec<(&'static str, Value)> {
    let aws = || pod_claims(AWS, 3600, now);
    vec![
        // By the policies: the workspace that owns the building block is another than the definition's.
        ("foreign-workspace", pod_of(FOREIGN_RUN, now)),
        // Policies approve an hour.
        ("door-cannot-narrow", pod_claims(AWS, 7200, now)),
        // A pod of the service account of one definition, by the name of a run of another.
        ("subject-differs", pod_of(OTHER_RUN, now)),
        ("run-finished", pod_of(FINISHED_RUN, now)),
        ("run-unknown", pod_of("f3116611-e08b-4b00-91c5-10365b25a6ef", now)),
        ("audience-unmapped", pod_claims("vault", 3600, now)),
        ("audiences-mixed", with(aws(), |claims| claims["aud"] = json!([AWS, API_SERVER]))),
        ("audiences-mixed", with(aws(), |claims| claims["aud"] = json!([API_SERVER, "vault"]))),
        ("audiences-mixed", with(aws(), |claims| claims["aud"] = json!([AWS, AZURE]))),
        (
            "claim-unknown",
            with(aws(), |claims| {
                claims["https://aws.amazon.com/tags"] = json!({"principal_tags": {}})
            }),
        ),
        (
            "namespace-unlisted",
            with(aws(), |claims| {
                claims["sub"] = format!("system:serviceaccount:default:{ACCOUNT}").into();
                claims["kubernetes.io"]["namespace"] = "default".into();
            }),
        ),
        (
            "pod-without-run",
            with(aws(), |claims| claims["kubernetes.io"]["pod"]["name"] = "nginx-5d8".into()),
        ),
        (
            "pod-without-run",
            with(aws(), |claims| {
                drop(claims["kubernetes.io"].as_object_mut().unwrap().remove("pod"))
            }),
        ),
        ("expiration-too-long", pod_claims(AWS, 7201, now)),
        ("claims-times", pod_claims(AWS, 3600, now - 61)),
        ("claims-times", pod_claims(AWS, 3600, now + 61)),
    ]
}

fn codes(record: &Value) -> Vec<String> {
    let of = |list: &Value| {
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    [of(&record["reasons"]), of(&record["preflight"]), of(&record["decision"]["reasons"])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_what_policies_approve_and_the_api_server_its_own() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    register_runs(&running).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    assert_eq!(api_server.max_expiration, 86_400);
    assert_eq!(api_server.keys.refresh_hint_seconds, 5);
    let now = running.now();

    let token = api_server.token(&encoded(&pod_claims(AWS, 3600, now))).await.unwrap();
    let record = running.record();
    assert_eq!(record["mode"], "enforce");
    assert_eq!(record["list"], "decide");
    assert_eq!(record["service_account"]["pod"], format!("runner-{RUN}-x7k2p"));
    assert_eq!(record["decision"]["outcome"], "approved");
    assert_eq!(record["decision"]["claims"]["run"]["id"], RUN);
    let digest = countersign::Digest::of(token.as_bytes()).to_string();
    assert_eq!(record["issued"]["token"], digest);
    assert_eq!(record["issued"]["jti"], "a7c1d0f2-5f0b-4d30-9a51-0d0dd0a4a001");
    assert!(record["requester"]["api_server"]["uid"].is_u64(), "{record}");

    // The API server's own: for any service account, with or without a pod, and up to the maximum.
    for claims in [
        pod_claims(API_SERVER, 3607, now),
        pod_claims(API_SERVER, 86_400, now),
        // Its clock is its own business here.
        pod_claims(API_SERVER, 3607, now - 9000),
        with(pod_claims(API_SERVER, 3607, now), |claims| {
            claims["sub"] = "system:serviceaccount:kube-system:coredns".into();
            claims["kubernetes.io"] = json!({"namespace": "kube-system",
                "serviceaccount": {"name": "coredns", "uid": "u"}});
            claims["aud"] = json!([API_SERVER, "https://other.example.com"]);
        }),
        // A later version of Kubernetes may write more.
        with(pod_claims(API_SERVER, 3607, now), |claims| claims["new"] = json!({"a": 1})),
    ] {
        api_server.token(&encoded(&claims)).await.unwrap();
        let record = running.record();
        assert_eq!((&record["mode"], &record["list"]), (&json!("pass"), &json!("pass")));
        assert!(record["decision"].is_null() && record["issued"]["token"].is_string(), "{record}");
    }
    assert_eq!(running.records().len(), 6);
    let metrics = running.service.as_ref().unwrap().metrics_text().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "countersign_service_account_requests_total{outcome=\"signed\"} 6",
        "countersign_service_account_unrecorded_total 0",
        "countersign_decisions_total{kind=\"service-account\",outcome=\"approved\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // The page has every metric, and no other.
    let page = include_str!("../../../docs/kubernetes.md").lines();
    let of_page = page.filter_map(|line| line.strip_prefix("| `countersign_service_account_"));
    let of_page: BTreeSet<_> =
        of_page.map(|line| line.split(['`', '{']).next().unwrap().to_owned()).collect();
    let found = metrics.lines().filter_map(|line| {
        line.strip_prefix("# TYPE countersign_service_account_")?.split(' ').next()
    });
    assert_eq!(of_page, found.map(str::to_owned).collect());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_must_not_be_signed_is_refused_and_on_record() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    register_runs(&running).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    for (at, (code, claims)) in refused(running.now()).into_iter().enumerate() {
        let error = api_server.token(&encoded(&claims)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::PermissionDenied), "{code}: {error:?}");
        assert!(error.text().contains(code), "{code}: {error:?}");
        let records = running.records();
        assert_eq!(records.len(), at + 1, "{code}");
        let record = &records[at];
        assert_eq!(codes(record), [code], "{record}");
        assert_eq!(record["mode"], "enforce");
        assert!(record["issued"].is_null(), "{record}");
    }
    // Each is counted once, wherever it was found.
    let metrics = running.service.as_ref().unwrap().metrics_text().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    let counts = metrics.lines().filter(|line| line.starts_with("countersign_refusals_total{"));
    let counted: usize =
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    assert_eq!(counted, running.records().len(), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_everything_is_signed_with_what_enforcing_would_refuse() {
    let folder = folder();
    let running = Running::with(folder.path(), Setup { mode: "shadow", ..Setup::default() }).await;
    register_runs(&running).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    for (code, claims) in refused(running.now()) {
        let token = api_server.token(&encoded(&claims)).await;
        let token = token.unwrap_or_else(|error| panic!("{code}: {error:?}"));
        let record = running.record();
        assert_eq!(codes(&record), [code], "{record}");
        assert_eq!(record["mode"], "shadow");
        let digest = countersign::Digest::of(token.as_bytes()).to_string();
        assert_eq!(record["issued"]["token"], digest, "{record}");
    }
    // Also while nothing decides: a run that was not read before cannot be read.
    let unread = "a3116611-e08b-4b00-91c5-10365b25a6ef";
    running.register(&run_of(unread, "my-workspace", DEFINITION)).await;
    running.store.as_ref().unwrap().close().await;
    let unread = pod_of(unread, running.now());
    api_server.token(&encoded(&unread)).await.unwrap();
    assert_eq!(codes(&running.record()), ["no-decision"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_are_no_tokens_are_refused_in_any_mode() {
    for mode in ["enforce", "shadow"] {
        let folder = folder();
        let running = Running::with(folder.path(), Setup { mode, ..Setup::default() }).await;
        let mut api_server = ApiServer::start(&running.socket).await.unwrap();
        let now = running.now();
        let claims = || pod_claims(API_SERVER, 3600, now);
        let set = |name: &'static str, value: Value| {
            encoded(&with(claims(), |claims| claims[name] = value))
        };
        let text = |text: &str| {
            use base64::Engine as _;
            base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text)
        };
        let whole = claims().to_string();
        for (at, (code, claims)) in [
            ("claims-malformed", String::new()),
            ("claims-malformed", "%".to_owned()),
            ("claims-malformed", format!("{}=", encoded(&claims()))),
            ("claims-malformed", text("{}")),
            ("claims-malformed", text("[]")),
            ("claims-malformed", text(&format!("{whole} x"))),
            ("claims-malformed", text(&whole.replacen('{', r#"{"\u0061ud":["x"],"#, 1))),
            (
                "claims-malformed",
                text(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100))),
            ),
            ("claims-malformed", encoded(&json!({"a": "x".repeat(33 << 10)}))),
            ("claims-malformed", set("a", json!("x".repeat(500 << 10)))),
            ("claims-malformed", set("aud", json!(API_SERVER))),
            ("claims-malformed", set("aud", json!([]))),
            ("claims-malformed", set("aud", json!([API_SERVER, API_SERVER]))),
            ("claims-malformed", set("aud", json!(["with space"]))),
            ("claims-malformed", set("aud", json!(vec!["a"; 33]))),
            ("claims-malformed", set("exp", json!("1"))),
            ("claims-malformed", set("exp", json!(1e300))),
            ("claims-malformed", set("iat", json!(-1))),
            ("claims-malformed", set("iat", json!(1.5))),
            ("claims-malformed", set("nbf", Value::Null)),
            ("claims-malformed", set("jti", json!("a b"))),
            ("claims-malformed", set("sub", json!("system:serviceaccount:kube-system:admin"))),
            (
                "claims-malformed",
                set(
                    "kubernetes.io",
                    json!({"namespace": "a:b", "serviceaccount": {"name": "c", "uid": "u"}}),
                ),
            ),
            ("claims-issuer", set("iss", json!("https://oidc.example.com/"))),
            ("claims-issuer", set("iss", json!("https://evil.example.com"))),
            ("claims-times", set("exp", json!(now))),
            ("claims-times", set("exp", json!(0))),
            ("claims-times", set("nbf", json!(now + 1))),
            ("expiration-too-long", set("exp", json!(now + 86_401))),
            ("expiration-too-long", set("exp", json!(u64::MAX))),
        ]
        .into_iter()
        .enumerate()
        {
            let error = api_server.token(&claims).await.unwrap_err();
            assert_eq!(error.code(), Some(Code::PermissionDenied), "{at} {code}: {error:?}");
            let records = running.records();
            assert_eq!(records.len(), at + 1, "{code}");
            assert_eq!(codes(&records[at]), [code], "{at} {}", records[at]);
            assert!(records[at]["service_account"].is_null(), "{}", records[at]);
            assert!(!error.text().contains("evil.example.com") || code == "claims-issuer");
        }
        // Beyond what a message may have, the call itself fails.
        let error = api_server.token(&"a".repeat(2 << 20)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::OutOfRange), "{error:?}");
        api_server.token(&encoded(&claims())).await.unwrap();
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_lives_while_nothing_decides() {
    // Before the service is there: with keys alone.
    let alone = folder();
    let setup = Setup { alone: true, ..Setup::default() };
    let running = Running::with(alone.path(), setup).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    let now = running.now();
    api_server.token(&encoded(&pod_claims(API_SERVER, 3607, now))).await.unwrap();
    let error = api_server.token(&encoded(&pod_claims(AWS, 3600, now))).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable), "{error:?}");
    running.stop().await;

    // While the database is down: on record, as ever.
    let folder = folder();
    let running = Running::start(folder.path()).await;
    running.register(&run()).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    running.store.as_ref().unwrap().close().await;
    let error = api_server.token(&encoded(&pod_claims(AWS, 3600, now))).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable), "{error:?}");
    api_server.token(&encoded(&pod_claims(API_SERVER, 3607, now))).await.unwrap();
    assert_eq!(running.record()["mode"], "pass");
    running.stop().await;
}

/// A folder on a disk that begins to fail.
struct FailingDisk(Folder, Arc<AtomicBool>);

impl FailingDisk {
    fn works(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }
}

impl Disk for FailingDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read(name)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.0.create(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.works()?;
        self.0.append(name, bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.works()?;
        self.0.sync(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.0.sync_names()
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.replace(name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
}

/// With a log that cannot be written, nothing for a cloud is signed, and everything for the API server.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_only_the_cluster_itself_gets_tokens() {
    let folder = folder();
    let fails = Arc::new(AtomicBool::new(false));
    let disk = failing(folder.path(), &fails);
    let running = Running::on(folder.path(), Setup::default(), disk).await;
    running.register(&run()).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    let (aws, own) =
        (pod_claims(AWS, 3600, running.now()), pod_claims(API_SERVER, 3607, running.now()));
    api_server.token(&encoded(&aws)).await.unwrap();
    fails.store(true, Ordering::SeqCst);
    let error = api_server.token(&encoded(&aws)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unavailable), "{error:?}");
    api_server.token(&encoded(&own)).await.unwrap();
    let error = api_server.token(&encoded(&pod_claims("vault", 3600, running.now()))).await;
    assert_eq!(error.unwrap_err().code(), Some(Code::PermissionDenied));
    let metrics = running.service.as_ref().unwrap().metrics_text().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("countersign_service_account_unrecorded_total 2"), "{metrics}");
    running.stop().await;
    assert_eq!(records(folder.path()).len(), 1);
}

fn failing(folder: &Path, fails: &Arc<AtomicBool>) -> FailingDisk {
    FailingDisk(Folder::open(&folder.join("log")).unwrap(), Arc::clone(fails))
}

/// A token of the API server's list can never be one of a cloud, whatever the configuration says.
#[test]
fn an_audience_of_a_cloud_is_not_passed() {
    let text = |pass: &str, decide: &str| {
        format!(
            "policies = \"p\"\nstate = \"s\"\n[kubernetes-signer]\nsocket = \"/s\"\npass = [\"{pass}\"]\n\
             decide = [\"{decide}\"]\nnamespaces = [\"demo\"]\n"
        )
    };
    let parse = |text: &str| countersign_deployment::Config::parse(text).map_err(|e| e.to_string());
    assert!(parse(&text(ISSUER, AWS)).is_ok());
    for (text, problem) in [
        (text(AZURE, AWS), "a cloud's"),
        (text("aws-workload-identity-provider:other", AWS), "a cloud's"),
        (text(ISSUER, ISSUER), "listed twice"),
        (text(ISSUER, AWS).replace("[\"demo\"]", "[]"), "belong together"),
        (text(ISSUER, AWS).replace("[\"demo\"]", "[\"*\"]"), "namespaces"),
        (text(ISSUER, AWS).replace("\"/s\"", "\"@s\""), "abstract"),
        (text(ISSUER, AWS) + "socket-uids = []\n", "socket-uids"),
        (text(ISSUER, AWS) + "socket-mode = \"0666\"\n", "0666"),
        (text(ISSUER, AWS) + "pod-prefix = \"*\"\n", "pod-prefix"),
        (text(ISSUER, AWS) + "max-expiration-seconds = 599\n", "600"),
        (text(ISSUER, AWS) + "refresh-seconds = 0\n", "refresh-seconds"),
        (text(ISSUER, AWS) + "enforce = true\n", "enforce"),
        (
            "store = \"postgres://issuer@db.example.com/issuer\"\n".to_owned()
                + &text(ISSUER, AWS)
                + "[keys]\nsealing-key-file = \"seal\"\n[database]\npassword-file = \"password\"\n",
            "must not depend",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    // Keys stay published until the last token of a service account has expired.
    let long = parse(&(text(ISSUER, AWS) + "max-expiration-seconds = 31_536_000\n")).unwrap();
    assert_eq!(long.settings.key_times.max_token_lifetime, 31_536_000);
}
