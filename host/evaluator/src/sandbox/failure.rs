//! From a Wasmtime error to a fault, by types and never by an error's text.

use memchr::memmem;
use wasmtime::{AsContext, Memory, StoreContext, Trap, WasmCoreDump};

use super::ledger::{Exceeded, HostExhausted, Ledger};
use super::wasmtime_config::stack_of;
use crate::contract::LiftFailed;
use crate::decision::fault::Fault;
use crate::text::escape;

/// The maximum length of a panic message, in bytes; the SDK writes no longer one.
const MAX_PANIC_BYTES: usize = 1000;

/// The part of a memory that is searched for a message: static data lies low.
const MAX_SEARCHED_BYTES: usize = 2 << 20;

/// The beginning of the SDK's panic report, at an address divisible by 16. A length in 32 bits,
/// little-endian, follows, and then as many bytes of UTF-8.
const PANIC_MARK: [u8; 16] = *b"countersign\0pan\x01";

/// The beginning of what an engine says that it is about while it takes settings, in the same form.
const STAGE_MARK: [u8; 16] = *b"countersign\0now\x01";

/// A fault of `configure`.
pub(crate) struct ConfigureFault {
    pub(crate) fault: Fault,
    /// What the policy was about, by its own word: escaped and cut. It may evaluate samples, of which its author knows
    /// nothing. A panic has a message of its own.
    pub(crate) stage: Option<String>,
}

impl From<Fault> for ConfigureFault {
    fn from(fault: Fault) -> Self {
        Self { fault, stage: None }
    }
}

/// The fault that ended a guest, or `None` when it returned and its result could not be lifted.
pub(super) fn fault<'s>(
    error: &wasmtime::Error,
    store: impl Into<StoreContext<'s, Ledger>>,
) -> Option<Fault> {
    let store = store.into();
    let ledger = store.data();
    if error.downcast_ref::<Exceeded>().is_some() {
        return Some(Fault::Memory { limit: ledger.limits.memory_bytes });
    }
    if error.downcast_ref::<HostExhausted>().is_some() {
        return Some(Fault::Host { problem: HostExhausted.to_string() });
    }
    let Some(trap) = error.downcast_ref::<Trap>().copied() else {
        // What ended the guest while it ran left a dump, also a built-in of the component model, whose errors have no
        // type. Lifting what it returned happens when it runs no more.
        return error
            .downcast_ref::<WasmCoreDump>()
            .map(|_| Fault::Trap { reason: escape(&error.root_cause().to_string(), 256) });
    };
    Some(match trap {
        Trap::OutOfFuel => Fault::OutOfFuel { limit: ledger.fuel_limit },
        Trap::Interrupt => Fault::Deadline { limit_ms: ledger.limits.wall_clock_ms },
        Trap::StackOverflow => Fault::Stack { limit: stack_of(ledger.limits.stack_bytes) },
        Trap::UnreachableCodeReached => panic_message(error, store)
            .map_or(Fault::Trap { reason: trap.to_string() }, |message| Fault::Panic {
                message: escape(&message, 1024),
            }),
        _ => Fault::Trap { reason: trap.to_string() },
    })
}

/// The fault for an error of the host: no component that was loaded can cause it.
pub(super) fn fault_of_the_host(error: wasmtime::Error) -> Fault {
    Fault::Host { problem: escape(&format!("{error:#}"), 512) }
}

/// The fault of a guest that returned, where what it returned could not be lifted.
pub(super) fn classify_lift_failure(error: &wasmtime::Error, output_bytes: u32) -> Fault {
    match error.downcast_ref::<LiftFailed>() {
        Some(LiftFailed::TooLarge) => Fault::OutputTooLarge { limit: output_bytes },
        Some(LiftFailed::Malformed) | None => Fault::BadOutput,
    }
}

/// The message that the SDK's panic handler left in the guest's memory.
///
/// A policy has no import to report through, and WebAssembly without exceptions cannot unwind. So
/// the SDK writes the message down and traps, and the host looks for it. Whatever is found is the
/// guest's text, no more: a policy that forges it describes its own fault.
fn panic_message(error: &wasmtime::Error, store: StoreContext<'_, Ledger>) -> Option<String> {
    text_after(PANIC_MARK, error, store)
}

/// What a guest that was ended said that it was about.
///
/// As with a panic: it is the guest's text, of its own fault.
pub(super) fn stage<'s>(
    error: &wasmtime::Error,
    store: impl Into<StoreContext<'s, Ledger>>,
) -> Option<String> {
    text_after(STAGE_MARK, error, store.into()).map(|text| escape(&text, 256))
}

/// The text after a mark in the memory of a guest that was ended.
fn text_after(
    mark: [u8; 16],
    error: &wasmtime::Error,
    store: StoreContext<'_, Ledger>,
) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.memories().iter().find_map(|memory| text_in(mark, memory, &store))
}

fn text_in(mark: [u8; 16], memory: &Memory, store: impl AsContext) -> Option<String> {
    let data = memory.data(&store);
    let low = data.get(..MAX_SEARCHED_BYTES).unwrap_or(data);
    // Marks elsewhere are passed over, of which a hostile memory may be full: they do not overlap.
    memmem::find_iter(low, &mark).filter(|at| at % 16 == 0).find_map(|at| {
        let report = data.get(at + 16..)?;
        let (length, text) = report.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let text = text.get(..length.min(MAX_PANIC_BYTES))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    })
}
