//! What is read at the start, and again when it changes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use countersign::{Engine, Manifest, Optimization, PolicySet};
use countersign_issuer::{
    Access, Config, Deciding, ForeignKeySet, HttpsFetch, IssuerUrl, KeySource, KeysEntry,
    MAX_CONFIG_BYTES, TrustedIssuer, TrustedIssuerEntry, TrustedIssuers,
};
use countersign_preparation::CacheFolder;

use crate::files;
use crate::preparation;

/// The longest file of certificates or keys that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads configuration, manifest and the files that they name.
pub struct Loader {
    path: PathBuf,
    config: Config,
    engine: Engine,
    /// The keys of trusted issuers, as they were last used.
    sources: Mutex<Vec<(TrustedIssuerEntry, Arc<KeySource>)>>,
}

/// What takes the place of what is in use, together.
pub struct Loaded {
    pub url: IssuerUrl,
    pub deciding: Deciding,
    /// Whether the configuration has changed where that takes a restart.
    pub takes_restart: bool,
    /// Certificate chain and private key.
    pub tls: Option<(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)>,
}

/// What files looked like: when any of them looks otherwise, they are read again.
#[derive(PartialEq, Eq)]
pub struct Looks(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Loader {
    pub fn new(path: &Path, cache: Option<CacheFolder>) -> Result<Self> {
        let config = read_config(path)?;
        let manifest = read_manifest(path, &config)?.manifest;
        let engine = preparation::engine_with(Optimization::Speed, manifest.preparation, cache)?;
        Ok(Self { path: path.to_owned(), config, engine, sources: Mutex::default() })
    }

    /// The configuration, as it was at the start.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A path that the configuration has.
    pub fn path(&self, path: &str) -> PathBuf {
        beside(&self.path, path)
    }

    /// Reads and prepares everything anew, which takes its time.
    pub fn load(&self) -> Result<Loaded> {
        let config = read_config(&self.path)?;
        let manifest_path = beside(&self.path, &config.policies);
        let name = || manifest_path.display().to_string();
        let loaded = read_manifest(&self.path, &config)?;
        let policies =
            PolicySet::prepare(&self.engine, &loaded.manifest, &loaded.files).with_context(name)?;
        let (url, subjects) = issuer(&loaded.manifest).with_context(name)?;
        let tls = match &config.listen.tls {
            None => None,
            Some(tls) => Some((
                files::read(&self.path(&tls.certificate), MAX_FILE_BYTES)?,
                zeroize::Zeroizing::new(files::read(&self.path(&tls.key), MAX_FILE_BYTES)?),
            )),
        };
        let takes_restart = config.settings != self.config.settings
            || config.state != self.config.state
            || config.listen.address != self.config.listen.address;
        Ok(Loaded { url, deciding: Deciding { policies, subjects }, takes_restart, tls })
    }

    /// Reads who may ask.
    pub fn access(&self, url: &IssuerUrl) -> Result<Access> {
        let config = read_config(&self.path)?;
        Ok(Access { trusted: self.trusted(&config, url)?, api_keys: config.api_keys })
    }

    /// How the files look that [`Loader::load`] reads.
    pub fn looks(&self) -> Looks {
        let mut paths = vec![self.path.clone()];
        if let Ok(config) = read_config(&self.path) {
            let manifest = beside(&self.path, &config.policies);
            let tls = config.listen.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
            let of_issuers = config.trusted_issuers.iter().flat_map(|issuer| {
                let keys = match &issuer.keys {
                    KeysEntry::File(file) => Some(file),
                    KeysEntry::Discovered | KeysEntry::Url(_) => None,
                };
                keys.into_iter().chain(&issuer.ca_file)
            });
            paths.extend(tls.chain(of_issuers).map(|file| self.path(file)));
            if let Ok(text) = fs::read_to_string(&manifest)
                && let Ok(parsed) = Manifest::parse(&text)
            {
                paths.extend(parsed.files().map(|file| beside(&manifest, file)));
            }
            paths.push(manifest);
        }
        let look = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok();
            let look = metadata.and_then(|m| Some((m.modified().ok()?, m.len())));
            (path, look)
        };
        Looks(paths.into_iter().map(look).collect())
    }

    fn trusted(&self, config: &Config, url: &IssuerUrl) -> Result<TrustedIssuers> {
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources = Vec::new();
        let mut trusted = HashMap::new();
        for entry in &config.trusted_issuers {
            // Keys that were fetched stay as long as where they are from is the same.
            let source = known.iter().find(|(known, _)| {
                known.url == entry.url
                    && known.keys == entry.keys
                    && known.ca_file == entry.ca_file
                    && known.token_file == entry.token_file
                    && !matches!(entry.keys, KeysEntry::File(_))
            });
            let keys = match source {
                Some((_, keys)) => Arc::clone(keys),
                None => {
                    let name = || format!("trusted-issuer `{}`", entry.url);
                    Arc::new(self.keys(entry).with_context(name)?)
                }
            };
            sources.push((entry.clone(), Arc::clone(&keys)));
            let audience = entry.audience.clone().unwrap_or_else(|| url.as_str().to_owned());
            let issuer = TrustedIssuer {
                url: entry.url.clone(),
                audience,
                keys,
                single_use: entry.single_use,
                identities: entry.identities.iter().cloned().collect(),
            };
            trusted.insert(entry.url.clone(), issuer);
        }
        *known = sources;
        Ok(TrustedIssuers(trusted))
    }

    /// Where the keys of a trusted issuer are.
    fn keys(&self, entry: &TrustedIssuerEntry) -> Result<KeySource> {
        let read = |file: &str| {
            let path = self.path(file);
            let bytes = files::read(&path, MAX_FILE_BYTES);
            bytes
                .context("`jwks-file` or `ca-file`")
                .map(|bytes| (bytes, path.display().to_string()))
        };
        let published = |jwks_url: Option<String>| -> Result<KeySource> {
            let authorities = entry.ca_file.as_deref().map(read).transpose()?;
            let token = entry.token_file.as_deref().map(|file| self.path(file));
            let authorities = authorities.as_ref().map(|(pem, _)| pem.as_slice());
            let fetch = HttpsFetch::new(authorities, token)?;
            Ok(KeySource::published(entry.url.clone(), jwks_url, Arc::new(fetch)))
        };
        match &entry.keys {
            KeysEntry::Discovered => published(None),
            KeysEntry::Url(jwks_url) => published(Some(jwks_url.clone())),
            KeysEntry::File(file) => {
                let (text, name) = read(file)?;
                Ok(KeySource::Fixed(ForeignKeySet::parse(&text).context(name)?))
            }
        }
    }
}

/// Reads the configuration.
pub fn read_config(path: &Path) -> Result<Config> {
    let name = || path.display().to_string();
    let text = String::from_utf8(files::read(path, MAX_CONFIG_BYTES as u64)?);
    let text = text.map_err(|_| anyhow::anyhow!("not UTF-8")).with_context(name)?;
    Config::parse(&text).with_context(name)
}

fn read_manifest(config_path: &Path, config: &Config) -> Result<files::Loaded> {
    files::read_manifest(&beside(config_path, &config.policies))
        .with_context(|| format!("{}: policies", config_path.display()))
}

fn issuer(manifest: &Manifest) -> Result<(IssuerUrl, countersign::SubjectProfiles)> {
    let issuer = manifest.issuer.as_ref();
    let issuer = issuer.context("the service needs `[issuer]`, with `url` and `meshstack-id`")?;
    let Some(url) = &issuer.url else { bail!("the service needs `url` under `[issuer]`") };
    Ok((IssuerUrl::parse(url).context("issuer.url")?, issuer.subjects.clone()))
}

/// Paths are relative to the file that has them.
pub fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}
