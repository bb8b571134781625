//! The files that a policy is made of: one, and those that it imports.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use countersign::MAX_SETTINGS_BYTES;
use countersign_deployment::files;

/// Reads a file of a folder and every file of the folder that it imports, by their paths there. `imported` is asked for the
/// paths that a file may import, by its own path and its text; those where nothing is do not count.
///
/// # Errors
/// When a file cannot be read, is no text, or leads out of the folder by a link.
pub(super) fn read(
    folder: &Path,
    main: &str,
    imported: impl Fn(&str, &str) -> Vec<String>,
) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    let mut left = vec![main.to_owned()];
    while let Some(path) = left.pop() {
        if read.contains_key(&path) {
            continue;
        }
        let file = folder.join(&path);
        // A link would bring what is not part of the folder.
        if path != main && !file.canonicalize()?.starts_with(folder.canonicalize()?) {
            bail!("{}: leads out of the policy's folder", file.display());
        }
        let text = files::read_whole_text(&file, MAX_SETTINGS_BYTES as u64)?;
        let imported = imported(&path, &text).into_iter();
        left.extend(imported.filter(|path| folder.join(path).is_file()));
        read.insert(path, text);
    }
    Ok(read)
}
