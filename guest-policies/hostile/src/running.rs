//! Attacks of a running guest.

use std::fmt::Write as _;

use crate::Case;
use crate::binary::section;
use crate::guest::{ABSTAIN, DENY, GUEST, Guest, PERMIT};

pub(crate) const FOREVER: &str = "(loop (br 0)) unreachable";

/// Half of the pages that the default limits of a binding allow.
const HALF_OF_THE_PAGES: u32 = 128;

/// The number of modules that the encoder makes of the guest.
const GUEST_MODULES: u8 = 1;

pub(crate) fn cases() -> Vec<Case> {
    [fuel(), stack(), memory(), allocators(), traps(), state(), configuring()].concat()
}

fn evaluates(row: u8, name: &str, code: &'static str, evaluate: &str) -> Case {
    case(row, name, code, Guest { evaluate, ..GUEST })
}

fn case(row: u8, name: &str, code: &'static str, guest: Guest<'_>) -> Case {
    Case::new(row, name, code, guest.component())
}

fn fuel() -> Vec<Case> {
    let code = "out-of-fuel";
    let start = "(func $s (loop (br 0))) (start $s)";
    // While the claims are lowered: the settings take one allocation, the claims more.
    let realloc = "
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (loop (br 0))))
        (i32.const 8192)";
    let more = "(global $calls (mut i32) (i32.const 0))";
    // Instructions that cost the host time without an effect.
    let headers = format!("(func $headers {})", "(loop)".repeat(1_500));
    let calls = "(loop $l (call $headers) (br $l)) unreachable";
    let grow_nothing = "(loop $l (drop (memory.grow (i32.const 0))) (br $l)) unreachable";
    let fill =
        "(loop $l (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $l)) unreachable";
    let copy =
        "(loop $l (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br $l)) unreachable";
    vec![
        evaluates(1, "loops in evaluate", code, FOREVER),
        case(1, "loops in configure", code, Guest { configure: FOREVER, ..GUEST }),
        case(1, "loops in start", code, Guest { more: start, ..GUEST }),
        case(1, "loops in post-return", code, Guest { post_return: "(loop (br 0))", ..GUEST }),
        case(1, "loops in its allocator", code, Guest { realloc, more, ..GUEST }),
        case(
            1,
            "enters loops that do nothing",
            code,
            Guest { evaluate: calls, more: &headers, ..GUEST },
        ),
        evaluates(1, "grows memory by nothing", code, grow_nothing),
        evaluates(4, "fills memory without end", code, fill),
        evaluates(4, "copies memory without end", code, copy),
    ]
}

fn stack() -> Vec<Case> {
    let each = |write: &dyn Fn(&mut String, u32)| {
        (0..1000).fold(String::new(), |mut text, n| {
            write(&mut text, n);
            text
        })
    };
    let locals = each(&|text, n| {
        let _ = write!(text, "(local $l{n} i64)");
    });
    let loads = each(&|text, n| {
        let _ = write!(text, "(local.set $l{n} (i64.load (i32.const {})))", n * 8);
    });
    let stores = each(&|text, n| {
        let _ = write!(text, "(i64.store (i32.const {}) (local.get $l{n}))", n * 8);
    });
    let large_frames =
        format!("{locals}{loads}(drop (call $evaluate (local.get $claims))){stores}{ABSTAIN}");
    vec![
        evaluates(2, "recurses without end", "stack", "(call $evaluate (local.get $claims))"),
        evaluates(2, "recurses with 1,000 locals a frame", "stack", &large_frames),
    ]
}

fn memory() -> Vec<Case> {
    let code = "memory";
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let grow_at_once = format!("(drop (memory.grow (i32.const 65535))) {ABSTAIN}");
    let beyond = format!("(drop (memory.grow (i32.const -1))) {ABSTAIN}");
    let own_maximum = format!(
        "(loop $l
            (drop (memory.grow (i32.const 300)))
            (local.set $claims (i32.add (local.get $claims) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $claims) (i32.const 65536))))
         {ABSTAIN}"
    );
    let grow_table = format!("(drop (table.grow $t (ref.null func) (i32.const 30000))) {ABSTAIN}");
    let bounded = r#"(memory (export "memory") 1 2)"#;
    let all_pages = r#"(memory (export "memory") 65536)"#;
    let half = format!("(module (memory {HALF_OF_THE_PAGES}))");
    vec![
        evaluates(3, "grows page by page", code, grow),
        evaluates(3, "grows by all at once", code, &grow_at_once),
        evaluates(3, "grows by more than a memory can have", "abstain", &beyond),
        case(
            3,
            "grows 65,536 times past its own maximum",
            "abstain",
            Guest { memory: bounded, evaluate: &own_maximum, ..GUEST },
        ),
        case(3, "begins with 65,536 pages", code, Guest { memory: all_pages, ..GUEST }),
        case(
            3,
            "grows a table",
            code,
            Guest { more: "(table $t 1 funcref)", evaluate: &grow_table, ..GUEST },
        ),
        case(
            3,
            "grows a table by millions",
            code,
            Guest {
                more: "(table $t 1 funcref)",
                evaluate: &grow_table.replace("30000", "2000000"),
                ..GUEST
            },
        ),
        case(
            3,
            "begins with a huge table",
            code,
            Guest { more: "(table 1000000 funcref)", ..GUEST },
        ),
        Case::new(3, "one more instance at half the cap", "abstain", with_instances(&half, 1)),
        Case::new(3, "two more instances at half the cap", code, with_instances(&half, 2)),
        Case::new(3, "eight more instances at half the cap", code, with_instances(&half, 8)),
    ]
}

/// A guest whose component instantiates a further module this many times.
fn with_instances(module: &str, instances: u8) -> Vec<u8> {
    let module = wat::parse_str(module).unwrap();
    let mut component = GUEST.component();
    component.extend(section(1, &module));
    // Module 0 is the guest's own, and this is the last.
    let instantiate = [0, GUEST_MODULES, 0].repeat(instances.into());
    component.extend(section(2, &[&[instances][..], &instantiate].concat()));
    component
}

fn allocators() -> Vec<Case> {
    // The settings are lowered first, so `configure` calls these.
    let from_the_first = |name: &str, realloc: &str| {
        case(8, &format!("allocates {name}"), "trap", Guest { realloc, ..GUEST })
    };
    // These behave until the claims are lowered.
    let more = "(global $calls (mut i32) (i32.const 0))";
    let for_the_claims = |name: &str, place: &str| {
        let realloc = format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (result i32) (i32.gt_u (global.get $calls) (i32.const 1))
                (then (i32.const {place})) (else (i32.const 8192)))"
        );
        let name = format!("allocates {name} for the claims");
        case(8, &name, "trap", Guest { realloc: &realloc, more, ..GUEST })
    };
    // An address in bounds is harmless to the host: the guest corrupts its own memory alone.
    let harmless = |name: &str, realloc: &str| {
        case(8, &format!("allocates {name}"), "abstain", Guest { realloc, ..GUEST })
    };
    vec![
        from_the_first("out of range", "(i32.const -8)"),
        from_the_first("across the end of memory", "(i32.const 65535)"),
        from_the_first("nothing: it traps", "unreachable"),
        for_the_claims("out of range", "-8"),
        for_the_claims("across the end of memory", "65532"),
        for_the_claims("misaligned", "8193"),
        harmless("null", "(i32.const 0)"),
        harmless("overlapping", "(i32.const 8192)"),
    ]
}

fn traps() -> Vec<Case> {
    let table = "(table 1 funcref) (type $f (func (result i32)))";
    let calls = |name: &str, index: u32| {
        let evaluate = format!("(call_indirect (type $f) (i32.const {index}))");
        case(9, name, "trap", Guest { more: table, evaluate: &evaluate, ..GUEST })
    };
    vec![
        evaluates(9, "unreachable", "trap", "unreachable"),
        evaluates(9, "divides by zero", "trap", "(i32.div_u (i32.const 1) (i32.const 0))"),
        evaluates(9, "overflows", "trap", "(i32.div_s (i32.const 0x80000000) (i32.const -1))"),
        evaluates(9, "reads out of bounds", "trap", "(i32.load (i32.const 65536))"),
        evaluates(9, "truncates a NaN", "trap", "(i32.trunc_f32_u (f32.const nan))"),
        calls("calls null", 0),
        calls("calls beyond its table", 7),
    ]
}

fn state() -> Vec<Case> {
    // The second evaluation would permit.
    let more = "(global $asked (mut i32) (i32.const 0))";
    let in_a_global = format!(
        "(global.set $asked (i32.add (global.get $asked) (i32.const 1)))
         (if (result i32) (i32.gt_u (global.get $asked) (i32.const 1)) (then {PERMIT}) (else {DENY}))"
    );
    let in_memory = format!(
        "(i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))
         (if (result i32) (i32.gt_u (i32.load (i32.const 4096)) (i32.const 1))
            (then {PERMIT}) (else {DENY}))"
    );
    // Denies by the bits of a NaN that was computed from another one.
    let covert = format!(
        "(i32.store (i32.const 4096) (i32.reinterpret_f32
            (f32.add (f32.reinterpret_i32 (i32.const 0x7fa12345)) (f32.const 1))))
         (if (result i32) (i32.eq (i32.load (i32.const 4096)) (i32.const 0x7fc00000))
            (then {ABSTAIN}) (else {DENY}))"
    );
    vec![
        case(10, "counts in a global", "deny", Guest { more, evaluate: &in_a_global, ..GUEST }),
        evaluates(10, "counts in memory", "deny", &in_memory),
        evaluates(17, "tells by the bits of a NaN", "abstain", &covert),
    ]
}

fn configuring() -> Vec<Case> {
    let grow = "(loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable";
    // An error without problems is still a rejection.
    let refuse = "(i32.store8 (i32.const 2240) (i32.const 1)) (i32.const 2240)";
    let malformed = "(i32.store8 (i32.const 2240) (i32.const 2)) (i32.const 2240)";
    let configures = |name: &str, code, configure: &str| {
        case(20, &format!("configure {name}"), code, Guest { configure, ..GUEST })
    };
    vec![
        configures("loops", "out-of-fuel", FOREVER),
        configures("traps", "trap", "unreachable"),
        configures("allocates without end", "memory", grow),
        configures("refuses and does not say why", "settings", refuse),
        configures("answers what is no answer", "bad-output", malformed),
    ]
}
