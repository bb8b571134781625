//! Policies whose core module wasm-mutate has changed.

use countersign_fuzz_targets::decision;
use countersign_hostile_policies::guest::{DENY, GUEST, Guest, PERMIT};
use countersign_hostile_policies::section;
use wasm_mutate::WasmMutate;
use wasmparser::{Parser, Payload};

/// The most mutations of one input.
const MOST: usize = 4;

/// Mutates a policy by the bytes: which policy, a seed, how often, and whether it must still mean the
/// same.
pub fn component(data: &[u8]) -> Option<Vec<u8>> {
    let [which, seed, times, keep, more @ ..] = data else { return None };
    let whole = policy(*which);
    let (before, module, after) = split(&whole).expect("a policy has a module");
    let mut module = module.to_vec();
    for n in 0..usize::from(*times) % MOST + 1 {
        let more = more.get(n).copied().unwrap_or_default();
        let mut mutate = WasmMutate::default();
        mutate.seed(u64::from_le_bytes([*seed, more, *which, 0, 0, 0, 0, 0]));
        mutate.preserve_semantics(keep_meaning(*keep)).fuel(10_000);
        let Some(Ok(next)) = mutate.run(&module).ok()?.next() else { break };
        module = next;
    }
    Some([before, &section(1, &module), after].concat())
}

/// Decides by the mutated policy; one that must mean the same decides as the original does.
pub fn check(data: &[u8]) {
    let Some(component) = component(data) else { return };
    crate::keep(&component);
    let Some(mutated) = decision(&component) else { return };
    if keep_meaning(data[3]) {
        let original = decision(&policy(data[0])).expect("a sound policy");
        let [now, then] = [&mutated, &original].map(|decision| &decision.trace()[0].result);
        // It may take more fuel, but never decide otherwise.
        if let (Ok(now), Ok(then)) = (now, then) {
            assert_eq!(now, then, "a mutation that keeps the meaning");
        }
    }
}

fn keep_meaning(keep: u8) -> bool {
    keep % 2 == 0
}

fn policy(which: u8) -> Vec<u8> {
    match which {
        0 => countersign_policy_artifacts::SAME_WORKSPACE.to_vec(),
        1 => countersign_policy_artifacts::CHANGE_WINDOW.to_vec(),
        2 => countersign_policy_artifacts::TRIGGER_GATE.to_vec(),
        n if n % 3 == 0 => Guest { evaluate: PERMIT, ..GUEST }.component(),
        n if n % 3 == 1 => Guest { evaluate: DENY, ..GUEST }.component(),
        _ => GUEST.component(),
    }
}

/// The bytes before the section of the first module, the module, and the bytes after the section.
fn split(component: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    Parser::new(0).parse_all(component).find_map(|payload| match payload.ok()? {
        Payload::ModuleSection { unchecked_range: range, .. } => {
            // Before the content are the section's id and its length in LEB128.
            let section = (2..=6).map(|header| range.start - header).find(|start| {
                component.get(*start) == Some(&1)
                    && leb128(&component[start + 1..range.start]) == Some(range.len())
            })?;
            Some((&component[..section], &component[range.clone()], &component[range.end..]))
        }
        _ => None,
    })
}

fn leb128(bytes: &[u8]) -> Option<usize> {
    let (last, more) = bytes.split_last()?;
    let whole = last & 0x80 == 0 && more.iter().all(|byte| byte & 0x80 != 0);
    let value = bytes.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    whole.then_some(value)
}
