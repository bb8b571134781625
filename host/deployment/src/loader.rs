//! The deployment of a service: read when it starts, and again when a file has changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use countersign::{Digest, Engine, IssuerUrl, Optimization, PolicySet};
use countersign_clouds::AudienceClouds;
use countersign_compiler_worker::CacheFolder;
use countersign_issuer::{
    Authorizer, DecisionContext, Jwks, KeySource, PostgresStore, TrustedIssuers,
};

use crate::bundle::{ManifestBundle, missing_migrations};
use crate::engine;
use crate::error::DeploymentError;
use crate::files::{FileSource, FileSystem, resolve_relative_to};
use crate::https_fetch::{FetchToken, HttpsFetch};
use crate::installation::Installation;
use crate::manifest::{Manifest, PreparationEntry};
use crate::policies::PreparePoliciesError;
use crate::releases::{ReleaseError, ReleaseStore};
use crate::service_config::{Config, KeysEntry, TrustedIssuerEntry};
use crate::snapshot::{Snapshot, SnapshotFile};

/// Makes deployments of the snapshots of one `issuer.toml`.
pub struct Loader {
    path: PathBuf,
    source: Box<dyn FileSource>,
    /// The configuration when the service started: some of it takes a restart.
    at_start: Arc<Config>,
    engine: Engine,
    /// The keys of trusted issuers, as they were last used.
    sources: Mutex<Vec<Source>>,
}

/// The keys of a trusted issuer, and everything that they depend on.
struct Source {
    entry: TrustedIssuerEntry,
    /// The certificates that its server is verified with.
    authorities: Option<Digest>,
    keys: Arc<KeySource>,
}

/// Everything that a service decides and is reached by, from one snapshot. It takes its place as a whole.
pub struct Deployment {
    /// The issuer, and the subjects of its definitions.
    pub installation: Installation,
    /// `issuer.toml`.
    pub config: Arc<Config>,
    /// `countersign.toml`.
    pub manifest: Arc<Manifest>,
    /// The prepared policies, the formats of subjects with the migrations, and the clouds of audiences.
    pub context: DecisionContext,
}

/// A certificate chain and its private key, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    certificate: Arc<SnapshotFile>,
    key: Arc<SnapshotFile>,
}

impl TlsFiles {
    /// The certificate chain.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate.bytes
    }

    /// The private key.
    pub fn key(&self) -> &[u8] {
        &self.key.bytes
    }
}

impl Loader {
    /// Reads a configuration and everything that it names, and makes the engine that prepares its policies. `warn` is
    /// called with what is not checked, and why.
    ///
    /// # Errors
    /// When the configuration or the manifest cannot be read or parsed.
    pub fn open(
        path: &Path,
        cache: Option<CacheFolder>,
        warn: fn(&str),
    ) -> Result<(Self, Snapshot), DeploymentError> {
        Self::open_from(Box::new(FileSystem), path, |entry| {
            engine::engine_with(Optimization::Speed, entry, cache, warn)
        })
    }

    /// The same, with files and an engine of the caller's.
    ///
    /// # Errors
    /// Those of [`Loader::open`].
    pub fn open_from(
        source: Box<dyn FileSource>,
        path: &Path,
        engine: impl FnOnce(PreparationEntry) -> Result<Engine, DeploymentError>,
    ) -> Result<(Self, Snapshot), DeploymentError> {
        let snapshot = Snapshot::take(&*source, path, &Snapshot::default());
        let at_start = snapshot.config(path)?;
        let manifest = snapshot
            .manifest(&resolve_relative_to(path, &at_start.policies))
            .map_err(|error| error.at(of_policies(path)))?;
        let engine = engine(manifest.preparation)?;
        let (path, sources) = (path.to_owned(), Mutex::default());
        Ok((Self { path, source, at_start, engine, sources }, snapshot))
    }

    /// The configuration when the service started.
    pub fn config(&self) -> &Config {
        &self.at_start
    }

    /// The path of the configuration.
    pub fn config_path(&self) -> &Path {
        &self.path
    }

    /// The issuer identifier in a snapshot.
    ///
    /// # Errors
    /// When the manifest is missing or wrong, or names no issuer.
    pub fn issuer(&self, snapshot: &Snapshot) -> Result<IssuerUrl, DeploymentError> {
        let path = self.path(&snapshot.config(&self.path)?.policies);
        let manifest =
            snapshot.manifest(&path).map_err(|error| error.at(of_policies(&self.path)))?;
        let url = manifest.issuer.as_ref().and_then(|issuer| issuer.url.as_ref());
        let lacks = || {
            DeploymentError::Lacks("this needs `url` under `[issuer]`")
                .at(path.display().to_string())
        };
        let url = url.ok_or_else(lacks)?;
        Ok(url.parse::<IssuerUrl>()?)
    }

    /// Resolves a path that the configuration has.
    pub fn path(&self, path: &str) -> PathBuf {
        resolve_relative_to(&self.path, path)
    }

    /// Reads every file once, as they are now. Parsed again is what is not as it was `before`.
    pub fn snapshot(&self, before: &Snapshot) -> Snapshot {
        Snapshot::take(&*self.source, &self.path, before)
    }

    /// Makes the deployment of a snapshot, which prepares its policies and takes as long as that does. No file is
    /// read.
    ///
    /// # Errors
    /// When a file is missing or wrong, or a policy cannot be prepared.
    pub fn deployment(&self, snapshot: &Snapshot) -> Result<Deployment, DeploymentError> {
        let config = snapshot.config(&self.path)?;
        let manifest_path = self.path(&config.policies);
        let bundle = ManifestBundle::of_snapshot(&manifest_path, snapshot)
            .map_err(|error| error.at(of_policies(&self.path)))?;
        let installation = bundle.installation(&manifest_path)?;
        let policies = bundle
            .prepare(&self.engine)
            .map_err(|error| error.at(manifest_path.display().to_string()))?;
        let context = DecisionContext {
            policies: Arc::new(policies),
            subjects: installation.subjects.clone(),
            clouds: installation.entry.audiences.clone(),
        };
        no_cloud_passes(&config, &context)?;
        Ok(Deployment { installation, config, manifest: bundle.manifest, context })
    }

    /// Makes the deployment of a snapshot with the policies of a release: all of it but the bindings of its manifest, whose
    /// files need not be there.
    ///
    /// # Errors
    /// When a file is missing or wrong.
    pub fn deployment_with(
        &self,
        snapshot: &Snapshot,
        policies: Arc<PolicySet>,
    ) -> Result<Deployment, DeploymentError> {
        let config = snapshot.config(&self.path)?;
        let path = self.path(&config.policies);
        let manifest =
            snapshot.manifest(&path).map_err(|error| error.at(of_policies(&self.path)))?;
        let named = manifest.issuer.as_ref().and_then(|entry| entry.subject_migrations.as_ref());
        let migrations = named.map(|file| {
            let read = snapshot.file(&resolve_relative_to(&path, file));
            read.map_err(|error| {
                let place = format!("{}: issuer.subject-migrations", path.display());
                missing_migrations(error).at(place)
            })
        });
        let migrations = migrations.transpose()?.map(|file| file.bytes.as_slice());
        let installation = Installation::new(&path, &manifest, migrations)?;
        let context = DecisionContext {
            policies,
            subjects: installation.subjects.clone(),
            clouds: installation.entry.audiences.clone(),
        };
        no_cloud_passes(&config, &context)?;
        Ok(Deployment { installation, config, manifest, context })
    }

    /// The clouds of the manifest's audiences in a snapshot.
    ///
    /// # Errors
    /// When the manifest is missing or wrong, or has no issuer.
    pub(crate) fn clouds(&self, snapshot: &Snapshot) -> Result<AudienceClouds, DeploymentError> {
        let path = self.path(&snapshot.config(&self.path)?.policies);
        let manifest =
            snapshot.manifest(&path).map_err(|error| error.at(of_policies(&self.path)))?;
        let issuer = manifest.issuer.as_ref();
        let lacks = || {
            let lacks =
                DeploymentError::Lacks("this needs `[issuer]`, with `url` and `meshstack-id`");
            lacks.at(path.display().to_string())
        };
        let issuer = issuer.ok_or_else(lacks)?;
        Ok(issuer.audiences.clone())
    }

    /// The releases of the service; those of replicas are in their database. To be called on the service's runtime, on a
    /// thread that may block. Of a database nothing is compared yet.
    pub fn releases(&self, shared: Option<Arc<PostgresStore>>) -> ReleaseStore {
        let state = self.path(&self.at_start.state);
        match (shared, &self.at_start.database) {
            (Some(store), Some(entry)) => {
                ReleaseStore::in_database(store, entry.url.to_string(), &state)
            }
            _ => ReleaseStore::in_state(&state),
        }
    }

    /// Prepares the policies of a manifest that is not the one of the configuration, or has other pins.
    ///
    /// # Errors
    /// At the first binding that does not become active, also where the manifest leaves it for later.
    pub fn prepare(&self, bundle: &ManifestBundle) -> Result<PolicySet, DeploymentError> {
        let policies = bundle.prepare(&self.engine)?;
        for binding in policies.bindings() {
            binding.ensure_prepared().map_err(|problem| PreparePoliciesError::Binding {
                binding: binding.identity().name.clone(),
                problem,
            })?;
        }
        Ok(policies)
    }

    /// The manifest that the configuration named when the service started.
    pub fn manifest_path(&self) -> PathBuf {
        self.path(&self.at_start.policies)
    }

    /// Prepares the policies of a release.
    ///
    /// # Errors
    /// Those of [`ReleaseStore::prepare`].
    pub fn prepare_release(
        &self,
        releases: &ReleaseStore,
        release: Digest,
    ) -> Result<Arc<PolicySet>, ReleaseError> {
        Ok(Arc::new(releases.prepare(release, &self.engine)?))
    }

    /// The certificate chain and the private key of the service, where it speaks HTTPS. No policy waits for these, and
    /// they wait for none.
    ///
    /// # Errors
    /// When the configuration or a file is missing or wrong, or others can open the private key.
    pub fn tls(&self, snapshot: &Snapshot) -> Result<Option<TlsFiles>, DeploymentError> {
        let config = snapshot.config(&self.path)?;
        let Some(tls) = &config.listen.tls else { return Ok(None) };
        let file = |key: &'static str, file: &str| {
            snapshot.file(&self.path(file)).cloned().map_err(|error| error.at(key))
        };
        Ok(Some(TlsFiles {
            certificate: file("listen.certificate", &tls.certificate)?,
            key: file("listen.key", &tls.key)?,
        }))
    }

    /// The tables and keys of a configuration that have changed since the start, and take a restart.
    pub fn require_restart(&self, config: &Config) -> Vec<&'static str> {
        let before = &self.at_start;
        let changed = [
            (config.state != before.state, "state"),
            (config.database != before.database, "store, [database] or [replica]"),
            (config.listen.address != before.listen.address, "listen.address"),
            (config.listen.probes != before.listen.probes, "listen.probes"),
            (config.releases != before.releases, "[releases]"),
            (config.custody != before.custody, "keys.custody, or a table of it"),
            (config.settings != before.settings, "[tokens], [runs], [keys] or [limits]"),
        ];
        changed.into_iter().filter(|(changed, _)| *changed).map(|(_, key)| key).collect()
    }

    /// Makes the access configuration of a snapshot: API keys and trusted issuers. It depends on no policy, so that a
    /// key that is taken away is refused although a policy is wrong.
    ///
    /// # Errors
    /// When the configuration, or the keys or certificates of a trusted issuer, are missing or wrong.
    pub fn authorizer(
        &self,
        snapshot: &Snapshot,
        url: &IssuerUrl,
    ) -> Result<Authorizer, DeploymentError> {
        let config = snapshot.config(&self.path)?;
        Ok(Authorizer {
            digest: Some(self.access_digest(&config, snapshot)),
            trusted: self.trusted(&config, snapshot, url)?,
            api_keys: config.api_keys.clone(),
            runners: config.runners.clone(),
        })
    }

    /// Digest of everything that says who may call, by which replicas compare theirs.
    fn access_digest(&self, config: &Config, snapshot: &Snapshot) -> Digest {
        let mut text = format!("{:?}\n{:?}\n", config.trusted_issuers, config.runners.sorted());
        for key in &config.api_keys {
            let hash = Digest::of(key.hash.as_bytes());
            let _ =
                writeln!(text, "{} {hash} {:?} {:?}", key.name, key.permissions, key.expires_at);
        }
        // Files of keys and certificates are what they have, wherever each replica keeps them.
        for entry in &config.trusted_issuers {
            let keys = match &entry.keys {
                KeysEntry::File(path) => Some(path),
                KeysEntry::Discovered | KeysEntry::Url(_) => None,
            };
            for path in keys.into_iter().chain(&entry.ca_file) {
                let digest = snapshot.file(&self.path(path)).map(|file| file.digest);
                let _ = writeln!(text, "{:?}", digest.ok());
            }
        }
        Digest::of(text.as_bytes())
    }

    fn trusted(
        &self,
        config: &Config,
        snapshot: &Snapshot,
        url: &IssuerUrl,
    ) -> Result<TrustedIssuers, DeploymentError> {
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = Vec::new();
        let mut trusted = HashMap::new();
        for entry in &config.trusted_issuers {
            let source = self
                .source(entry, snapshot, &known)
                .map_err(|error| error.at(format!("trusted-issuer `{}`", entry.url)))?;
            let keys = Arc::clone(&source.keys);
            sources.push(source);
            let issuer = entry.trust(keys, url.as_str()).map_err(|error| {
                DeploymentError::from(error).at(format!("trusted-issuer `{}`", entry.url))
            })?;
            trusted.insert(entry.url.clone(), issuer);
        }
        *known = sources;
        Ok(TrustedIssuers(trusted))
    }

    /// The keys of a trusted issuer. Those that were fetched stay for as long as the place that they come from, and
    /// the certificates that verify it, are the same.
    fn source(
        &self,
        entry: &TrustedIssuerEntry,
        snapshot: &Snapshot,
        known: &[Source],
    ) -> Result<Source, DeploymentError> {
        let file = |key: &'static str, file: &str| {
            snapshot.file(&self.path(file)).map_err(|error| error.at(key))
        };
        let authorities = entry.ca_file.as_deref().map(|path| file("ca-file", path)).transpose()?;
        let digest = authorities.map(|file| file.digest);
        if let KeysEntry::File(path) = &entry.keys {
            let jwks = Jwks::parse(&file("jwks-file", path)?.bytes);
            let jwks = jwks.map_err(|error| {
                DeploymentError::from(error).at(self.path(path).display().to_string())
            })?;
            let keys = Arc::new(KeySource::Static(jwks));
            return Ok(Source { entry: entry.clone(), authorities: digest, keys });
        }
        let same = known.iter().find(|source| {
            let before = &source.entry;
            (&before.url, &before.keys, &before.token_file, &before.token_origins)
                == (&entry.url, &entry.keys, &entry.token_file, &entry.token_origins)
                && before.proxy == entry.proxy
                && source.authorities == digest
        });
        let keys = match same {
            Some(source) => Arc::clone(&source.keys),
            None => {
                let token = entry.token_file.as_deref().map(|file| FetchToken {
                    file: self.path(file),
                    origins: entry.token_origins.clone(),
                });
                let pem = authorities.map(|file| file.bytes.as_slice());
                let fetch = HttpsFetch::new(pem, token, entry.proxy.as_deref())
                    .map_err(|error| DeploymentError::from(error).at("ca-file"))?;
                let jwks_url = match &entry.keys {
                    KeysEntry::Url(jwks_url) => Some(jwks_url.clone()),
                    KeysEntry::Discovered | KeysEntry::File(_) => None,
                };
                Arc::new(KeySource::published(entry.url.clone(), jwks_url, Arc::new(fetch)))
            }
        };
        Ok(Source { entry: entry.clone(), authorities: digest, keys })
    }
}

/// The place where the configuration names the manifest.
fn of_policies(config: &Path) -> String {
    format!("{}: policies", config.display())
}

/// Checks that no audience that is signed for without a decision is a cloud's: the cluster would be locked out, since such an
/// audience is in neither list.
fn no_cloud_passes(config: &Config, context: &DecisionContext) -> Result<(), DeploymentError> {
    let entry = config.kubernetes_signer.as_ref();
    match entry.and_then(|entry| entry.signer.passed_cloud(&context.clouds)) {
        None => Ok(()),
        Some(audience) => Err(DeploymentError::PassedCloud { audience: audience.to_string() }),
    }
}
