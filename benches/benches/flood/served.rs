//! The service that is flooded.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::{ask, connect};

const RUN: &str = include_str!("../../../examples/run.json");
const MANIFEST: &str = include_str!("../../../examples/six-policies.toml");
const RUN_ID: &str = "b3116611-e08b-4b00-91c5-10365b25a6ef";
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
const AUDIENCE: &str = "aws-workload-identity-provider:demo";
const ISSUER: &str = "https://cluster.example.com";

/// The key of RFC 7515 appendix A.2: tokens with its `kid` are verified, and are not signed with it.
const JWKS: &str = r#"{"keys":[{"kty":"RSA","kid":"1","use":"sig","alg":"RS256","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;

/// A service with a run.
pub(crate) struct Served {
    pub(crate) probes: SocketAddr,
    pub(crate) requests: Requests,
    _folder: TempDir,
    _silent: TcpListener,
    child: Child,
}

/// Requests to a service.
#[derive(Deserialize, Serialize)]
pub(crate) struct Requests {
    pub(crate) address: SocketAddr,
    /// A good exchange.
    pub(crate) exchange: String,
    /// One whose token nobody has signed, of an issuer whose keys are known.
    pub(crate) unsigned: String,
    /// The same of an issuer that takes connections and says nothing.
    pub(crate) of_silent: String,
}

impl Served {
    /// Starts the service on these processors.
    pub(crate) fn start(processors: &[String]) -> Self {
        let folder = TempDir::new_in(target()).expect("a folder");
        for (name, bytes) in countersign_policy_artifacts::POLICIES {
            fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a policy");
        }
        let manifest = MANIFEST.replace("../target/policies/", "");
        fs::write(folder.path().join("countersign.toml"), manifest).expect("a manifest");
        fs::write(folder.path().join("jwks.json"), JWKS).expect("a key set");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent_url = format!("http://{}", silent.local_addr().expect("an address"));
        let key = Command::new(program()).args(["api-key", "--format", "json"]).output();
        let key: Value = serde_json::from_slice(&key.expect("a key").stdout).expect("a key");
        let identity =
            format!("[[trusted-issuer.identity]]\nsubject = \"runner\"\nrunner = \"{RUNNER}\"\n");
        let config = format!(
            "policies = \"countersign.toml\"\nstate = \"state\"\n\
             [listen]\naddress = \"127.0.0.1:0\"\nprobes = \"127.0.0.1:0\"\n\
             [tokens]\nes256-audiences = [\"{AUDIENCE}\"]\n\
             [limits]\nrun-per-second = 1_000_000\nrun-burst = 1_000_000\n\
             runner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
             [[api-key]]\nname = \"bench\"\nsha256 = {}\nmay = [\"runs\"]\n\
             [[trusted-issuer]]\nurl = \"{ISSUER}\"\njwks-file = \"jwks.json\"\n{identity}\
             [[trusted-issuer]]\nurl = \"{silent_url}\"\n{identity}",
            key["sha256"]
        );
        fs::write(folder.path().join("issuer.toml"), config).expect("a configuration");
        let mut child = Command::new("taskset")
            .args(["-c", &processors.join(",")])
            .arg(program())
            .args(["serve", "--config", "issuer.toml", "--no-cache"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`taskset`, and the release build: `cargo build --release --bin countersign`");
        let mut lines = BufReader::new(child.stderr.take().expect("its log"));
        let (address, probes) = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).expect("its log") > 0, "it did not start");
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            let address = |name: &str| line[name].as_str().map(|text| text.parse());
            if let (Some(Ok(address)), Some(Ok(probes))) = (address("address"), address("probes")) {
                break (address, probes);
            }
        };
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        register(address, key["key"].as_str().expect("a key"));
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        let requests = Requests {
            address,
            exchange: form(RUN_ID, "urn:ietf:params:oauth:token-type:access_token", RUN_TOKEN),
            unsigned: form(RUN_ID, jwt, &unsigned(ISSUER)),
            of_silent: form(RUN_ID, jwt, &unsigned(&silent_url)),
        };
        Self { probes, requests, _folder: folder, _silent: silent, child }
    }

    /// Stops the service, which must end as it should.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let signalled = Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        assert!(signalled.success());
        assert!(self.child.wait().expect("it ends").success(), "it did not end as it should");
    }
}

fn register(address: SocketAddr, key: &str) {
    let mut run: Value = serde_json::from_str(RUN).expect("a run");
    run["spec"]["runToken"] = RUN_TOKEN.into();
    let run = run.to_string();
    let request = format!(
        "PUT /v1/runs/{RUN_ID}?runner={RUNNER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{run}",
        run.len()
    );
    let mut stream = connect(address).expect("a connection");
    assert_eq!(ask(&mut stream, request.as_bytes()), Some(201));
}

/// The request to exchange a token.
pub(crate) fn form(run: &str, kind: &str, token: &str) -> String {
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type={kind}\
         &subject_token={token}&run={run}&audience={AUDIENCE}"
    );
    format!(
        "POST /v1/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// A token of an issuer that has not signed it.
fn unsigned(issuer: &str) -> String {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "iss": issuer, "sub": "runner", "aud": "https://oidc.example.com",
        "iat": 1_790_000_000, "exp": 4_000_000_000_u64,
    });
    let header = json!({"alg": "RS256", "kid": "1", "typ": "JWT"});
    let signature = BASE64_URL_SAFE_NO_PAD.encode([7; 256]);
    format!("{}.{}.{signature}", part(header), part(claims))
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn program() -> PathBuf {
    std::env::var_os("COUNTERSIGN")
        .map_or_else(|| target().join("release/countersign"), PathBuf::from)
}
