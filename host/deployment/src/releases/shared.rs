//! Releases that replicas share: the database has the truth, and the folder of each replica follows it.
//!
//! ```text
//! a new step: contents ─→ database, then its step ─→ database (whoever adds the number first) ─→ folder
//! following:  steps after the folder's last ─→ contents, each compared with its digest ─→ folder, and then the step
//! ```
//!
//! A crash at any moment leaves a step in the database or not. The folder is never ahead of the database: one that is, or
//! that has other steps, is of another database or of another time of it, and is refused.

use std::collections::BTreeSet;

use countersign::Digest;
use countersign_issuer::{
    MAX_STEP_BYTES, NewSharedStep, ReleaseAction, ReleaseStep, ReplicaEntry, SharedStep, StoreError,
};

use super::folder::{
    MAX_DESCRIPTION_BYTES, max_content_bytes, parse_release, parse_step, step_json,
};
use super::release::Release;
use super::{ReleaseError, ReleaseState, ReleaseStore, Truth, folder};

/// The database that replicas share, as far as releases go. What it has is added and never changed. Called on threads that may
/// block; whatever comes out is bounded, and compared with its digest by the caller.
pub trait ReleaseDatabase: Send + Sync {
    /// Its place, as its operator knows it.
    fn place(&self) -> String;

    /// Steps from a number on, in their order: some of them, and none where there is none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn steps(&self, from: u64) -> Result<Vec<SharedStep>, StoreError>;

    /// Adds the steps that follow the last one, all or none. False where others were added meanwhile.
    ///
    /// # Errors
    /// When it is not known whether they were added.
    fn add_steps(&self, steps: &[NewSharedStep]) -> Result<bool, StoreError>;

    /// The digest of the description of a release.
    ///
    /// # Errors
    /// When it cannot be read.
    fn set(&self, release: Digest) -> Result<Option<Digest>, StoreError>;

    /// Adds a release, whose description is there. One that is there stays.
    ///
    /// # Errors
    /// When it is not known whether it was added.
    fn add_set(&self, release: Digest, description: Digest) -> Result<(), StoreError>;

    /// The content that is there by a digest, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read, or is longer.
    fn file(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Adds a content by its digest. False where some of it was there already.
    ///
    /// # Errors
    /// When it is not known whether it was added.
    fn add_file(&self, digest: Digest, content: &[u8]) -> Result<bool, StoreError>;

    /// The replicas in the register.
    ///
    /// # Errors
    /// When they cannot be read.
    fn replicas(&self) -> Result<Vec<ReplicaEntry>, StoreError>;
}

impl ReleaseStore {
    /// The releases that replicas share, in a database of the caller's, and the folder that follows them.
    pub fn shared(
        disk: Box<dyn super::ReleaseDisk>,
        folder: &std::path::Path,
        database: Box<dyn ReleaseDatabase>,
    ) -> Self {
        let folder = folder::ReleaseFolder { path: folder.to_owned(), disk };
        Self { folder, truth: Truth::Database(database) }
    }

    /// Compares every step of the folder with the database, and takes those that it lacks. The steps of a folder that has
    /// followed no database yet become those of a database that has none. Nothing to do without a database.
    ///
    /// # Errors
    /// When the database does not answer, or something in it is not what it should be; when the folder has other steps, or
    /// more than the database.
    pub fn compare(&self) -> Result<(), ReleaseError> {
        let Truth::Database(database) = &self.truth else { return Ok(()) };
        let is_empty = || self.asked(database.steps(1)).map(|steps| steps.is_empty());
        if is_empty()? && self.folder.last_step()? == 0 {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        if is_empty()? && !self.folder.follows() {
            self.bring(&**database)?;
        }
        let state = self.catch_up(&**database, 1)?;
        // A file that was damaged here is whole there.
        for release in [state.active, state.previous(), state.candidate].into_iter().flatten() {
            self.fetch(&**database, release)?;
        }
        if !self.folder.follows() {
            self.folder.note_followed(&database.place())?;
        }
        Ok(())
    }

    /// Takes the steps of the database that the folder lacks. Nothing to do without a database.
    ///
    /// # Errors
    /// Those of [`ReleaseStore::compare`]; of the folder's steps, only the last is compared.
    pub fn follow(&self) -> Result<(), ReleaseError> {
        let Truth::Database(database) = &self.truth else { return Ok(()) };
        let _lock = self.folder.lock()?;
        self.catch_up(&**database, u64::MAX).map(drop)
    }

    /// The replicas and what they have taken; `None` where releases are this service's alone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn replicas(&self) -> Result<Option<Vec<ReplicaEntry>>, ReleaseError> {
        match &self.truth {
            Truth::Database(database) => self.asked(database.replicas()).map(Some),
            Truth::Folder | Truth::Elsewhere => Ok(None),
        }
    }

    /// Takes the steps after the folder's last, having compared those from a number on, and the last in any case. Gives the
    /// state after them.
    pub(super) fn catch_up(
        &self,
        database: &dyn ReleaseDatabase,
        from: u64,
    ) -> Result<ReleaseState, ReleaseError> {
        let mut state = self.folder.state()?;
        let mut next = from.min(state.step).max(1);
        loop {
            let steps = self.asked(database.steps(next))?;
            if steps.is_empty() {
                break;
            }
            for SharedStep { number, text } in steps {
                let damaged = |problem| self.damaged(format!("step {next}"), problem);
                if number != next {
                    return Err(damaged(format!("missing; step {number} follows")));
                }
                if next <= state.step {
                    if self.folder.step_bytes(next)? != text.as_bytes() {
                        let problem = format!("step {next} is another one in {}", database.place());
                        return Err(self.contradicts(problem));
                    }
                } else {
                    let step = parse_step(next, text.as_bytes()).map_err(damaged)?;
                    let mut after = state.clone();
                    after.add(&step).map_err(damaged)?;
                    self.fetch(database, step.release)?;
                    self.folder.put(&self.folder.step_path(next), text.as_bytes())?;
                    state = after;
                }
                next += 1;
            }
        }
        if next <= state.step {
            let (last, place) = (state.step, database.place());
            let problem = format!("it has steps up to {last}, and {place} has no step {next}");
            return Err(self.contradicts(problem));
        }
        Ok(state)
    }

    /// Adds a step to the database.
    pub(super) fn share_step(
        &self,
        database: &dyn ReleaseDatabase,
        step: &ReleaseStep,
        bytes: &[u8],
    ) -> Result<(), ReleaseError> {
        let number = step.step;
        match database.add_steps(&[self.new_step(step, bytes)?]) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ReleaseError::Overtaken),
            Err(source) => Err(ReleaseError::Unsure { step: number, source }),
        }
    }

    fn new_step(&self, step: &ReleaseStep, bytes: &[u8]) -> Result<NewSharedStep, ReleaseError> {
        let what = || format!("step {}", step.step);
        if bytes.len() > MAX_STEP_BYTES {
            let problem = format!("longer than {MAX_STEP_BYTES} bytes: give a shorter reason");
            return Err(self.damaged(what(), problem));
        }
        let text = String::from_utf8(bytes.to_vec());
        let text = text.map_err(|error| self.damaged(what(), error.to_string()))?;
        let decides = step.action != ReleaseAction::Staged;
        Ok(NewSharedStep { number: step.step, text, release: step.release, decides })
    }

    /// Puts a release into the database, before any step names it: its contents, and then its description, unless one is there.
    pub(super) fn share(
        &self,
        database: &dyn ReleaseDatabase,
        release: &Release,
        description: &[u8],
    ) -> Result<(), ReleaseError> {
        for digest in release.files.values().chain([&release.manifest]) {
            self.share_content(database, &self.folder.content(*digest)?)?;
        }
        match self.asked(database.set(release.release))? {
            None => {
                let digest = self.share_content(database, description)?;
                self.asked(database.add_set(release.release, digest))
            }
            // Where it has been removed there.
            Some(digest) if digest == Digest::of(description) => {
                self.share_content(database, description).map(drop)
            }
            Some(_) => Ok(()),
        }
    }

    fn share_content(
        &self,
        database: &dyn ReleaseDatabase,
        bytes: &[u8],
    ) -> Result<Digest, ReleaseError> {
        let digest = Digest::of(bytes);
        if !self.asked(database.add_file(digest, bytes))? {
            // Of somebody else: a step must not name what nobody can use.
            self.fetch_content(database, digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// Keeps a release of the database, each part compared with its digest.
    pub(super) fn fetch(
        &self,
        database: &dyn ReleaseDatabase,
        release: Digest,
    ) -> Result<(), ReleaseError> {
        if self.release(release).is_ok_and(|kept| self.bundle(&kept).is_ok()) {
            return Ok(());
        }
        let what = || format!("release {release}");
        let description = self.asked(database.set(release))?;
        let description = description.ok_or_else(|| self.damaged(what(), "missing".to_owned()))?;
        let bytes = self.fetch_content(database, description, MAX_DESCRIPTION_BYTES)?;
        let described = parse_release(release, &bytes);
        let described = described.map_err(|problem| self.damaged(what(), problem))?;
        for digest in described.files.values().chain([&described.manifest]) {
            if self.folder.content(*digest).is_err() {
                let content = self.fetch_content(database, *digest, max_content_bytes())?;
                self.folder.put_content(&content)?;
            }
        }
        self.folder.put(&self.folder.set_path(release), &bytes)
    }

    fn fetch_content(
        &self,
        database: &dyn ReleaseDatabase,
        digest: Digest,
        limit: u64,
    ) -> Result<Vec<u8>, ReleaseError> {
        let what = || format!("content {digest}");
        let bytes = self.asked(database.file(digest, limit))?;
        let bytes = bytes.ok_or_else(|| self.damaged(what(), "missing".to_owned()))?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(self.damaged(what(), format!("its digest is {found}"))),
        }
    }

    /// Puts the releases and all steps of the folder into a database that has none: the steps all at once.
    fn bring(&self, database: &dyn ReleaseDatabase) -> Result<(), ReleaseError> {
        let (last, mut shared) = (self.folder.state()?.step, BTreeSet::new());
        let mut steps = Vec::new();
        for number in 1..=last {
            let step = self.folder.step(number)?;
            if shared.insert(step.release) {
                let release = self.release(step.release)?;
                self.share(database, &release, &self.folder.set_bytes(step.release)?)?;
            }
            steps.push(self.new_step(&step, &self.folder.step_bytes(number)?)?);
        }
        // Where another replica was faster, the comparison says in what they differ.
        self.asked(database.add_steps(&steps)).map(drop)
    }

    fn asked<T>(&self, answer: Result<T, StoreError>) -> Result<T, ReleaseError> {
        answer.map_err(|source| ReleaseError::Shared { place: self.place(), source })
    }

    fn damaged(&self, what: String, problem: String) -> ReleaseError {
        ReleaseError::SharedDamaged { place: self.place(), what, problem }
    }

    fn contradicts(&self, problem: String) -> ReleaseError {
        ReleaseError::Contradicts { path: self.folder.path.clone(), problem }
    }

    fn place(&self) -> String {
        match &self.truth {
            Truth::Database(database) => database.place(),
            Truth::Folder | Truth::Elsewhere => self.folder.path.display().to_string(),
        }
    }
}

impl ReleaseStore {
    /// Makes a step, in the folder alone or in the database first: the one move after which it is there.
    pub(super) fn commit(
        &self,
        step: impl FnOnce(&ReleaseState) -> Result<ReleaseStep, ReleaseError>,
    ) -> Result<ReleaseStep, ReleaseError> {
        let _lock = self.folder.lock()?;
        let mut state = match &self.truth {
            Truth::Folder => self.folder.state()?,
            Truth::Database(database) => self.catch_up(&**database, u64::MAX)?,
            Truth::Elsewhere => return Err(ReleaseError::Unopened),
        };
        let step = step(&state)?;
        let path = self.folder.step_path(step.step);
        // What cannot be read back must not be written.
        state.add(&step).map_err(|problem| ReleaseError::damaged(&path, problem))?;
        let bytes = step_json(&path, &step)?;
        let Truth::Database(database) = &self.truth else {
            self.folder.put(&path, &bytes)?;
            return Ok(step);
        };
        self.share_step(&**database, &step, &bytes)?;
        let behind = |error| ReleaseError::Behind { step: step.step, source: Box::new(error) };
        self.folder.put(&path, &bytes).map_err(behind)?;
        Ok(step)
    }
}
