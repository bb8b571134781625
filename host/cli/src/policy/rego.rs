//! The files of a policy in Rego, and the questions about them that its engine answers.

pub(super) mod measure;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use countersign::{EvaluationUsage, Limits, MAX_SETTINGS_BYTES, Policy, Settings};
use countersign_authoring::CaseOutcome;
use countersign_deployment::files;
use serde_json::value::to_raw_value;

use super::ask::{ask, with};

/// The file that a policy begins with, which the settings have by a key of its own.
const MAIN: &str = "policy.rego";

/// The document of a policy, which the settings have by a key of its own.
const DATA: &str = "data.json";

/// The names of documents, in any folder.
const DOCUMENTS: [&str; 3] = ["data.json", "data.yaml", "data.yml"];

/// The end of the names of files with tests, which are not part of the policy.
const TESTS: &str = "_test.rego";

/// The folders that hold nothing of the policy.
const OTHERS: [&str; 3] = ["node_modules", "target", "vendor"];

/// The most files of a folder: beyond, it is hardly that of one policy.
const MAX_FILES: usize = 1000;

/// Reads the files of a folder beside `policy.rego` and `data.json`, by their paths there, as `opa build` takes them: modules,
/// and documents in any folder.
///
/// # Errors
/// When one cannot be read, is no text, or leads out of the folder by a link.
pub(super) fn read(folder: &Path, with_tests: bool) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    for path in paths(folder)? {
        if with_tests || !path.ends_with(TESTS) {
            let file = folder.join(&path);
            // A link would bring what is not part of the folder.
            if !file.canonicalize()?.starts_with(folder.canonicalize()?) {
                bail!("{}: leads out of the policy's folder", file.display());
            }
            let text = files::read_whole_text(&file, MAX_SETTINGS_BYTES as u64)?;
            read.insert(path, text);
        }
    }
    Ok(read)
}

/// The paths of the files that [`read`] reads, tests included.
pub(super) fn paths(folder: &Path) -> Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(below) = folders.pop() {
        let here = folder.join(&below);
        for entry in fs::read_dir(&here).with_context(|| here.display().to_string())? {
            let entry = entry.with_context(|| here.display().to_string())?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            // A link may lead back up.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !OTHERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if (name.ends_with(".rego") || DOCUMENTS.contains(&name.as_str()))
                && ![MAIN, DATA].contains(&path.as_str())
            {
                found.push(path);
            }
            if found.len() > MAX_FILES {
                bail!("{}: more than {MAX_FILES} files of a policy", folder.display());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The warnings about a policy.
///
/// # Errors
/// When the engine does not answer.
pub(super) fn warnings(
    policy: &Arc<Policy>,
    settings: &Settings,
    limits: Limits,
) -> Result<Vec<String>> {
    Ok(ask(policy, settings, limits, "warnings")?.into_iter().map(|(_, message)| message).collect())
}

/// The outcomes of the rules `test_…` of a policy and of its files `…_test.rego`, as those of cases.
///
/// # Errors
/// When the files cannot be read, or the engine does not take them.
pub(super) fn test_rules(
    policy: &Arc<Policy>,
    settings: &Settings,
    folder: &Path,
    limits: Limits,
) -> Result<Vec<CaseOutcome>> {
    let files = read(folder, true)?;
    let has_tests = |text: &str| text.contains("test_");
    let is_in_policy = has_tests(settings.as_json());
    if !is_in_policy && !files.values().any(|text| has_tests(text)) {
        return Ok(Vec::new());
    }
    let settings = with(settings, "files", to_raw_value(&files)?)?;
    let (mut outcomes, mut printed) = (Vec::new(), Vec::new());
    for (pointer, message) in ask(policy, &settings, limits, "tests")? {
        if pointer.starts_with("/prints/") {
            printed.push(message);
        } else if let Some(name) = pointer.strip_prefix("/tests/") {
            // A test that is not done yet fails nothing.
            let expected = if message == "skipped" { "skipped" } else { "passed" };
            outcomes.push(CaseOutcome {
                name: name.to_owned(),
                expected: expected.to_owned(),
                found: message,
                detail: std::mem::take(&mut printed),
                used: EvaluationUsage::default(),
                error: None,
            });
        } else {
            bail!("{pointer}: {message}");
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_documents_of_all_folders_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "policy.rego",
            "data.json",
            "data.yaml",
            "lib.rego",
            "lib/names.rego",
            "lib/data.json",
            "policy_test.rego",
            "settings.json",
            "target/old.rego",
            ".git/x.rego",
        ] {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "x").unwrap();
        }
        let names =
            |with_tests| read(folder.path(), with_tests).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(names(false), ["data.yaml", "lib.rego", "lib/data.json", "lib/names.rego"]);
        assert_eq!(
            names(true),
            ["data.yaml", "lib.rego", "lib/data.json", "lib/names.rego", "policy_test.rego"]
        );
    }
}
