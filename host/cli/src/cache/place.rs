//! Where the cache is.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign_preparation::CacheFolder;

use crate::output;

/// Where what was prepared is kept.
#[derive(Args)]
pub struct CachePlace {
    /// The folder of what was prepared [default: countersign in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long = "cache", value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// The secret that it is sealed with, in no folder that others can write to [default:
    /// countersign/cache-secret in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long = "cache-secret", value_name = "FILE")]
    secret: Option<PathBuf>,
}

/// Whether what was prepared is kept, and where.
#[derive(Args)]
pub struct CacheArguments {
    #[command(flatten)]
    place: CachePlace,

    /// Keep nothing of what is prepared, and take nothing that was kept
    #[arg(long, conflicts_with_all = ["folder", "secret"])]
    no_cache: bool,
}

impl CachePlace {
    /// Opens the cache.
    pub fn open(&self) -> Result<CacheFolder> {
        let (folder, secret) = (self.folder()?, self.secret()?);
        CacheFolder::open(&folder, &secret, CacheFolder::MOST_BYTES).context("the cache")
    }

    /// Opens the cache that is there.
    pub fn open_existing(&self) -> Result<CacheFolder> {
        let (folder, secret) = (self.folder()?, self.secret()?);
        CacheFolder::open_existing(&folder, &secret, CacheFolder::MOST_BYTES)
            .context("there is no cache; `countersign evaluate` makes one")
    }

    fn folder(&self) -> Result<PathBuf> {
        let default = || Some(base("XDG_CACHE_HOME", ".cache")?.join("countersign"));
        self.folder.clone().or_else(default).context("there is no home folder; give --cache")
    }

    fn secret(&self) -> Result<PathBuf> {
        let default =
            || Some(base("XDG_STATE_HOME", ".local/state")?.join("countersign/cache-secret"));
        self.secret.clone().or_else(default).context("there is no home folder; give --cache-secret")
    }
}

impl CacheArguments {
    /// Opens the cache, if there is to be one. A place that was given must do; the default one may not,
    /// as where there is no home folder.
    pub fn open(&self) -> Result<Option<CacheFolder>> {
        if self.no_cache {
            return Ok(None);
        }
        let given = self.place.folder.is_some() || self.place.secret.is_some();
        match self.place.open() {
            Ok(cache) => Ok(Some(cache)),
            Err(error) if given => Err(error),
            Err(error) => {
                output::status(&countersign::visible(&format!("nothing is kept: {error:#}")));
                Ok(None)
            }
        }
    }
}

/// A base directory (XDG Base Directory Specification), which must be absolute.
fn base(variable: &str, in_home: &str) -> Option<PathBuf> {
    // From a relative one a secret of somebody else's could be taken: that of the folder one stands in.
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
