//! Computes the digest of everything that the components of the engines are made of.

mod sources;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sources::{digest, packages, statements};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The files and folders that are inputs as a whole, relative to the workspace. The engines' lock file has the versions
/// of what they depend on.
const SOURCES: &[&str] = &[
    "guest-policies/component/Cargo.toml",
    "guest-policies/component/src",
    "guest-policies/engine-components/src/build.rs",
    "guest-policies/engines/Cargo.lock",
    "guest-policies/engines/Cargo.toml",
    "guest-policies/engines/cedar",
    "guest-policies/engines/cel",
    "guest-policies/engines/frozen",
    "guest-policies/engines/javascript",
    "guest-policies/engines/python",
    "guest-policies/engines/rego",
    "guest-policies/engines/shared",
    "guest-policies/sdk/Cargo.toml",
    "guest-policies/sdk/macros",
    "guest-policies/sdk/src",
    "wit",
];

/// The keys of the workspace's manifest that the SDK inherits: a change of any other must not build engines again.
const INHERITED: &[&str] =
    &["countersign-policy-macros", "edition", "rust-version", "serde", "version", "wit-bindgen"];

/// The crates that make a component of a module. Their versions are in the workspace's lock file.
const ENCODERS: &[&str] = &["wasm-encoder", "wasmparser", "wit-component"];

#[expect(clippy::print_stdout, reason = "how a build script instructs cargo")]
fn main() -> Result<()> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = here.ancestors().nth(2).ok_or("no workspace above this crate")?;
    let mut files = BTreeMap::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
        read(workspace, source, &mut files)?;
    }
    for (name, part) in [("Cargo.toml", INHERITED), ("Cargo.lock", ENCODERS)] {
        let path = workspace.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).map_err(of(&path))?;
        let read = if name == "Cargo.toml" { statements } else { packages };
        files.insert(name.to_owned(), read(&text, part).into_bytes());
    }
    println!("cargo::rustc-env=COUNTERSIGN_ENGINE_SOURCES={}", digest(&files));
    Ok(())
}

/// Reads a file, or all files below a folder. Hidden ones are an editor's.
fn read(workspace: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let path = workspace.join(name);
    if path.is_dir() {
        for entry in fs::read_dir(&path).map_err(of(&path))? {
            let entry = entry?.file_name().into_string().map_err(|_| "a name is not UTF-8")?;
            if !entry.starts_with('.') {
                read(workspace, &format!("{name}/{entry}"), files)?;
            }
        }
    } else {
        files.insert(name.to_owned(), fs::read(&path).map_err(of(&path))?);
    }
    Ok(())
}

fn of(path: &Path) -> impl FnOnce(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
