//! A signer with its service on a socket of its own, and an API server that does every check of the real one.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../../../issuer/tests/support/mod.rs"]
mod fakes;

pub(crate) mod api_server;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{Engine, EngineConfig, Optimization, Run};
use countersign_decision_log::{Disk, Folder, LogConfig, Reader};
use countersign_deployment::{Config, Manifest, ManifestFiles, prepare_policies};
use countersign_issuer::{
    Authorizer, CheckpointSigner, ClusterSigner, ClusterSignerParts, DecisionContext, KeyFolder,
    KeyRing, Principal, Registration, RequestOrigin, Runners, Service, ServiceParts, SqliteStore,
    Store, TrustedIssuers, open_log,
};
use countersign_kubernetes_signer::{Socket, SocketConfig, serve};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use fakes::*;

/// The API server's own audience.
pub(crate) const API_SERVER: &str = "https://kubernetes.default.svc.cluster.local";

/// The service account of the published run's definition.
pub(crate) const ACCOUNT: &str =
    "workspace.my-workspace.buildingblockdefinition.b23cfb9a-6974-444f-9d33-62134a632373";

const MANIFEST: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = "all"
settings = { also = ["team-network"] }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }

[[binding]]
name = "short"
policy = "ttl-ceiling.wasm"
scope = "all"
settings = { apply = 3600, detect = 900, destroy = 3600 }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// The configuration, with room for a test's own lines in its table.
fn config(socket: &Path, more: &str) -> Config {
    let uid = std::fs::metadata(socket.parent().unwrap()).unwrap().uid();
    let text = format!(
        r#"
policies = "countersign.toml"
state = "state"
{more}
[kubernetes-signer]
socket = "{}"
socket-uids = [{uid}]
pass = ["{API_SERVER}", "https://other.example.com"]
decide = ["{AWS}", "{AZURE}"]
namespaces = ["demo"]
refresh-seconds = 5
"#,
        socket.display()
    );
    Config::parse(&text).unwrap()
}

/// The parts of a test.
pub(crate) struct Setup {
    /// `shadow` or `enforce`.
    pub mode: &'static str,
    /// Without a service, as while it cannot be prepared.
    pub alone: bool,
    /// Tables before `[kubernetes-signer]`.
    pub config: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { mode: "enforce", alone: false, config: "" }
    }
}

/// A signer that serves.
pub(crate) struct Running {
    pub socket: PathBuf,
    pub signer: Arc<ClusterSigner>,
    pub service: Option<Arc<Service>>,
    pub store: Option<Arc<dyn Store>>,
    pub clock: TestClock,
    pub ring: KeyRing,
    pub config: Config,
    folder: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
        Engine::with(config).unwrap()
    })
}

fn context() -> DecisionContext {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let files: ManifestFiles = countersign_policy_artifacts::POLICIES
        .iter()
        .map(|(name, bytes)| (format!("{name}.wasm"), bytes.to_vec()))
        .collect();
    let policies = prepare_policies(engine(), &manifest, &files).unwrap();
    let issuer = manifest.issuer.unwrap();
    DecisionContext {
        policies: policies.into(),
        subjects: issuer.subjects,
        clouds: issuer.audiences,
    }
}

impl Running {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::with(folder, Setup::default()).await
    }

    pub(crate) async fn with(folder: &Path, setup: Setup) -> Self {
        let disk = Folder::open(&folder.join("log")).unwrap();
        Self::on(folder, setup, disk).await
    }

    pub(crate) async fn on(folder: &Path, setup: Setup, disk: impl Disk + 'static) -> Self {
        let socket = folder.join("signer.sock");
        let mut config = config(&socket, setup.config);
        let entry = config.kubernetes_signer.as_mut().unwrap();
        if setup.mode == "enforce" {
            entry.signer.mode = countersign_issuer::SignerMode::Enforce;
        }
        let clock = TestClock(Arc::new(AtomicU64::new(START)));
        let keys = KeyFolder::open(&folder.join("keys")).unwrap();
        let ring = KeyRing::in_folder(&keys);
        let context = context();
        let signer = ClusterSigner::start(ClusterSignerParts {
            url: ISSUER.parse().unwrap(),
            config: config.kubernetes_signer.clone().unwrap().signer,
            service: config.settings.clone(),
            clouds: context.clouds.clone(),
            keys: ring.clone(),
            clock: Arc::new(clock.clone()),
        });
        let signer = signer.unwrap();
        let (mut service, mut of_service) = (None, None);
        if !setup.alone {
            let log = folder.join("log");
            let checkpoint = CheckpointSigner::open(&keys, &log).unwrap();
            let of_log = Arc::new(clock.clone());
            let (log, _) =
                open_log(disk, LogConfig::default(), checkpoint, of_log, || Ok(())).unwrap();
            let store: Arc<dyn Store> =
                Arc::new(SqliteStore::open(&folder.join("issuer.db")).await.unwrap());
            of_service = Some(Arc::clone(&store));
            let parts = ServiceParts {
                url: ISSUER.parse().unwrap(),
                config: config.settings.clone(),
                context,
                authorizer: Authorizer {
                    api_keys: Vec::new(),
                    digest: None,
                    runners: Runners::default(),
                    trusted: TrustedIssuers(HashMap::new()),
                },
                keys: ring.clone(),
                store,
                log,
                clock: Arc::new(clock.clone()),
                replica: None,
            };
            let started = Service::start(parts).unwrap();
            signer.attach(Arc::clone(&started)).unwrap();
            service = Some(started);
        }
        let entry = config.kubernetes_signer.as_ref().unwrap();
        let opened = Socket::open(SocketConfig {
            path: socket.clone(),
            mode: entry.socket_mode,
            group: entry.socket_group,
            uids: entry.socket_uids.clone(),
        });
        let opened = opened.unwrap();
        let (stop, stopped) = oneshot::channel();
        let of_server = Arc::clone(&signer);
        let served = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve(of_server, opened, stopped).await.unwrap();
        });
        let (stop, folder) = (Some(stop), folder.to_owned());
        let store = of_service;
        Self { socket, signer, service, store, clock, ring, config, folder, stop, served }
    }

    /// Registers a run with the shared runner.
    pub(crate) async fn register(&self, run: &Value) {
        let run = Run::parse(run.to_string().as_bytes()).unwrap();
        let registration = Registration {
            run,
            runner: SHARED_RUNNER.parse().unwrap(),
            facts: countersign::Facts::default(),
            run_token: None,
            lifetime_seconds: None,
        };
        let service = self.service.as_ref().unwrap();
        service.register(registration, &principal(), &origin()).await.unwrap();
    }

    pub(crate) async fn finish(&self, run: &str) {
        let service = self.service.as_ref().unwrap();
        service.finish(&run.parse().unwrap(), &principal(), &origin()).await.unwrap();
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    /// Stops it, and waits until log and store are closed.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.served.await.unwrap();
        if let Some(service) = self.service {
            service.close().await;
        }
    }

    /// The records of tokens of service accounts.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.folder)
    }

    /// The last of them.
    pub(crate) fn record(&self) -> Value {
        self.records().pop().unwrap()
    }
}

/// The records of tokens of service accounts in a log.
pub(crate) fn records(folder: &Path) -> Vec<Value> {
    let mut reader = Reader::new(&folder.join("log"), 1);
    let mut records = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if record["kind"] == "service-account" {
            records.push(record);
        }
    }
    records
}

fn principal() -> Principal {
    Principal { name: "test".to_owned(), issuer: None, used: None }
}

fn origin() -> RequestOrigin {
    RequestOrigin { id: "test".to_owned(), client: None, trace: None }
}

/// The claims of a token of the published run's pod.
pub(crate) fn pod_claims(audience: &str, lifetime: u64, now: u64) -> Value {
    json!({
        "iss": ISSUER, "sub": format!("system:serviceaccount:demo:{ACCOUNT}"), "aud": [audience],
        "iat": now, "nbf": now, "exp": now + lifetime,
        "jti": "a7c1d0f2-5f0b-4d30-9a51-0d0dd0a4a001",
        "kubernetes.io": {
            "namespace": "demo",
            "serviceaccount": {"name": ACCOUNT, "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            "pod": {"name": format!("runner-{RUN}-x7k2p"), "uid": "51b4fc5e-1e7b-4a3f-8a2f-6c2b2d1d0001"},
            "node": {"name": "node-1", "uid": "51b4fc5e-1e7b-4a3f-8a2f-6c2b2d1d0002"},
            "warnafter": now + 3607,
        },
    })
}

/// Claims in base64url.
pub(crate) fn encoded(claims: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
}
