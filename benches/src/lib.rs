//! What the benches share: the example's policy set, the published run, and one policy alone.

use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, Claims, Engine, Facts, Limits, Mode, Policy, PolicySet,
    Run, Scope, Settings, SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_deployment::{Manifest, ManifestFiles, prepare_policies};

/// The published run object.
pub const RUN: &str = include_str!("../../examples/run.json");

const EXAMPLE: &str = include_str!("../../examples/countersign.toml");

/// The audience that the claims ask for.
const AUDIENCE: &str = "aws-workload-identity-provider:demo";

/// The example's four bindings.
#[must_use]
pub fn example() -> PolicySet {
    prepare(&engine(), EXAMPLE)
}

/// `same-workspace` alone.
#[must_use]
pub fn same_workspace() -> PolicySet {
    same_workspace_on(&engine())
}

/// `same-workspace` alone, on an engine that others use too.
#[must_use]
pub fn same_workspace_on(engine: &Engine) -> PolicySet {
    prepare(
        engine,
        "[[binding]]\nname = \"one\"\npolicy = \"same-workspace.wasm\"\nscope = \"all\"\n",
    )
}

/// A component bound alone, to every run and without settings: or the code of why it cannot be, and
/// `settings` when it does not take that.
///
/// # Errors
/// When it is no policy, or does not become active.
#[expect(clippy::expect_used, reason = "constants that parse, and one binding")]
pub fn alone(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
) -> Result<PolicySet, &'static str> {
    let policy = Policy::load(engine, component, limits).map_err(|error| error.code())?;
    let config = BindingConfig {
        name: "alone".parse().expect("a name"),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: *limits,
        claims: vec![],
    };
    let binding = Binding::prepare(Arc::new(policy), config).map_err(|error| match error {
        BindingError::Configure { fault, .. } => fault.code(),
        BindingError::Settings { .. } => "settings",
        _ => "another error",
    })?;
    Ok(PolicySet::new(vec![binding]).expect("one binding"))
}

/// The machine and the versions that figures are of, as a line of Markdown.
#[must_use]
pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let lock = include_str!("../../Cargo.lock");
    let (_, wasmtime) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap_or_default();
    let wasmtime = wasmtime.split('"').next().unwrap_or_default();
    let model = model.unwrap_or(std::env::consts::ARCH);
    format!("{processors} × {model}, {}, Wasmtime {wasmtime}.", std::env::consts::OS)
}

/// The compiler that is at hand, in its own words.
#[must_use]
pub fn compiler() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The published run, asking for 15 minutes at AWS.
#[must_use]
#[expect(clippy::expect_used, reason = "constants that parse")]
pub fn claims() -> Claims {
    let run = Run::parse(RUN.as_bytes()).expect("the published run parses");
    let meshstack_id = "demo".parse().expect("a meshStack id");
    let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
    let audiences = vec![AUDIENCE.parse().expect("an audience")];
    let token = TokenRequest::new(audiences, 900, 1_790_000_000).expect("a request");
    Claims::new(run, None, Facts::default(), &subject, token).expect("a subject")
}

#[expect(clippy::expect_used, reason = "a bench needs one")]
fn engine() -> Engine {
    Engine::new().expect("an engine")
}

#[expect(clippy::expect_used, reason = "the example prepares; a test sees to it")]
fn prepare(engine: &Engine, manifest: &str) -> PolicySet {
    let manifest = Manifest::parse(manifest).expect("a manifest");
    let files: ManifestFiles = manifest
        .files()
        .filter_map(|path| {
            let all = countersign_policy_artifacts::POLICIES;
            let (_, bytes) =
                all.iter().find(|(name, _)| path.ends_with(&format!("{name}.wasm")))?;
            Some((path.to_owned(), bytes.to_vec()))
        })
        .collect();
    prepare_policies(engine, &manifest, &files).expect("a policy set")
}
