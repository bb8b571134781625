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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use countersign::{
    Compile, CompileError, CompiledCode, Engine, EngineConfig, Fault, Form, Limits, LoadError,
    Optimization, Policy, PolicySet, Preparation,
};
use countersign_hostile_policies::guest::{ABSTAIN, DENY, GUEST, Guest, PERMIT, RESTRICT};
use countersign_hostile_policies::{Case, cases, endless_loop};
use support::hostile::{LIMITS, binding, check, end_of, honest, load};
use support::{claims, enforce};

#[test]
fn the_guest_that_the_others_are_made_of_is_sound() {
    for (evaluate, code) in
        [(ABSTAIN, "abstain"), (PERMIT, "permit"), (RESTRICT, "restrict"), (DENY, "deny")]
    {
        check(&Guest { evaluate, ..GUEST }.component(), code);
    }
    check(&GUEST.component_in_utf16(), "description");
}

/// A test for the cases of each row, so that they run side by side.
macro_rules! rows {
    ($($test:ident: $row:literal, $cases:literal;)*) => {
        $(#[test]
        fn $test() {
            row($row, $cases);
        })*

        const ROWS: &[u8] = &[$($row),*];
    };
}

rows! {
    row_1_loops: 1, 7;
    row_2_recursion: 2, 2;
    row_3_memory: 3, 13;
    row_4_bulk_memory: 4, 2;
    row_5_malformed_values: 5, 15;
    row_6_large_values: 6, 4;
    row_7_texts: 7, 7;
    row_8_allocators: 8, 8;
    row_9_traps: 9, 7;
    row_10_state: 10, 2;
    row_11_other_worlds: 11, 9;
    row_12_doubling: 12, 8;
    row_13_costly_to_compile: 13, 24;
    row_14_custom_sections: 14, 4;
    row_15_damaged_files: 15, 8;
    row_16_compiled_code: 16, 1;
    row_17_nan: 17, 1;
    row_18_features: 18, 8;
    row_19_wide_grants: 19, 10;
    row_20_configure: 20, 5;
    row_22_composed: 22, 15;
    row_23_carried_values: 23, 26;
    row_24_what_instances_initialise: 24, 4;
    row_25_other_encodings: 25, 2;
    row_26_invisible_characters: 26, 4;
    row_27_traps_of_built_ins: 27, 5;
    row_28_storms_of_handles: 28, 3;
}

/// Every case of a row ends as it must, and an honest request is answered as before.
fn row(row: u8, expected: usize) {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.row == row).collect();
    assert_eq!(cases.len(), expected, "no case is lost");
    let before = honest();
    let ends: Vec<_> = cases.iter().map(|case| (&case.name, end_of(&case.component))).collect();
    let codes: Vec<_> = cases.iter().map(|case| (&case.name, case.code.to_owned())).collect();
    assert_eq!(ends, codes);
    assert_eq!(honest(), before, "an honest request is answered as before");
}

#[test]
fn every_row_has_its_test() {
    let rows: BTreeSet<u8> = cases().iter().map(|case| case.row).collect();
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), ROWS);
}

#[test]
fn row_7_texts_are_data() {
    for case in cases().into_iter().filter(|case| case.row == 7 && case.code == "deny") {
        let set = PolicySet::new(vec![binding(load(&case.component).unwrap()).unwrap()]).unwrap();
        let record = serde_json::to_string(&set.evaluate(claims()).record()).unwrap();
        assert!(!record.contains(['\u{1b}', '\u{202e}', '\n', '\0']), "{}", case.name);
        assert!(record.len() < 20_000, "{}: {} bytes", case.name, record.len());
        let json: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert!(json["reasons"].as_array().unwrap().len() <= 16, "{}", case.name);
    }
}

#[test]
fn row_26_only_what_can_be_seen_is_shown() {
    for case in cases().into_iter().filter(|case| case.row == 26) {
        let set = PolicySet::new(vec![binding(load(&case.component).unwrap()).unwrap()]).unwrap();
        let decision = set.evaluate(claims());
        let countersign::Outcome::Refused(reasons) = decision.outcome() else { panic!() };
        let message = &reasons[0].message;
        assert!(message.is_ascii() && message.contains("\\u{"), "{}: {message}", case.name);
    }
}

#[test]
fn row_22_a_panic_of_the_host_is_an_error() {
    struct Panics;

    impl Compile for Panics {
        fn compile(
            &self,
            _: &[u8],
            _: Form<'_>,
            _: Optimization,
            _: &Limits,
        ) -> Result<CompiledCode, CompileError> {
            panic!("a message\u{1b}")
        }

        fn name(&self) -> &'static str {
            "one that panics"
        }
    }

    let preparation = Preparation::External(Arc::new(Panics));
    let engine = Engine::with(EngineConfig { preparation, ..EngineConfig::default() }).unwrap();
    let error = Policy::load(&engine, &GUEST.component(), &LIMITS).unwrap_err();
    assert_eq!(error, LoadError::HostPanic { problem: "a message\\u{1b}".to_owned() });
    // The engine goes on.
    assert_eq!(Policy::load(&engine, &GUEST.component(), &LIMITS).unwrap_err(), error);
}

#[test]
fn row_15_a_flipped_bit_in_every_byte_and_every_length() {
    let whole = GUEST.component();
    let before = honest();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        // Some bytes are data. Whatever it comes to, it is no permit.
        assert_ne!(end_of(&damaged), "permit", "byte {at}");
    }
    // Without the two custom sections at its end, or the last, it is whole.
    let whole_too = (0..whole.len()).filter(|length| load(&whole[..*length]).is_ok()).count();
    assert_eq!(whole_too, 2);
    assert_eq!(honest(), before);
}

#[test]
fn row_16_compiled_code_is_no_component() {
    // The real thing, of a policy that would permit: there is no door that takes it.
    let component = Guest { evaluate: PERMIT, ..GUEST }.component();
    let code =
        CompiledCode::compile(&component, Form::Original, Optimization::Speed, &Limits::DEFAULT)
            .unwrap();
    check(&code.into_bytes(), "not-wasm");
}

#[test]
fn row_21_two_hundred_at_once() {
    let hostile = PolicySet::new(vec![binding(load(&endless_loop()).unwrap()).unwrap()]).unwrap();
    let before = honest();
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let decision = hostile.evaluate(claims());
                let fault = decision.trace()[0].result.as_ref().unwrap_err();
                assert_eq!(*fault, Fault::OutOfFuel { limit: LIMITS.fuel });
                assert_eq!(decision.trace()[0].used.fuel, Some(LIMITS.fuel));
            });
        }
        for _ in 0..100 {
            assert_eq!(honest(), before, "no honest request is refused");
        }
    });
}

#[test]
fn an_evaluation_is_configured_in_its_own_instance() {
    let evaluate = format!("(if (i32.eqz (global.get $configured)) (then unreachable)) {ABSTAIN}");
    let configure = "(global.set $configured (i32.const 1)) (i32.const 2240)";
    let more = "(global $configured (mut i32) (i32.const 0))";
    check(&Guest { evaluate: &evaluate, configure, more, ..GUEST }.component(), "abstain");
}

/// Recurses as deep as a number says, and abstains.
fn recursion(levels: u32) -> Vec<u8> {
    let evaluate = format!("(call $down (i32.const {levels})) {ABSTAIN}");
    let more = "(func $down (param i32)
        (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))";
    Guest { evaluate: &evaluate, more, ..GUEST }.component()
}

#[test]
fn a_binding_has_its_own_stack() {
    let end_with = |component: &[u8], stack_bytes: u32| {
        let policy = std::sync::Arc::new(load(component).unwrap());
        let limits = Limits { stack_bytes, ..LIMITS };
        let binding = support::hostile::binding_within(policy, limits).unwrap();
        let decision = PolicySet::new(vec![binding]).unwrap().evaluate(claims());
        decision.trace()[0].result.clone().map_err(|fault| fault.to_string())
    };
    // A frame takes more than 4 and at most 64 bytes.
    let component = recursion(16 << 10);
    assert!(end_with(&component, 1 << 20).is_ok());
    let fault = end_with(&component, 64 << 10).unwrap_err();
    assert_eq!(fault, "used more than 65536 bytes of stack");
    assert_eq!(end_of(&recursion(1 << 10)), "abstain");
    assert_eq!(end_of(&recursion(1 << 20)), "stack");
}

#[test]
fn output_is_counted_to_the_byte() {
    use countersign::Verdict;

    let answer = r#"{"permit": {"audiences": ["aws", "azure"], "claims": [["team", "a"], ["cost", "bcd"]]}}"#;
    let restricting = answer.replace("permit", "restrict");
    for answer in
        [answer, restricting.as_str(), r#"{"deny": [["no", "because this is how long it is"]]}"#]
    {
        let scripted = enforce("one", answer);
        let set = |output_bytes| {
            let limits = Limits { output_bytes, ..scripted.limits };
            support::set(&[support::Scripted { limits, ..enforce("one", answer) }])
        };
        let decision = set(scripted.limits.output_bytes).evaluate(claims());
        let used = u32::try_from(decision.trace()[0].used.output_bytes.unwrap()).unwrap();
        assert!(used > 50, "{used}");
        let at_the_limit = set(used).evaluate(claims());
        assert!(matches!(
            at_the_limit.trace()[0].result,
            Ok(Verdict::Permit(_) | Verdict::Restrict(_) | Verdict::Deny(_))
        ));
        let over_it = set(used - 1).evaluate(claims());
        assert_eq!(over_it.trace()[0].result, Err(Fault::OutputTooLarge { limit: used - 1 }));
    }
}
