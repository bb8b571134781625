//! From a Wasmtime error to a fault, by types and never by an error's text.

use wasmtime::component::{Lift, WasmList, WasmStr};
use wasmtime::{AsContext, AsContextMut, Memory, StoreContext, Trap, WasmCoreDump};

use super::ledger::{Exceeded, HostExhausted, Ledger};
use crate::contract::VerdictInPlace;
use crate::engine::stack_of;
use crate::fault::Fault;
use crate::text::escape;

/// The longest panic message that is read, in bytes; the SDK writes no longer one.
const MAX_PANIC_BYTES: usize = 1000;

/// How much of a memory is searched for a panic message: static data lies low.
const MAX_SEARCHED_BYTES: usize = 2 << 20;

/// What the SDK's panic report begins with, at an address divisible by 16. A length in 32 bits,
/// little-endian, follows, and then as many bytes of UTF-8.
const PANIC_MARK: [u8; 16] = *b"countersign\0pan\x01";

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
    let trap = *error.downcast_ref::<Trap>()?;
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

/// The fault for an error that is no guest's: no component that was loaded can cause it.
pub(super) fn fault_of_the_host(error: wasmtime::Error) -> Fault {
    Fault::Host { problem: escape(&format!("{error:#}"), 512) }
}

/// Whether every part of a verdict can be read, at least until it is larger than `limit`.
pub(super) fn is_readable(
    verdict: &VerdictInPlace,
    mut store: impl AsContextMut<Data = Ledger>,
    limit: u32,
) -> bool {
    let mut reader = Reader { store: store.as_context_mut(), left: limit as usize };
    let read = match verdict {
        VerdictInPlace::Abstain => Ok(()),
        VerdictInPlace::Deny(reasons) => reader.each(reasons, |reader, reason| {
            reader.text(&reason.code)?;
            reader.text(&reason.message)
        }),
        VerdictInPlace::Permit(grant) | VerdictInPlace::Restrict(grant) => grant
            .audiences
            .as_ref()
            .map_or(Ok(()), |list| reader.each(list, |reader, text| reader.text(&text)))
            .and_then(|()| {
                reader.each(&grant.claims, |reader, claim| {
                    reader.text(&claim.name)?;
                    reader.text(&claim.value)
                })
            }),
    };
    !matches!(read, Err(Stop::Unreadable))
}

/// Reads values in a guest's memory, up to a number of bytes.
struct Reader<'s> {
    store: wasmtime::StoreContextMut<'s, Ledger>,
    left: usize,
}

enum Stop {
    Unreadable,
    TooLarge,
}

impl Reader<'_> {
    fn text(&mut self, text: &WasmStr) -> Result<(), Stop> {
        let bytes = text.to_str(&self.store).map_err(|_| Stop::Unreadable)?.len();
        self.take(bytes)
    }

    fn each<T: Lift + 'static>(
        &mut self,
        list: &WasmList<T>,
        mut read: impl FnMut(&mut Self, T) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for index in 0..list.len() {
            self.take(size_of::<T>())?;
            match list.get(&mut self.store, index) {
                Some(Ok(item)) => read(self, item)?,
                Some(Err(_)) | None => return Err(Stop::Unreadable),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Stop> {
        self.left = self.left.checked_sub(bytes).ok_or(Stop::TooLarge)?;
        Ok(())
    }
}

/// The message that the SDK's panic handler left in the guest's memory.
///
/// A policy has no import to report through, and WebAssembly without exceptions cannot unwind. So
/// the SDK writes the message down and traps, and the host looks for it. Whatever is found is the
/// guest's text, no more: a policy that forges it describes its own fault.
fn panic_message(error: &wasmtime::Error, store: StoreContext<'_, Ledger>) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.memories().iter().find_map(|memory| panic_message_in(memory, &store))
}

fn panic_message_in(memory: &Memory, store: impl AsContext) -> Option<String> {
    let data = memory.data(&store);
    let low = data.get(..MAX_SEARCHED_BYTES).unwrap_or(data);
    low.chunks_exact(16).enumerate().filter(|(_, chunk)| *chunk == PANIC_MARK).find_map(
        |(index, _)| {
            let report = data.get(index * 16 + 16..)?;
            let (length, text) = report.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let text = text.get(..length.min(MAX_PANIC_BYTES))?;
            (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
        },
    )
}
