//! The inputs of the linter's tests: files, and folders that are linted together.
#![allow(missing_docs, dead_code, clippy::unwrap_used, reason = "tests, of which each uses a part")]

use std::fs;
use std::path::Path;

/// The files of a case: a file, or all files of a folder.
pub(crate) fn files_of(path: &Path, name: &str) -> Vec<(String, String)> {
    if path.is_file() {
        return vec![(name.to_owned(), fs::read_to_string(path).unwrap())];
    }
    let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let within = |entry: fs::DirEntry| {
        files_of(&entry.path(), &format!("{name}/{}", entry.file_name().display()))
    };
    entries.into_iter().flat_map(within).collect()
}

/// The names in a folder of `tests`, without the golden files.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".txt"))
        .collect();
    names.sort();
    names
}
