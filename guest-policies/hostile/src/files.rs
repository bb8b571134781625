//! Files that are not a policy, or a damaged one.

use crate::Case;
use crate::binary::{component, of_module, section};
use crate::guest::{CONTRACT, GUEST, component_of};

pub(crate) fn cases() -> Vec<Case> {
    [other_worlds(), damaged(), custom_sections(), features()].concat()
}

fn other_worlds() -> Vec<Case> {
    let world = |name: &str, code, from: &str, to: &str| {
        Case::new(11, name, code, component_of(&CONTRACT.replace(from, to), None))
    };
    let import = |name: &str, import: &str| {
        world(name, "import", "export policy;", &format!("{import} export policy;"))
    };
    let verdict = "evaluate: func(run: run, token: token) -> verdict;";
    let number = "evaluate: func(run: run, token: token) -> u32;";
    let wasi = r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#;
    vec![
        Case::new(11, "a core module", "core-module", wat::parse_str("(module)").unwrap()),
        Case::new(11, "no export", "missing-interface", component("(component)")),
        world("another result", "wrong-type", verdict, number),
        world("a missing function", "missing-function", "describe: func() -> description;", ""),
        import("an imported function", "import now: func() -> u64;"),
        import("an imported interface", "import clock: interface { now: func() -> u64; }"),
        Case::new(11, "WASI", "import", component(wasi)),
        world("another major version", "unsupported-version", "policy@1.0.0;", "policy@2.0.0;"),
        world("a newer minor version", "unsupported-version", "policy@1.0.0;", "policy@1.1.0;"),
    ]
}

fn damaged() -> Vec<Case> {
    let whole = GUEST.component();
    let cut = |length: usize| whole.get(..length).unwrap_or_default().to_vec();
    // The length of the first section: five bytes of continuation are too many for 32 bits.
    let mut bad_leb = cut(9);
    bad_leb.extend([0xff; 6]);
    let mut flipped = whole.clone();
    if let Some(byte) = flipped.get_mut(9) {
        *byte ^= 0x80;
    }
    vec![
        Case::new(15, "an empty file", "not-wasm", vec![]),
        Case::new(15, "gzip", "not-wasm", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        Case::new(15, "only the magic number", "invalid", cut(4)),
        Case::new(15, "half a file", "invalid", cut(whole.len() / 2)),
        Case::new(15, "all but the last byte", "invalid", cut(whole.len() - 1)),
        Case::new(15, "a bad LEB128", "invalid", bad_leb),
        Case::new(15, "a flipped bit in a length", "invalid", flipped),
        Case::new(15, "trailing garbage", "invalid", [whole, vec![0xff; 3]].concat()),
        Case::new(16, "compiled code", "not-wasm", b"\x7fELF\x02\x01\x01\xc8\0\0\0\0".to_vec()),
    ]
}

fn custom_sections() -> Vec<Case> {
    ["name", ".debug_info", "component-name", "producers"]
        .into_iter()
        .map(|name| {
            let mut content = vec![u8::try_from(name.len()).unwrap()];
            content.extend(name.bytes());
            content.resize(content.len() + 400_000, 0xff);
            let component = [GUEST.component(), section(0, &content)].concat();
            Case::new(14, format!("400 kB of garbage in `{name}`"), "abstain", component)
        })
        .collect()
}

fn features() -> Vec<Case> {
    [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("several memories", "(memory 1) (memory 1)"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("tail calls", "(func $f (return_call $f))"),
        ("relaxed SIMD", "(func (param v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)))"),
        ("typed references", "(func (param (ref func)))"),
    ]
    .into_iter()
    .map(|(name, fields)| Case::new(18, name, "invalid", of_module(fields)))
    .collect()
}
