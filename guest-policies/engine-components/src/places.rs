//! The places in which components are looked for.

use std::path::{Path, PathBuf};

use crate::{EngineError, EngineFolder, EngineName, SOURCES};

/// The folder of all versions of the engines, below `lib` or a user's data.
const IN_PLACE: &str = "countersign/engines";

/// The folders in which components are looked for, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Vec<EngineFolder>);

impl Places {
    /// The folder that the user named. It is then the only place: whoever names a folder does not want another one's
    /// components.
    pub fn named(folder: PathBuf) -> Self {
        Self(vec![EngineFolder::new(folder)])
    }

    /// The folder that belongs to a program, then the one in the user's data.
    pub fn of(program: Option<&Path>, user_data: Option<&Path>) -> Self {
        let beside = program.and_then(beside);
        let stored = user_data.map(|data| in_place(&data.join(IN_PLACE)));
        Self(beside.into_iter().chain(stored).collect())
    }

    /// Reads the component of an engine from the first place that has it.
    ///
    /// # Errors
    /// When no place has it. One that cannot be used is an error as well, and no reason to look further.
    pub fn read(&self, engine: EngineName) -> Result<Vec<u8>, EngineError> {
        for folder in &self.0 {
            if let Some(component) = folder.read(engine)? {
                return Ok(component);
            }
        }
        let looked_in = self.0.iter().map(|folder| folder.path().to_owned()).collect();
        Err(EngineError::Missing { engine: engine.as_str(), looked_in })
    }
}

/// The folder of this version's components in a place.
pub fn in_place(place: &Path) -> EngineFolder {
    EngineFolder::new(place.join(SOURCES))
}

/// The folder that belongs to a program, in `lib` beside the program's own folder: `target/lib` for `target/debug`,
/// `~/.cargo/lib` for `~/.cargo/bin`.
pub fn beside(program: &Path) -> Option<EngineFolder> {
    let mut folder = program.parent()?;
    // Cargo's folder of test executables.
    if folder.ends_with("deps") {
        folder = folder.parent()?;
    }
    Some(in_place(&folder.parent()?.join("lib").join(IN_PLACE)))
}
