//! Hostile policies: each refused under its own code, and the next honest request is answered as
//! ever.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use countersign::{
    Binding, BindingConfig, BindingError, Digest, Limits, Mode, Outcome, Policy, PolicySet, Scope,
    Settings,
};
use support::guest::{ABSTAIN, DENY, GUEST, Guest, PERMIT};
use support::{claims, enforce, engine, set};

const LIMITS: Limits = Limits { wall_clock_ms: Limits::CEILING.wall_clock_ms, ..Limits::DEFAULT };

/// The decision of an honest set, which nothing may change.
fn honest() -> Digest {
    static SET: OnceLock<PolicySet> = OnceLock::new();
    let honest = || set(&[enforce("honest", r#"{"permit": {"max-ttl": 900}}"#)]);
    SET.get_or_init(honest).evaluate(claims()).id()
}

fn binding(policy: Policy) -> Result<Binding, BindingError> {
    let config = BindingConfig {
        name: "hostile".parse().unwrap(),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        limits: LIMITS,
        claims: vec![],
    };
    Binding::prepare(Arc::new(policy), config)
}

/// Loads, binds and evaluates: the code of where that ends. `abstain`, `permit` and `deny` stand
/// for verdicts.
fn end_of(component: &[u8]) -> String {
    let policy = match Policy::load(engine(), component, &LIMITS) {
        Ok(policy) => policy,
        Err(error) => return error.code().to_owned(),
    };
    let binding = match binding(policy) {
        Ok(binding) => binding,
        Err(BindingError::Configure { fault, .. }) => return fault.code().to_owned(),
        Err(BindingError::Settings { .. }) => return "settings".to_owned(),
        Err(other) => panic!("{other}"),
    };
    let set = PolicySet::new(vec![binding]).unwrap();
    let (first, second) = (set.evaluate(claims()), set.evaluate(claims()));
    assert_eq!(first.id(), second.id(), "the same answer twice");
    match first.outcome() {
        Outcome::Approved(_) => "permit".to_owned(),
        Outcome::Refused(reasons) => match &first.trace()[0].result {
            Ok(countersign::Verdict::Abstain) => "abstain".to_owned(),
            Ok(_) => "deny".to_owned(),
            Err(fault) => {
                assert_eq!(reasons[0].code, fault.code());
                fault.code().to_owned()
            }
        },
    }
}

#[track_caller]
fn check(component: &[u8], code: &str) {
    let before = honest();
    assert_eq!(end_of(component), code);
    assert_eq!(honest(), before, "an honest request is answered as before");
}

#[track_caller]
fn evaluates_to(evaluate: &str, code: &str) {
    check(&Guest { evaluate, ..GUEST }.component(), code);
}

#[test]
fn the_guest_that_the_others_are_made_of_is_sound() {
    evaluates_to(ABSTAIN, "abstain");
    evaluates_to(PERMIT, "permit");
    evaluates_to(DENY, "deny");
}

const FOREVER: &str = "(loop (br 0)) unreachable";

#[test]
fn row_1_loops() {
    evaluates_to(FOREVER, "out-of-fuel");
    check(&Guest { configure: FOREVER, ..GUEST }.component(), "out-of-fuel");
    check(
        &Guest { more: "(func $s (loop (br 0))) (start $s)", ..GUEST }.component(),
        "out-of-fuel",
    );
    check(&Guest { post_return: "(loop (br 0))", ..GUEST }.component(), "out-of-fuel");
    // While the claims are lowered: the settings take one allocation, the claims more.
    let realloc = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (loop (br 0)))) {}",
        "(i32.const 8192)"
    );
    let more = "(global $calls (mut i32) (i32.const 0))";
    check(&Guest { realloc: &realloc, more, ..GUEST }.component(), "out-of-fuel");
}

#[test]
fn row_2_recursion() {
    evaluates_to("(call $evaluate (local.get $claims))", "stack");
    let locals: String = (0..1000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(local $l{n} i64)");
        text
    });
    let stores: String = (0..1000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(local.set $l{n} (i64.load (i32.const {})))", n * 8);
        text
    });
    let loads: String = (0..1000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(i64.store (i32.const {}) (local.get $l{n}))", n * 8);
        text
    });
    let deep =
        format!("{locals}{stores}(drop (call $evaluate (local.get $claims))){loads}{ABSTAIN}");
    evaluates_to(&deep, "stack");
}

#[test]
fn row_3_memory_and_tables() {
    evaluates_to(
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
        "memory",
    );
    evaluates_to(&format!("(drop (memory.grow (i32.const 65535))) {ABSTAIN}"), "memory");
    // More than a memory can have at all: the guest is told so, and nothing is taken.
    evaluates_to(&format!("(drop (memory.grow (i32.const -1))) {ABSTAIN}"), "abstain");
    let memory = r#"(memory (export "memory") 1 2)"#;
    let evaluate = format!(
        "(loop $l (drop (memory.grow (i32.const 300))) (local.set $claims (i32.add (local.get $claims) (i32.const 1))) (br_if $l (i32.lt_u (local.get $claims) (i32.const 65536)))) {ABSTAIN}"
    );
    check(&Guest { memory, evaluate: &evaluate, ..GUEST }.component(), "abstain");
    check(&Guest { memory: r#"(memory (export "memory") 65536)"#, ..GUEST }.component(), "memory");
    let more = "(table $t 1 funcref)";
    let evaluate = format!("(drop (table.grow $t (ref.null func) (i32.const 30000))) {ABSTAIN}");
    check(&Guest { more, evaluate: &evaluate, ..GUEST }.component(), "memory");
    check(&Guest { more: "(table 1000000 funcref)", ..GUEST }.component(), "memory");
}

#[test]
fn row_3_eight_instances_each_at_the_cap() {
    let pages = LIMITS.memory_bytes / 65_536;
    let text = format!(
        "(component (core module $m (memory {pages})) {})",
        "(core instance (instantiate $m))".repeat(8)
    );
    // It is no policy, but would have to be instantiated to find out more.
    check(&wat::parse_str(&text).unwrap(), "missing-interface");
    let text = format!(
        "(component (core module $m (memory 1)) {})",
        "(core instance (instantiate $m))".repeat(65)
    );
    check(&wat::parse_str(&text).unwrap(), "too-complex");
    let text = format!(
        "(component (core module $m (memory 0) (table 0 funcref)) {})",
        "(core instance (instantiate $m))".repeat(33)
    );
    check(&wat::parse_str(&text).unwrap(), "too-complex");
}

/// A guest with a module of its own kind in its component, instantiated so many times.
fn with_instances(module: &str, instances: u8) -> Vec<u8> {
    let module = wat::parse_str(module).unwrap();
    let mut component = GUEST.component();
    component.extend([1, u8::try_from(module.len()).unwrap()]);
    component.extend(&module);
    // Module 0 is the guest's own, and this is the last.
    let last = GUEST_MODULES;
    component.extend([2, 1 + 3 * instances, instances]);
    for _ in 0..instances {
        component.extend([0, last, 0]);
    }
    component
}

/// How many modules the encoder makes of the guest.
const GUEST_MODULES: u8 = 1;

#[test]
fn row_3_memory_is_summed_over_instances() {
    // Half the limit each, beside the page of the guest's own memory.
    let half = format!("(module (memory {}))", LIMITS.memory_bytes / 65_536 / 2);
    check(&with_instances(&half, 1), "abstain");
    check(&with_instances(&half, 2), "memory");
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

#[test]
fn row_4_bulk_memory() {
    evaluates_to(
        "(loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $l)) unreachable",
        "out-of-fuel",
    );
    evaluates_to(
        "(loop $l (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br $l)) unreachable",
        "out-of-fuel",
    );
}

/// A denial whose one reason has the given place for a code.
fn reason(pointer: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 2304) (i32.const {pointer})) (i32.store (i32.const 2308) (i32.const {length})) {DENY}"
    )
}

#[test]
fn row_5_bad_values() {
    evaluates_to(&reason(2432, 0x7fff_ffff), "bad-output");
    evaluates_to(&reason(65_535, 2), "bad-output");
    evaluates_to(
        &format!("(i32.store8 (i32.const 2432) (i32.const 255)) {}", reason(2432, 2)),
        "bad-output",
    );
    for discriminant in [3, 255] {
        evaluates_to(
            &format!("(i32.store8 (i32.const 2048) (i32.const {discriminant})) {ABSTAIN}"),
            "bad-output",
        );
    }
    // The discriminants of `max-ttl` and `audiences` within a grant.
    for place in [2116, 2124] {
        evaluates_to(
            &format!("(i32.store8 (i32.const {place}) (i32.const 2)) {PERMIT}"),
            "bad-output",
        );
    }
    for address in ["65533", "2049", "-4"] {
        evaluates_to(&format!("(i32.const {address})"), "bad-output");
    }
    check(
        &Guest {
            configure: "(i32.store8 (i32.const 2240) (i32.const 2)) (i32.const 2240)",
            ..GUEST
        }
        .component(),
        "bad-output",
    );
}

/// A list of `length` reasons at 65,536 (below are the lowered claims), each of the given place for a code and of no message.
fn reasons(length: u32, pointer: u32, size: u32) -> String {
    format!(
        "(local $at i32)
         (loop $l
            (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const {pointer}))
            (i32.store (i32.add (i32.const 65540) (local.get $at)) (i32.const {size}))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br_if $l (i32.lt_u (local.get $at) (i32.const {}))))
         (i32.store (i32.const 2180) (i32.const 65536)) (i32.store (i32.const 2184) (i32.const {length}))
         {DENY}",
        length * 16
    )
}

#[test]
fn row_6_large_values() {
    let memory = r#"(memory (export "memory") 200)"#;
    let large = |evaluate: &str, code: &str| {
        check(&Guest { memory, evaluate, ..GUEST }.component(), code);
    };
    large(&reason(65_536, 9 << 20), "output-too-large");
    large(&reasons(100_000, 0, 0), "output-too-large");
    large(&reasons(100_000, 4 << 20, 1 << 20), "output-too-large");
    // An audience list of 1.2 million empty texts in a grant.
    large(
        &format!(
            "(i32.store8 (i32.const 2124) (i32.const 1)) (i32.store (i32.const 2128) (i32.const 65536)) (i32.store (i32.const 2132) (i32.const 1200000)) {PERMIT}"
        ),
        "output-too-large",
    );
    large(&reasons(1_000, 2432, 2), "deny");
}

#[test]
fn row_8_an_allocator_that_lies() {
    // The settings are lowered first, so it is `configure` that meets it.
    for (realloc, code) in [
        ("(i32.const -8)", "bad-output"),
        ("(i32.const 65535)", "bad-output"),
        ("unreachable", "trap"),
    ] {
        check(&Guest { realloc, ..GUEST }.component(), code);
    }
    // Misaligned: texts need no alignment, records do.
    check(&Guest { realloc: "(i32.const 8193)", ..GUEST }.component(), "bad-output");
    // Null and overlapping places are the guest's own affair: it reads what it has let happen.
    for realloc in ["(i32.const 0)", "(i32.const 8192)"] {
        check(&Guest { realloc, ..GUEST }.component(), "abstain");
    }
}

#[test]
fn row_9_traps() {
    for trap in [
        "unreachable",
        "(i32.div_u (i32.const 1) (i32.const 0))",
        "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
        "(i32.load (i32.const 65536))",
        "(i32.trunc_f32_u (f32.const nan))",
    ] {
        evaluates_to(trap, "trap");
    }
    let more = "(table 1 funcref) (type $f (func (result i32)))";
    for index in [0, 7] {
        let evaluate = format!("(call_indirect (type $f) (i32.const {index}))");
        check(&Guest { more, evaluate: &evaluate, ..GUEST }.component(), "trap");
    }
}

#[test]
fn row_10_state_does_not_survive() {
    // The second evaluation would permit.
    let more = "(global $asked (mut i32) (i32.const 0))";
    let evaluate = format!(
        "(global.set $asked (i32.add (global.get $asked) (i32.const 1))) (if (result i32) (i32.gt_u (global.get $asked) (i32.const 1)) (then {PERMIT}) (else {DENY}))"
    );
    check(&Guest { more, evaluate: &evaluate, ..GUEST }.component(), "deny");
    let evaluate = format!(
        "(i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1))) (if (result i32) (i32.gt_u (i32.load (i32.const 4096)) (i32.const 1)) (then {PERMIT}) (else {DENY}))"
    );
    evaluates_to(&evaluate, "deny");
}

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
    let mut component = b"\0asm\x0d\0\x01\0\x07".to_vec();
    component.extend((0..5).map(|n| {
        let more = if n < 4 { 0x80 } else { 0 };
        u8::try_from(types.len() >> (7 * n) & 0x7f).unwrap() | more
    }));
    component.extend(types);
    component
}

#[test]
fn row_13_types_that_would_overflow_the_stack_of_whoever_reads_them() {
    check(&nested_types(300_000), "too-complex");
    check(&nested_types(500), "too-complex");
    // Deep enough, on the 2 MiB of a test's thread.
    check(&nested_types(499), "missing-interface");
}

#[test]
fn row_14_custom_sections_are_ignored() {
    let mut component = GUEST.component();
    let bomb = vec![0xff; 500_000];
    for name in ["name", ".debug_info", "component-name", "producers"] {
        let mut section = vec![u8::try_from(name.len()).unwrap()];
        section.extend(name.bytes());
        section.extend(&bomb[..100_000]);
        component.push(0);
        // The length in LEB128, padded to five bytes.
        let length = section.len();
        component.extend(
            (0..5).map(|n| (length >> (7 * n)) as u8 & 0x7f | if n < 4 { 0x80 } else { 0 }),
        );
        component.extend(section);
    }
    check(&component, "abstain");
}

#[test]
fn row_15_damaged_files() {
    let whole = GUEST.component();
    let before = honest();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        // Some bytes are data. Whatever it comes to, it is no permit.
        assert_ne!(end_of(&damaged), "permit", "byte {at}");
    }
    for length in 0..whole.len() {
        assert_ne!(end_of(&whole[..length]), "permit", "{length} bytes");
    }
    assert_eq!(honest(), before);
}

#[test]
fn row_17_a_nan_has_one_form() {
    // Denies with the bits of a NaN that was computed from another one, as text.
    let evaluate = "
        (i32.store (i32.const 4096) (i32.reinterpret_f32
            (f32.add (f32.reinterpret_i32 (i32.const 0x7fa12345)) (f32.const 1))))
        (if (result i32) (i32.eq (i32.load (i32.const 4096)) (i32.const 0x7fc00000))
            (then (i32.const 2112)) (else (i32.const 2176)))";
    evaluates_to(evaluate, "permit");
}

#[test]
fn row_20_configure() {
    check(&Guest { configure: "unreachable", ..GUEST }.component(), "trap");
    let grow = "(loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable";
    check(&Guest { configure: grow, ..GUEST }.component(), "memory");
    // An error with no problems in it is a refusal all the same.
    let refuse = "(i32.store8 (i32.const 2240) (i32.const 1)) (i32.const 2240)";
    check(&Guest { configure: refuse, ..GUEST }.component(), "settings");
}

#[test]
fn an_evaluation_is_configured_in_its_own_instance() {
    let evaluate = format!("(if (i32.eqz (global.get $configured)) (then unreachable)) {ABSTAIN}");
    let configure = "(global.set $configured (i32.const 1)) (i32.const 2240)";
    let more = "(global $configured (mut i32) (i32.const 0))";
    check(&Guest { evaluate: &evaluate, configure, more, ..GUEST }.component(), "abstain");
}
