//! What is read at the start, and again when it changes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use countersign::IssuerUrl;
use countersign::{Engine, IssuerEntry, Manifest, Optimization, PolicySet};
use countersign_issuer::{
    Authorizer, Config, DecisionContext, HttpsFetch, Jwks, KeySource, KeysEntry, MAX_CONFIG_BYTES,
    TrustedIssuer, TrustedIssuerEntry, TrustedIssuers,
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
    sources: Mutex<Vec<Source>>,
}

/// Where the keys of a trusted issuer are from.
struct Source {
    entry: TrustedIssuerEntry,
    /// The certificates that its server is verified with.
    authorities: Option<Vec<u8>>,
    keys: Arc<KeySource>,
}

/// What takes the place of what is in use, together.
pub struct Loaded {
    pub url: IssuerUrl,
    pub deciding: DecisionContext,
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
        let manifest = files::read_manifest_alone(&beside(path, &config.policies))
            .with_context(|| of_policies(path))?;
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
        let loaded =
            files::read_manifest(&manifest_path).with_context(|| of_policies(&self.path))?;
        let policies =
            PolicySet::prepare(&self.engine, &loaded.manifest, &loaded.files).with_context(name)?;
        let (url, entry) = issuer(&loaded.manifest).with_context(name)?;
        let clouds = entry.audiences.clone();
        let subjects = entry
            .subjects_with(&loaded.files)
            .context("issuer.subject-moves")
            .with_context(name)?;
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
        Ok(Loaded {
            url,
            deciding: DecisionContext { policies, subjects, clouds },
            takes_restart,
            tls,
        })
    }

    /// Reads who may ask.
    pub fn access(&self, url: &IssuerUrl) -> Result<Authorizer> {
        let config = read_config(&self.path)?;
        Ok(Authorizer { trusted: self.trusted(&config, url)?, api_keys: config.api_keys })
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
            if let Ok(parsed) = files::read_manifest_alone(&manifest) {
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
            let source = self
                .source(entry, &known)
                .with_context(|| format!("trusted-issuer `{}`", entry.url))?;
            let keys = Arc::clone(&source.keys);
            sources.push(source);
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

    /// Where the keys of a trusted issuer are. Those that were fetched stay for as long as where they are from, and
    /// how that is verified, is the same.
    fn source(&self, entry: &TrustedIssuerEntry, known: &[Source]) -> Result<Source> {
        let read = |what: &'static str, file: &str| {
            files::read(&self.path(file), MAX_FILE_BYTES).context(what)
        };
        let authorities = entry.ca_file.as_deref().map(|file| read("ca-file", file)).transpose()?;
        if let KeysEntry::File(file) = &entry.keys {
            let keys = Jwks::parse(&read("jwks-file", file)?);
            let keys = keys.with_context(|| self.path(file).display().to_string())?;
            let keys = Arc::new(KeySource::Static(keys));
            return Ok(Source { entry: entry.clone(), authorities, keys });
        }
        let same = known.iter().find(|source| {
            let before = &source.entry;
            (&before.url, &before.keys, &before.token_file)
                == (&entry.url, &entry.keys, &entry.token_file)
                && source.authorities == authorities
        });
        let keys = match same {
            Some(source) => Arc::clone(&source.keys),
            None => {
                let token = entry.token_file.as_deref().map(|file| self.path(file));
                let fetch = HttpsFetch::new(authorities.as_deref(), token).context("ca-file")?;
                let jwks_url = match &entry.keys {
                    KeysEntry::Url(jwks_url) => Some(jwks_url.clone()),
                    KeysEntry::Discovered | KeysEntry::File(_) => None,
                };
                Arc::new(KeySource::published(entry.url.clone(), jwks_url, Arc::new(fetch)))
            }
        };
        Ok(Source { entry: entry.clone(), authorities, keys })
    }
}

/// Reads the configuration.
pub fn read_config(path: &Path) -> Result<Config> {
    let name = || path.display().to_string();
    let text = String::from_utf8(files::read(path, MAX_CONFIG_BYTES as u64)?);
    let text = text.map_err(|_| anyhow::anyhow!("not UTF-8")).with_context(name)?;
    Config::parse(&text).with_context(name)
}

/// Where the configuration names the manifest.
fn of_policies(config: &Path) -> String {
    format!("{}: policies", config.display())
}

fn issuer(manifest: &Manifest) -> Result<(IssuerUrl, &IssuerEntry)> {
    let issuer = manifest.issuer.as_ref();
    let issuer = issuer.context("the service needs `[issuer]`, with `url` and `meshstack-id`")?;
    let Some(url) = &issuer.url else { bail!("the service needs `url` under `[issuer]`") };
    Ok((IssuerUrl::parse(url).context("issuer.url")?, issuer))
}

/// Paths are relative to the file that has them.
pub fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}
