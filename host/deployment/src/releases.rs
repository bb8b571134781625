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
//!
//! Releases of replicas are in their database, and the folder follows it ([`ReleaseDatabase`]).

mod database;
mod disk;
mod error;
mod folder;
mod note;
mod release;
mod shared;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign::{Digest, Engine, PolicySet};
use countersign_issuer::{ReleaseAction, ReleaseEvidence, ReleaseStep};

pub use self::disk::{ReleaseDisk, SystemDisk};
pub use self::error::ReleaseError;
use self::folder::{ReleaseFolder, json};
pub use self::note::{CandidateNote, ServiceHold, ServiceNote};
pub use self::release::{Release, ReleaseBinding};
pub use self::shared::ReleaseDatabase;
pub use self::state::ReleaseState;
use crate::bundle::ManifestBundle;
use crate::files::{resolve_relative_to, text_of};
use crate::manifest::Manifest;
use crate::manifest_files::ManifestFiles;
use crate::read::read_config;

/// The releases of a service.
pub struct ReleaseStore {
    folder: ReleaseFolder,
    truth: Truth,
}

/// The place whose steps say which release decides.
enum Truth {
    /// The folder: the service is alone.
    Folder,
    /// The database that replicas share.
    Database(Box<dyn ReleaseDatabase>),
    /// The database, which is not open: the folder has what was there when somebody looked last.
    Elsewhere,
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

impl ReleaseStore {
    /// The releases of the service that a configuration describes, as its folder has them: for those who only look. Makes
    /// nothing.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn of_config(config: &Path) -> Result<Self, ReleaseError> {
        let parsed = read_config(config)?;
        let found = Self::in_state(&resolve_relative_to(config, &parsed.state));
        let truth = if parsed.database.is_some() { Truth::Elsewhere } else { Truth::Folder };
        Ok(Self { truth, ..found })
    }

    /// The releases in a folder of state, of a service that is alone. Makes nothing.
    pub fn in_state(state: &Path) -> Self {
        Self::on(Box::new(SystemDisk), &state.join("releases"))
    }

    /// The releases in a folder, on a disk of the caller's.
    pub fn on(disk: Box<dyn ReleaseDisk>, folder: &Path) -> Self {
        Self { folder: ReleaseFolder { path: folder.to_owned(), disk }, truth: Truth::Folder }
    }

    /// The folder of the service's decision log.
    pub fn log(&self) -> PathBuf {
        self.folder.path.with_file_name("log")
    }

    /// The state after the last step.
    ///
    /// # Errors
    /// When a step cannot be read, is missing, or does not follow the others: a guess could make another release decide.
    pub fn state(&self) -> Result<ReleaseState, ReleaseError> {
        self.folder.state()
    }

    /// The steps from a number on, in their order.
    ///
    /// # Errors
    /// When one cannot be read, or is missing among the others.
    pub fn steps(&self, from: u64) -> Result<Vec<ReleaseStep>, ReleaseError> {
        let last = self.folder.last_step()?;
        (from..=last).map(|number| self.folder.step(number)).collect()
    }

    /// Tells whether there is a step with this number. Costs no more than a look at its name.
    pub fn has_step(&self, number: u64) -> bool {
        self.folder.step_path(number).exists()
    }

    /// The releases that were staged, by their digests.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn releases(&self) -> Result<Vec<Release>, ReleaseError> {
        let mut releases = Vec::new();
        for name in self.folder.names("sets")? {
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
        let names = self.folder.names("sets")?;
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
        self.folder.release(digest)
    }

    /// The manifest and the files of a release, each compared with its digest.
    ///
    /// # Errors
    /// When one is missing or is not what was staged.
    pub fn bundle(&self, release: &Release) -> Result<ManifestBundle, ReleaseError> {
        let manifest = self.folder.content(release.manifest)?;
        let path = self.folder.file_path(release.manifest);
        let text = text_of(&path, &manifest)?;
        let manifest =
            Manifest::parse(text).map_err(|error| ReleaseError::damaged(&path, error))?;
        let mut files = ManifestFiles::new();
        for (name, digest) in &release.files {
            files.insert(name.clone(), self.folder.content(*digest)?);
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

    /// Keeps the files and the description of a release, where it is shared in the database first.
    fn keep(&self, new: &NewRelease<'_>, now: u64) -> Result<(), ReleaseError> {
        let release = new.policies.digest();
        let lost = |path: &str| ReleaseError::damaged(path, "not among the files that were read");
        let manifest = new.bundle.text().ok_or_else(|| lost("the manifest"))?;
        if matches!(self.truth, Truth::Elsewhere) {
            return Err(ReleaseError::Unopened);
        }
        let _lock = self.folder.lock()?;
        self.folder.remove_unfinished()?;
        let mut files = BTreeMap::new();
        for path in new.bundle.policy_files() {
            let bytes = new.bundle.file(path).ok_or_else(|| lost(path))?;
            files.insert(path.to_owned(), self.folder.put_content(bytes)?);
        }
        let described = Release {
            version: release::VERSION,
            release,
            staged_at: now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: self.folder.put_content(manifest)?,
            files,
            bindings: ReleaseBinding::of(new.policies),
            cases: new.cases.clone(),
        };
        let path = self.folder.set_path(release);
        // The first description stays: what was tried and promoted by it is what it says.
        let kept = self.release(release).ok().filter(|kept| self.bundle(kept).is_ok());
        if let Truth::Database(database) = &self.truth {
            let (described, description) = match kept {
                Some(kept) => (kept, self.folder.set_bytes(release)?),
                None => {
                    let description = json(&path, &described)?;
                    (described, description)
                }
            };
            self.share(&**database, &described, &description)?;
            return self.fetch(&**database, release);
        }
        match kept {
            Some(_) => Ok(()),
            None => self.folder.put(&path, &json(&path, &described)?),
        }
    }

    /// Copies all releases and steps to a new folder, while others may add to them.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), ReleaseError> {
        self.folder.copy_to(to)
    }
}
