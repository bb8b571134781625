//! The folder in which releases and their steps are kept: each file gets its name in one move.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use countersign::{Digest, Limits};
use countersign_issuer::ReleaseStep;
use serde::{Deserialize, Serialize};

use super::disk::ReleaseDisk;
use super::error::ReleaseError;
use super::release::{self, Release};
use super::state::ReleaseState;
use crate::files::{FileError, private_folder, read};
use crate::manifest::MAX_MANIFEST_BYTES;

/// The maximum length of a description, a step or a note, in bytes.
pub(super) const MAX_DESCRIPTION_BYTES: u64 = 64 << 20;

/// The beginning of the names of files that are being written.
const UNFINISHED: &str = ".new-";

/// The file that says that the folder follows the releases of a database.
const FOLLOWS: &str = "follows";

/// The folder, on its disk.
pub(super) struct ReleaseFolder {
    pub(super) path: PathBuf,
    pub(super) disk: Box<dyn ReleaseDisk>,
}

/// Held while a step is made: others wait. Dropping it, and the end of the process, release it.
pub(super) struct Lock {
    _file: File,
}

/// A step as its file has it.
#[derive(Serialize, Deserialize)]
struct StepFile {
    version: u32,
    #[serde(flatten)]
    step: ReleaseStep,
}

/// The step with a number, from its JSON; otherwise the problem, in words.
pub(super) fn parse_step(number: u64, bytes: &[u8]) -> Result<ReleaseStep, String> {
    let file: StepFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.version != 1 || file.step.step != number {
        return Err(format!("not step {number} in version 1"));
    }
    Ok(file.step)
}

/// The description of a release, from its JSON; otherwise the problem, in words.
pub(super) fn parse_release(digest: Digest, bytes: &[u8]) -> Result<Release, String> {
    let release: Release = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if (release.version, release.release) != (release::VERSION, digest) {
        return Err(format!("not the description of {digest} in version {}", release::VERSION));
    }
    Ok(release)
}

/// The JSON of a step.
pub(super) fn step_json(path: &Path, step: &ReleaseStep) -> Result<Vec<u8>, ReleaseError> {
    json(path, &StepFile { version: 1, step: step.clone() })
}

pub(super) fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, ReleaseError> {
    serde_json::to_vec_pretty(value).map_err(|error| ReleaseError::damaged(path, error))
}

/// The maximum length of a file of a release, in bytes.
pub(super) fn max_content_bytes() -> u64 {
    Limits::CEILING.component_bytes.max(MAX_MANIFEST_BYTES as u64)
}

impl ReleaseFolder {
    /// The state after the last step.
    pub(super) fn state(&self) -> Result<ReleaseState, ReleaseError> {
        let mut state = ReleaseState::default();
        for number in 1..=self.last_step()? {
            let step = self.step(number)?;
            let damaged = |problem| ReleaseError::damaged(self.step_path(number), problem);
            state.add(&step).map_err(damaged)?;
        }
        Ok(state)
    }

    pub(super) fn step(&self, number: u64) -> Result<ReleaseStep, ReleaseError> {
        let bytes = self.step_bytes(number)?;
        let damaged = |problem| ReleaseError::damaged(self.step_path(number), problem);
        parse_step(number, &bytes).map_err(damaged)
    }

    pub(super) fn step_bytes(&self, number: u64) -> Result<Vec<u8>, ReleaseError> {
        Ok(read(&self.step_path(number), MAX_DESCRIPTION_BYTES)?)
    }

    /// The highest number of a step; 0 where there is none.
    pub(super) fn last_step(&self) -> Result<u64, ReleaseError> {
        let names = self.names("steps")?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
        Ok(numbers.max().unwrap_or(0))
    }

    pub(super) fn release(&self, digest: Digest) -> Result<Release, ReleaseError> {
        let damaged = |problem| ReleaseError::damaged(self.set_path(digest), problem);
        parse_release(digest, &self.set_bytes(digest)?).map_err(damaged)
    }

    pub(super) fn set_bytes(&self, digest: Digest) -> Result<Vec<u8>, ReleaseError> {
        match read(&self.set_path(digest), MAX_DESCRIPTION_BYTES) {
            Err(error) if error.is_missing() => Err(ReleaseError::Unknown(digest.to_string())),
            read => Ok(read?),
        }
    }

    /// Keeps a content by its digest, where it is not kept whole.
    pub(super) fn put_content(&self, bytes: &[u8]) -> Result<Digest, ReleaseError> {
        let digest = Digest::of(bytes);
        if self.content(digest).is_err() {
            self.put(&self.file_path(digest), bytes)?;
        }
        Ok(digest)
    }

    /// The bytes with this digest.
    pub(super) fn content(&self, digest: Digest) -> Result<Vec<u8>, ReleaseError> {
        let path = self.file_path(digest);
        let bytes = read(&path, max_content_bytes())?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => {
                let problem = format!("its digest is {found}, expected {digest}");
                Err(ReleaseError::damaged(&path, problem))
            }
        }
    }

    /// Puts a file in its place as a whole: written beside it and synced, then named, then the name synced.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
        let folder = path.parent().unwrap_or(&self.path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = folder.join(format!("{UNFINISHED}{name}"));
        let io = |source| FileError::Io { path: path.to_owned(), source };
        // One that a crash has left. Whoever writes holds the lock, so nobody else is writing it.
        self.disk.remove(&new).map_err(io)?;
        let written = self.disk.write(&new, bytes).and_then(|()| self.disk.rename(&new, path));
        if let Err(source) = written {
            // A full disk should get its room back; the error of the write is the one to tell.
            let _ = self.disk.remove(&new);
            return Err(io(source).into());
        }
        Ok(self.disk.sync_folder(folder).map_err(io)?)
    }

    /// Removes what crashes have left unfinished.
    pub(super) fn remove_unfinished(&self) -> Result<(), ReleaseError> {
        for folder in ["files", "sets", "steps"] {
            for name in self.names(folder)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
                let path = self.path.join(folder).join(name);
                self.disk.remove(&path).map_err(|source| FileError::Io { path, source })?;
            }
        }
        Ok(())
    }

    /// Copies all releases and steps to a new folder, while others may add to them.
    pub(super) fn copy_to(&self, to: &Path) -> Result<(), ReleaseError> {
        if self.last_step()? == 0 {
            return Ok(());
        }
        // Steps first: what they name was there before them, and nothing is ever taken away.
        for folder in ["steps", "sets", "files"] {
            private_folder(&to.join(folder))?;
            for name in self.names(folder)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
                let path = self.path.join(folder).join(name);
                let io = |source| FileError::Io { path: path.clone(), source };
                fs::copy(&path, to.join(folder).join(name)).map_err(io)?;
            }
        }
        Ok(())
    }

    /// The names in a folder of the store; none where it does not exist.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>, ReleaseError> {
        let path = self.path.join(folder);
        let io = |source| FileError::Io { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// Waits until nobody else makes a step. Makes the folders, where they are missing.
    pub(super) fn lock(&self) -> Result<Lock, ReleaseError> {
        let path = self.path.join("lock");
        let io = |source| FileError::Io { path: path.clone(), source };
        let folders = ["files", "sets", "steps"].map(|folder| self.path.join(folder));
        if !folders.iter().all(|folder| folder.exists()) {
            folders.iter().try_for_each(|folder| private_folder(folder))?;
            // A step that is durable in a folder that is not would be lost with it.
            for folder in [self.path.as_path()].into_iter().chain(self.path.parent()) {
                self.disk.sync_folder(folder).map_err(io)?;
            }
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io)?;
        file.lock().map_err(io)?;
        Ok(Lock { _file: file })
    }

    /// Tells whether the folder has followed a database.
    pub(super) fn follows(&self) -> bool {
        self.path.join(FOLLOWS).exists()
    }

    /// Notes that the folder follows the database at a place.
    pub(super) fn note_followed(&self, place: &str) -> Result<(), ReleaseError> {
        self.put(&self.path.join(FOLLOWS), format!("{place}\n").as_bytes())
    }

    pub(super) fn file_path(&self, digest: Digest) -> PathBuf {
        self.path.join("files").join(hex(digest))
    }

    pub(super) fn set_path(&self, digest: Digest) -> PathBuf {
        self.path.join("sets").join(format!("{}.json", hex(digest)))
    }

    pub(super) fn step_path(&self, number: u64) -> PathBuf {
        self.path.join("steps").join(format!("{number:020}.json"))
    }
}

fn hex(digest: Digest) -> String {
    let text = digest.to_string();
    text.strip_prefix("sha256:").unwrap_or(&text).to_owned()
}
