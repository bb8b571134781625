//! Mistakes in Python: `mistakes.txt` beside this file.

#[path = "../../../testing/mistakes.rs"]
mod table;

use countersign_policy::{Problem, parse_settings};

use self::table::Mistake;
use crate::{Settings, prepare};

#[test]
fn each_mistake_has_its_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/mistakes.txt");
    table::check(path, "policy.py", 40, problems);
}

fn problems(mistake: &Mistake) -> Vec<Problem> {
    let (own, files): (Vec<_>, Vec<_>) =
        mistake.parts.iter().cloned().partition(|(name, _)| name == "settings");
    let settings = own.first().map(|(_, text)| parse_settings(text).expect(&mistake.name));
    let files = files.into_iter().collect();
    prepare(Settings { files, settings, warnings: false }).err().unwrap_or_default()
}
