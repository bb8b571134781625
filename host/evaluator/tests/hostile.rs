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

use support::guest::{ABSTAIN, DENY, GUEST, Guest, PERMIT};
use support::hostile::{LIMITS, check, end_of, honest, section};

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
    component.extend(section(1, &module));
    // Module 0 is the guest's own, and this is the last.
    let last = GUEST_MODULES;
    let instantiate = [0, last, 0].repeat(instances.into());
    component.extend(section(2, &[&[instances][..], &instantiate].concat()));
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

#[test]
fn row_14_custom_sections_are_ignored() {
    let mut component = GUEST.component();
    let bomb = vec![0xff; 500_000];
    for name in ["name", ".debug_info", "component-name", "producers"] {
        let mut content = vec![u8::try_from(name.len()).unwrap()];
        content.extend(name.bytes());
        content.extend(&bomb[..100_000]);
        component.extend(section(0, &content));
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
