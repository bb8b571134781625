//! Components that would cost too much to compile or to instantiate.

use std::fmt::Write as _;

use crate::Case;
use crate::binary::{component, of_module, section};

pub(crate) fn cases() -> Vec<Case> {
    [
        instances(),
        bodies(),
        carried(),
        joined(),
        operators(),
        counts(),
        initialised(),
        types(),
        images(),
    ]
    .concat()
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
        Case::new(13, "40 loops of 1,000 locals", "missing-interface", of_module(&loops(40))),
    ]
}

/// A type of so many values in and as many out, named `$b`.
fn block_type(values: usize, ty: &str) -> String {
    let values = format!("{ty} ").repeat(values);
    format!("(type $b (func (param {values}) (result {values})))")
}

/// So many blocks in sequence, each of that type.
fn sequence(block: &str, values: usize, count: usize) -> String {
    let one = match block {
        "if" => "(i32.const 1) (if (type $b) (then) (else))".to_owned(),
        block => format!("({block} (type $b))"),
    };
    format!(
        "{} (func {} {} {})",
        block_type(values, "i32"),
        "(i32.const 0) ".repeat(values),
        format!("{one} ").repeat(count),
        "drop ".repeat(values)
    )
}

/// Values that blocks, branches and calls carry.
fn carried() -> Vec<Case> {
    let module = |name: &str, fields: &str| refused(23, name, of_module(fields));
    let mut cases = Vec::new();
    for (block, count) in [("block", 400), ("loop", 200), ("if", 200)] {
        let name = format!("{count} {block}s of 1,000 values");
        cases.push(module(&name, &sequence(block, 1_000, count)));
        let count = count * 20;
        let name = format!("{count} {block}s of 100 values");
        cases.push(module(&name, &sequence(block, 100, count)));
    }
    let call = |values: usize, count: usize| {
        format!(
            "{} (func $f (type $b) unreachable) (func {} {} {})",
            block_type(values, "i32"),
            "(i32.const 0) ".repeat(values),
            "(call $f) ".repeat(count),
            "drop ".repeat(values)
        )
    };
    cases.push(module("400 calls of 1,000 values", &call(1_000, 400)));
    cases.push(module("10,000 calls of 100 values", &call(100, 10_000)));
    let functions = |values: usize, count: usize| {
        format!(
            "{} {} (table funcref (elem {}))",
            block_type(values, "v128"),
            (0..count).map(|n| format!("(func $f{n} (type $b) unreachable)")).collect::<String>(),
            (0..count).map(|n| format!("$f{n} ")).collect::<String>()
        )
    };
    cases.push(module("500 functions of 2,000 vectors", &functions(1_000, 500)));
    cases.push(module("8,000 functions of 200 vectors", &functions(100, 8_000)));
    let table = |values: usize, blocks: usize| {
        format!(
            "(type $r (func (result {}))) (func {} {} (br_table {} (i32.const 0)) {}{})",
            "i32 ".repeat(values),
            "(block (type $r) ".repeat(blocks),
            "(i32.const 0) ".repeat(values),
            (0..blocks).map(|n| format!("{n} ")).collect::<String>(),
            ")".repeat(blocks),
            " drop".repeat(values)
        )
    };
    cases.push(module("a `br_table` over 1,000 blocks of 100 values", &table(100, 1_000)));
    cases
}

/// Joins, each of which may need a value of each local.
fn joined() -> Vec<Case> {
    let body = |ifs: usize, locals: usize, params: usize| {
        let all = locals + params;
        format!(
            "(func (param {}) (local {}) {} {})",
            "i32 ".repeat(params),
            "i32 ".repeat(locals),
            (0..ifs)
                .map(|n| format!(
                    "(if (local.get {}) (then (local.set {} (i32.const {n}))))",
                    n % all,
                    (n * 7) % all
                ))
                .collect::<String>(),
            (0..all).map(|n| format!("(drop (local.get {n}))")).collect::<String>()
        )
    };
    vec![
        refused(23, "20,000 `if` of 5,000 locals", of_module(&body(20_000, 5_000, 0))),
        refused(23, "5,000 `if` of 5,000 locals", of_module(&body(5_000, 5_000, 0))),
        refused(
            23,
            "20,000 `if` of 200 parameters and 2,000 locals",
            of_module(&body(20_000, 2_000, 200)),
        ),
        refused(
            23,
            "1,000 `if` and then 1,400 loops of 128 parameters",
            of_module(&if_loops(1_000, 1_400, 128)),
        ),
        refused(
            23,
            "1,900 blocks of 5 values and a `br_table` to each",
            of_module(&table_of_blocks(1_900, 5)),
        ),
        refused(
            23,
            "800 `table.init` before 1,300 locals are read",
            of_module(&table_reads(800, 1_300)),
        ),
        // Their square costs more than their bytes may: exports make a component larger, and little more.
        refused(
            23,
            "10,000 `if` beside 9,000 exports",
            branches("global.get $g if else end ", 10_000),
        ),
        refused(
            23,
            "10,000 `br_if` beside 9,000 exports",
            branches("global.get $g br_if 0 ", 10_000),
        ),
        refused(
            23,
            "10,000 `br_table` beside 9,000 exports",
            branches("block global.get $g br_table 0 0 end ", 10_000),
        ),
        refused(
            23,
            "12,000 blocks that are left beside 9,000 exports",
            branches("block br 0 end ", 12_000),
        ),
    ]
}

/// Joins of parameters that are read in loops after all of them.
fn if_loops(ifs: usize, loops: usize, params: usize) -> String {
    let local = |n: usize| n % params;
    let ifs = (0..ifs).map(|n| {
        let (on, to, from) = (local(n), local(n * 7), local(n * 3));
        format!("(if (local.get {on}) (then (local.set {to} (local.get {from}))))")
    });
    let loops = (0..loops).map(|n| {
        let (on, to, from) = (local(n), local(n * 7), local(n * 3));
        format!("(loop (local.set {to} (local.get {from})) (br_if 0 (local.get {on})))")
    });
    let (ifs, loops): (String, String) = (ifs.collect(), loops.collect());
    format!("(func (param {}) {ifs} {loops})", "i32 ".repeat(params))
}

/// Blocks within one another, each with values, and a branch to each of them.
fn table_of_blocks(blocks: usize, values: usize) -> String {
    let push = "(i64.const 1)".repeat(values);
    format!(
        "(global $g (mut i32) (i32.const 7)) (type $r (func (result {}))) (func {} {push} (br_table {} (global.get $g)) {}) {})",
        "i64 ".repeat(values),
        "(block (type $r) ".repeat(blocks),
        (0..blocks).map(|n| format!("{n} ")).collect::<String>(),
        format!(") {} {push}", "drop ".repeat(values)).repeat(blocks - 1),
        "drop ".repeat(values)
    )
}

/// Operators with branches within them, before all locals are read.
fn table_reads(count: usize, locals: usize) -> String {
    format!(
        "(table $t 1 funcref) (elem $e func $f) (func $f (local {}) {} {})",
        "i32 ".repeat(locals),
        "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))".repeat(count),
        (0..locals).map(|n| format!("(drop (local.get {n}))")).collect::<String>()
    )
}

/// One body with so many branches, in a component that is mostly exports.
fn branches(branch: &str, count: usize) -> Vec<u8> {
    let exports: String = (0..9_000).map(|n| format!(r#"(export "{n}" (func $f))"#)).collect();
    of_module(&format!(
        "(global $g (mut i32) (i32.const 7)) (func $f {}) {exports}",
        branch.repeat(count)
    ))
}

/// Operators that are compiled to many instructions.
fn operators() -> Vec<Case> {
    let repeated = |name: &str, fields: &str, operator: &str, count: usize| {
        let body = operator.repeat(count);
        refused(23, name, of_module(&format!("{fields} (func {body})")))
    };
    vec![
        refused(
            23,
            "200,000 `memory.grow`",
            of_module(&format!(
                "(memory 1) (func (result i32) (i32.const 0) {})",
                "memory.grow ".repeat(200_000)
            )),
        ),
        repeated(
            "100,000 `table.grow`",
            "(table 1 funcref)",
            "(drop (table.grow (ref.null func) (i32.const 0)))",
            100_000,
        ),
        repeated(
            "120,000 `call_indirect`",
            "(type $t (func)) (table 1 funcref)",
            "(call_indirect (type $t) (i32.const 0))",
            120_000,
        ),
        refused(
            23,
            "330,000 `f64.mul`",
            of_module(&format!(
                "(func (param f64) (result f64) (f64.const 1) {})",
                "(local.get 0) f64.mul ".repeat(330_000)
            )),
        ),
    ]
}

/// Segments, items and globals that each of many instances initialises.
fn initialised() -> Vec<Case> {
    let instances = |module: &str, count: usize| {
        let instances = "(core instance (instantiate $m))".repeat(count);
        component(&format!("(component (core module $m {module}) {instances})"))
    };
    let passive = |count: usize| r#"(data "")"#.repeat(count);
    let globals = "(global i32 (i32.const 0))".repeat(1_200);
    vec![
        refused(24, "22,000 passive segments in 62 instances", instances(&passive(22_000), 62)),
        refused(24, "39,000 passive segments in 62 instances", instances(&passive(39_000), 62)),
        refused(
            23,
            "10,000 segments in 62 instances of one memory",
            component(&format!(
                r#"(component (core module $a (memory (export "m") 1)) (core instance $a (instantiate $a))
                    (core module $m (import "a" "m" (memory 1)) {}) {})"#,
                r#"(data (i32.const 0) "x")"#.repeat(10_000),
                r#"(core instance (instantiate $m (with "a" (instance $a))))"#.repeat(62)
            )),
        ),
        refused(
            24,
            "1,100 functions in a table of 62 instances",
            instances(
                &format!(
                    "(table 1100 funcref) (func $f) (elem (i32.const 0) {})",
                    "$f ".repeat(1_100)
                ),
                62,
            ),
        ),
        refused(24, "1,200 globals in 62 instances", instances(&format!("{globals}{globals}"), 62)),
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
