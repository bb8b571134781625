//! The script that pipelines comment merge requests by (`examples/ci`), in a checkout of its own.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::folder;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/ci/impact.sh");

fn git(folder: &Path, line: &str) {
    let ran = Command::new("git").current_dir(folder).args(line.split_whitespace()).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "git {line}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Runs the script, and returns its status and the comment.
fn impact(folder: &Path, variables: &[(&str, &str)]) -> (i32, String) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_countersign"));
    let path = env::join_paths(
        [program.parent().unwrap().to_owned()]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let command = support::command(folder);
    let script = Command::new("sh")
        .arg(SCRIPT)
        .current_dir(folder)
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
        )
        .env("PATH", path)
        .env("BASE", "HEAD")
        .env("AUDIENCE", "aws-workload-identity-provider:demo")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let comment = fs::read_to_string(folder.join("impact.md")).unwrap();
    assert!(comment.starts_with("<!-- countersign impact -->\n"), "{comment}");
    (script.status.code().unwrap(), comment + &String::from_utf8_lossy(&script.stderr))
}

#[test]
fn a_change_is_commented_by_its_effect() {
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("runs")).unwrap();
    fs::rename(path.join("run.json"), path.join("runs/run.json")).unwrap();
    let manifest = fs::read_to_string(path.join("countersign.toml")).unwrap();
    let shorter = manifest.replace("apply = 3600", "apply = 600");
    assert_ne!(manifest, shorter);
    fs::write(path.join("countersign.toml"), &shorter).unwrap();
    git(path, "init --quiet");
    git(path, "add countersign.toml runs .");
    git(path, "-c user.name=a -c user.email=a@example.com commit --quiet --message base");

    let changed = |text: &str| fs::write(path.join("countersign.toml"), text).unwrap();
    for (name, manifest, status, says) in [
        ("unchanged", &shorter, 0, "no difference that anybody sees"),
        ("a longer lifetime", &manifest, 2, "**fails on wider**"),
        ("no manifest", &"binding = 5".to_owned(), 1, "not worked out"),
    ] {
        changed(manifest);
        let (found, comment) = impact(path, &[]);
        assert_eq!(found, status, "{name}: {comment}");
        assert!(comment.contains(says), "{name}: {comment}");
    }
    changed(&manifest);
    let (status, comment) = impact(path, &[("FAIL_ON", "gained")]);
    assert_eq!(status, 0, "{comment}");
    assert!(comment.contains("1 wider, of 1"), "{comment}");
    let (status, comment) = impact(path, &[("BUILD", "pwd >> built")]);
    assert_eq!(status, 2, "{comment}");
    // At the top of the checkout; that of the other commit is gone, as all of it is.
    assert_eq!(fs::read_to_string(path.join("built")).unwrap().lines().count(), 1);
    let worktrees = Command::new("git").current_dir(path).args(["worktree", "list"]).output();
    assert_eq!(String::from_utf8(worktrees.unwrap().stdout).unwrap().lines().count(), 1);
}

/// The workflows run the script as its head says, and nothing else decides.
#[test]
fn the_workflows_run_the_script_and_post_its_comment() {
    for workflow in ["github.yml", "gitlab.yml"] {
        let path = Path::new(SCRIPT).with_file_name(workflow);
        let text = fs::read_to_string(path).unwrap();
        let marker = "<!-- countersign impact -->";
        for part in ["sh ci/impact.sh", "impact.md", "impact.html", "AUDIENCE", "BASE", marker] {
            assert!(text.contains(part), "{workflow}: {part}");
        }
    }
}
