//! The components of engines.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use countersign_engines::{EngineName, Places, VARIABLE};

use crate::base_directory;

/// The arguments that locate the components of engines.
#[derive(Args)]
pub(in crate::policy) struct EngineArguments {
    /// The folder with the engines of languages [default: in lib/countersign/engines beside the folder of this
    /// program, else in countersign/engines in $XDG_DATA_HOME or ~/.local/share, by the digest of their sources]
    #[arg(long, value_name = "FOLDER", env = VARIABLE, hide_env_values = true)]
    engines: Option<PathBuf>,
}

impl EngineArguments {
    /// Reads the component of an engine.
    pub(in crate::policy) fn read(&self, engine: EngineName) -> Result<Vec<u8>> {
        let places = match &self.engines {
            Some(folder) => Places::named(folder.clone()),
            None => Places::of(
                std::env::current_exe().ok().as_deref(),
                base_directory::path("XDG_DATA_HOME", ".local/share").as_deref(),
            ),
        };
        Ok(places.read(engine)?)
    }
}
