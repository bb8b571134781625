//! A service on a port of its own, with a clock that a test sets, and whoever talks to it.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../../../issuer/tests/support/mod.rs"]
mod fakes;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use countersign::{Engine, EngineConfig, Optimization};
use countersign_decision_log::{Disk, Folder, LogConfig, Reader};
use countersign_deployment::{Config, Manifest, ManifestFiles, prepare_policies};
use countersign_http::{Listeners, serve};
use countersign_issuer::{
    ApiKey, ApiKeyText, Authorizer, CheckpointSigner, DecisionContext, Identity, Jwks, KeyCustody,
    KeyFolder, KeyRing, KeySource, Permission, Runners, SecretHash, Service, ServiceParts,
    SqliteStore, TrustedIssuer, TrustedIssuers, open_log,
};
use countersign_signing::{Algorithm, KeySet, SigningKey};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[allow(unused_imports, reason = "no test uses all of it")]
pub(crate) use fakes::*;

pub(crate) const RSA_KEY: &[u8] = include_bytes!("../../../signing/tests/data/rsa-2048-pkcs1.pem");

pub(crate) const MANIFEST: &str = r#"
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

const CONFIG: &str = "policies = \"countersign.toml\"\nstate = \"state\"\n";

/// The configuration of a service.
pub(crate) struct Setup {
    pub manifest: String,
    pub config: String,
    pub single_use: bool,
    pub start: u64,
    /// The custody of the keys; a folder unless given.
    pub custody: Option<Arc<dyn KeyCustody>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            manifest: MANIFEST.to_owned(),
            config: String::new(),
            single_use: false,
            start: START,
            custody: None,
        }
    }
}

/// A service that is running.
pub(crate) struct Running {
    pub address: SocketAddr,
    pub probes_address: SocketAddr,
    pub service: Arc<Service>,
    pub clock: TestClock,
    pub cluster: Cluster,
    pub api_key: String,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::with(EngineConfig { optimization: Optimization::None, ..EngineConfig::default() })
            .unwrap()
    })
}

pub(crate) fn context(manifest: &str) -> DecisionContext {
    let manifest = Manifest::parse(manifest).unwrap();
    let files: ManifestFiles = countersign_policy_artifacts::POLICIES
        .iter()
        .map(|(name, bytes)| (format!("{name}.wasm"), bytes.to_vec()))
        .chain([("scripted.wasm".to_owned(), countersign_test_artifacts::SCRIPTED.to_vec())])
        .collect();
    let policies = prepare_policies(engine(), &manifest, &files).unwrap();
    let issuer = manifest.issuer.unwrap();
    DecisionContext {
        policies: policies.into(),
        subjects: issuer.subjects,
        clouds: issuer.audiences,
    }
}

fn issuer_of(manifest: &str) -> String {
    Manifest::parse(manifest).unwrap().issuer.unwrap().url.unwrap()
}

impl Running {
    /// Starts a service whose state is in `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::with(folder, Setup::default()).await
    }

    pub(crate) async fn with(folder: &Path, setup: Setup) -> Self {
        let disk = Folder::open(&folder.join("log")).unwrap();
        Self::on(folder, setup, disk).await
    }

    /// With a log on a disk of the test's.
    pub(crate) async fn on(folder: &Path, setup: Setup, disk: impl Disk + 'static) -> Self {
        let clock = TestClock(Arc::new(AtomicU64::new(setup.start)));
        let keys = KeyFolder::open(&folder.join("keys")).unwrap();
        let ring = match setup.custody {
            Some(custody) => KeyRing::open(&folder.join("plan"), custody).unwrap(),
            None => KeyRing::in_folder(&keys),
        };
        let log = folder.join("log");
        let checkpoint = CheckpointSigner::open(&keys, &log).unwrap();
        let of_log = Arc::new(clock.clone());
        let (log, _) = open_log(disk, LogConfig::default(), checkpoint, of_log, || Ok(())).unwrap();
        let store = SqliteStore::open(&folder.join("issuer.db")).await.unwrap();
        let cluster = Cluster {
            key: SigningKey::from_pem(RSA_KEY).unwrap(),
            other: SigningKey::generate(Algorithm::Es256).unwrap().0,
        };
        let api_key = ApiKeyText::generate().unwrap();
        let authorizer = authorizer(&cluster, api_key.expose(), setup.single_use);
        let parts = ServiceParts {
            url: issuer_of(&setup.manifest).parse().unwrap(),
            config: Config::parse(&format!("{CONFIG}{}", setup.config)).unwrap().settings,
            context: context(&setup.manifest),
            authorizer,
            keys: ring,
            store: Arc::new(store),
            log,
            clock: Arc::new(clock.clone()),
            replica: None,
        };
        let service = Service::start(parts).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probes = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (probes_address, probes) = (probes.local_addr().unwrap(), Some(probes));
        let (stop, stopped) = oneshot::channel();
        let of_server = Arc::clone(&service);
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            let listeners = Listeners { main: listener, tls: None, probes, console: None };
            serve(of_server, listeners, stopped).await.unwrap();
        });
        // A connection for each request: one that is kept may be closed just when it is used again.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let api_key = api_key.expose().to_owned();
        let stop = Some(stop);
        Self { address, probes_address, service, clock, cluster, api_key, client, stop, served }
    }

    /// The principals, as they were at the start.
    pub(crate) fn authorizer(&self) -> Authorizer {
        authorizer(&self.cluster, &self.api_key, false)
    }

    /// Stops it and waits until log and store are closed.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        drop(self.client);
        self.served.await.unwrap();
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn register(&self, run: &Value, runner: &str) -> Response {
        self.register_at(run["metadata"]["uuid"].as_str().unwrap(), run.to_string(), runner).await
    }

    pub(crate) async fn register_at(&self, id: &str, body: String, runner: &str) -> Response {
        self.client
            .put(self.url(&format!("/v1/runs/{id}?runner={runner}")))
            .bearer_auth(&self.api_key)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    /// Registers a run with facts beside its object: `body` has both.
    pub(crate) async fn register_with_facts(&self, body: String) -> Response {
        self.client
            .put(self.url(&format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}")))
            .bearer_auth(&self.api_key)
            .header("content-type", "application/vnd.countersign.registration+json")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn finish(&self, id: &str) -> Response {
        self.client
            .post(self.url(&format!("/v1/runs/{id}/finish")))
            .bearer_auth(&self.api_key)
            .send()
            .await
            .unwrap()
    }

    /// Asks for a token with these parameters.
    pub(crate) async fn exchange(&self, parameters: &[(&str, &str)]) -> Response {
        let form: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.client
            .post(self.url("/v1/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn by_run_token(&self, run: &str, audience: &str) -> Response {
        self.exchange(&[
            ("grant_type", GRANT),
            ("subject_token_type", ACCESS_TOKEN),
            ("subject_token", RUN_TOKEN),
            ("run", run),
            ("audience", audience),
        ])
        .await
    }

    pub(crate) async fn by_identity(&self, run: &str, token: &str) -> Response {
        self.exchange(&[
            ("grant_type", GRANT),
            ("subject_token_type", JWT),
            ("subject_token", token),
            ("run", run),
            ("audience", AWS),
        ])
        .await
    }

    /// The claims of a token, verified against the keys that are published now.
    pub(crate) async fn verified(&self, token: &str, audience: &str) -> Value {
        let keys = self.get("/jwks.json").await.bytes().await.unwrap();
        let keys = Jwks::parse(&keys).unwrap();
        countersign_issuer::verified_claims(token, &keys, ISSUER, audience, self.now()).unwrap()
    }

    /// A token of the cluster for a subject.
    pub(crate) fn identity(&self, subject: &str) -> String {
        self.cluster.token(&self.cluster.header(), &claims(subject, self.now()))
    }
}

fn authorizer(cluster: &Cluster, api_key: &str, single_use: bool) -> Authorizer {
    let (name, permissions) = ("test".to_owned(), Permission::ALL.to_vec());
    let hash = SecretHash::of(api_key.as_bytes());
    Authorizer {
        api_keys: vec![ApiKey { name, hash, permissions, expires_at: None }],
        runners: Runners::default(),
        trusted: trusted(cluster, single_use),
        digest: None,
    }
}

fn trusted(cluster: &Cluster, single_use: bool) -> TrustedIssuers {
    let keys =
        serde_json::to_vec(&KeySet::new([cluster.key.public(), cluster.other.public()])).unwrap();
    let issuer = TrustedIssuer {
        url: CLUSTER.to_owned(),
        audience: ISSUER.to_owned(),
        keys: Arc::new(KeySource::Static(Jwks::parse(&keys).unwrap())),
        single_use,
        max_token_lifetime: 86_400,
        identities: identities(&[
            (SHARED_SUBJECT, Identity::Runner(SHARED_RUNNER.parse().unwrap())),
            (OTHER_SUBJECT, Identity::Runner(OTHER_RUNNER.parse().unwrap())),
            (CONTROL_PLANE, Identity::ControlPlane(vec![Permission::Runs])),
        ]),
    };
    TrustedIssuers(HashMap::from([(CLUSTER.to_owned(), issuer)]))
}

/// Status and body of an answer.
pub(crate) async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// All records of a log but those of the forms of subjects, of which there is one at each start, and of runs.
pub(crate) fn records(folder: &Path) -> Vec<Value> {
    let mut records = all_records(folder);
    let is_of_state = |record: &Value| {
        let kind = record["kind"].as_str().unwrap();
        ["subjects", "registered", "finished", "refused"].contains(&kind)
    };
    records.retain(|record| !is_of_state(record));
    records
}

/// All records of a log.
pub(crate) fn all_records(folder: &Path) -> Vec<Value> {
    let mut reader = Reader::new(&folder.join("log"), 1);
    let mut records = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        records.push(serde_json::from_slice(&entry.record).unwrap());
    }
    records
}

/// Returns true if any file below a folder contains these bytes.
pub(crate) fn contains(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, bytes);
        }
        std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}
