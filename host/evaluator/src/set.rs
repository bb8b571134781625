//! The bindings that decide together.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::index::ScopeIndex;
use crate::binding::{Binding, BindingConfig, BindingError};
use crate::claims::Claims;
use crate::contract;
use crate::decision::{Decision, combine};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::identifier::BindingName;
use crate::limits::Limits;
use crate::manifest::{Manifest, SettingsSource, When};
use crate::policy::{LoadError, Policy};
use crate::record;
use crate::settings::{Settings, SettingsError};

/// Prepared bindings, ready to decide. Shared freely between threads, and never changed: a change
/// is a new set.
#[derive(Debug)]
pub struct PolicySet {
    /// In the order of names.
    bindings: Vec<Binding>,
    scopes: ScopeIndex,
    digest: Digest,
}

/// The files that a manifest names, by the path as the manifest has it.
pub type ManifestFiles = BTreeMap<String, Vec<u8>>;

/// Why a policy set cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicySetError {
    /// There is no binding, so every run would be refused.
    #[error("the policy set is empty: every run would be refused; add a `[[binding]]`")]
    Empty,
    /// Two bindings have one name.
    #[error("two bindings have the name `{name}`")]
    DuplicateName {
        /// The name.
        name: BindingName,
    },
    /// A file that the manifest names was not given.
    #[error("binding `{binding}`: the file `{path}` is not at hand")]
    MissingFile {
        /// The binding.
        binding: BindingName,
        /// The path, as the manifest has it.
        path: String,
    },
    /// A component is no policy.
    #[error("binding `{binding}`: {path}: {problem} ({})", .problem.code())]
    Load {
        /// The binding.
        binding: BindingName,
        /// The path, as the manifest has it.
        path: String,
        /// Why it is none.
        problem: LoadError,
    },
    /// A component is not the one that the manifest pins.
    #[error("binding `{binding}`: {path}: the digest is {found}, but the manifest pins {pinned}")]
    Digest {
        /// The binding.
        binding: BindingName,
        /// The path, as the manifest has it.
        path: String,
        /// The component's digest.
        found: Digest,
        /// The digest that the manifest has.
        pinned: Digest,
    },
    /// A settings file holds no settings.
    #[error("binding `{binding}`: {path}: {problem}")]
    SettingsFile {
        /// The binding.
        binding: BindingName,
        /// The path, as the manifest has it.
        path: String,
        /// Why it holds none.
        problem: SettingsError,
    },
    /// A binding does not become active.
    #[error("binding `{binding}`: {problem}")]
    Binding {
        /// The binding.
        binding: BindingName,
        /// Why it does not.
        problem: BindingError,
    },
}

impl PolicySet {
    /// Puts prepared bindings together. Their order does not matter.
    ///
    /// # Errors
    /// When there is none, or two have one name.
    pub fn new(mut bindings: Vec<Binding>) -> Result<Self, PolicySetError> {
        if bindings.is_empty() {
            return Err(PolicySetError::Empty);
        }
        bindings.sort_by(|a, b| a.identity().name.cmp(&b.identity().name));
        let mut names = BTreeSet::new();
        if let Some(twice) = bindings.iter().find(|b| !names.insert(&b.identity().name)) {
            return Err(PolicySetError::DuplicateName { name: twice.identity().name.clone() });
        }
        let digest = record::policy_set_digest(bindings.iter().map(Binding::identity));
        let scopes = ScopeIndex::new(bindings.iter().map(|binding| &binding.identity().scope));
        Ok(Self { bindings, scopes, digest })
    }

    /// Loads every policy of a manifest, and prepares every binding or, as the manifest says, leaves
    /// that for when it is needed.
    ///
    /// `files` holds the bytes of every path of [`Manifest::files`]. A component that several
    /// bindings name is compiled once for each of the limits of loading that they have. Where the engine
    /// [checks settings](crate::CheckSettings), all of them are checked before any policy is given its own.
    ///
    /// # Errors
    /// At the first binding that does not become active; no partial set is made.
    pub fn prepare(
        engine: &Engine,
        manifest: &Manifest,
        files: &ManifestFiles,
    ) -> Result<Self, PolicySetError> {
        let mut policies: BTreeMap<(&str, Limits), Arc<Policy>> = BTreeMap::new();
        let mut bindings = Vec::new();
        let at_start = manifest.preparation.bindings == When::AtStart;
        // A check comes before the first policy is given settings.
        let at_once = at_start && engine.settings_check().is_none();
        for entry in &manifest.bindings {
            let binding = &entry.name;
            let file = |path: &str| {
                files.get(path).map(Vec::as_slice).ok_or_else(|| PolicySetError::MissingFile {
                    binding: binding.clone(),
                    path: path.to_owned(),
                })
            };
            let path = entry.policy.as_str();
            // A pin keeps foreign bytes from the compiler, so it is compared before anything else.
            if let Some(pinned) = entry.digest {
                let found = Digest::of(file(path)?);
                if pinned != found {
                    let (binding, path) = (binding.clone(), path.to_owned());
                    return Err(PolicySetError::Digest { binding, path, found, pinned });
                }
            }
            // What a component may use is each binding's own, also where another has loaded it. To be
            // loaded it is not evaluated.
            let key = (path, Limits { fuel: 0, output_bytes: 0, ..entry.limits });
            let policy = match policies.get(&key) {
                Some(policy) => Arc::clone(policy),
                None => {
                    let loaded =
                        Policy::load(engine, file(path)?, &entry.limits).map_err(|problem| {
                            let (binding, path) = (binding.clone(), path.to_owned());
                            PolicySetError::Load { binding, path, problem }
                        })?;
                    let loaded = Arc::new(loaded);
                    policies.insert(key, Arc::clone(&loaded));
                    loaded
                }
            };
            let settings = match &entry.settings {
                SettingsSource::Inline(settings) => settings.clone(),
                SettingsSource::File(path) => settings_file(file(path)?).map_err(|problem| {
                    let (binding, path) = (binding.clone(), path.clone());
                    PolicySetError::SettingsFile { binding, path, problem }
                })?,
            };
            let config = BindingConfig {
                name: entry.name.clone(),
                settings,
                scope: entry.scope.clone(),
                mode: entry.mode,
                may_permit: entry.may_permit,
                limits: entry.limits,
                claims: entry.claims.clone(),
            };
            let bind = if at_once { Binding::prepare } else { Binding::prepare_when_needed };
            bindings.push(bind(policy, config).map_err(|problem| PolicySetError::Binding {
                binding: binding.clone(),
                problem,
            })?);
        }
        if at_start && !at_once {
            for binding in &bindings {
                binding.ready().map_err(|problem| PolicySetError::Binding {
                    binding: binding.identity().name.clone(),
                    problem,
                })?;
            }
        }
        Self::new(bindings)
    }

    /// Decides on one run.
    ///
    /// Every binding whose scope contains the run is evaluated, each in a fresh instance, also
    /// when an earlier one has denied: a refusal gives every reason. How many bindings there are
    /// whose scope does not contain it does not matter. Nothing survives but the
    /// decision, and the same claims give the same decision.
    pub fn evaluate(&self, claims: Claims) -> Decision {
        let run = contract::Run::new(&claims);
        let token = contract::Token::new(&claims);
        let trace: Vec<_> = self
            .scopes
            .about(claims.run())
            .into_iter()
            .filter_map(|place| self.bindings.get(place))
            .map(|binding| binding.evaluate(&run, &token, &claims))
            .collect();
        let outcome = combine(claims.token(), &trace);
        Decision::new(claims, self.digest, trace, outcome)
    }

    /// Digest of everything that decides: every binding's name, component, settings, scope, mode,
    /// `may-permit`, limits and claims, in the order of names.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bindings, in the order of names.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }
}

fn settings_file(bytes: &[u8]) -> Result<Settings, SettingsError> {
    match str::from_utf8(bytes) {
        Ok(text) => Settings::from_json(text),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let newlines = before.iter().filter(|byte| **byte == b'\n').count();
            let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            Err(SettingsError::Json(crate::JsonError::Syntax {
                line: newlines + 1,
                column: before.len() - line_start + 1,
                expected: "invalid UTF-8".to_owned(),
            }))
        }
    }
}
