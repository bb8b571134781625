//! A folder of components, with their digests beside them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{EngineError, EngineName, SOURCES};

/// The file that has a line `NAME DIGEST` for each component, and one for their sources. It is written last, so a folder
/// without it has nothing that can be used.
const DIGESTS: &str = "digests";

/// The bound of [`DIGESTS`].
const MAX_DIGESTS_BYTES: u64 = 4 << 10;

/// The bound of a component: the ceiling of `limits.component-bytes`.
const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// The name of the sources in [`DIGESTS`].
const OF_SOURCES: &str = "sources";

/// A folder that has the components of all engines, or will have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFolder {
    path: PathBuf,
}

impl EngineFolder {
    /// The folder at a path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the component of an engine; `None` where the folder was not written, or not to its end.
    ///
    /// # Errors
    /// When the folder has components of other sources, when a file is too large or not the one that was written, and
    /// when the system refuses.
    pub fn read(&self, engine: EngineName) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(digests) = self.digests()? else { return Ok(None) };
        if let Some(found) = digests.get(OF_SOURCES).filter(|found| *found != SOURCES) {
            let (folder, found) = (self.path.clone(), found.clone());
            return Err(EngineError::OtherSources { folder, found });
        }
        let path = self.component(engine);
        let changed = |problem| EngineError::Changed { path: path.clone(), problem };
        let bytes = read(&path, MAX_COMPONENT_BYTES)?.ok_or(changed("the file is missing"))?;
        if digests.get(engine.as_str()) != Some(&hex(&bytes)) {
            return Err(changed("its digest is another one"));
        }
        Ok(Some(bytes))
    }

    /// Tells whether all components are there, and as they were written.
    pub fn is_complete(&self) -> bool {
        EngineName::ALL.into_iter().all(|engine| matches!(self.read(engine), Ok(Some(_))))
    }

    /// Writes the components. Meanwhile a reader finds none, or an error, and never a part of a file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, components: &[(EngineName, Vec<u8>)]) -> Result<(), EngineError> {
        fs::create_dir_all(&self.path).map_err(EngineError::io(&self.path))?;
        let digests = self.path.join(DIGESTS);
        match fs::remove_file(&digests) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EngineError::io(&digests)(error));
            }
            _ => {}
        }
        let mut text = format!("{OF_SOURCES} {SOURCES}\n");
        for (engine, bytes) in components {
            self.replace(&self.component(*engine), bytes)?;
            text.push_str(&format!("{} {}\n", engine.as_str(), hex(bytes)));
        }
        self.replace(&digests, text.as_bytes())
    }

    /// Removes the folders beside it that are named as it is, after other sources.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove_others(&self) -> Result<(), EngineError> {
        let Some(place) = self.path.parent() else { return Ok(()) };
        for entry in fs::read_dir(place).map_err(EngineError::io(place))? {
            let path = entry.map_err(EngineError::io(place))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_digest =
                name.len() == SOURCES.len() && name.bytes().all(|b| b.is_ascii_hexdigit());
            if is_digest && path != self.path && path.is_dir() {
                fs::remove_dir_all(&path).map_err(EngineError::io(&path))?;
            }
        }
        Ok(())
    }

    fn component(&self, engine: EngineName) -> PathBuf {
        self.path.join(format!("{}.wasm", engine.as_str()))
    }

    fn digests(&self) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        let path = self.path.join(DIGESTS);
        let Some(bytes) = read(&path, MAX_DIGESTS_BYTES)? else { return Ok(None) };
        let invalid = || EngineError::Changed {
            path: path.clone(),
            problem: "expected lines of a name and a digest",
        };
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        let line = |line: &str| {
            let (name, digest) = line.split_once(' ').ok_or_else(invalid)?;
            Ok((name.to_owned(), digest.to_owned()))
        };
        let digests = text.lines().map(line).collect::<Result<BTreeMap<_, _>, _>>()?;
        if !digests.contains_key(OF_SOURCES) {
            return Err(invalid());
        }
        Ok(Some(digests))
    }

    /// Puts a file in the place of another, or where there is none.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
        let written = || {
            let mut builder = tempfile::Builder::new();
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
            let mut file = builder.prefix(".countersign-").tempfile_in(&self.path)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        };
        written().map(drop).map_err(EngineError::io(path))
    }
}

/// Reads a regular file of at most `limit` bytes; `None` where there is none.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, EngineError> {
    // Before it is opened: opening a pipe would wait for a writer.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EngineError::io(path)(error)),
        Ok(metadata) if !metadata.is_file() => {
            let problem = "expected a regular file";
            return Err(EngineError::Changed { path: path.to_owned(), problem });
        }
        Ok(_) => {}
    }
    let file = File::open(path).map_err(EngineError::io(path))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(EngineError::io(path))?;
    if bytes.len() as u64 > limit {
        let problem = "it is larger than any that is built";
        return Err(EngineError::Changed { path: path.to_owned(), problem });
    }
    Ok(Some(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
