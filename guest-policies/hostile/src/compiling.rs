//! Components that would cost too much to compile or to instantiate.

use std::fmt::Write as _;

use crate::Case;
use crate::binary::{component, of_module, section};

pub(crate) fn cases() -> Vec<Case> {
    [instances(), bodies(), counts(), types(), images()].concat()
}

fn refused(row: u8, name: impl Into<String>, component: Vec<u8>) -> Case {
    Case::new(row, name, "too-complex", component)
}

fn module(name: &str, fields: &str) -> Case {
    refused(13, name, of_module(fields))
}

/// Components nested `levels` deep, each instantiating the one within it twice.
fn doubling(levels: usize) -> Vec<u8> {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..levels {
        let inner = format!("(instance (instantiate $c{}))", level - 1);
        text = format!("(component $c{level} {text} {inner} {inner})");
    }
    component(&text)
}

/// The same side by side, by aliases of the outer component.
fn doubling_by_alias() -> Vec<u8> {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..21 {
        let _ = write!(
            text,
            "(component $c{level} (alias outer 1 {} (component $i))
                (instance (instantiate $i)) (instance (instantiate $i)))",
            level - 1
        );
    }
    component(&format!("(component {text} (instance (instantiate $c20)))"))
}

fn instances() -> Vec<Case> {
    let many = |module: &str, count: usize| {
        let instances = "(core instance (instantiate $m))".repeat(count);
        component(&format!("(component (core module $m {module}) {instances})"))
    };
    // The modules of a component argument cannot be counted, so it is refused.
    let by_argument = r#"(component (component $a)
        (component $b (import "c" (component $c)) (instance (instantiate $c)))
        (instance (instantiate $b (with "c" (component $a)))))"#;
    // 24,000 imports and 62 instances: 1.5 million links in every evaluation, and hardly any fuel.
    let names = |text: &dyn Fn(usize) -> String| (0..24_000).map(text).collect::<String>();
    let exports = names(&|n| format!(r#"(export "{n}" (func $f))"#));
    let imports = names(&|n| format!(r#"(import "a" "{n}" (func))"#));
    let links = component(&format!(
        r#"(component (core module $a (func $f) {exports}) (core instance $a (instantiate $a))
            (core module $b {imports}) {})"#,
        r#"(core instance (instantiate $b (with "a" (instance $a))))"#.repeat(62)
    ));
    // Half a million items in a segment that each instance keeps.
    let items = component(&format!(
        "(component (core module $m (func $f) (elem func {})) {})",
        "$f ".repeat(8_000),
        "(core instance (instantiate $m))".repeat(63)
    ));
    // A lowered function is an adapter in each instance of the component that lowers it.
    let lowered = "(core func (canon lower (func $f)))".repeat(1_000);
    let adapters = component(&format!(
        r#"(component
            (core module $m (func (export "f"))) (core instance $m (instantiate $m))
            (func $f (canon lift (core func $m "f")))
            (component $c (import "f" (func $f)) {lowered})
            {})"#,
        r#"(instance (instantiate $c (with "f" (func $f))))"#.repeat(120)
    ));
    vec![
        refused(12, "1,500,000 links", links),
        refused(12, "500,000 items of passive segments", items),
        refused(12, "120,000 adapters", adapters),
        refused(12, "21 doublings", doubling(21)),
        refused(12, "8 doublings", doubling(8)),
        Case::new(12, "7 doublings", "missing-interface", doubling(7)),
        refused(12, "21 doublings by alias", doubling_by_alias()),
        Case::new(12, "a component as an argument", "invalid", component(by_argument)),
        refused(3, "65 instances", many("(memory 1)", 65)),
        refused(
            3,
            "33 instances with two of memories and tables",
            many("(memory 0) (table 0 funcref)", 33),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let nested = |open: &str, count: usize| {
        format!("(func {} {})", format!("({open} ").repeat(count), ")".repeat(count))
    };
    let loops = |count: usize| {
        format!("(func (local {}) {})", "i32 ".repeat(1_000), "(loop)".repeat(count))
    };
    let targets = "0 ".repeat(500_000);
    vec![
        module("1,000 nested loops", &nested("loop", 1_000)),
        module("20,000 loops without locals", &format!("(func {})", "(loop)".repeat(20_000))),
        module("3,000 nested blocks", &nested("block", 3_000)),
        module("50,000 locals", &format!("(func (local {}))", "i32 ".repeat(50_000))),
        module(
            "a br_table of 500,000",
            &format!("(func (param i32) (block (br_table {targets} (local.get 0))))"),
        ),
        module("1,001 loops of 1,000 locals", &loops(1_001)),
        Case::new(13, "1,000 loops of 1,000 locals", "missing-interface", of_module(&loops(1_000))),
    ]
}

fn counts() -> Vec<Case> {
    let deep = format!("{}{}", "(component ".repeat(20), ")".repeat(20));
    vec![
        module("100,000 empty functions", &"(func)".repeat(100_000)),
        module("10,001 types", &"(type (func))".repeat(10_001)),
        module("10,001 globals", &"(global i32 (i32.const 0))".repeat(10_001)),
        module("40,001 data segments", &format!("(memory 1) {}", r#"(data "")"#.repeat(40_001))),
        module(
            "50,001 exports",
            &(0..50_001).fold("(func)".to_owned(), |mut text, n| {
                let _ = write!(text, r#"(export "{n}" (func 0))"#);
                text
            }),
        ),
        refused(13, "20 nested components", component(&deep)),
        refused(
            13,
            "100 components",
            component(&format!("(component {})", "(component)".repeat(100))),
        ),
    ]
}

/// A component type that declares a component type, and so on.
fn nested_types(levels: usize) -> Vec<u8> {
    let mut types = vec![1];
    types.extend([0x41, 0x01, 0x01].repeat(levels));
    types.extend([0x41, 0x00]);
    [&b"\0asm\x0d\0\x01\0"[..], &section(7, &types)].concat()
}

fn types() -> Vec<Case> {
    let cases: String = (0..10_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(case \"c{n}\")");
        text
    });
    let parameters: String = (0..2_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(param \"p{n}\" u8)");
        text
    });
    let lists: String = (1..200).fold("(type $t0 (list u8))".to_owned(), |mut text, level| {
        let _ = write!(text, "(type $t{level} (list $t{}))", level - 1);
        text
    });
    vec![
        refused(
            13,
            "a variant of 10,000 cases",
            component(&format!("(component (type (variant {cases})))")),
        ),
        Case::new(
            13,
            "a function of 2,000 parameters",
            "invalid",
            component(&format!("(component (type (func {parameters})))")),
        ),
        Case::new(13, "200 nested lists", "invalid", component(&format!("(component {lists})"))),
        // A recursive reader of these types overflows its stack, which aborts the process.
        refused(13, "300,000 nested types", nested_types(300_000)),
        refused(13, "500 nested types", nested_types(500)),
        // Not too deep, on the 2 MiB of a test's thread.
        Case::new(13, "499 nested types", "missing-interface", nested_types(499)),
    ]
}

fn images() -> Vec<Case> {
    let tables = "(table 1048576 funcref)".repeat(2);
    vec![
        module(
            "images of two huge tables",
            &format!("{tables} (func $f) (elem (table 1) (i32.const 1048575) func $f)"),
        ),
        module(
            "a table filled by 300,000 items",
            &format!(
                "(import \"\" \"\" (table 0 funcref)) (func $f) (elem (offset i32.const 0) func {})",
                "$f ".repeat(300_000)
            ),
        ),
        module(
            "a place of data that takes 300,000 additions",
            &format!(
                "(global $g (import \"\" \"\") i32) (memory 1) (data (offset global.get $g {}))",
                "global.get $g i32.add ".repeat(300_000)
            ),
        ),
        Case::new(
            13,
            "an image of 16 MB for two bytes",
            "missing-interface",
            of_module(r#"(memory 1000) (data (i32.const 0) "a") (data (i32.const 16000000) "b")"#),
        ),
    ]
}
