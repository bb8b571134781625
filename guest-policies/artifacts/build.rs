//! Builds every policy to a component: a nested cargo for WebAssembly, then `wit-component`.

use std::convert::Infallible;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use wasm_encoder::ExportSection;
use wasm_encoder::reencode::{self, Reencode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folders beside this one that hold a policy.
const POLICIES: &[&str] = &[
    "allowed-consumers",
    "audience-per-implementation",
    "change-window",
    "same-workspace",
    "scripted",
    "trigger-gate",
    "ttl-ceiling",
];

const TARGET: &str = "wasm32-unknown-unknown";

/// Where `rust-web-src` puts the sources of the standard library.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/std";

#[expect(clippy::print_stderr, reason = "how a build script says why it failed")]
fn main() {
    if let Err(error) = build() {
        // Cargo shows what a build script prints only when it fails; say it plainly.
        eprintln!("\nerror: the policies could not be built to WebAssembly: {error}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = here.ancestors().nth(2).ok_or("no workspace above this crate")?;
    for input in ["guest-policies", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={}", Toolchain::VARIABLE);

    // A target folder of its own: the outer cargo holds the lock of the outer one.
    let target_dir = out.ancestors().nth(4).ok_or("no target folder above")?.join("guest");
    let toolchain = Toolchain::find()?;
    compile(&toolchain, workspace, &target_dir)?;
    for policy in POLICIES {
        let module = target_dir
            .join(TARGET)
            .join("policy")
            .join(format!("{}.wasm", policy.replace('-', "_")));
        fs::write(out.join(format!("{policy}.wasm")), component(&module)?)?;
    }
    Ok(())
}

/// Where the compiler for WebAssembly comes from.
enum Toolchain {
    /// The cargo that runs this script; its target was added by `rustup target add`.
    Own,
    /// Debian's `rustc-web`, `cargo-web` and `rust-web-src`: std is built from source.
    Debian,
}

impl Toolchain {
    const VARIABLE: &str = "COUNTERSIGN_GUEST_TOOLCHAIN";

    /// The toolchain that the environment names; else the own one if it has the target, else
    /// Debian's if it is installed.
    fn find() -> Result<Self> {
        match env::var(Self::VARIABLE).as_deref() {
            Ok("debian") => Ok(Self::Debian),
            Ok("own") => Ok(Self::Own),
            Ok(other) => {
                Err(format!("{}={other}: expected `own` or `debian`", Self::VARIABLE).into())
            }
            Err(_) if has_target()? => Ok(Self::Own),
            Err(_) if Path::new(DEBIAN_SOURCES).is_dir() => Ok(Self::Debian),
            Err(_) => Err(format!(
                "the target {TARGET} is not installed. Run `make toolchain`, or one of: \
                 `rustup target add {TARGET}`, `apt-get install rustc-web cargo-web rust-web-src lld`"
            )
            .into()),
        }
    }

    fn cargo(&self) -> Result<Command> {
        Ok(match self {
            Self::Own => Command::new(variable("CARGO")?),
            Self::Debian => {
                let mut cargo = Command::new("/usr/bin/cargo");
                cargo
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
                cargo
            }
        })
    }

    fn arguments(&self) -> &[&str] {
        match self {
            Self::Own => &[],
            Self::Debian => &["-Zbuild-std=std,panic_abort"],
        }
    }
}

/// Whether the compiler that cargo uses has the standard library for the target.
fn has_target() -> Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).is_dir())
}

/// Compiles every policy to a core module.
fn compile(toolchain: &Toolchain, workspace: &Path, target_dir: &Path) -> Result<()> {
    // A small stack keeps a fresh instance cheap. Without this machine's paths a component has
    // the same digest wherever it is built by the same compiler.
    let mut flags = vec!["-Clink-arg=-zstack-size=32768".to_owned()];
    flags.push(format!("--remap-path-prefix={}=/countersign", workspace.display()));
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    let mut cargo = toolchain.cargo()?;
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        // What the outer cargo tells this script is not for the inner one.
        let outer = text.starts_with("CARGO_") && text != "CARGO_HOME" && text != "CARGO_MAKEFLAGS";
        if outer || matches!(&*text, "RUSTFLAGS" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER") {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(workspace)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .args(["build", "--locked", "--profile", "policy", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .args(toolchain.arguments());
    for policy in POLICIES {
        cargo.args(["--package", policy]);
    }
    let output = cargo.output().map_err(|e| format!("cargo could not be started: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn component(module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module).map_err(|e| format!("{}: {e}", module.display()))?;
    let bytes = without_post_return(&bytes).map_err(|e| format!("{}: {e}", module.display()))?;
    let component = wit_component::ComponentEncoder::default()
        .module(&bytes)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|e| format!("{}: {e:#}", module.display()))?;
    Ok(component)
}

/// The module without the exports that free what a function returned: an instance is thrown away after
/// its first call, and the SDK's allocator frees nothing.
fn without_post_return(module: &[u8]) -> Result<Vec<u8>> {
    let mut without = wasm_encoder::Module::new();
    WithoutPostReturn.parse_core_module(&mut without, wasmparser::Parser::new(0), module)?;
    Ok(without.finish())
}

struct WithoutPostReturn;

impl Reencode for WithoutPostReturn {
    type Error = Infallible;

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> std::result::Result<(), reencode::Error> {
        // The name is the component model's.
        if export.name.starts_with("cabi_post_") {
            return Ok(());
        }
        reencode::utils::parse_export(self, exports, export)
    }
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|e| format!("{name}: {e}").into())
}
