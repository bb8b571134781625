//! Arbitrary bytes in a guest's memory, read as its verdict.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use countersign::{Decision, Limits, Policy, Settings};
use countersign_hostile_policies::guest::{GUEST, Guest};

use crate::{LIMITS, bind, decide, engine};

/// The most bytes of memory that are written.
const MOST: usize = 4096;

/// The address of the bytes; the verdict begins there, or up to 255 bytes further on.
const PLACE: u32 = 16_384;

/// Writes the bytes into a guest's memory, which returns them as its verdict. The first byte is where
/// in them the verdict begins, the second is how large it may be.
pub(crate) fn verdict(data: &[u8]) {
    drop(decision(data));
}

fn decision(data: &[u8]) -> Option<Decision> {
    let [offset, output, bytes @ ..] = data else { return None };
    let bytes = bytes.get(..MOST).unwrap_or(bytes);
    let mut hex = format!("{:02x}", offset);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    let settings = Settings::from_json(&format!(r#"{{"m":"{hex}"}}"#)).unwrap();
    // Taking the bytes is not what is tried.
    let configure_fuel = Limits::DEFAULT.configure_fuel;
    let limits = Limits { output_bytes: 16 << (output % 16), configure_fuel, ..LIMITS };
    Some(decide(&bind(policy(), settings, limits).unwrap()))
}

/// Takes `{"m":"…"}`: an offset and bytes, in hexadecimal.
fn policy() -> &'static Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    POLICY.get_or_init(|| {
        let configure = format!(
            "(local $at i32)
             (local.set $at (i32.const {PLACE}))
             (global.set $offset (call $byte (i32.add (local.get $pointer) (i32.const 6))))
             (local.set $length (i32.add (local.get $pointer) (i32.sub (local.get $length) (i32.const 2))))
             (local.set $pointer (i32.add (local.get $pointer) (i32.const 8)))
             (block $done
                (loop $next
                    (br_if $done (i32.ge_u (local.get $pointer) (local.get $length)))
                    (i32.store8 (local.get $at) (call $byte (local.get $pointer)))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (local.set $pointer (i32.add (local.get $pointer) (i32.const 2)))
                    (br $next)))
             (i32.const 2240)"
        );
        let more = "
            (global $offset (mut i32) (i32.const 0))
            (func $digit (param $at i32) (result i32)
                (local.set $at (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
                (if (i32.gt_u (local.get $at) (i32.const 9))
                    (then (local.set $at (i32.sub (local.get $at) (i32.const 39)))))
                (local.get $at))
            (func $byte (param $at i32) (result i32)
                (i32.or
                    (i32.shl (call $digit (local.get $at)) (i32.const 4))
                    (call $digit (i32.add (local.get $at) (i32.const 1)))))";
        let evaluate = format!("(i32.add (i32.const {PLACE}) (global.get $offset))");
        let guest = Guest { configure: &configure, evaluate: &evaluate, more, ..GUEST };
        Arc::new(Policy::load(engine(), &guest.component(), &LIMITS).unwrap())
    })
}

/// Verdicts of each kind as they lie in memory, to be mutated.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    let begin = |offset: u8| vec![offset, 12];
    let mut deny = begin(0);
    [2, PLACE + 12, 1, PLACE + 28, 2, PLACE + 30, 7].iter().for_each(|n| word(&mut deny, *n));
    deny.extend(b"nobecause");
    let granting = |kind: u32| {
        let mut verdict = begin(0);
        [
            kind,
            1,
            900,
            1,
            PLACE + 32,
            1,
            PLACE + 40,
            1,
            PLACE + 56,
            3,
            PLACE + 59,
            4,
            PLACE + 63,
            1,
        ]
        .iter()
        .for_each(|n| word(&mut verdict, *n));
        verdict.extend(b"awsteamx");
        verdict
    };
    let abstain = [begin(0), vec![3]].concat();
    // The last one is of a kind that there is not.
    let unknown = [begin(0), vec![4]].concat();
    [deny, granting(0), granting(1), abstain, vec![3, 0, 255], unknown]
        .map(|seed| ("verdict", seed))
        .to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use countersign::{Fault, Verdict};

    use super::*;

    #[test]
    fn the_seeds_are_what_they_say() {
        let ends: Vec<_> = seeds()
            .iter()
            .map(|(_, seed)| match &decision(seed).unwrap().trace().first().unwrap().result {
                Ok(Verdict::Deny(_)) => "deny",
                Ok(Verdict::Permit(grant)) if grant.max_ttl == Some(900) => "permit",
                Ok(Verdict::Restrict(grant)) if grant.max_ttl == Some(900) => "restrict",
                Ok(Verdict::Abstain) => "abstain",
                Err(Fault::BadOutput) => "bad-output",
                _ => "something else",
            })
            .collect();
        assert_eq!(ends, ["deny", "permit", "restrict", "abstain", "bad-output", "bad-output"]);
    }
}
