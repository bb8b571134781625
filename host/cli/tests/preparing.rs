//! Compiling in a child process of the program itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, Compile, CompileError, CompiledCode, Engine, EngineConfig, Form,
    Limits, LoadError, Mode, Optimization, Policy, Preparation, Scope, Settings,
};
use countersign_compiler_worker::ChildProcess;
use countersign_policy_artifacts::SAME_WORKSPACE;

fn child() -> ChildProcess {
    ChildProcess::of_program(env!("CARGO_BIN_EXE_countersign"), ["compile-for-parent"])
}

fn compile(component: &[u8], limits: Limits) -> Result<CompiledCode, CompileError> {
    child().compile(component, Form::Original, Optimization::None, &limits)
}

/// The time limit is at its ceiling unless it is under test: a busy machine must not change a code.
const LIMITS: Limits = Limits { prepare_ms: Limits::CEILING.prepare_ms, ..Limits::DEFAULT };

/// A component that passes the pre-check, and takes long to compile and more than 32 MiB.
fn costly() -> Vec<u8> {
    // Joins of parameters that are read in loops after all of them: each join gets a value of each.
    let (count, params) = (1_000, 128);
    let each = |part: fn(usize, usize, usize) -> String| -> String {
        (0..count).map(|n| part(n % params, n * 7 % params, n * 3 % params)).collect()
    };
    let ifs = each(|on, to, from| {
        format!("(if (local.get {on}) (then (local.set {to} (local.get {from}))))")
    });
    let loops = each(|on, to, from| {
        format!("(loop (local.set {to} (local.get {from})) (br_if 0 (local.get {on})))")
    });
    let function = format!("(func (param {}) {ifs} {loops})", "i32 ".repeat(params));
    // As large as one may be that costs so much.
    let data = format!("(data \"{}\")", "x".repeat(800_000));
    let text = format!("(component (core module {} {data}))", function.repeat(2));
    wat::parse_str(text).unwrap()
}

#[test]
fn a_policy_is_compiled_in_a_child_and_loads_here() {
    let engine = Engine::with(EngineConfig {
        preparation: Preparation::External(Arc::new(child())),
        ..EngineConfig::default()
    })
    .unwrap();
    assert_eq!(engine.preparation().name(), "a child process");
    let policy = Policy::load(&engine, SAME_WORKSPACE, &LIMITS).unwrap();
    assert_eq!(policy.description().name, "same-workspace");
    // Preparing sends the snapshot to the child, which returns code.
    let config = BindingConfig {
        name: "one".parse().unwrap(),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: LIMITS,
        claims: vec![],
    };
    let binding = Binding::prepare(Arc::new(policy), config).unwrap();
    assert_eq!(binding.prepared().unwrap().no_snapshot, None);
}

#[test]
fn what_the_child_refuses_is_what_would_be_refused_here() {
    let cases = countersign_hostile_policies::cases();
    let mut refused = 0;
    for case in cases.iter().filter(|case| matches!(case.row, 11 | 12 | 13 | 15 | 16 | 18)) {
        let here =
            CompiledCode::compile(&case.component, Form::Original, Optimization::None, &LIMITS);
        let there = compile(&case.component, LIMITS);
        assert_eq!(there.as_ref().err(), here.as_ref().err(), "{}", case.name);
        refused += usize::from(there.is_err());
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_child_that_takes_too_long_is_killed() {
    let error = compile(&costly(), Limits { prepare_ms: 20, ..LIMITS }).unwrap_err();
    assert_eq!(error, CompileError::Load(LoadError::PrepareTime { limit_ms: 20 }));
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_that_takes_too_much_memory_ends() {
    let limit = Limits::MIN_PREPARE_MEMORY_BYTES;
    let error = compile(&costly(), Limits { prepare_memory_bytes: limit, ..LIMITS }).unwrap_err();
    assert_eq!(error, CompileError::Load(LoadError::PrepareMemory { limit }));
    // The same component compiles with enough memory.
    assert!(compile(&costly(), LIMITS).is_ok());
}

#[test]
#[cfg(unix)]
fn a_child_that_is_no_child_is_an_error_of_its_own() {
    for (program, problem) in [
        ("/nowhere/at/all", "the child process `/nowhere/at/all`: "),
        ("/bin/false", "exited with exit status: 1"),
        ("/bin/true", "gave no answer"),
        ("/bin/echo", "gave no answer"),
        // It echoes the request, whose first byte is neither of the two.
        ("/bin/cat", "gave no answer"),
    ] {
        let child = ChildProcess::of_program(program, [""; 0]);
        let error =
            child.compile(SAME_WORKSPACE, Form::Original, Optimization::None, &LIMITS).unwrap_err();
        let CompileError::Load(error) = error else { panic!("{error}") };
        assert_eq!(error.code(), "prepare-failed", "{program}");
        assert!(error.to_string().contains(problem), "{program}: {error}");
    }
}
