//! Places in JSON files.

use std::collections::BTreeMap;
use std::path::Path;

use countersign::{BindingError, MAX_SETTINGS_BYTES};
use countersign_deployment::files;
use serde_json::value::RawValue;

use crate::policy::language::Language;

/// Puts file, line and column before each problem of an engine's settings that is in a JSON file of the folder. An engine
/// gets the values of such a file and not its text, so it can give no place but a pointer.
pub(super) fn with_places(error: BindingError, language: Language, folder: &Path) -> BindingError {
    let BindingError::Settings { policy, mut problems, used } = error else { return error };
    for problem in &mut problems {
        let Some((file, pointer)) = language.json_file(&problem.pointer) else { continue };
        let text = files::read_whole_text(&folder.join(file), MAX_SETTINGS_BYTES as u64);
        if let Some((line, column)) = text.ok().and_then(|text| place(&text, pointer)) {
            problem.message.insert_str(0, &format!("{file}:{line}:{column}: "));
        }
    }
    BindingError::Settings { policy, problems, used }
}

/// The line and column, in characters from 1 on, of the value that a pointer leads to, or of the last one on its way.
fn place(text: &str, pointer: &str) -> Option<(usize, usize)> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        match child(value, &step) {
            Some(child) => value = child,
            None => break,
        }
    }
    // A raw value is a part of the text that it was read from.
    let offset = (value.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let before = text.get(..offset)?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Some((line, column))
}

fn child<'v>(value: &'v RawValue, step: &str) -> Option<&'v RawValue> {
    if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) {
        return members.get(step).copied();
    }
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    items.get(step.parse::<usize>().ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_has_a_place() {
        let text = "[\n  {\"ä\": 1, \"b/c\": [true,\n    null]},\n  \"x\"\n]\n";
        for (pointer, expected) in [
            ("", (1, 1)),
            ("/0", (2, 3)),
            ("/0/ä", (2, 9)),
            ("/0/b~1c/1", (3, 5)),
            ("/1", (4, 3)),
            ("/0/other", (2, 3)),
            ("/7/x", (1, 1)),
        ] {
            assert_eq!(place(text, pointer), Some(expected), "{pointer}");
        }
        assert_eq!(place("[", ""), None);
    }
}
