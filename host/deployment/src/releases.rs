//! Releases: policy sets that are staged, tried, promoted and rolled back.
//!
//! ```text
//! state/releases/files/HEX        manifests, components and settings, by their digest; never changed
//!               /sets/HEX.json    the description of a release, by its digest; never changed
//!               /steps/N.json     the steps, numbered from 1; never changed
//!               /service.json     what the service has taken and seen last; a report that nothing follows from
//! ```
//!
//! A release has the digest of its policy set, so every decision names it. Which release decides follows from the steps
//! alone: the one file of a step is written beside, synced, and gets its name in one move, so a crash leaves either
//! everything as it was or the step as a whole. There is no second place that could say something else.
//!
//! A release has the `[[binding]]`s of a manifest and `[preparation]`. The table `[issuer]` is none of a policy set's: it
//! stays with the manifest that the configuration names, so that going back to earlier policies changes no subject.

mod disk;
mod error;
mod note;
mod release;
mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use countersign::{Digest, Engine, Limits, PolicySet};
use countersign_issuer::{ReleaseAction, ReleaseEvidence, ReleaseStep};
use serde::{Deserialize, Serialize};

pub use self::disk::{ReleaseDisk, SystemDisk};
pub use self::error::ReleaseError;
pub use self::note::{CandidateNote, ServiceHold, ServiceNote};
pub use self::release::{Release, ReleaseBinding};
pub use self::state::ReleaseState;
use crate::bundle::ManifestBundle;
use crate::files::{FileError, private_folder, read, resolve_relative_to, text_of};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::manifest_files::ManifestFiles;
use crate::read::read_config;

/// The maximum length of a description, a step or a note, in bytes.
const MAX_DESCRIPTION_BYTES: u64 = 64 << 20;

/// The beginning of the names of files that are being written.
const UNFINISHED: &str = ".new-";

/// The releases of a service.
pub struct ReleaseStore {
    folder: PathBuf,
    disk: Box<dyn ReleaseDisk>,
}

/// A policy set that was prepared, and is to be a release.
pub struct NewRelease<'n> {
    /// The manifest and the files that it names.
    pub bundle: &'n ManifestBundle,
    /// The policies, prepared of it.
    pub policies: &'n PolicySet,
    /// The number of cases that passed, by the path of their component.
    pub cases: BTreeMap<String, u64>,
}

/// The ground that a promotion stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionGround {
    /// The evidence; without it there is a reason.
    pub evidence: Option<ReleaseEvidence>,
    /// The reason for doing without, or for accepting what the evidence shows.
    pub reason: Option<String>,
}

/// A step as its file has it.
#[derive(Serialize, Deserialize)]
struct StepFile {
    version: u32,
    #[serde(flatten)]
    step: ReleaseStep,
}

/// Held while a step is made: others wait. Dropping it, and the end of the process, release it.
struct Lock {
    _file: File,
}

impl ReleaseStore {
    /// The releases of the service that a configuration describes. Makes nothing.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn of_config(config: &Path) -> Result<Self, ReleaseError> {
        let parsed = read_config(config)?;
        Ok(Self::in_state(&resolve_relative_to(config, &parsed.state)))
    }

    /// The releases in a folder of state. Makes nothing.
    pub fn in_state(state: &Path) -> Self {
        Self::on(Box::new(SystemDisk), &state.join("releases"))
    }

    /// The releases in a folder, on a disk of the caller's.
    pub fn on(disk: Box<dyn ReleaseDisk>, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), disk }
    }

    /// The folder of the service's decision log.
    pub fn log(&self) -> PathBuf {
        self.folder.with_file_name("log")
    }

    /// The state after the last step.
    ///
    /// # Errors
    /// When a step cannot be read, is missing, or does not follow the others: a guess could make another release decide.
    pub fn state(&self) -> Result<ReleaseState, ReleaseError> {
        let mut state = ReleaseState::default();
        for step in self.steps(1)? {
            let path = self.step_path(step.step);
            state.add(&step).map_err(|problem| ReleaseError::damaged(path, problem))?;
        }
        Ok(state)
    }

    /// The steps from a number on, in their order.
    ///
    /// # Errors
    /// When one cannot be read, or is missing among the others.
    pub fn steps(&self, from: u64) -> Result<Vec<ReleaseStep>, ReleaseError> {
        let last = self.last_step()?;
        (from..=last).map(|number| self.step(number)).collect()
    }

    /// Tells whether there is a step with this number. Costs no more than a look at its name.
    pub fn has_step(&self, number: u64) -> bool {
        self.step_path(number).exists()
    }

    /// The releases that were staged, by their digests.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn releases(&self) -> Result<Vec<Release>, ReleaseError> {
        let mut releases = Vec::new();
        for name in self.names("sets")? {
            let Some(hex) = name.strip_suffix(".json") else { continue };
            if let Ok(digest) = Digest::parse(&format!("sha256:{hex}")) {
                releases.push(self.release(digest)?);
            }
        }
        releases.sort_by_key(|release| (release.staged_at, release.release.to_string()));
        Ok(releases)
    }

    /// The release with this digest, or whose digest alone begins so, with `sha256:` or without it.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub fn find(&self, text: &str) -> Result<Digest, ReleaseError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let names = self.names("sets")?;
        let mut found = names.iter().filter_map(|name| {
            let known = name.strip_suffix(".json")?.strip_prefix(hex)?;
            Digest::parse(&format!("sha256:{hex}{known}")).ok()
        });
        match (found.next().filter(|_| hex.len() >= 4), found.next()) {
            (Some(digest), None) => Ok(digest),
            (Some(_), Some(_)) => Err(ReleaseError::Ambiguous(countersign::visible(text))),
            (None, _) => Err(ReleaseError::Unknown(countersign::visible(text))),
        }
    }

    /// The description of a release.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn release(&self, digest: Digest) -> Result<Release, ReleaseError> {
        let path = self.set_path(digest);
        let bytes = match read(&path, MAX_DESCRIPTION_BYTES) {
            Err(error) if error.is_missing() => {
                return Err(ReleaseError::Unknown(digest.to_string()));
            }
            read => read?,
        };
        let release: Release =
            serde_json::from_slice(&bytes).map_err(|error| ReleaseError::damaged(&path, error))?;
        if (release.version, release.release) != (release::VERSION, digest) {
            let problem =
                format!("not the description of {digest} in version {}", release::VERSION);
            return Err(ReleaseError::damaged(&path, problem));
        }
        Ok(release)
    }

    /// The manifest and the files of a release, each compared with its digest.
    ///
    /// # Errors
    /// When one is missing or is not what was staged.
    pub fn bundle(&self, release: &Release) -> Result<ManifestBundle, ReleaseError> {
        let manifest = self.content(release.manifest)?;
        let path = self.file_path(release.manifest);
        let text = text_of(&path, &manifest)?;
        let manifest =
            Manifest::parse(text).map_err(|error| ReleaseError::damaged(&path, error))?;
        let mut files = ManifestFiles::new();
        for (name, digest) in &release.files {
            files.insert(name.clone(), self.content(*digest)?);
        }
        Ok(ManifestBundle::new(manifest, files))
    }

    /// Prepares the policies of a release, and proves that they are the set that it was staged as.
    ///
    /// # Errors
    /// When a file is missing or damaged, a policy cannot be prepared, or another set comes out.
    pub fn prepare(&self, digest: Digest, engine: &Engine) -> Result<PolicySet, ReleaseError> {
        let bundle = self.bundle(&self.release(digest)?)?;
        let policies = bundle.prepare(engine)?;
        match policies.digest() {
            found if found == digest => Ok(policies),
            found => Err(ReleaseError::OtherSet { release: digest, found }),
        }
    }

    /// Stages a release as the candidate, at `now`, in seconds since 1970. Its files are durable before the step is there.
    /// Again, it is the candidate again.
    ///
    /// # Errors
    /// When something cannot be written, as on a full disk: there is no step then, and everything is as before.
    pub fn stage(&self, new: &NewRelease<'_>, now: u64) -> Result<ReleaseStep, ReleaseError> {
        self.keep(new, now)?;
        let release = new.policies.digest();
        self.commit(|state| Ok(Self::next(state, ReleaseAction::Staged, release, now)))
    }

    /// Makes the policy set that decides by the manifest the active release, where none is active.
    ///
    /// # Errors
    /// Those of [`ReleaseStore::stage`], and when a release is active.
    pub fn adopt(&self, new: &NewRelease<'_>, now: u64) -> Result<ReleaseStep, ReleaseError> {
        self.keep(new, now)?;
        let release = new.policies.digest();
        self.commit(|state| match state.active {
            None => Ok(Self::next(state, ReleaseAction::Adopted, release, now)),
            Some(_) => Err(ReleaseError::Overtaken),
        })
    }

    /// Makes a release active in the place of `from`.
    ///
    /// # Errors
    /// When it is not staged or is damaged, is active already, or `from` is not the one that is.
    pub fn promote(
        &self,
        release: Digest,
        from: Digest,
        ground: PromotionGround,
        now: u64,
    ) -> Result<ReleaseStep, ReleaseError> {
        self.bundle(&self.release(release)?)?;
        self.commit(|state| {
            if state.active == Some(release) {
                return Err(ReleaseError::Active(release));
            }
            if state.active != Some(from) {
                return Err(ReleaseError::Overtaken);
            }
            let step = Self::next(state, ReleaseAction::Promoted, release, now);
            let PromotionGround { evidence, reason } = ground;
            Ok(ReleaseStep { from: Some(from), evidence, reason, ..step })
        })
    }

    /// Makes the release active that was so before. With `of_step`, only where the active release decides since that step:
    /// whoever found it wrong has seen no later one.
    ///
    /// # Errors
    /// When no release is active, or none was before.
    pub fn rollback(
        &self,
        reason: Option<String>,
        of_step: Option<u64>,
        now: u64,
    ) -> Result<ReleaseStep, ReleaseError> {
        self.commit(|state| {
            let from = state.active.ok_or(ReleaseError::NoActive)?;
            if of_step.is_some_and(|step| step != state.active_step) {
                return Err(ReleaseError::Overtaken);
            }
            let to = state.previous().ok_or(ReleaseError::NoEarlier(from))?;
            let step = Self::next(state, ReleaseAction::RolledBack, to, now);
            Ok(ReleaseStep { from: Some(from), reason, automatic: of_step.is_some(), ..step })
        })
    }

    /// The step that follows a state.
    fn next(state: &ReleaseState, action: ReleaseAction, release: Digest, at: u64) -> ReleaseStep {
        ReleaseStep {
            step: state.step + 1,
            action,
            at,
            release,
            from: None,
            evidence: None,
            reason: None,
            automatic: false,
        }
    }

    /// Makes a step: the one move after which it is there.
    fn commit(
        &self,
        step: impl FnOnce(&ReleaseState) -> Result<ReleaseStep, ReleaseError>,
    ) -> Result<ReleaseStep, ReleaseError> {
        let _lock = self.lock()?;
        let mut state = self.state()?;
        let step = step(&state)?;
        let path = self.step_path(step.step);
        // What cannot be read back must not be written.
        state.add(&step).map_err(|problem| ReleaseError::damaged(&path, problem))?;
        self.put(&path, &json(&path, &StepFile { version: 1, step: step.clone() })?)?;
        Ok(step)
    }

    /// Keeps the files and the description of a release.
    fn keep(&self, new: &NewRelease<'_>, now: u64) -> Result<(), ReleaseError> {
        let release = new.policies.digest();
        let lost = |path: &str| ReleaseError::damaged(path, "not among the files that were read");
        let manifest = new.bundle.text().ok_or_else(|| lost("the manifest"))?;
        let _lock = self.lock()?;
        self.remove_unfinished()?;
        let mut files = BTreeMap::new();
        for path in new.bundle.policy_files() {
            let bytes = new.bundle.file(path).ok_or_else(|| lost(path))?;
            files.insert(path.to_owned(), self.put_content(bytes)?);
        }
        let manifest = self.put_content(manifest)?;
        let described = Release {
            version: release::VERSION,
            release,
            staged_at: now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            manifest,
            files,
            bindings: ReleaseBinding::of(new.policies),
            cases: new.cases.clone(),
        };
        let path = self.set_path(release);
        let is_whole = |kept: Release| self.bundle(&kept).is_ok();
        // The first description stays: what was tried and promoted by it is what it says.
        if self.release(release).is_ok_and(is_whole) {
            return Ok(());
        }
        self.put(&path, &json(&path, &described)?)
    }

    fn put_content(&self, bytes: &[u8]) -> Result<Digest, ReleaseError> {
        let digest = Digest::of(bytes);
        if self.content(digest).is_err() {
            self.put(&self.file_path(digest), bytes)?;
        }
        Ok(digest)
    }

    /// The bytes with this digest.
    fn content(&self, digest: Digest) -> Result<Vec<u8>, ReleaseError> {
        let path = self.file_path(digest);
        let limit = Limits::CEILING.component_bytes.max(MAX_MANIFEST_BYTES as u64);
        let bytes = read(&path, limit)?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => {
                let problem = format!("its digest is {found}, expected {digest}");
                Err(ReleaseError::damaged(&path, problem))
            }
        }
    }

    /// Puts a file in its place as a whole: written beside it and synced, then named, then the name synced.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
        let folder = path.parent().unwrap_or(&self.folder);
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
    fn remove_unfinished(&self) -> Result<(), ReleaseError> {
        for folder in ["files", "sets", "steps"] {
            for name in self.names(folder)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
                let path = self.folder.join(folder).join(name);
                self.disk.remove(&path).map_err(|source| FileError::Io { path, source })?;
            }
        }
        Ok(())
    }

    /// Copies all releases and steps to a new folder, while others may add to them.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), ReleaseError> {
        if self.last_step()? == 0 {
            return Ok(());
        }
        // Steps first: what they name was there before them, and nothing is ever taken away.
        for folder in ["steps", "sets", "files"] {
            private_folder(&to.join(folder))?;
            for name in self.names(folder)?.iter().filter(|name| !name.starts_with(UNFINISHED)) {
                let path = self.folder.join(folder).join(name);
                let io = |source| FileError::Io { path: path.clone(), source };
                fs::copy(&path, to.join(folder).join(name)).map_err(io)?;
            }
        }
        Ok(())
    }

    fn step(&self, number: u64) -> Result<ReleaseStep, ReleaseError> {
        let path = self.step_path(number);
        let bytes = read(&path, MAX_DESCRIPTION_BYTES)?;
        let file: StepFile =
            serde_json::from_slice(&bytes).map_err(|error| ReleaseError::damaged(&path, error))?;
        if file.version != 1 || file.step.step != number {
            return Err(ReleaseError::damaged(&path, format!("not step {number} in version 1")));
        }
        Ok(file.step)
    }

    /// The highest number of a step; 0 where there is none.
    fn last_step(&self) -> Result<u64, ReleaseError> {
        let names = self.names("steps")?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok());
        Ok(numbers.max().unwrap_or(0))
    }

    /// The names in a folder of the store; none where it does not exist.
    fn names(&self, folder: &str) -> Result<Vec<String>, ReleaseError> {
        let path = self.folder.join(folder);
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
    fn lock(&self) -> Result<Lock, ReleaseError> {
        let path = self.folder.join("lock");
        let io = |source| FileError::Io { path: path.clone(), source };
        let folders = ["files", "sets", "steps"].map(|folder| self.folder.join(folder));
        if !folders.iter().all(|folder| folder.exists()) {
            folders.iter().try_for_each(|folder| private_folder(folder))?;
            // A step that is durable in a folder that is not would be lost with it.
            for folder in [self.folder.as_path()].into_iter().chain(self.folder.parent()) {
                self.disk.sync_folder(folder).map_err(io)?;
            }
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io)?;
        file.lock().map_err(io)?;
        Ok(Lock { _file: file })
    }

    fn file_path(&self, digest: Digest) -> PathBuf {
        self.folder.join("files").join(hex(digest))
    }

    fn set_path(&self, digest: Digest) -> PathBuf {
        self.folder.join("sets").join(format!("{}.json", hex(digest)))
    }

    fn step_path(&self, number: u64) -> PathBuf {
        self.folder.join("steps").join(format!("{number:020}.json"))
    }
}

fn hex(digest: Digest) -> String {
    let text = digest.to_string();
    text.strip_prefix("sha256:").unwrap_or(&text).to_owned()
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, ReleaseError> {
    serde_json::to_vec_pretty(value).map_err(|error| ReleaseError::damaged(path, error))
}
