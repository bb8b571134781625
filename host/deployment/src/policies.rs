//! The policy set of a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Digest, Engine, JsonError, Limits,
    LoadError, Policy, PolicySet, PolicySetError, Settings, SettingsError,
};

use crate::manifest::{Manifest, PreparationTiming, SettingsSource};
use crate::manifest_files::ManifestFiles;

/// The reason that the policies of a manifest cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreparePoliciesError {
    /// A file that the manifest names was not given.
    #[error("binding `{binding}`: the file `{path}` was not provided")]
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
        /// The reason.
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
        /// The reason.
        problem: SettingsError,
    },
    /// A binding does not become active.
    #[error("binding `{binding}`: {problem}")]
    Binding {
        /// The binding.
        binding: BindingName,
        /// The reason.
        problem: BindingError,
    },
    /// The bindings form no set.
    #[error(transparent)]
    Set(#[from] PolicySetError),
    /// The caller did not want to go on.
    #[error("binding `{binding}`: stopped before it, after {done} of {of} steps")]
    Stopped {
        /// The binding that is next.
        binding: BindingName,
        /// Steps that were done.
        done: usize,
        /// All steps.
        of: usize,
    },
}

/// The progress of preparing: each binding is loaded, and then prepared where that is not left for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareStep {
    /// Steps that are done.
    pub done: usize,
    /// All steps.
    pub of: usize,
}

/// Is told of each step before it begins, and tells whether it is to.
type Watch<'w> = &'w mut dyn FnMut(PrepareStep) -> bool;

/// Loads every policy of a manifest, and prepares every binding or, as the manifest says, leaves
/// that for when it is needed.
///
/// `files` holds the bytes of every path of [`Manifest::files`]. A component that several
/// bindings name is compiled once for each of the limits of loading that they have. Where the engine
/// [checks settings](countersign::SettingsValidator), all of them are checked before any policy is given its own.
///
/// # Errors
/// At the first binding that does not become active; no partial set is made.
pub fn prepare_policies(
    engine: &Engine,
    manifest: &Manifest,
    files: &ManifestFiles,
) -> Result<PolicySet, PreparePoliciesError> {
    prepare_from(engine, manifest, &|path| files.get(path).map(Vec::as_slice), &mut |_| true)
}

/// The same, with the bytes of files wherever they are.
pub(crate) fn prepare_from<'f>(
    engine: &Engine,
    manifest: &Manifest,
    files: &dyn Fn(&str) -> Option<&'f [u8]>,
    watch: Watch<'_>,
) -> Result<PolicySet, PreparePoliciesError> {
    let mut policies: BTreeMap<(&str, Limits), Arc<Policy>> = BTreeMap::new();
    let mut bindings = Vec::new();
    let at_start = manifest.preparation.bindings == PreparationTiming::AtStart;
    // All settings are checked before the first policy is given its own.
    let at_once = at_start && !engine.checks_settings();
    let later = if at_start && !at_once { manifest.bindings.len() } else { 0 };
    let mut steps = Steps { next: 0, of: manifest.bindings.len() + later, watch };
    for entry in &manifest.bindings {
        let binding = &entry.name;
        steps.begin(binding)?;
        let file = |path: &str| {
            files(path).ok_or_else(|| PreparePoliciesError::MissingFile {
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
                return Err(PreparePoliciesError::Digest { binding, path, found, pinned });
            }
        }
        // Limits are each binding's own, also where another one has loaded the component. Fuel and the size of a
        // verdict play no part in loading.
        let key = (path, Limits { fuel: 0, output_bytes: 0, ..entry.limits });
        let policy = match policies.get(&key) {
            Some(policy) => Arc::clone(policy),
            None => {
                let loaded =
                    Policy::load(engine, file(path)?, &entry.limits).map_err(|problem| {
                        let (binding, path) = (binding.clone(), path.to_owned());
                        PreparePoliciesError::Load { binding, path, problem }
                    })?;
                let loaded = Arc::new(loaded);
                policies.insert(key, Arc::clone(&loaded));
                loaded
            }
        };
        let of_file = |path: &str, bytes: &[u8]| {
            settings_file(bytes).map_err(|problem| {
                let (binding, path) = (binding.clone(), path.to_owned());
                PreparePoliciesError::SettingsFile { binding, path, problem }
            })
        };
        let text = entry.text_settings();
        let settings =
            match (text.as_deref().and_then(|name| Some((name, files(name)?))), &entry.settings) {
                // Those of a text policy, with what the binding gives in them.
                (Some((name, bytes)), _) => of_file(name, bytes)?,
                (None, SettingsSource::Inline(settings)) => settings.clone(),
                (None, SettingsSource::File(path)) => of_file(path, file(path)?)?,
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
        let bind = if at_once { Binding::prepare } else { Binding::prepare_lazily };
        bindings.push(bind(policy, config).map_err(|problem| PreparePoliciesError::Binding {
            binding: binding.clone(),
            problem,
        })?);
    }
    if at_start && !at_once {
        for binding in &bindings {
            steps.begin(&binding.identity().name)?;
            binding.ensure_prepared().map_err(|problem| PreparePoliciesError::Binding {
                binding: binding.identity().name.clone(),
                problem,
            })?;
        }
    }
    Ok(PolicySet::new(bindings)?)
}

/// The steps of preparing.
struct Steps<'w> {
    next: usize,
    of: usize,
    watch: Watch<'w>,
}

impl Steps<'_> {
    /// Begins the next step, which is about a binding, or fails where the caller does not want it.
    fn begin(&mut self, binding: &BindingName) -> Result<(), PreparePoliciesError> {
        let (done, of) = (self.next, self.of);
        if !(self.watch)(PrepareStep { done, of }) {
            return Err(PreparePoliciesError::Stopped { binding: binding.clone(), done, of });
        }
        self.next += 1;
        Ok(())
    }
}

fn settings_file(bytes: &[u8]) -> Result<Settings, SettingsError> {
    match str::from_utf8(bytes) {
        Ok(text) => Settings::from_json(text),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let newlines = before.iter().filter(|byte| **byte == b'\n').count();
            let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            Err(SettingsError::Json(JsonError::Syntax {
                line: newlines + 1,
                column: before.len() - line_start + 1,
                expected: "invalid UTF-8".to_owned(),
            }))
        }
    }
}
