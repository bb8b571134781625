//! Translates the library's errors to problems with settings.

mod branches;
mod leaves;

use std::collections::BTreeMap;

use boon::{ErrorKind, ValidationError};
use countersign::SettingsProblem;
use serde_json::Value;

use crate::read::escaped;

/// One problem, before branches are resolved.
#[derive(Debug, Clone)]
struct Leaf {
    pointer: String,
    message: String,
    wrong: Wrong,
}

/// The kind of a problem, which tells which of several branches was intended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    /// Another type, or none of the listed values: these were expected.
    Kind(Vec<String>),
    /// A missing or unknown key.
    Keys,
    /// Any other problem.
    Other,
}

/// The documents that the problems refer to.
pub(crate) struct Problems<'a> {
    schema: &'a Value,
    patterns: &'a BTreeMap<String, String>,
    settings: &'a Value,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(
        schema: &'a Value,
        patterns: &'a BTreeMap<String, String>,
        settings: &'a Value,
    ) -> Self {
        Self { schema, patterns, settings }
    }

    /// Collects all problems, in the order of pointers.
    pub(crate) fn of(&self, error: &ValidationError<'_, '_>) -> Vec<SettingsProblem> {
        let mut leaves = self.leaves(error);
        leaves.sort_by(|a, b| {
            steps(&a.pointer).cmp(steps(&b.pointer)).then_with(|| a.message.cmp(&b.message))
        });
        leaves.dedup_by(|a, b| (&a.pointer, &a.message) == (&b.pointer, &b.message));
        leaves
            .into_iter()
            .map(|Leaf { pointer, message, .. }| SettingsProblem { pointer, message })
            .collect()
    }

    fn leaves(&self, error: &ValidationError<'_, '_>) -> Vec<Leaf> {
        let pointer = error.instance_location.to_string();
        let of_causes = || error.causes.iter().flat_map(|cause| self.leaves(cause));
        match &error.kind {
            ErrorKind::Group
            | ErrorKind::Schema { .. }
            | ErrorKind::Reference { .. }
            | ErrorKind::AllOf => of_causes().collect(),
            ErrorKind::AnyOf | ErrorKind::OneOf(None) => {
                let branches = error.causes.iter().map(|cause| self.leaves(cause)).collect();
                branches::intended(pointer, self.settings, branches)
            }
            ErrorKind::PropertyName { prop } => {
                let why = of_causes().next().map(|leaf| leaf.message).unwrap_or_default();
                let pointer = format!("{pointer}/{}", escaped(prop));
                vec![Leaf { pointer, message: format!("the key: {why}"), wrong: Wrong::Keys }]
            }
            kind => self.leaf(pointer, error.schema_url, kind),
        }
    }
}

/// The sort key of a pointer: array indices sort by number.
fn steps(pointer: &str) -> impl Iterator<Item = (usize, &str)> {
    pointer.split('/').map(|step| (step.parse().unwrap_or(usize::MAX), step))
}
