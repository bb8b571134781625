//! A platform: an issuer over TLS, the clouds' stand-in, and runs.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use countersign_sts_stand_in::{Setup, StandIn, Tls};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::{RUNNER, Served, configure};
use crate::support::{RUN, Ran, countersign};

pub(crate) const ISSUER: &str = "https://oidc.example.com";
pub(crate) const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";
pub(crate) const AWS: &str = "aws-workload-identity-provider:demo";
pub(crate) const AZURE: &str = "api://AzureADTokenExchange";
pub(crate) const GCP: &str = "gcp-workload-identity-provider:demo";
pub(crate) const STACKIT: &str = "sts.accounts.stackit.cloud";

/// Permits the definition workspace and one other.
pub(crate) const MANIFEST: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"
subject-migrations = "subject-migrations.json"

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = "all"
settings = { also = ["team-a"] }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// Everything that is running.
pub(crate) struct Platform {
    pub folder: TempDir,
    pub served: Served,
    pub api_key: String,
    pub stand_in: StandIn,
    pub client: Client,
}

/// A new certificate authority, and a certificate of it for all servers here.
pub(crate) fn certificates() -> (String, rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages =
        vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(rcgen::DnType::CommonName, "a test's authority");
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let names = vec!["oidc.example.com".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (authority, certificate, key)
}

/// Writes a file that only its owner can open.
pub(crate) fn write_private(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

impl Platform {
    /// Starts the platform with the policies of the folder; `more` is added to the configuration.
    pub(crate) async fn start(manifest: &str, moves: &str, more: &str) -> Self {
        let folder = crate::support::folder();
        let path = folder.path();
        fs::write(path.join("countersign.toml"), manifest).unwrap();
        fs::write(path.join("subject-migrations.json"), moves).unwrap();
        let (authority, certificate, key) = certificates();
        fs::write(path.join("authority.pem"), &authority).unwrap();
        fs::write(path.join("certificate.pem"), certificate.pem()).unwrap();
        write_private(&path.join("key.pem"), &key.serialize_pem());
        let api_key = configure(path, more);
        let config = fs::read_to_string(path.join("issuer.toml")).unwrap();
        let tls = "[listen]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";
        fs::write(path.join("issuer.toml"), config.replace("[listen]\n", tls)).unwrap();
        let served = Served::start(path);
        let issuers = [(ISSUER.to_owned(), format!("https://{}", served.address))].into();
        let authorities = Some(authority.clone().into_bytes());
        let setup = Setup { issuers, authorities, ..Setup::default() };
        let tls = Tls { certificate: certificate.der().to_vec(), key: key.serialize_der() };
        let stand_in = StandIn::start(setup, Some(tls)).await.unwrap();
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()])
            .resolve("oidc.example.com", served.address)
            .build()
            .unwrap();
        Self { folder, served, api_key, stand_in, client }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.served.address)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn countersign(&self, line: &str) -> Ran {
        countersign(self.folder.path(), line)
    }

    /// Registers a run of a definition of `my-workspace`, for a building block of a workspace, and returns its id. Its
    /// run token is in the file `ID.run-token`.
    pub(crate) async fn register(&self, definition: &str, owner: &str) -> String {
        let id = new_id(definition, owner);
        let secret = format!("run-token-of-{id}-with-many-bits");
        let mut run: Value = serde_json::from_str(RUN).unwrap();
        run["metadata"]["uuid"] = json!(id);
        run["spec"]["runToken"] = json!(secret);
        run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!(owner);
        run["spec"]["buildingBlockDefinition"]["uuid"] = json!(definition);
        let request = self.client.put(format!("{}/v1/runs/{id}?runner={RUNNER}", self.url()));
        let request = request.bearer_auth(&self.api_key).header("content-type", "application/json");
        let response = request.body(run.to_string()).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        fs::write(self.path(&format!("{id}.run-token")), secret).unwrap();
        id
    }

    /// Runs `countersign token` once, with a new file `token`.
    pub(crate) fn token(&self, run: &str, audience: &str) -> Ran {
        let _ = fs::remove_file(self.path("token"));
        self.countersign(&format!(
            "token --url {} --ca-file authority.pem --run {run} --run-token-file {run}.run-token \
             --audience {audience} --write token --once",
            self.url()
        ))
    }

    /// The JSON that a command prints.
    pub(crate) fn json(&self, line: &str) -> Value {
        let ran = self.countersign(line);
        assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

/// An id for a run, the same each time for the same definition and owner.
fn new_id(definition: &str, owner: &str) -> String {
    let digest = countersign::Digest::of(format!("{definition} {owner}").as_bytes()).to_string();
    let hex = digest.strip_prefix("sha256:").unwrap();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}
