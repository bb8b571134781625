//! Attacks by the verdict of a guest.

use crate::Case;
use crate::guest::{ABSTAIN, DENY, GUEST, Guest, PERMIT, RESTRICT};

/// The memory of a guest with a large verdict. The lowered claims are below 65,536.
const LARGE: &str = r#"(memory (export "memory") 200)"#;

pub(crate) fn cases() -> Vec<Case> {
    [malformed(), too_large(), texts(), other_encodings(), invisible(), grants()].concat()
}

fn case(row: u8, name: &str, code: &'static str, evaluate: &str) -> Case {
    Case::new(row, name, code, Guest { evaluate, ..GUEST }.component())
}

fn large(row: u8, name: &str, code: &'static str, evaluate: &str) -> Case {
    Case::new(row, name, code, Guest { memory: LARGE, evaluate, ..GUEST }.component())
}

/// A denial whose one reason has the given place for a code.
fn reason(pointer: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 2304) (i32.const {pointer}))
         (i32.store (i32.const 2308) (i32.const {length})) {DENY}"
    )
}

/// Instructions that store bytes at 4096.
fn stores(bytes: &[u8]) -> String {
    let store = |(at, byte)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 4096 + at);
    bytes.iter().enumerate().map(store).collect()
}

/// A denial whose one reason has these bytes for a code.
fn code_of(bytes: &[u8]) -> String {
    let stores = stores(bytes);
    format!("{stores} {}", reason(4096, u32::try_from(bytes.len()).unwrap()))
}

/// A denial whose one reason has these bytes for a message.
fn message_of(bytes: &[u8]) -> String {
    let stores = stores(bytes);
    format!(
        "{stores} (i32.store (i32.const 2312) (i32.const 4096))
         (i32.store (i32.const 2316) (i32.const {})) {DENY}",
        bytes.len()
    )
}

/// A denial with a list of `length` reasons at 65,536, each of the given place for a code and of no
/// message.
fn reasons(length: u32, pointer: u32, size: u32) -> String {
    format!(
        "(local $at i32)
         (loop $l
            (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const {pointer}))
            (i32.store (i32.add (i32.const 65540) (local.get $at)) (i32.const {size}))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br_if $l (i32.lt_u (local.get $at) (i32.const {}))))
         (i32.store (i32.const 2180) (i32.const 65536))
         (i32.store (i32.const 2184) (i32.const {length}))
         {DENY}",
        length * 16
    )
}

/// Texts of which the limit is passed before they are decoded, which would take twice or three times their size.
fn other_encodings() -> Vec<Case> {
    [("12 MiB of Latin-1", 12 << 20), ("6 M units of UTF-16", (6 << 20) | (1 << 31))]
        .map(|(name, length)| {
            let guest = Guest { memory: LARGE, evaluate: &reason(65_536, length), ..GUEST };
            Case::new(25, name, "output-too-large", guest.component_in_either_encoding())
        })
        .into()
}

/// Characters that are shown as nothing, that turn the direction of writing, or that are none: escaped everywhere.
fn invisible() -> Vec<Case> {
    [
        ("noncharacters", "a\u{fffe}\u{ffff}\u{fdd0}\u{1fffe}\u{10ffff}b"),
        ("format characters of other planes", "a\u{1d173}\u{1d17a}\u{1bca0}\u{1bca3}\u{e0041}b"),
        ("blanks", "a\u{2800}\u{3164}\u{115f}\u{ffa0}b"),
        ("private use and unassigned", "a\u{e000}\u{f0000}\u{0378}b"),
    ]
    .map(|(name, text)| case(26, name, "deny", &message_of(text.as_bytes())))
    .into()
}

fn malformed() -> Vec<Case> {
    let code = "bad-output";
    let mut cases = vec![
        case(5, "a text of 2 GiB", code, &reason(2432, 0x7fff_ffff)),
        case(5, "a text across the end of memory", code, &reason(65_535, 2)),
        case(5, "text that is not UTF-8", code, &code_of(b"\xff\xfe")),
        case(5, "text with a surrogate", code, &code_of(b"\xed\xa0\x80")),
    ];
    for discriminant in [4, 255] {
        let evaluate =
            format!("(i32.store8 (i32.const 2048) (i32.const {discriminant})) {ABSTAIN}");
        cases.push(case(5, &format!("a verdict of kind {discriminant}"), code, &evaluate));
    }
    for (name, place) in [("max-ttl", 2116), ("audiences", 2124)] {
        let evaluate = format!("(i32.store8 (i32.const {place}) (i32.const 2)) {PERMIT}");
        cases.push(case(5, &format!("an option of kind 2 in {name}"), code, &evaluate));
        let evaluate = format!("(i32.store8 (i32.const {}) (i32.const 2)) {RESTRICT}", place + 32);
        let name = format!("an option of kind 2 in {name} of a restriction");
        cases.push(case(5, &name, code, &evaluate));
    }
    for (name, address) in
        [("across the end of memory", "65533"), ("misaligned", "2049"), ("out of range", "-4")]
    {
        let evaluate = format!("(i32.const {address})");
        cases.push(case(5, &format!("a verdict {name}"), code, &evaluate));
    }
    cases.push(Case::new(5, "a text in utf-16 at an odd address", code, utf16(4097)));
    cases.push(Case::new(5, "half a surrogate in utf-16", code, utf16(4096)));
    cases
}

/// A guest whose texts are in UTF-16, and that denies with a lone surrogate at this address.
fn utf16(address: u32) -> Vec<u8> {
    let evaluate =
        format!("(i32.store16 (i32.const {address}) (i32.const 0xd800)) {}", reason(address, 1));
    // The description is in UTF-16 too: `g`, `1.0.0`, `t`.
    let more = r#"
        (data (i32.const 1280) "g\00")
        (data (i32.const 1288) "1\00.\000\00.\000\00")
        (data (i32.const 1304) "t\00")
        (data (i32.const 1024) "\00\05\00\00\01\00\00\00\08\05\00\00\05\00\00\00\18\05\00\00\01\00\00\00\00\00\00\00\00\00\00\00")"#;
    Guest { evaluate: &evaluate, more, ..GUEST }.component_in_utf16()
}

fn too_large() -> Vec<Case> {
    let code = "output-too-large";
    let audiences = format!(
        "(i32.store8 (i32.const 2124) (i32.const 1))
         (i32.store (i32.const 2128) (i32.const 65536))
         (i32.store (i32.const 2132) (i32.const 1200000)) {PERMIT}"
    );
    vec![
        large(6, "a text of 9 MiB", code, &reason(65_536, 9 << 20)),
        large(6, "100,000 empty reasons", code, &reasons(100_000, 0, 0)),
        large(6, "100,000 reasons of one MiB", code, &reasons(100_000, 4 << 20, 1 << 20)),
        large(6, "1,200,000 empty audiences", code, &audiences),
    ]
}

fn texts() -> Vec<Case> {
    let deny = "deny";
    vec![
        case(7, "a code with terminal escapes", deny, &code_of(b"\x1b[2Jok\r\n")),
        case(7, "a code with NUL", deny, &code_of(b"a\0b")),
        case(7, "a code with bidi controls", deny, &code_of("a\u{202e}b".as_bytes())),
        large(7, "1,000 reasons", deny, &reasons(1_000, 2432, 2)),
        large(7, "a code of 64,000 bytes", deny, &reason(65_536, 64_000)),
        large(7, "a code of 1 MiB", "output-too-large", &reason(65_536, 1 << 20)),
        case(
            7,
            "no reason at all",
            deny,
            &format!("(i32.store (i32.const 2184) (i32.const 0)) {DENY}"),
        ),
    ]
}

/// A permit that adds a claim whose name is this; its value is `because`.
fn claim(name: &str) -> String {
    format!(
        "{} (drop) (i32.store (i32.const 2136) (i32.const 2304))
         (i32.store (i32.const 2140) (i32.const 1)) {PERMIT}",
        code_of(name.as_bytes())
    )
}

fn grants() -> Vec<Case> {
    let ttl = |seconds: u32| {
        format!(
            "(i32.store8 (i32.const 2116) (i32.const 1))
             (i32.store (i32.const 2120) (i32.const {seconds})) {PERMIT}"
        )
    };
    let restricted = |seconds: u32| {
        format!(
            "(i32.store8 (i32.const 2148) (i32.const 1))
             (i32.store (i32.const 2152) (i32.const {seconds})) {RESTRICT}"
        )
    };
    // The list of the denial's one reason, read as a list of one text: `no`.
    let audience = format!(
        "(i32.store8 (i32.const 2124) (i32.const 1))
         (i32.store (i32.const 2128) (i32.const 2304))
         (i32.store (i32.const 2132) (i32.const 1)) {PERMIT}"
    );
    vec![
        case(19, "restricts to a longer TTL", "grant-widens-ttl", &restricted(u32::MAX)),
        case(19, "restricts to a TTL of zero", "grant-widens-ttl", &restricted(0)),
        // A restriction alone permits nobody.
        case(19, "restricts, and nothing permits", "restrict", &restricted(1)),
        case(19, "grants a longer TTL", "grant-widens-ttl", &ttl(u32::MAX)),
        case(19, "grants a TTL of zero", "grant-widens-ttl", &ttl(0)),
        case(19, "grants another audience", "grant-widens-audiences", &audience),
        case(19, "adds `sub`", "grant-reserved-claim", &claim("sub")),
        case(19, "adds `aud`", "grant-reserved-claim", &claim("aud")),
        case(19, "adds a claim that is not listed", "grant-unlisted-claim", &claim("admin")),
        case(19, "adds a claim with an escape", "grant-bad-claim", &claim("a\u{1b}")),
    ]
}
