//! The command line, as a shell sees it, and a folder to call it in.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const MANIFEST: &str = include_str!("../../../../examples/countersign.toml");
pub(crate) const RUN: &str = include_str!("../../../../examples/run.json");

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder with the example's manifest, run and components.
pub(crate) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fill(folder.path());
    folder
}

/// Puts the example's manifest, run and components into a folder.
pub(crate) fn fill(folder: &Path) {
    for (name, component) in countersign_policy_artifacts::POLICIES {
        fs::write(folder.join(format!("{name}.wasm")), component).unwrap();
    }
    // A busy machine must not change a code.
    let limits = "limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }\nscope = ";
    let manifest =
        MANIFEST.replace("../target/policies/", "").replace("\nscope = ", &format!("\n{limits}"));
    fs::write(folder.join("countersign.toml"), manifest).unwrap();
    fs::write(folder.join("run.json"), RUN).unwrap();
}

pub(crate) fn countersign(folder: &Path, line: &str) -> Ran {
    with_stdin(folder, line, "")
}

pub(crate) fn with_stdin(folder: &Path, line: &str, stdin: &str) -> Ran {
    let mut child = command(folder)
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The program, run in a test's folder.
pub(crate) fn command(folder: &Path) -> Command {
    command_of(Path::new(PROGRAM), folder)
}

/// A program, perhaps of another version, run in a test's folder.
pub(crate) fn command_of(program: &Path, folder: &Path) -> Command {
    // Engines are compiled once for all tests of languages, and anew by each test where nobody names a place for that.
    let cache = std::env::var_os("COUNTERSIGN_TEST_CACHE");
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env_remove("CLICOLOR_FORCE")
        .env_remove("COUNTERSIGN_ENGINES")
        .env_remove("RUST_LOG")
        .env("XDG_CACHE_HOME", cache.map_or_else(|| folder.join("cache-home"), PathBuf::from))
        .env("XDG_DATA_HOME", folder.join("data-home"))
        .env("XDG_STATE_HOME", folder.join("state-home"));
    command
}

/// Waits for something that happens by itself.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(90), "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
