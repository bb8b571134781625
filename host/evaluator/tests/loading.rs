//! Components that are no policy: each refused under its own code.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{Limits, LoadError, Policy};
use countersign_hostile_policies::guest::{CONTRACT, component_of};
use support::engine;

/// A component of a world, of a module that has every export and none of the behaviour.
fn component(wit: &str) -> Vec<u8> {
    component_of(wit, None)
}

#[track_caller]
fn check(component: &[u8], code: &str, message: &str) {
    let error = Policy::load(engine(), component, &Limits::DEFAULT).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(message), "{error}");
}

#[test]
fn what_is_no_component() {
    check(b"", "not-wasm", "does not begin with `\\0asm`");
    check(b"\x1f\x8b\x08\0gzip", "not-wasm", "");
    check(&wat::parse_str("(module)").unwrap(), "core-module", "expected a component");
    check(b"\0asm", "invalid", "");
    let whole = countersign_policy_artifacts::TTL_CEILING;
    for length in [8, 9, 100, whole.len() / 2, whole.len() - 1] {
        check(&whole[..length], if length == 8 { "missing-interface" } else { "invalid" }, "");
    }
    let limits = Limits { component_bytes: 1000, ..Limits::DEFAULT };
    let error = Policy::load(engine(), whole, &limits).unwrap_err();
    assert_eq!(error, LoadError::TooLarge { bytes: whole.len(), limit: 1000 });
}

#[test]
fn anything_imported() {
    let with =
        |import: &str| CONTRACT.replace("export policy;", &format!("{import} export policy;"));
    check(&component(&with("import now: func() -> u64;")), "import", "imports `now`");
    check(
        &component(&with("import clock: interface { now: func() -> u64; }")),
        "import",
        "imports `clock`",
    );
    check(
        &wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#).unwrap(),
        "import",
        "imports `wasi:cli/environment@0.2.0`",
    );
}

#[test]
fn another_world() {
    check(&wat::parse_str("(component)").unwrap(), "missing-interface", "its exports are: none");
    check(
        &component("package a:b; interface other { f: func(); } world w { export other; }"),
        "missing-interface",
        "its exports are: `a:b/other`",
    );
    check(
        &component(&CONTRACT.replace("policy@1.0.0;", "policy@2.0.0;")),
        "unsupported-version",
        "exports `countersign:policy/policy@2.0.0`, but this host serves 1.0.0: use a newer host",
    );
    check(
        &component(&CONTRACT.replace("policy@1.0.0;", "policy@1.1.0;")),
        "unsupported-version",
        "use a newer host",
    );
    check(
        &component(&CONTRACT.replace("policy@1.0.0;", "policy@0.9.0;")),
        "unsupported-version",
        "this host serves 1.0.0: build the policy for 1.0.0",
    );
    check(
        &component(&CONTRACT.replace("describe: func() -> description;", "")),
        "missing-function",
        "has no function `describe`",
    );
}

#[test]
fn another_type() {
    for (from, to, function) in [
        (
            "evaluate: func(run: run, token: token) -> verdict;",
            "evaluate: func(run: run, token: token) -> u32;",
            "evaluate",
        ),
        (
            "evaluate: func(run: run, token: token) -> verdict;",
            "evaluate: func(run: run) -> verdict;",
            "evaluate",
        ),
        (
            "evaluate: func(run: run, token: token) -> verdict;",
            "evaluate: async func(run: run, token: token) -> verdict;",
            "evaluate",
        ),
        (
            "configure: func(settings: string) -> result<_, list<problem>>;",
            "configure: func(settings: string);",
            "configure",
        ),
        ("describe: func() -> description;", "describe: func() -> string;", "describe"),
        ("        destroy,\n", "        destroy,\n        restart,\n", "evaluate"),
        ("        abstain,\n", "", "evaluate"),
        ("ttl-seconds: u32,", "ttl-seconds: u64,", "evaluate"),
        ("runner: option<string>,", "runner: string,", "evaluate"),
        ("issued-at: u64,", "issued-at: u64, more: u8,", "evaluate"),
        ("max-ttl: option<u32>,", "maximum-ttl: option<u32>,", "evaluate"),
    ] {
        let wit = CONTRACT.replace(from, to);
        assert_ne!(wit, CONTRACT, "{from}");
        let component = component(&wit);
        let error = Policy::load(engine(), &component, &Limits::DEFAULT).unwrap_err();
        let is_async = to.contains("async");
        assert_eq!(error.code(), if is_async { "invalid" } else { "wrong-type" }, "{to}: {error}");
        if !is_async {
            assert!(error.to_string().contains(&format!("`{function}`")), "{error}");
        }
    }
}

#[test]
fn a_verdict_without_restrict_is_named() {
    let lines: Vec<_> = CONTRACT.lines().filter(|line| line.trim() != "restrict(grant),").collect();
    assert_eq!(lines.len() + 1, CONTRACT.lines().count());
    let expected =
        "its function `evaluate` has not the contract's type: its verdict has no `restrict`";
    check(&component(&lines.join("\n")), "wrong-type", expected);
}

#[test]
fn further_exports_are_ignored() {
    let wit = CONTRACT.replace("export policy;", "export policy; export more: func() -> u32;");
    // The module behind it does nothing, so it gets as far as being asked what it is.
    check(&component(&wit), "trap", "could not say what it is: it trapped");
}

#[test]
fn a_feature_that_policies_may_not_use() {
    for module in [
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(func (result f32) f32.const 0 f32.const 0 f32.const 0 drop drop) (tag)",
        "(type (struct (field i32)))",
    ] {
        let text = format!("(component (core module {module}))");
        check(&wat::parse_str(&text).unwrap(), "invalid", "");
    }
}
