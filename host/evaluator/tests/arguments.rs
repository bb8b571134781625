//! Claims in a guest's memory: one allocation for all of them leads to the same bytes as one for each.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::sync::OnceLock;

use countersign::{Claims, Decision, PolicySet, Verdict};
use countersign_hostile_policies::guest::{GUEST, Guest};
use countersign_hostile_policies::section;
use proptest::prelude::*;
use support::hostile::{binding, load};
use support::{arbitrary, claims};

/// The memory as a component says it.
const ONE_WAY: &str = r#"(@custom "countersign:one-way-memory" "\01")"#;

/// One allocation of the settings, of which the snapshot keeps the count; one of the records; one of the others.
const BLOCKS: u64 = 3;

/// Counts its allocations, and hashes everything that was allocated.
const ALLOCATOR: &str = "
    (local $address i32)
    (global.set $allocations (i32.add (global.get $allocations) (i32.const 1)))
    (local.set $address (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $address) (local.get $size)))
    (local.get $address)";

/// Denies; the message is the number of allocations and the hash (FNV-1a) of the memory, in hexadecimal digits.
const HASHES: &str = "
    (local $at i32) (local $hash i64)
    (local.set $hash (i64.const 0xcbf29ce484222325))
    (local.set $at (i32.const 8192))
    (block $end (loop $next_byte
        (br_if $end (i32.ge_u (local.get $at) (global.get $next)))
        (local.set $hash (i64.mul
            (i64.xor (local.get $hash) (i64.load8_u (local.get $at)))
            (i64.const 0x100000001b3)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next_byte)))
    (call $digits (i32.const 2560) (i64.extend_i32_u (global.get $allocations)))
    (call $digits (i32.const 2576) (local.get $hash))
    (i32.const 2176)";

/// The description in UTF-16: `g`, `1.0.0`, `t`.
const UTF16: &str = r#"
    (data (i32.const 1280) "g\00")
    (data (i32.const 1288) "1\00.\000\00.\000\00")
    (data (i32.const 1304) "t\00")
    (data (i32.const 1024) "\00\05\00\00\01\00\00\00\08\05\00\00\05\00\00\00\18\05\00\00\01\00\00\00\00\00\00\00\00\00\00\00")"#;

const DIGITS: &str = r#"
    (global $allocations (mut i32) (i32.const 0))
    (data (i32.const 2312) "\00\0a\00\00\20\00\00\00")
    (func $digits (param $at i32) (param $number i64)
        (local $digit i32) (local $end i32)
        (local.set $end (i32.add (local.get $at) (i32.const 16)))
        (loop $next_digit
            (local.set $digit (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15))))
            (i32.store8 (local.get $at) (i32.add
                (i32.add (local.get $digit) (i32.const 48))
                (i32.mul (i32.gt_u (local.get $digit) (i32.const 9)) (i32.const 39))))
            (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next_digit (i32.lt_u (local.get $at) (local.get $end)))))"#;

fn hashes(more: &str) -> PolicySet {
    alone(&guest(&format!("{DIGITS} {more}")).component())
}

fn guest(more: &str) -> Guest<'_> {
    let memory = r#"(memory (export "memory") 16)"#;
    Guest { realloc: ALLOCATOR, evaluate: HASHES, memory, more, ..GUEST }
}

fn alone(component: &[u8]) -> PolicySet {
    PolicySet::new(vec![binding(load(component).unwrap()).unwrap()]).unwrap()
}

/// The number of allocations and the hash.
fn hash(decision: &Decision) -> (u64, String) {
    let Ok(Verdict::Deny(reasons)) = &decision.trace()[0].result else {
        panic!("{:?}", decision.trace()[0].result)
    };
    let (count, hash) = reasons[0].message.split_at(16);
    let count: String = count.chars().rev().collect();
    (u64::from_str_radix(&count, 16).unwrap(), hash.to_owned())
}

fn compare(claims: &Claims) -> (u64, u64) {
    static SETS: OnceLock<[PolicySet; 2]> = OnceLock::new();
    let sets = SETS.get_or_init(|| [hashes(""), hashes(ONE_WAY)]);
    let [(each, one), (blocks, other)] = [0, 1].map(|n| hash(&sets[n].evaluate(claims.clone())));
    assert_eq!(one, other, "{claims:?}");
    (each, blocks)
}

#[test]
fn a_guest_that_says_so_gets_two_allocations() {
    let (each, blocks) = compare(&claims());
    assert_eq!(blocks, BLOCKS);
    assert!(each > 10, "{each}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Wasmtime's own lowering is what the block is compared with.
    #[test]
    fn the_memory_is_the_same_to_the_byte(claims in arbitrary::claims()) {
        prop_assert_eq!(compare(&claims).1, BLOCKS);
    }
}

/// The section counts in the only module of a component, and where texts are in UTF-8.
#[test]
fn other_guests_get_an_allocation_for_each() {
    let (each, _) = hash(&hashes("").evaluate(claims()));
    let more = format!("{DIGITS} {ONE_WAY}");
    let guest = guest(&more);
    let module = section(1, b"\0asm\x01\0\0\0");
    let two_modules = [guest.component(), module].concat();
    assert_eq!(hash(&alone(&two_modules).evaluate(claims())).0, each);
    let of_another_name = hashes(r#"(@custom "countersign:one-way" "\01")"#);
    assert_eq!(hash(&of_another_name.evaluate(claims())).0, each);
    let in_utf16 = [DIGITS, &more].map(|more| {
        let more = &format!("{UTF16} {more}");
        let decision = alone(&self::guest(more).component_in_utf16()).evaluate(claims());
        format!("{:?}", decision.trace()[0].result)
    });
    assert_eq!(in_utf16[0], in_utf16[1]);
}

/// An allocator that lies, in a guest that takes blocks: the codes are those of any other guest.
#[test]
fn an_allocator_that_lies_is_a_fault() {
    // The settings are two bytes, and are taken.
    let honest = "(if (i32.eq (local.get $size) (i32.const 2)) (then (return (i32.const 8192))))";
    let second = "
        (global.set $next (i32.add (global.get $next) (i32.const 1)))
        (if (i32.gt_u (global.get $next) (i32.const 8193)) (then unreachable))
        (i32.const 8192)";
    for (name, lie) in [
        ("beyond the memory", "(i32.const -8)"),
        ("at the end of the memory", "(i32.const 65528)"),
        ("not aligned", "(i32.const 8193)"),
        ("traps", "unreachable"),
        ("never returns", "(loop $for_ever (br $for_ever)) (i32.const 8192)"),
        ("traps the second time", second),
    ] {
        let [each, block] = ["", ONE_WAY].map(|more| {
            let realloc = &format!("{honest} {lie}");
            let component = Guest { realloc, more, ..GUEST }.component();
            alone(&component).evaluate(claims()).trace()[0].result.as_ref().unwrap_err().code()
        });
        assert_eq!(each, block, "{name}");
    }
}
