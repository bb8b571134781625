//! The files of `trust lint` and of `--trust`: those that are named, and those of folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use countersign::Digest;
use countersign_deployment::files;
use countersign_trust::TrustFiles;

/// The maximum length of a file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// The maximum length of all files, in bytes.
const MAX_BYTES: usize = 128 << 20;

/// The maximum number of entries of folders.
const MAX_ENTRIES: usize = 20_000;

/// The maximum depth of folders.
const MAX_DEPTH: usize = 32;

/// The folders that have nothing of one's own.
const LEFT_OUT: &[&str] = &["node_modules", "target", "vendor"];

/// Words without one of which JSON or YAML of a folder is about something else.
const WORDS: &[&str] = &[
    "AssumeRole",
    "ederated",
    "orkloadIdentity",
    "orkload_identity",
    "workload-identity",
    "claimsMatchingExpression",
    "assertions",
    "serviceAccountTokenCreator",
    "serviceAccountOpenIdTokenCreator",
    // Templates that refer to others.
    "TemplateURL",
    "templateLink",
    "AWS::Serverless::Application",
    "::MODULE",
];

/// The forms of one's own code that are not read, with what makes a form of them that is.
const UNREAD: &[(&str, &str)] = &[
    (".bicep", "Bicep is not read: `az bicep build` makes JSON of it, which is"),
    (
        "terragrunt.hcl",
        "Terragrunt's own file is not read: a plan (`terragrunt show -json`) has what it makes",
    ),
    (
        "terragrunt.stack.hcl",
        "Terragrunt's own file is not read: a plan (`terragrunt show -json`) has what it makes",
    ),
];

/// Trust files, their digest, and their texts by name.
pub(crate) struct Read {
    pub(crate) trust: TrustFiles,
    pub(crate) digest: Digest,
    pub(crate) texts: BTreeMap<String, String>,
}

/// Reads and parses files together. A file that cannot be read is a finding, and the others are read.
///
/// # Errors
/// When there are too many.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Read> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, 0, &mut found)?;
        } else {
            found.push((path.clone(), true));
        }
    }
    let (mut texts, mut problems, mut digests, mut bytes_read) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    for (path, is_named) in found {
        let name = path.display().to_string();
        let text = files::read(&path, MAX_FILE_BYTES)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{name}: not UTF-8")));
        let text = match text {
            Ok(text) => text,
            Err(problem) => {
                let problem =
                    problem.strip_prefix(&format!("{name}: ")).unwrap_or(&problem).to_owned();
                problems.push((name, problem));
                continue;
            }
        };
        if let Some(problem) = unread(&path) {
            if is_named || !name.ends_with(".bicep") || is_about_trust(&text) {
                problems.push((name, problem.to_owned()));
            }
            continue;
        }
        if !is_named && !is_code(&path) && !is_about_trust(&text) {
            continue;
        }
        bytes_read += text.len();
        if bytes_read > MAX_BYTES {
            bail!("the files have more than {MAX_BYTES} bytes: give fewer");
        }
        digests.extend_from_slice(Digest::of(text.as_bytes()).as_bytes());
        texts.push((name, text));
    }
    let mut trust = TrustFiles::parse(&texts);
    for (name, problem) in &problems {
        trust.add_unreadable(name, problem);
    }
    Ok(Read { trust, digest: Digest::of(&digests), texts: texts.into_iter().collect() })
}

/// Returns true if a text may be about trust: a credential of Azure may have no word of its own.
fn is_about_trust(text: &str) -> bool {
    WORDS.iter().any(|word| text.contains(word))
        || ["issuer", "subject", "audiences"].iter().all(|word| text.contains(word))
}

/// The reason why a form of code is not read.
fn unread(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy();
    UNREAD.iter().find(|(end, _)| name.ends_with(end)).map(|(_, problem)| *problem)
}

/// Collects the files of a folder, in the order of their names. Links to folders are not followed, and one to a folder
/// of code is said: opening it as a file gives a finding.
fn collect(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, bool)>) -> Result<()> {
    let name = || folder.display();
    if depth > MAX_DEPTH {
        bail!("{}: folders within folders, more than {MAX_DEPTH}", name());
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let Ok(mut entries) = entries else {
        // Opening it as a file gives the reason.
        found.push((folder.to_owned(), true));
        return Ok(());
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if found.len() > MAX_ENTRIES {
            bail!("{}: more than {MAX_ENTRIES} files: give fewer", name());
        }
        let (path, file_name) = (entry.path(), entry.file_name());
        let file_name = file_name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        let is_left_out = file_name.starts_with('.') || LEFT_OUT.contains(&&*file_name);
        if path.is_dir() {
            if kind.is_dir() && !is_left_out {
                collect(&path, depth + 1, found)?;
            } else if kind.is_symlink() && !is_left_out && has_code(&path) {
                found.push((path, true));
            }
        } else if path.is_file()
            && (is_code(&path) || is_document(&path) || unread(&path).is_some())
        {
            found.push((path, false));
        }
    }
    Ok(())
}

/// Returns true for a folder with a file of OpenTofu's.
fn has_code(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES);
    entries.any(|entry| is_code(&entry.path()))
}

/// Returns true for OpenTofu's files. Its lock file is none of them.
fn is_code(path: &Path) -> bool {
    let name = path.to_string_lossy();
    let endings = [".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".tfvars.json"];
    endings.iter().any(|ending| name.ends_with(ending))
}

fn is_document(path: &Path) -> bool {
    let name = path.to_string_lossy();
    // The last ones are what `templatefile` reads.
    [".json", ".yaml", ".yml", ".template", ".tftpl", ".tpl"]
        .iter()
        .any(|ending| name.ends_with(ending))
}
