//! Policies that are composed of components, or that keep resources.

use wit_component::StringEncoding;

use crate::Case;
use crate::binary::component;
use crate::guest::{ABSTAIN, CONTRACT, DENY, GUEST, Guest, component_in_world};

pub(crate) fn cases() -> Vec<Case> {
    [siblings(), handles()].concat()
}

/// A call between two components, in terms of the canonical ABI.
struct Call {
    name: &'static str,
    /// The type of the function `f` in WIT.
    wit: &'static str,
    /// Its type as a component's.
    ty: &'static str,
    /// Its type as a core module imports it.
    lowered: &'static str,
    /// Its type and body as a core module exports it, and more fields of that module.
    lifted: &'static str,
    /// The call, which leaves a condition: true as long as all went well.
    call: &'static str,
}

const CALLS: [Call; 5] = [
    Call {
        name: "a number",
        wit: "func(x: u32) -> bool",
        ty: r#"(func (param "x" u32) (result bool))"#,
        lowered: "(func $f (param i32) (result i32))",
        lifted: "(param i32) (result i32) (i32.eq (local.get 0) (i32.const 7))",
        call: "(call $f (i32.const 7))",
    },
    Call {
        name: "a text",
        wit: "func(x: string) -> bool",
        ty: r#"(func (param "x" string) (result bool))"#,
        lowered: "(func $f (param i32 i32) (result i32))",
        lifted: "(param i32 i32) (result i32) (i32.and
            (i32.eq (local.get 1) (i32.const 5)) (i32.eq (i32.load (local.get 0)) (i32.const 0x73657567)))",
        call: "(call $f (i32.const 1280) (i32.const 5))",
    },
    Call {
        name: "a text back",
        wit: "func() -> string",
        ty: "(func (result string))",
        lowered: "(func $f (param i32))",
        lifted: r#"(result i32) (i32.const 1024))
            (data (i32.const 1024) "\10\04\00\00\05\00\00\00") (data (i32.const 1040) "hello") (func"#,
        call: "(block (result i32) (call $f (i32.const 4096)) (i32.eq (i32.load (i32.const 4100)) (i32.const 5)))",
    },
    Call {
        name: "a list of numbers",
        wit: "func(x: list<u32>) -> u32",
        ty: r#"(func (param "x" (list u32)) (result u32))"#,
        lowered: "(func $f (param i32 i32) (result i32))",
        lifted: "(param i32 i32) (result i32) (i32.load offset=4 (local.get 0))",
        call: "(i32.eq (call $f (i32.const 2432) (i32.const 2)) (i32.const 0x61636562))",
    },
    Call {
        name: "a list of texts",
        wit: "func(x: list<string>) -> u32",
        ty: r#"(func (param "x" (list string)) (result u32))"#,
        lowered: "(func $f (param i32 i32) (result i32))",
        lifted: "(param i32 i32) (result i32) (i32.load offset=12 (local.get 0))",
        call: "(i32.eq (call $f (i32.const 2304) (i32.const 2)) (i32.const 7))",
    },
];

fn siblings() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in &CALLS {
        for (name, encoding) in
            [("", "utf8"), (", in UTF-16", "utf16"), (", in either", "latin1+utf16")]
        {
            // What the sibling reads and writes is UTF-8.
            let is_text = matches!(call.name, "a text" | "a text back");
            if encoding != "utf8" && is_text {
                continue;
            }
            let name = format!("a sibling that is passed {}{name}", call.name);
            cases.push(Case::new(22, name, "abstain", composed(call, encoding)));
        }
    }
    let text = &CALLS[1];
    let far = Call { call: "(call $f (i32.const 65530) (i32.const 100))", ..*text };
    cases.push(Case::new(
        22,
        "a text that lies outside of the memory",
        "trap",
        composed(&far, "utf8"),
    ));
    let many = "(core func (canon lower (func $f)))".repeat(1_001);
    let many = component(&format!(
        r#"(component
            (component $A (core module $m (func (export "f"))) (core instance $m (instantiate $m))
                (func (export "f") (canon lift (core func $m "f"))))
            (instance $a (instantiate $A)) (alias export $a "f" (func $f)) {many})"#
    ));
    cases.push(Case::new(22, "1,001 calls between components", "too-complex", many));
    let two = r#"(memory 1) (memory 1)"#;
    cases.push(Case::new(
        22,
        "a module with two memories",
        "invalid",
        crate::binary::of_module(two),
    ));
    let imported = component(
        r#"(component (core module $a (memory (export "m") 1)) (core instance $a (instantiate $a))
            (core module $b (import "a" "m" (memory 1)) (memory 1))
            (core instance (instantiate $b (with "a" (instance $a)))))"#,
    );
    cases.push(Case::new(
        22,
        "a module with an imported memory and one of its own",
        "invalid",
        imported,
    ));
    cases
}

/// The policy that calls a sibling, and abstains where the sibling got what was passed.
fn composed(call: &Call, encoding: &str) -> Vec<u8> {
    let Call { wit, ty, lowered, lifted, call, .. } = call;
    let memory = format!(
        r#"(import "countersign:policy/sibling@1.0.0" "f" {lowered}) (memory (export "memory") 1)"#
    );
    let evaluate = format!("(if (result i32) {call} (then {ABSTAIN}) (else {DENY}))");
    let guest = Guest { memory: &memory, evaluate: &evaluate, ..GUEST };
    let wit = format!(
        "{CONTRACT}\ninterface sibling {{ f: {wit}; }}\nworld composed {{ import sibling; include token-policy; }}"
    );
    let policy = component_in_world(StringEncoding::UTF8, &wit, "composed", &guest.module());
    let policy =
        wasmprinter::print_bytes(policy).unwrap().replacen("(component", "(component $P", 1);
    component(&format!(
        r#"(component
            (component $A
                (core module $m (memory (export "m") 1) (global $next (mut i32) (i32.const 8192))
                    (func (export "r") (param i32 i32 i32 i32) (result i32)
                        (global.set $next (i32.add (global.get $next) (i32.const 1024)))
                        (i32.sub (global.get $next) (i32.const 1024)))
                    (func (export "f") {lifted}))
                (core instance $m (instantiate $m))
                (type $f {ty})
                (func (export "f") (type $f) (canon lift (core func $m "f")
                    (memory $m "m") (realloc (func $m "r")) string-encoding={encoding})))
            {policy}
            (instance $a (instantiate $A))
            (instance $p (instantiate $P (with "countersign:policy/sibling@1.0.0" (instance $a))))
            (export "countersign:policy/policy@1.0.0" (instance $p "countersign:policy/policy@1.0.0")))"#
    ))
}

/// A policy with a resource of its own, whose handles the component model's built-in functions keep.
fn with_handles(evaluate: &str) -> Vec<u8> {
    let of = |function: &str, ty: &str| {
        format!(
            r#"(import "[export]countersign:policy/handles@1.0.0" "[resource-{function}]thing" (func ${function} {ty}))"#
        )
    };
    let memory = format!(
        r#"{}{}{} (memory (export "memory") 1)"#,
        of("new", "(param i32) (result i32)"),
        of("rep", "(param i32) (result i32)"),
        of("drop", "(param i32)"),
    );
    // Through a table, where no call says which function it is.
    let more = r#"(type $new (func (param i32) (result i32))) (table funcref (elem $new $rep))"#;
    let guest = Guest { memory: &memory, evaluate, more, ..GUEST };
    let wit = format!(
        "{CONTRACT}\ninterface handles {{ resource thing; }}\nworld with-handles {{ include token-policy; export handles; }}"
    );
    component_in_world(StringEncoding::UTF8, &wit, "with-handles", &guest.module())
}

fn handles() -> Vec<Case> {
    let trap = |name: &str, evaluate: &str| {
        Case::new(27, name, "trap", with_handles(&format!("{evaluate} {ABSTAIN}")))
    };
    let storm = |name: &str, body: &str| {
        let evaluate = format!("(loop $l {body} (br $l)) unreachable");
        Case::new(28, name, "out-of-fuel", with_handles(&evaluate))
    };
    vec![
        trap(
            "more handles than there may be",
            "(loop $l (drop (call $new (i32.const 1))) (br $l))",
        ),
        trap("an unknown handle is dropped", "(call $drop (i32.const 99))"),
        trap("the value of an unknown handle", "(drop (call $rep (i32.const 99)))"),
        trap(
            "a handle is dropped twice",
            "(call $drop (call $new (i32.const 1))) (call $drop (i32.const 1))",
        ),
        Case::new(
            27,
            "a handle that is used as it should be",
            "abstain",
            with_handles(&format!(
                "(if (i32.ne (call $rep (call $new (i32.const 5))) (i32.const 5)) (then unreachable)) {ABSTAIN}"
            )),
        ),
        storm("handles are made and dropped", "(call $drop (call $new (i32.const 1)))"),
        storm(
            "handles are made and dropped through a table",
            "(call $drop (call_indirect (type $new) (i32.const 1) (i32.const 0)))",
        ),
        Case::new(
            28,
            "the value of a handle",
            "out-of-fuel",
            with_handles(
                "(drop (call $new (i32.const 1))) (loop $l (drop (call $rep (i32.const 1))) (br $l)) unreachable",
            ),
        ),
    ]
}
