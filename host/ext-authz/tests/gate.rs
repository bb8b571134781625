//! The gate as Envoy calls it: allow, deny and fault, over the real protocol.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../../issuer/tests/support/mod.rs"]
mod fakes;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use countersign::{Engine, EngineConfig, Optimization, Run};
use countersign_decision_log::{Folder, LogConfig, Reader};
use countersign_deployment::{Config, Manifest, ManifestFiles, prepare_policies};
use countersign_ext_authz::proto::authorization_client::AuthorizationClient;
use countersign_ext_authz::proto::check_response::HttpResponse;
use countersign_ext_authz::proto::{
    AttributeContext, CheckRequest, CheckResponse, attribute_context,
};
use countersign_issuer::{
    Authorizer, CheckpointSigner, DecisionContext, KeyFolder, KeyRing, Principal, Registration,
    RequestOrigin, Runners, SecretHash, Service, ServiceParts, SqliteStore, Store, TrustedIssuers,
    open_log,
};
use fakes::{
    ACCESS_TOKEN, AWS, GRANT, ISSUER, RUN, RUN_TOKEN, SHARED_RUNNER, START, TestClock, folder, run,
};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;

const MANIFEST: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = "all"
settings = {}
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }

[[binding]]
name = "short"
policy = "ttl-ceiling.wasm"
scope = "all"
settings = { apply = 3600, detect = 900, destroy = 3600 }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// A run of a workspace that may not use the definition.
const FOREIGN_RUN: &str = "c3116611-e08b-4b00-91c5-10365b25a6ef";

/// A run that nobody asks for while the database is there.
const UNREAD_RUN: &str = "e3116611-e08b-4b00-91c5-10365b25a6ef";

struct Connection(SendRequest<Body>);

impl tower_service::Service<hyper::Request<Body>> for Connection {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Gate {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    client: AuthorizationClient<Connection>,
}

fn context() -> DecisionContext {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let files: ManifestFiles = countersign_policy_artifacts::POLICIES
        .iter()
        .map(|(name, bytes)| (format!("{name}.wasm"), bytes.to_vec()))
        .collect();
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    let policies = prepare_policies(&Engine::with(config).unwrap(), &manifest, &files).unwrap();
    let issuer = manifest.issuer.unwrap();
    DecisionContext {
        policies: policies.into(),
        subjects: issuer.subjects,
        clouds: issuer.audiences,
    }
}

async fn connect(address: SocketAddr) -> AuthorizationClient<Connection> {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    AuthorizationClient::with_origin(Connection(sender), "http://gate".parse().unwrap())
}

async fn start(folder: &Path) -> Gate {
    let clock = Arc::new(TestClock(Arc::new(AtomicU64::new(START))));
    let keys = KeyFolder::open(&folder.join("keys")).unwrap();
    let log = folder.join("log");
    let disk = Folder::open(&log).unwrap();
    let checkpoint = CheckpointSigner::open(&keys, &log).unwrap();
    let (log, _) =
        open_log(disk, LogConfig::default(), checkpoint, clock.clone(), || Ok(())).unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&folder.join("issuer.db")).await.unwrap());
    let parts = ServiceParts {
        url: ISSUER.parse().unwrap(),
        config: Config::parse("policies = \"p\"\nstate = \"s\"\n").unwrap().settings,
        context: context(),
        authorizer: Authorizer {
            api_keys: Vec::new(),
            digest: None,
            runners: Runners::default(),
            trusted: TrustedIssuers(HashMap::new()),
        },
        keys: KeyRing::in_folder(&keys),
        store: Arc::clone(&store),
        log,
        clock,
        replica: None,
    };
    let service = Service::start(parts).unwrap();
    let mut foreign = run();
    foreign["metadata"]["uuid"] = FOREIGN_RUN.into();
    foreign["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "other-team".into();
    let mut unread = run();
    unread["metadata"]["uuid"] = UNREAD_RUN.into();
    for (object, token) in
        [(run(), RUN_TOKEN), (foreign, "another-run-token-of-some-length"), (unread, RUN_TOKEN)]
    {
        let registration = Registration {
            run: Run::parse(object.to_string().as_bytes()).unwrap(),
            runner: SHARED_RUNNER.parse().unwrap(),
            facts: countersign::Facts::default(),
            run_token: Some(SecretHash::of(token.as_bytes())),
            lifetime_seconds: None,
        };
        let principal = Principal { name: "test".to_owned(), issuer: None, used: None };
        let origin = RequestOrigin { id: "test".to_owned(), client: None, trace: None };
        service.register(registration, &principal, &origin).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let of_gate = Arc::clone(&service);
    tokio::spawn(countersign_ext_authz::serve(of_gate, listener, std::future::pending()));
    Gate { service, store, client: connect(address).await }
}

/// A check of an exchange as Envoy shows it.
fn exchange(run: &str, token: &str, ttl_seconds: &str) -> CheckRequest {
    let body = format!(
        "grant_type={GRANT}&subject_token_type={ACCESS_TOKEN}&subject_token={token}&run={run}&audience={AWS}"
    );
    let http = attribute_context::HttpRequest {
        method: "POST".to_owned(),
        path: "/realms/x/token".to_owned(),
        headers: [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]
            .into(),
        body,
        ..attribute_context::HttpRequest::default()
    };
    let request = attribute_context::Request { http: Some(http) };
    let context_extensions = [("ttl-seconds".to_owned(), ttl_seconds.to_owned())].into();
    let attributes = AttributeContext { source: None, request: Some(request), context_extensions };
    CheckRequest { attributes: Some(attributes) }
}

/// The HTTP status and the body of a denial, or 200 and the header of an OK.
fn told(response: CheckResponse) -> (i32, Value) {
    let code = response.status.unwrap().code;
    match response.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            let header = ok.headers[0].header.clone().unwrap();
            assert_eq!(
                (header.key.as_str(), ok.headers[0].append_action),
                ("x-countersign-decision", 2)
            );
            (200, header.value.into())
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0, "an OK that is none");
            (denied.status.unwrap().code, serde_json::from_str(&denied.body).unwrap())
        }
    }
}

/// The ids of the decisions on record.
fn decisions(folder: &Path) -> Vec<String> {
    let mut reader = Reader::new(&folder.join("log"), 1);
    let mut ids = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if record["kind"] == "decision" {
            ids.push(record["decision"]["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_passes_if_policies_approve_all_of_it_and_never_on_a_fault() {
    let folder = folder();
    let Gate { service, store, mut client } = start(folder.path()).await;
    let mut check = async |request| told(client.check(request).await.unwrap().into_inner());

    let (status, decision) = check(exchange(RUN, RUN_TOKEN, "3600")).await;
    assert_eq!(
        (status, vec![decision.as_str().unwrap().to_owned()]),
        (200, decisions(folder.path()))
    );

    // Policies refuse, or approve less than the issuer's tokens have.
    let denied = check(exchange(FOREIGN_RUN, "another-run-token-of-some-length", "3600")).await;
    assert_eq!((denied.0, &denied.1["reasons"][0]["code"]), (403, &"foreign-workspace".into()));
    let denied = check(exchange(RUN, RUN_TOKEN, "3601")).await;
    assert_eq!((denied.0, &denied.1["reasons"][0]["code"]), (403, &"door-cannot-narrow".into()));
    assert_eq!(denied.1["decision"], *decisions(folder.path()).last().unwrap());
    assert_eq!(decisions(folder.path()).len(), 3);

    // No proof, no route, no request: nothing is decided.
    for (request, status) in [
        (exchange(RUN, "another-run-token-of-some-length", "3600"), 400),
        (exchange("d3116611-e08b-4b00-91c5-10365b25a6ef", RUN_TOKEN, "3600"), 400),
        (exchange(RUN, RUN_TOKEN, "an hour"), 500),
        (exchange(RUN, RUN_TOKEN, "999999"), 400),
        (exchange("x", RUN_TOKEN, "3600"), 400),
        (CheckRequest::default(), 500),
    ] {
        let denied = check(request).await;
        assert_eq!(denied.0, status, "{}", denied.1);
        assert!(denied.1["error"].is_string());
    }
    assert_eq!(decisions(folder.path()).len(), 3);

    // Faults: the database is down, then the log is closed.
    store.close().await;
    let denied = check(exchange(UNREAD_RUN, RUN_TOKEN, "3600")).await;
    assert_eq!((denied.0, &denied.1["error"]), (503, &"temporarily_unavailable".into()));
    service.close().await;
    let denied = check(exchange(RUN, RUN_TOKEN, "3600")).await;
    assert_eq!((denied.0, &denied.1["error"]), (503, &"temporarily_unavailable".into()));
    assert_eq!(decisions(folder.path()).len(), 3);
}

#[test]
fn the_code_of_the_protocol_is_current() {
    let proto = include_bytes!("../../../protos/ext_authz.proto");
    let digest = Sha256::digest(proto).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let code = include_str!("../src/proto.rs");
    let expected = format!("// protos/ext_authz.proto sha256:{digest}\n");
    assert!(code.starts_with(&expected), "`make protos` generates src/proto.rs");
}
