//! A component in the state that `configure` left it in.
//!
//! `wasmtime-wizer` makes it: it [exports the state](instrumented) of every core module, and puts the state
//! that was read there [in the place of](rewritten) the one that the component began with. It was written
//! for components that are trusted, so this module checks its expectations; and it turns the state into
//! bytes, so that reading and rewriting can happen in two processes.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use wasmparser::{CanonicalFunction, Parser, Payload};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use crate::text::escape;

/// The instance that an instrumented component exports: a function for each memory and mutable global.
pub(crate) const STATE_INSTANCE: &str = "wasmtime:wizer/access";

/// The state of an instance: its memories and mutable globals, by the names that
/// [`Form::Instrumented`](crate::Form) exports them under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    values: BTreeMap<String, Value>,
    memories: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Value {
    S32(i32),
    S64(i64),
    F32(u32),
    F64(u64),
    /// So many bytes of the memories from an offset on.
    Memory {
        from: usize,
        bytes: usize,
    },
}

impl State {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(crate) fn set_memory(&mut self, name: &str, contents: &[u8]) {
        let (from, bytes) = (self.memories.len(), contents.len());
        self.memories.extend_from_slice(contents);
        self.set(name, Value::Memory { from, bytes });
    }

    /// The state as bytes: a line of JSON, and then the memories.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.values_to_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.memories);
        bytes
    }

    /// Takes back what [`State::to_bytes`] gave, or nothing when it is something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let values = serde_json::from_slice(bytes.get(..end)?).ok()?;
        Some(Self { values, memories: bytes.get(end + 1..)?.to_vec() })
    }

    /// The contents of the memory, where there is exactly one.
    pub(super) fn only_memory(&self) -> Option<&[u8]> {
        let is_memory = |value: &&Value| matches!(value, Value::Memory { .. });
        (self.values.values().filter(is_memory).count() == 1).then_some(&self.memories)
    }

    /// The same with other contents, of the same length, in all memories.
    pub(super) fn with_memory(&self, memories: Vec<u8>) -> Self {
        Self { values: self.values.clone(), memories }
    }

    /// Everything but the contents of memories.
    pub(super) fn values_to_bytes(&self) -> Vec<u8> {
        // A map of names to numbers has nothing that JSON lacks.
        serde_json::to_vec(&self.values).unwrap_or_default()
    }

    fn memory(&self, name: &str) -> Option<&[u8]> {
        match self.values.get(name)? {
            Value::Memory { from, bytes } => self.memories.get(*from..)?.get(..*bytes),
            _ => None,
        }
    }
}

/// A component like this one whose state can be read, or the reason why there is none.
pub(super) fn instrumented(component: &[u8]) -> Result<Vec<u8>, String> {
    Ok(instrument(component)?.1)
}

/// The component with this state in the place of its own, or the reason why there is none.
pub(super) fn rewritten(component: &[u8], state: &State) -> Result<Vec<u8>, String> {
    let (context, _) = instrument(component)?;
    let mut replay = Replay { state, missing: false };
    let rewritten = guarded(|| {
        poll_once(wizer().snapshot_component(&context, &mut replay))
            .ok_or_else(|| "the snapshot did not come at once".to_owned())?
            .map_err(|error| escape(&format!("{error:#}"), 256))
    })?;
    if replay.missing {
        return Err("a part of its state could not be read".to_owned());
    }
    Ok(rewritten)
}

fn instrument(component: &[u8]) -> Result<(ComponentContext<'_>, Vec<u8>), String> {
    expected(component)?;
    guarded(|| {
        wizer().instrument_component(component).map_err(|error| escape(&format!("{error:#}"), 256))
    })
}

fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    wizer.keep_init_func(true);
    wizer
}

/// Checks what wizer takes for granted, and what it would miss.
fn expected(component: &[u8]) -> Result<(), String> {
    /// The findings in a core module.
    #[derive(Default)]
    struct Module {
        has_state: bool,
        has_exports: bool,
    }
    let mut module: Option<Module> = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| escape(&error.to_string(), 256))? {
            Payload::ModuleSection { .. } => module = Some(Module::default()),
            Payload::MemorySection(section) if section.count() > 0 => {
                module.get_or_insert_default().has_state = true;
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global.map_err(|error| escape(&error.to_string(), 256))?;
                    module.get_or_insert_default().has_state |= global.ty.mutable;
                }
            }
            Payload::ExportSection(_) => module.get_or_insert_default().has_exports = true,
            Payload::End(_)
                if module.take().is_some_and(|module| module.has_state && !module.has_exports) =>
            {
                return Err("a module has state and exports nothing".to_owned());
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    match function.map_err(|error| escape(&error.to_string(), 256))? {
                        CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. } => {}
                        // The handles of resources are the host's.
                        _ => return Err("it keeps state outside of its memory".to_owned()),
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.map_err(|error| escape(&error.to_string(), 256))?;
                    if export.name.name == STATE_INSTANCE {
                        return Err(format!("it exports `{STATE_INSTANCE}` itself"));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Wizer was written for components that are trusted: where it panics, there is no snapshot.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("it is something that snapshots are not made for".to_owned()))
}

/// The result of a future that waits for nothing.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Answers wizer's questions from a state that was read before.
struct Replay<'s> {
    state: &'s State,
    /// Something was needed that the state does not have.
    missing: bool,
}

impl Replay<'_> {
    fn value<T: Default>(&mut self, name: &str, take: impl Fn(Value) -> Option<T>) -> T {
        let value = self.state.values.get(name).copied().and_then(take);
        self.missing |= value.is_none();
        value.unwrap_or_default()
    }
}

impl ComponentInstanceState for Replay<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        _: &str,
        name: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        let memory = self.state.memory(name);
        self.missing |= memory.is_none();
        contents(memory.unwrap_or_default());
    }

    async fn call_func_ret_s32(&mut self, _: &str, name: &str) -> i32 {
        self.value(name, |value| if let Value::S32(value) = value { Some(value) } else { None })
    }

    async fn call_func_ret_s64(&mut self, _: &str, name: &str) -> i64 {
        self.value(name, |value| if let Value::S64(value) = value { Some(value) } else { None })
    }

    async fn call_func_ret_f32(&mut self, _: &str, name: &str) -> u32 {
        self.value(name, |value| if let Value::F32(value) = value { Some(value) } else { None })
    }

    async fn call_func_ret_f64(&mut self, _: &str, name: &str) -> u64 {
        self.value(name, |value| if let Value::F64(value) = value { Some(value) } else { None })
    }
}
