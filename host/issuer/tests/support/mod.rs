//! Fakes that tests of the issuer and of its doors share: a clock, a cluster, a custody of keys, and a run.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_issuer::{
    Clock, ClockError, CustodyError, Identity, KeyCustody, RequiredClaims, TrustedIdentities,
    TrustedIdentity,
};
use countersign_signing::{Algorithm, PublicKey, SignError, Signer, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const START: u64 = 1_790_000_000;
pub(crate) const ISSUER: &str = "https://oidc.example.com";
pub(crate) const CLUSTER: &str = "https://cluster.example.com";
pub(crate) const AWS: &str = "aws-workload-identity-provider:demo";
pub(crate) const AZURE: &str = "api://AzureADTokenExchange";
pub(crate) const SHARED_RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
pub(crate) const OTHER_RUNNER: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const SHARED_SUBJECT: &str = "system:serviceaccount:runners:shared";
pub(crate) const OTHER_SUBJECT: &str = "system:serviceaccount:runners:other";
pub(crate) const CONTROL_PLANE: &str = "system:serviceaccount:meshstack:control-plane";
pub(crate) const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
pub(crate) const RUN: &str = "b3116611-e08b-4b00-91c5-10365b25a6ef";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A clock that stands until a test moves it.
#[derive(Clone)]
pub(crate) struct TestClock(pub Arc<AtomicU64>);

impl Clock for TestClock {
    fn now(&self) -> Result<u64, ClockError> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// A key of an issuer that the service trusts, and what signs with it.
pub(crate) struct Cluster {
    /// RS256.
    pub key: SigningKey,
    /// Published beside it: ES256.
    pub other: SigningKey,
}

/// A custody that lets no private key out, as a device or a service does not: a signer only asks it for signatures.
#[derive(Clone, Default)]
pub(crate) struct MemoryCustody(Arc<Device>);

#[derive(Default)]
pub(crate) struct Device {
    keys: Mutex<HashMap<String, Arc<SigningKey>>>,
    /// When set, it makes and destroys nothing, and signs nothing.
    pub fails: AtomicBool,
    pub signatures: AtomicU64,
}

/// A key of the device, known by its public half alone.
struct DeviceSigner {
    device: Arc<Device>,
    public: PublicKey,
}

impl MemoryCustody {
    pub(crate) fn device(&self) -> &Device {
        &self.0
    }

    /// Puts a key under a name that need not be its own.
    pub(crate) fn put(&self, name: &str, key: SigningKey) {
        self.0.keys.lock().unwrap().insert(name.to_owned(), Arc::new(key));
    }

    fn answer(&self) -> Result<(), CustodyError> {
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(CustodyError::Failed {
                custody: "device".to_owned(),
                source: "no answer".into(),
            });
        }
        Ok(())
    }
}

impl KeyCustody for MemoryCustody {
    fn list(&self) -> Result<Vec<String>, CustodyError> {
        self.answer()?;
        Ok(self.0.keys.lock().unwrap().keys().cloned().collect())
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError> {
        self.answer()?;
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let public = key.public().clone();
        self.put(public.kid(), key);
        Ok(public)
    }

    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError> {
        self.answer()?;
        let keys = self.0.keys.lock().unwrap();
        let key = keys.get(kid).ok_or_else(|| CustodyError::Missing {
            custody: "device".to_owned(),
            kid: kid.to_owned(),
        })?;
        // As a device gives it: the numbers, and nothing that names the key.
        let jwk = serde_json::to_vec(key.public()).unwrap();
        let public = PublicKey::from_jwk(&jwk).unwrap();
        Ok(Arc::new(DeviceSigner { device: Arc::clone(&self.0), public }))
    }

    fn destroy(&self, kid: &str) -> Result<(), CustodyError> {
        self.answer()?;
        self.0.keys.lock().unwrap().remove(kid);
        Ok(())
    }
}

impl Signer for DeviceSigner {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.device.fails.load(Ordering::SeqCst) {
            return Err(SignError);
        }
        self.device.signatures.fetch_add(1, Ordering::SeqCst);
        let key = self.device.keys.lock().unwrap().get(self.public.kid()).cloned();
        key.ok_or(SignError)?.sign(input)
    }
}

/// Identities of subjects, whatever their other claims.
pub(crate) fn identities(subjects: &[(&str, Identity)]) -> TrustedIdentities {
    TrustedIdentities::new(subjects.iter().map(|(subject, identity)| TrustedIdentity {
        subject: (*subject).to_owned(),
        claims: RequiredClaims::default(),
        identity: identity.clone(),
    }))
    .unwrap()
}

/// The cluster's claims for a subject.
pub(crate) fn claims(subject: &str, now: u64) -> Value {
    json!({"iss": CLUSTER, "sub": subject, "aud": [ISSUER], "iat": now, "exp": now + 600,
           "jti": "a7c1d0f2"})
}

impl Cluster {
    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.key.public().algorithm().as_str(), "kid": self.key.public().kid()})
    }

    /// A signed token of any header and claims.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let input = unsigned(header, claims);
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(crate) fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// The published run, with a run token.
pub(crate) fn run() -> Value {
    let mut run: Value =
        serde_json::from_str(include_str!("../../../../examples/run.json")).unwrap();
    run["spec"]["runToken"] = RUN_TOKEN.into();
    run
}

/// A run of another definition, whose workspace owns the building block too.
pub(crate) fn run_of(id: &str, workspace: &str, definition: &str) -> Value {
    let mut run = run();
    run["metadata"]["uuid"] = id.into();
    run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = workspace.into();
    let of = &mut run["spec"]["buildingBlockDefinition"];
    of["uuid"] = definition.into();
    of["spec"]["workspaceIdentifier"] = workspace.into();
    run
}

pub(crate) fn folder() -> TempDir {
    TempDir::new().unwrap()
}
