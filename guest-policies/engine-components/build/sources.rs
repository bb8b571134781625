//! The digest of sources, and the parts of a workspace's files that belong to them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The SHA-256 of files by path, in hexadecimal. Paths and contents are prefixed with their lengths, so that no two
/// lists of files have the same input.
pub(crate) fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hasher = Sha256::new();
    for part in files.iter().flat_map(|(path, content)| [path.as_bytes(), content]) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The statements of a TOML file that set one of these keys, in any table, with the lines that they go on in.
pub(crate) fn statements(text: &str, keys: &[&str]) -> String {
    let mut is_wanted = false;
    lines(text, |line| {
        // A line that goes on with a statement is indented, or closes a bracket.
        if !line.starts_with([' ', '\t', ']', '}']) {
            let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
            is_wanted = keys.contains(&key);
        }
        is_wanted
    })
}

/// The packages of a lock file that have one of these names, in all their versions.
pub(crate) fn packages(text: &str, names: &[&str]) -> String {
    let mut is_wanted = false;
    lines(text, |line| {
        if let Some(name) = line.strip_prefix("name = ") {
            is_wanted = names.contains(&name.trim_matches('"'));
        } else if line.is_empty() {
            is_wanted = false;
        }
        is_wanted
    })
}

fn lines(text: &str, mut is_wanted: impl FnMut(&str) -> bool) -> String {
    text.lines()
        .filter(|line| is_wanted(line))
        .fold(String::new(), |found, line| found + line + "\n")
}
