//! Components that would cost too much to compile or to instantiate: refused before.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fmt::Write as _;

use support::hostile::{check, section};

/// Components nested 21 levels deep, each instantiating the one within it twice.
fn doubling_bomb(levels: usize) -> String {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..levels {
        let inner = level - 1;
        text = format!(
            "(component $c{level} {text} (instance (instantiate $c{inner})) (instance (instantiate $c{inner})))"
        );
    }
    text
}

#[test]
fn row_12_doubling() {
    check(&wat::parse_str(doubling_bomb(21)).unwrap(), "too-complex");
    check(&wat::parse_str(doubling_bomb(8)).unwrap(), "too-complex");
    check(&wat::parse_str(doubling_bomb(7)).unwrap(), "missing-interface");
    // Side by side instead of nested, by aliases of the outer component.
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..21 {
        let inner = level - 1;
        let _ = write!(
            text,
            "(component $c{level} (alias outer 1 {inner} (component $i)) (instance (instantiate $i)) (instance (instantiate $i)))"
        );
    }
    let text = format!("(component {text} (instance (instantiate $c20)))");
    check(&wat::parse_str(&text).unwrap(), "too-complex");
    // A component that is given as an argument cannot be counted, so it is not instantiated.
    let text = "(component (component $a) (component $b (import \"c\" (component $c)) (instance (instantiate $c))) (instance (instantiate $b (with \"c\" (component $a)))))";
    check(&wat::parse_str(text).unwrap(), "invalid");
}

#[track_caller]
fn module(fields: &str, code: &str) {
    check(&wat::parse_str(format!("(component (core module {fields}))")).unwrap(), code);
}

#[test]
fn row_13_what_is_costly_to_compile() {
    module(&"(func)".repeat(100_000), "too-complex");
    module(&format!("(func {} {})", "(loop ".repeat(1_000), ")".repeat(1_000)), "too-complex");
    module(&format!("(func {} {})", "(block ".repeat(3_000), ")".repeat(3_000)), "too-complex");
    module(&format!("(func (local {}))", "i32 ".repeat(50_000)), "too-complex");
    module(
        &format!("(func (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(500_000)),
        "too-complex",
    );
    module(&"(type (func))".repeat(10_001), "too-complex");
    module(&"(global i32 (i32.const 0))".repeat(10_001), "too-complex");
    let cases: String = (0..10_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(case \"c{n}\")");
        text
    });
    check(&wat::parse_str(format!("(component (type (variant {cases})))")).unwrap(), "too-complex");
    let mut nested = "(type $t0 (list u8))".to_owned();
    for level in 1..200 {
        let _ = write!(nested, "(type $t{level} (list $t{}))", level - 1);
    }
    check(&wat::parse_str(format!("(component {nested})")).unwrap(), "invalid");
    let deep = format!("{}{}", "(component ".repeat(20), ")".repeat(20));
    check(&wat::parse_str(&deep).unwrap(), "too-complex");
    check(
        &wat::parse_str(format!("(component {})", "(component)".repeat(100))).unwrap(),
        "too-complex",
    );
}

/// The type of a component that declares the type of a component, and so on.
fn nested_types(levels: usize) -> Vec<u8> {
    let mut types = vec![1];
    types.extend([0x41, 0x01, 0x01].repeat(levels));
    types.extend([0x41, 0x00]);
    [&b"\0asm\x0d\0\x01\0"[..], &section(7, &types)].concat()
}

#[test]
fn row_13_types_that_would_overflow_the_stack_of_whoever_reads_them() {
    check(&nested_types(300_000), "too-complex");
    check(&nested_types(500), "too-complex");
    // Deep enough, on the 2 MiB of a test's thread.
    check(&nested_types(499), "missing-interface");
}

#[test]
fn row_13_images_that_would_be_prepared_for_nothing() {
    let tables = "(table 1048576 funcref)".repeat(2);
    module(
        &format!("{tables} (func $f) (elem (table 1) (i32.const 1048575) func $f)"),
        "too-complex",
    );
    module(
        "(memory 1000) (data (i32.const 0) \"a\") (data (i32.const 16000000) \"b\")",
        "missing-interface",
    );
}

#[test]
fn row_13_loops_and_locals() {
    let body = |loops: usize| {
        format!("(func (local {}) {})", "i32 ".repeat(1_000), "(loop)".repeat(loops))
    };
    module(&body(1_000), "missing-interface");
    module(&body(1_001), "too-complex");
}
