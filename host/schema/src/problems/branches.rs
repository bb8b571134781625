//! Selects the intended one of several branches.

use serde_json::Value;

use super::{Leaf, Wrong};
use crate::words::{expected, found, kind};

/// Returns the problems of the intended branch, or one problem that names all branches.
///
/// A branch is not intended if it expects another type of value, or other keys.
pub(super) fn intended(pointer: String, settings: &Value, branches: Vec<Vec<Leaf>>) -> Vec<Leaf> {
    let here = |leaf: &Leaf| leaf.pointer == pointer;
    let of_kind = |leaf: &Leaf| here(leaf) && matches!(leaf.wrong, Wrong::Kind(_));
    let right_kind: Vec<_> = branches.iter().filter(|branch| !branch.iter().any(of_kind)).collect();
    if let [one] = right_kind.as_slice() {
        return (*one).clone();
    }
    let value = settings.pointer(&pointer).unwrap_or(&Value::Null);
    if right_kind.is_empty() {
        let words: Vec<_> = branches
            .iter()
            .flatten()
            .filter(|leaf| here(leaf))
            .filter_map(|leaf| match &leaf.wrong {
                Wrong::Kind(words) => Some(words),
                Wrong::Keys | Wrong::Other => None,
            })
            .flatten()
            .cloned()
            .collect();
        let of_values = words.iter().any(|word| word.starts_with('`'));
        let what = if of_values { found(value) } else { kind(value).to_owned() };
        let message = format!("expected {}, found {what}", expected(&words));
        return vec![Leaf { pointer, message, wrong: Wrong::Kind(words) }];
    }
    let child = |leaf: &Leaf| {
        let step = leaf.pointer.strip_prefix(&pointer).and_then(|rest| rest.strip_prefix('/'));
        step.is_some_and(|step| !step.contains('/'))
    };
    let of_keys = |leaf: &Leaf| child(leaf) && leaf.wrong == Wrong::Keys;
    let right_keys: Vec<_> =
        right_kind.iter().filter(|branch| !branch.iter().any(of_keys)).collect();
    if let [one] = right_keys.as_slice() {
        return (**one).clone();
    }
    let why: Vec<_> = right_kind
        .iter()
        .filter_map(|branch| branch.first())
        .map(|leaf| match leaf.pointer.strip_prefix(&pointer) {
            None | Some("") => leaf.message.clone(),
            Some(within) => format!("{within}: {}", leaf.message),
        })
        .collect();
    let message = format!("matches none of {} forms: {}", branches.len(), why.join("; or "));
    vec![Leaf { pointer, message, wrong: Wrong::Other }]
}
