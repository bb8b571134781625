//! What compiles to WebAssembly.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io};

const TARGET: &str = "wasm32-unknown-unknown";

/// What stands for the folder that was compiled, in the paths that the compiler writes down.
pub const COMPILED_FOLDER: &str = "/countersign";

/// Where `rust-web-src` puts the sources of the standard library.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// Where the compiler for WebAssembly comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The cargo that is on the path; its target was added by `rustup target add`.
    Own,
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src`: std is built from source.
    Debian,
}

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no compiler for WebAssembly.
    #[error(
        "the target {TARGET} is not installed; what brings it: `rustup target add {TARGET}`, or `apt-get install \
         rustc-web cargo-web rust-web-src lld`"
    )]
    NoToolchain,
    /// The environment asks for one that there is not.
    #[error("{}={found}: expected `own` or `debian`", Toolchain::VARIABLE)]
    Asked {
        /// What it asks for.
        found: String,
    },
    /// A compiler could not be started.
    #[error("{command} could not be started: {source}")]
    Start {
        /// Which.
        command: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The source does not compile. The compiler's own words.
    #[error("it does not compile ({status})\n{said}")]
    Compile {
        /// How the compiler ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
}

impl Toolchain {
    /// The variable of the environment that chooses one: `own`, or `debian`.
    pub const VARIABLE: &str = "COUNTERSIGN_GUEST_TOOLCHAIN";

    /// The toolchain that the environment names; else the own one if it has the target, else Debian's if it is installed.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, BuildError> {
        match env::var(Self::VARIABLE).as_deref() {
            Ok("debian") => Ok(Self::Debian),
            Ok("own") => Ok(Self::Own),
            Ok(other) => Err(BuildError::Asked { found: other.to_owned() }),
            Err(_) if has_target()? => Ok(Self::Own),
            Err(_) if Path::new(DEBIAN_SOURCES).is_dir() => Ok(Self::Debian),
            Err(_) => Err(BuildError::NoToolchain),
        }
    }

    fn cargo(self) -> Command {
        let mut cargo = match self {
            Self::Own => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Self::Debian => Command::new("/usr/bin/cargo"),
        };
        for (name, _) in env::vars_os() {
            if is_of_outer(&name.to_string_lossy()) {
                cargo.env_remove(name);
            }
        }
        if self == Self::Debian {
            cargo
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
        }
        cargo
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Own => &[],
            Self::Debian => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// Whether a variable is what an outer cargo tells a build script, and not for the inner one. How packages are reached is.
fn is_of_outer(name: &str) -> bool {
    const KEPT: [&str; 5] =
        ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    match name {
        "CARGO_HOME" | "CARGO_MAKEFLAGS" => false,
        "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" => true,
        _ => name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}

/// Whether the compiler that cargo uses has the standard library for the target.
fn has_target() -> Result<bool, BuildError> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|source| BuildError::Start { command: "rustc", source })?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// What is compiled to core modules.
#[derive(Debug, Clone, Copy)]
pub struct Build<'b> {
    /// The workspace's folder.
    pub folder: &'b Path,
    /// The folder that has all sources in it, the workspace's own or one above. Paths in line tables begin with
    /// [`COMPILED_FOLDER`] where they are in it.
    pub root: &'b Path,
    /// Packages of it.
    pub packages: &'b [&'b str],
    /// Where cargo puts what it builds: for each purpose another one.
    pub target_dir: &'b Path,
    /// The lock file must be there, and stays as it is.
    pub locked: bool,
    /// What the modules are for.
    pub purpose: Purpose,
}

/// What a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A policy.
    Policy,
    /// A policy that has an engine for policies in another language in it: with the stack that parsers need.
    Engine,
    /// A policy whose code can be followed to its lines: without optimisation, with line tables, and with the stack that
    /// such code needs.
    Coverage,
}

impl Purpose {
    /// What is different from the profile `policy`.
    fn profile(self) -> &'static [&'static str] {
        match self {
            Self::Policy | Self::Engine => &[],
            Self::Coverage => &[
                "--config=profile.policy.opt-level=0",
                "--config=profile.policy.debug=\"line-tables-only\"",
                "--config=profile.policy.strip=false",
                "--config=profile.policy.lto=false",
                "--config=profile.policy.codegen-units=16",
            ],
        }
    }

    /// In bytes. A small stack keeps a fresh instance cheap; code without optimisation keeps everything on it.
    fn stack_bytes(self) -> u32 {
        match self {
            Self::Policy => 32 << 10,
            Self::Engine => 512 << 10,
            Self::Coverage => 1 << 20,
        }
    }
}

/// Compiles packages to core modules, by the profile `policy` of their workspace, and gives the folder that they are in:
/// `<package, with underscores>.wasm` each.
///
/// # Errors
/// When cargo cannot be started, or does not succeed.
pub fn compile(toolchain: Toolchain, build: &Build<'_>) -> Result<PathBuf, BuildError> {
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(build.folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(build).join("\u{1f}"))
        .args(["build", "--profile", "policy", "--target", TARGET, "--target-dir"])
        .arg(build.target_dir)
        .args(build.purpose.profile())
        .args(toolchain.arguments())
        .args(build.locked.then_some("--locked"));
    for package in build.packages {
        cargo.args(["--package", package]);
    }
    let output = cargo.output().map_err(|source| BuildError::Start { command: "cargo", source })?;
    if output.status.success() {
        Ok(build.target_dir.join(TARGET).join("policy"))
    } else {
        Err(BuildError::Compile {
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Without this machine's paths a component has the same digest wherever it is built by the same compiler. And a crate
/// that asks for random numbers can be had, but no random numbers.
fn flags(build: &Build<'_>) -> Vec<String> {
    let mut flags = vec![
        format!("-Clink-arg=-zstack-size={}", build.purpose.stack_bytes()),
        // Of several that match, the compiler takes the last.
        format!("--remap-path-prefix={}={COMPILED_FOLDER}", build.root.display()),
        format!("--remap-path-prefix={}=/target", build.target_dir.display()),
        "--cfg=getrandom_backend=\"unsupported\"".to_owned(),
    ];
    if let Some(home) = cargo_home() {
        let home = Path::new(&home);
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
        // Whichever registry, or mirror of it, the packages came from.
        let mut sources: Vec<_> = fs::read_dir(home.join("registry/src"))
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        sources.sort();
        let remap = |source: &PathBuf| format!("--remap-path-prefix={}=/crates", source.display());
        flags.extend(sources.iter().map(remap));
    }
    flags
}

fn cargo_home() -> Option<OsString> {
    env::var_os("CARGO_HOME").or_else(|| {
        env::var_os("HOME").map(|home| Path::new(&home).join(".cargo").into_os_string())
    })
}
