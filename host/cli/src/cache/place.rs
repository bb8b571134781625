//! The location of the cache.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign_compiler_worker::CacheFolder;

use crate::{base_directory, output};

/// The arguments that locate the cache.
#[derive(Args, Clone)]
pub(crate) struct CachePlace {
    /// The folder of compiled policies [default: countersign in $XDG_CACHE_HOME or ~/.cache]
    #[arg(id = "cache", long = "cache", value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// The secret that authenticates entries, in a folder that nobody else can write to [default:
    /// countersign/cache-secret in $XDG_STATE_HOME or ~/.local/state]
    #[arg(id = "cache-secret", long = "cache-secret", value_name = "FILE")]
    secret: Option<PathBuf>,
}

/// The arguments that locate or disable the cache.
#[derive(Args, Clone)]
pub(crate) struct CacheArguments {
    #[command(flatten)]
    place: CachePlace,

    /// Use no cache
    #[arg(long, conflicts_with_all = ["cache", "cache-secret"])]
    no_cache: bool,
}

impl CachePlace {
    /// Opens the cache.
    pub(crate) fn open(&self) -> Result<CacheFolder> {
        let (folder, secret) = (self.folder()?, self.secret()?);
        CacheFolder::open(&folder, &secret, CacheFolder::DEFAULT_MAX_BYTES).context("the cache")
    }

    /// Opens an existing cache.
    pub(crate) fn open_existing(&self) -> Result<CacheFolder> {
        let (folder, secret) = (self.folder()?, self.secret()?);
        CacheFolder::open_existing(&folder, &secret, CacheFolder::DEFAULT_MAX_BYTES)
            .context("there is no cache; `countersign evaluate` makes one")
    }

    fn folder(&self) -> Result<PathBuf> {
        let default =
            || Some(base_directory::path("XDG_CACHE_HOME", ".cache")?.join("countersign"));
        self.folder.clone().or_else(default).context("there is no home folder; give --cache")
    }

    fn secret(&self) -> Result<PathBuf> {
        let default = || {
            Some(
                base_directory::path("XDG_STATE_HOME", ".local/state")?
                    .join("countersign/cache-secret"),
            )
        };
        self.secret.clone().or_else(default).context("there is no home folder; give --cache-secret")
    }
}

impl CacheArguments {
    /// Opens the cache unless it is disabled. A given location must be usable; the default one may not be, as without a
    /// home folder.
    pub(crate) fn open(&self) -> Result<Option<CacheFolder>> {
        if self.no_cache {
            return Ok(None);
        }
        let given = self.place.folder.is_some() || self.place.secret.is_some();
        match self.place.open() {
            Ok(cache) => Ok(Some(cache)),
            Err(error) if given => Err(error),
            Err(error) => {
                output::status(&countersign::visible(&format!("no cache: {error:#}")));
                Ok(None)
            }
        }
    }
}
