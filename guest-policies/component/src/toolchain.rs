//! The toolchains that compile policies to WebAssembly.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs, io};

use crate::encode::{EncodeError, component, engine_component};

const TARGET: &str = "wasm32-unknown-unknown";

/// The placeholder for the compiled folder in paths that the compiler embeds.
pub const COMPILED_FOLDER: &str = "/countersign";

/// The folder into which `rust-web-src` installs the sources of the standard library.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

/// The source of the compiler for WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The cargo that is on the path; its target was added by `rustup target add`.
    Own,
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src`: std is built from source.
    Debian,
}

/// The reason that no module was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no compiler for WebAssembly.
    #[error(
        "the target {TARGET} is not installed; install it with `rustup target add {TARGET}`, or `apt-get install \
         rustc-web cargo-web rust-web-src lld`"
    )]
    NoToolchain,
    /// The environment names an unknown toolchain.
    #[error("{}={found}: expected `own` or `debian`", Toolchain::VARIABLE)]
    Unknown {
        /// The value of the variable.
        found: String,
    },
    /// A compiler could not be started.
    #[error("{command} could not be started: {source}")]
    Start {
        /// The command.
        command: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The source does not compile.
    #[error("compilation failed ({status})\n{stderr}")]
    Compile {
        /// The exit status of the compiler.
        status: ExitStatus,
        /// The compiler's own messages, unless they were shown.
        stderr: String,
    },
    /// A compiled module could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file of the module.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A compiled module is not one of a policy.
    #[error("{package}: {source}")]
    Encode {
        /// The package.
        package: String,
        /// The cause.
        source: EncodeError,
    },
}

impl Toolchain {
    /// The variable of the environment that chooses one: `own`, or `debian`.
    pub const VARIABLE: &str = "COUNTERSIGN_GUEST_TOOLCHAIN";

    /// The toolchain that the environment names; else the cargo on the path if it has the target, else Debian's if it is
    /// installed.
    ///
    /// # Errors
    /// When no toolchain is installed, or the environment names an unknown one.
    pub fn find() -> Result<Self, BuildError> {
        match env::var(Self::VARIABLE).as_deref() {
            Ok("debian") => Ok(Self::Debian),
            Ok("own") => Ok(Self::Own),
            Ok(other) => Err(BuildError::Unknown { found: other.to_owned() }),
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
            if is_of_outer_cargo(&name.to_string_lossy()) {
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

/// Returns true for a variable that an outer cargo sets for its build scripts and that must not reach the inner cargo.
/// The configuration of registries and the network must.
fn is_of_outer_cargo(name: &str) -> bool {
    const KEPT: [&str; 5] =
        ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    match name {
        "CARGO_HOME" | "CARGO_MAKEFLAGS" => false,
        "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER" => true,
        _ => name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}

/// Returns true if the compiler that cargo uses has the standard library for the target.
fn has_target() -> Result<bool, BuildError> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|source| BuildError::Start { command: "rustc", source })?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// A compilation of packages to core modules.
#[derive(Debug, Clone, Copy)]
pub struct Build<'b> {
    /// The folder of the workspace.
    pub folder: &'b Path,
    /// The folder that contains all sources: that of the workspace or one above. Line tables name it
    /// [`COMPILED_FOLDER`].
    pub root: &'b Path,
    /// Packages of the workspace.
    pub packages: &'b [&'b str],
    /// The target folder of cargo. Each purpose needs its own.
    pub target_dir: &'b Path,
    /// Requires an up-to-date lock file (`--locked`).
    pub locked: bool,
    /// The purpose of the modules.
    pub purpose: Purpose,
    /// Shows the compiler's messages on stderr while it works, rather than in the error.
    pub shown: bool,
}

/// The purpose of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A policy.
    Policy,
    /// A policy that embeds an engine for another language, with the stack that its parser needs.
    Engine,
    /// A policy whose coverage is measured: without optimisation, with line tables, and with the larger stack that such
    /// code needs.
    Coverage,
}

impl Purpose {
    /// The differences from the profile `policy`.
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

    /// The size of the shadow stack. A small one keeps a fresh instance cheap; unoptimised code spills every local to it.
    fn stack_bytes(self) -> u32 {
        match self {
            Self::Policy => 32 << 10,
            Self::Engine => 512 << 10,
            Self::Coverage => 1 << 20,
        }
    }
}

/// Compiles packages to core modules with the profile `policy` of their workspace, and returns the folder of the modules,
/// each named `<package, with underscores>.wasm`.
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
    if build.shown {
        cargo.stderr(Stdio::inherit());
    }
    let output = cargo.output().map_err(|source| BuildError::Start { command: "cargo", source })?;
    if output.status.success() {
        Ok(build.target_dir.join(TARGET).join("policy"))
    } else {
        Err(BuildError::Compile {
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Compiles packages as [`compile`] does, and encodes each as a component: in the order of the packages, with their names.
///
/// # Errors
/// Those of [`compile`], and when a module cannot be read or encoded.
pub fn compile_components<'b>(
    toolchain: Toolchain,
    build: &Build<'b>,
) -> Result<Vec<(&'b str, Vec<u8>)>, BuildError> {
    let modules = compile(toolchain, build)?;
    build
        .packages
        .iter()
        .map(|package| {
            let path = modules.join(format!("{}.wasm", package.replace('-', "_")));
            let module = fs::read(&path).map_err(|source| BuildError::Read { path, source })?;
            let encode = match build.purpose {
                Purpose::Engine => engine_component,
                Purpose::Policy | Purpose::Coverage => component,
            };
            let encoded = encode(&module)
                .map_err(|source| BuildError::Encode { package: (*package).to_owned(), source })?;
            Ok((*package, encoded))
        })
        .collect()
}

/// The compiler flags. Remapped paths give a component the same digest wherever the same compiler builds it, and the
/// `unsupported` backend lets crates that depend on `getrandom` compile while every call of it fails.
fn flags(build: &Build<'_>) -> Vec<String> {
    let mut flags = vec![
        format!("-Clink-arg=-zstack-size={}", build.purpose.stack_bytes()),
        // The last matching prefix wins, so the more specific ones follow.
        format!("--remap-path-prefix={}={COMPILED_FOLDER}", build.root.display()),
        format!("--remap-path-prefix={}=/target", build.target_dir.display()),
        "--cfg=getrandom_backend=\"unsupported\"".to_owned(),
    ];
    if let Some(home) = cargo_home() {
        let home = Path::new(&home);
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
        // The folder is named after the registry or mirror, which must not change the digest.
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
