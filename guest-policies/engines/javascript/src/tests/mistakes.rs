//! Mistakes in JavaScript and TypeScript: `mistakes.txt` beside this file.

#[path = "../../../testing/mistakes.rs"]
mod table;

use self::table::Mistake;
use super::*;

#[test]
fn each_mistake_has_its_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/mistakes.txt");
    table::check(path, "policy.js", 40, problems);
}

/// The first problem: the interpreter ends at it.
fn problems(mistake: &Mistake) -> Vec<Problem> {
    let (own, files): (Vec<_>, Vec<_>) =
        mistake.parts.iter().cloned().partition(|(name, _)| name == "settings");
    let settings = own.first().map(|(_, text)| parse_settings(text).expect(&mistake.name));
    let files = files.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    prepare(Settings { files, settings, warnings: false }).err().unwrap_or_default()
}
