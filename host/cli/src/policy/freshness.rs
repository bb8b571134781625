//! The sources that a component is built of, and whether they have changed since.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::language::Language;

/// The folders that hold no source of the policy's own.
const OTHERS: [&str; 3] = ["target", "types", "vendor"];

/// The sources of a component that `policy build` compiles; none for a policy that is text.
pub(super) fn sources(language: Language, folder: &Path) -> Vec<PathBuf> {
    match language {
        Language::Rust => {
            let mut sources = files(&folder.join("src"), "rs");
            sources.push(folder.join("Cargo.toml"));
            sources
        }
        Language::Cpython => files(folder, "py"),
        Language::Javascript
        | Language::Typescript
        | Language::Python
        | Language::Rego
        | Language::Cedar
        | Language::Cel => Vec::new(),
    }
}

/// The newest of these files that changed after a time, if one did.
pub(super) fn newer_than(time: SystemTime, sources: &[PathBuf]) -> Option<&PathBuf> {
    let changed = sources.iter().filter_map(|source| Some((modified(source)?, source)));
    changed.filter(|(changed, _)| *changed > time).max().map(|(_, source)| source)
}

/// The time of a file's last change.
pub(super) fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// The files with an extension in a folder and those below it, without those that begin with a dot.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // A link may lead back up.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if name.starts_with('.') || (is_folder && OTHERS.contains(&&*name)) {
                continue;
            }
            if is_folder {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                found.push(path);
            }
        }
    }
    found
}
