//! `countersign serve` with `[kubernetes-signer]`: from its start to what its records say, with an API server's client.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../../kubernetes-signer/tests/support/api_server.rs"]
mod api_server;
#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api_server::{ApiServer, NoToken};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use service::{AWS, RUN_ID, Served, configure, run};
use support::{command, countersign, folder};

const ACCOUNT: &str =
    "workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373";
const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";

fn table(mode: &str) -> String {
    let uid = rustix::process::getuid().as_raw();
    format!(
        "[kubernetes-signer]\nsocket = \"signer.sock\"\nsocket-uids = [{uid}]\nmode = \"{mode}\"\n\
         pass = [\"{API_SERVER}\"]\ndecide = [\"{AWS}\"]\nnamespaces = [\"demo\"]\n"
    )
}

/// The claims of a token of a run's pod, issued now.
fn claims(issuer: &str, run: &str, audience: &str, lifetime: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({
        "iss": issuer, "sub": format!("system:serviceaccount:demo:{ACCOUNT}"), "aud": [audience],
        "iat": now, "nbf": now, "exp": now + lifetime, "jti": "a7c1d0f2-5f0b-4d30-9a51-0d0dd0a4a001",
        "kubernetes.io": {
            "namespace": "demo", "serviceaccount": {"name": ACCOUNT, "uid": "1"},
            "pod": {"name": format!("runner-{run}-x7k2p"), "uid": "2"},
        },
    });
    BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
}

/// The issuer identifier of the manifest.
fn issuer(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("countersign.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["issuer"]["url"].as_str().unwrap().to_owned()
}

/// A service that need not come so far as to listen.
struct Starting(Child);

impl Starting {
    fn new(folder: &Path) -> Self {
        let mut command = command(folder);
        let command = command.args(["serve", "--config", "issuer.toml"]).stdin(Stdio::null());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An API server that waits for its signer, as the real one does.
async fn api_server(folder: &Path) -> ApiServer {
    for _ in 0..1200 {
        if let Ok(server) = ApiServer::start(&folder.join("signer.sock")).await {
            return server;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the signer does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_in_shadow_says_what_enforcing_would_refuse() {
    let folder = folder();
    let path = folder.path();
    let api_key = configure(path, &table("shadow"));
    let (served, issuer) = (Served::start(path), issuer(path));
    assert_eq!(served.register(&api_key, &run()).status, 201);
    let mut server = api_server(path).await;
    let unknown = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    for (run, audience, lifetime) in [
        (RUN_ID, API_SERVER, 3607),
        (RUN_ID, AWS, 900),
        (RUN_ID, AWS, 7200),
        (RUN_ID, "vault", 900),
        (unknown, AWS, 900),
        (unknown, AWS, 900),
    ] {
        server.token(&claims(&issuer, run, audience, lifetime)).await.unwrap();
    }
    let ran = countersign(path, "log service-accounts state/log --format json");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.status, 2, "{report}");
    let counts =
        ["passed", "approved", "would_refuse", "refused"].map(|name| report[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(4), Some(0)], "{report}");
    let reasons: Vec<_> = report["reasons"].as_array().unwrap().iter().collect();
    let codes: Vec<_> = reasons
        .iter()
        .map(|of| (of["code"].as_str().unwrap(), of["tokens"].as_u64().unwrap()))
        .collect();
    assert_eq!(codes, [("audience-unmapped", 1), ("door-cannot-narrow", 1), ("run-unknown", 2)]);
    assert!(reasons.iter().all(|of| of["enforced"] == false && of["service_account"] == ACCOUNT));
    let ran = countersign(path, "log service-accounts state/log");
    assert!(ran.stdout.contains("enforcing would refuse 4 more"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains(&format!("would refuse 2 run-unknown of demo/{ACCOUNT} for {AWS}"))
    );

    // Records that other commands understand, or count apart.
    let shown = countersign(path, "log show state/log");
    assert!(
        shown.stdout.contains(&format!("service-account pass demo/{ACCOUNT}")),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("signed in shadow"), "{}", shown.stdout);
    let shown = countersign(path, &format!("log show state/log --run {RUN_ID} --format json"));
    assert_eq!(shown.stdout.lines().filter(|line| line.contains("\"service-account\"")).count(), 2);
    assert_eq!(countersign(path, "log verify state/log").status, 0);
    let ran = countersign(path, "replay state/log -p countersign.toml --format json");
    assert_eq!(ran.status, 0, "{} {}", ran.stdout, ran.stderr);
    let replayed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(replayed["without_decision"]["service-account"], 4, "{replayed}");
    assert_eq!(served.stop(), 0);
    assert!(!path.join("signer.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_be_prepared_signs_for_the_api_server_and_becomes_whole() {
    let folder = folder();
    let path = folder.path();
    configure(path, &table("enforce"));
    let issuer = issuer(path);
    // No policy, no database, and no log.
    let policy = fs::read(path.join("same-workspace.wasm")).unwrap();
    fs::remove_file(path.join("same-workspace.wasm")).unwrap();
    fs::create_dir_all(path.join("state")).unwrap();
    fs::write(path.join("state/log"), "no folder").unwrap();
    #[cfg(unix)]
    fs::set_permissions(path.join("state"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let starting = Starting::new(path);
    let mut server = api_server(path).await;
    server.token(&claims(&issuer, RUN_ID, API_SERVER, 3607)).await.unwrap();
    let error = server.token(&claims(&issuer, RUN_ID, AWS, 900)).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::Unavailable), "{error:?}");
    // A second one is refused before it touches anything.
    let second = countersign(path, "serve --config issuer.toml");
    assert!(
        second.status == 1 && second.stderr.contains("another process listens here"),
        "{}",
        second.stderr
    );

    fs::remove_file(path.join("state/log")).unwrap();
    fs::write(path.join("same-workspace.wasm"), policy).unwrap();
    let mut last = String::new();
    for _ in 0..1200 {
        match server.token(&claims(&issuer, RUN_ID, AWS, 900)).await {
            Err(NoToken::Refused(status)) if status.code() == tonic::Code::PermissionDenied => {
                assert!(status.message().contains("run-unknown"), "{status:?}");
                drop(starting);
                return;
            }
            other => last = format!("{other:?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not become whole: {last}");
}
