//! Mistakes in Python: `mistakes.txt` beside this file.

#[path = "../../../testing/mistakes.rs"]
mod table;

use std::fmt::Write as _;

use self::table::Mistake;
use super::prepared;

#[test]
fn each_mistake_has_its_message() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/mistakes.txt");
    table::check(path, "policy.py", 40, said);
}

fn said(mistake: &Mistake) -> String {
    let (own, files): (Vec<_>, Vec<_>) =
        mistake.parts.iter().partition(|(name, _)| name == "settings");
    let own = own.first().map_or("{}", |(_, text)| text.as_str());
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let problems = prepared(&files, own).err().unwrap_or_default();
    problems.iter().fold(String::new(), |mut text, problem| {
        writeln!(text, "{problem}").expect("a string");
        text
    })
}
