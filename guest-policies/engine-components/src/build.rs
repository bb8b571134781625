//! Builds the components of the engines.

use std::path::Path;

use countersign_component::{Build, BuildError, Purpose, Toolchain, compile_components};
use countersign_engines::EngineName;

/// Builds the component of every engine from its source. Cargo's messages go to stderr.
pub(crate) fn build(
    workspace: &Path,
    target_dir: &Path,
) -> Result<Vec<(EngineName, Vec<u8>)>, BuildError> {
    let build = Build {
        folder: &workspace.join("guest-policies/engines"),
        root: workspace,
        packages: &EngineName::ALL.map(EngineName::package),
        target_dir,
        locked: true,
        purpose: Purpose::Engine,
        shown: true,
    };
    let built = compile_components(Toolchain::find()?, &build)?;
    Ok(EngineName::ALL.into_iter().zip(built).map(|(engine, (_, bytes))| (engine, bytes)).collect())
}
