//! The package of a policy in Rust.

mod types;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use countersign_authoring::SourceFile;
use countersign_component::{Build, COMPILED_FOLDER, Purpose, Toolchain, compile};

use countersign_deployment::files;

/// The package of a policy in Rust.
pub(super) struct RustPackage {
    /// Canonical, because the compiler writes canonical paths into line tables.
    folder: PathBuf,
    name: String,
    /// Builds with `--locked`. A new policy has no lock file yet, and cargo creates one.
    locked: bool,
}

impl RustPackage {
    /// The package in a folder that has a `Cargo.toml`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        let path = folder.join("Cargo.toml");
        let text = files::read_whole_text(&path, 1 << 20)?;
        let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
        let name = name.with_context(|| format!("{}: no `package.name`", path.display()))?;
        let locked = folder.join("Cargo.lock").exists();
        Ok(Self { name: name.to_owned(), locked, folder })
    }

    /// The command that writes the schema of its settings to `settings.schema.json`: its own test, which the SDK's macro
    /// `policy` writes.
    pub(super) fn write_schema(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.env("UPDATE", "1").args(["test", "--quiet", "--lib"]);
        cargo.args(self.locked.then_some("--locked")).arg("settings_schema_is_current");
        cargo
    }

    /// Compiles it to the core module of its component.
    pub(super) fn module(&self, toolchain: Toolchain) -> Result<Vec<u8>> {
        self.compile(toolchain, "target", Purpose::Policy)
    }

    /// Compiles it to a core module with line tables.
    pub(super) fn module_for_coverage(&self, toolchain: Toolchain) -> Result<Vec<u8>> {
        self.compile(toolchain, "target/coverage", Purpose::Coverage)
    }

    fn compile(&self, toolchain: Toolchain, target: &str, purpose: Purpose) -> Result<Vec<u8>> {
        let build = Build {
            folder: &self.folder,
            root: &self.folder,
            packages: &[&self.name],
            target_dir: &self.folder.join(target),
            locked: self.locked,
            purpose,
            shown: false,
        };
        self.read(&compile(toolchain, &build)?)
    }

    /// The policy's own source file for a path in a line table; `None` for a dependency or a generated file.
    pub(super) fn own(&self, path: &Path) -> Option<SourceFile> {
        let path = path.strip_prefix(COMPILED_FOLDER).or_else(|_| path.strip_prefix(&self.folder));
        let path = path.ok()?;
        if path.starts_with("vendor") || path.starts_with("target") {
            return None;
        }
        let text = fs::read_to_string(self.folder.join(path)).ok()?;
        Some(SourceFile { name: path.display().to_string(), left_out: types::lines(&text) })
    }

    /// The text of a line of one of its own files, counted from 1.
    pub(super) fn line(&self, file: &str, line: u32) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let line = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
        Some(line.trim().to_owned())
    }

    fn read(&self, modules: &Path) -> Result<Vec<u8>> {
        let module = modules.join(format!("{}.wasm", self.name.replace('-', "_")));
        fs::read(&module).with_context(|| {
            format!("{}: is `crate-type = [\"cdylib\", \"rlib\"]` in Cargo.toml?", module.display())
        })
    }
}
