//! Templates: the code of a component in a state whose memory is filled in after compiling.
//!
//! Bindings of one component differ by the memory that `configure` leaves behind, and their code does not. So a large
//! component is compiled once, with a pattern in the place of the memory, and a snapshot is that code with the memory in the
//! place of the pattern: what takes seconds for the first settings takes milliseconds for all others. The pattern is looked
//! for where Wasmtime keeps data, is compared byte by byte, and must be there once; otherwise the snapshot is compiled as
//! any other.

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};

use super::compile::CompiledCode;
use super::snapshot::State;
use crate::digest::Digest;

/// The size from which a component has a template, in bytes. Below it, compiling takes less than finding out.
pub(super) const MIN_COMPONENT_BYTES: usize = 512 << 10;

/// A page of a guest's memory.
const PAGE_BYTES: usize = 64 << 10;

/// The smallest page of a host: Wasmtime aligns what it maps to pages.
const HOST_PAGE_BYTES: usize = 4 << 10;

/// The section of compiled code that has the contents of memories, and nothing that is run.
const DATA_SECTION: &str = ".rodata.wasm";

/// The state of a component with a pattern in the place of its memory.
pub(super) struct Template<'s> {
    state: State,
    /// The contents of the memory, without the pages after the last that has any.
    contents: &'s [u8],
}

impl<'s> Template<'s> {
    /// The template of a state with one memory that is not empty.
    pub(super) fn of(state: &'s State) -> Option<Self> {
        let memory = state.only_memory()?;
        let last = memory.iter().rposition(|byte| *byte != 0)?;
        let contents = memory.get(..(last + 1).next_multiple_of(PAGE_BYTES))?;
        let mut patterned = pattern(contents.len());
        patterned.resize(memory.len(), 0);
        Some(Self { state: state.with_memory(patterned), contents })
    }

    /// The state to compile.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// A digest of everything that the compiled code depends on beside the component: sizes, and the values of globals.
    pub(super) fn shape(&self) -> Digest {
        let values = self.state.values_to_bytes();
        Digest::of(&[self.contents.len().to_string().into_bytes(), values].join(&b'\n'))
    }

    /// The code with the memory in the place of the pattern, or nothing where the code does not have it.
    pub(super) fn fill(&self, code: CompiledCode) -> Option<CompiledCode> {
        let at = find(code.as_bytes(), self.pattern()?)?;
        let mut bytes = code.into_bytes();
        bytes.get_mut(at..at + self.contents.len())?.copy_from_slice(self.contents);
        // SAFETY: the code was ours, and only data that is the guest's own was replaced, by as much of it.
        #[expect(unsafe_code, reason = "code with other contents of its memory")]
        Some(unsafe { CompiledCode::from_bytes(bytes) })
    }

    fn pattern(&self) -> Option<&[u8]> {
        self.state.only_memory()?.get(..self.contents.len())
    }
}

/// The offset of the pattern in the data of compiled code, if it is there once.
fn find(code: &[u8], pattern: &[u8]) -> Option<usize> {
    let file = ElfFile64::<Endianness>::parse(code).ok()?;
    let (from, length) = file.section_by_name(DATA_SECTION)?.file_range()?;
    let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
    let data = code.get(from..from.checked_add(length)?)?;
    let mut found = (0..data.len())
        .step_by(HOST_PAGE_BYTES)
        .filter(|at| data.get(*at..).is_some_and(|data| data.starts_with(pattern)));
    let at = found.next()?;
    found.next().is_none().then_some(from + at)
}

/// Bytes that no guest has in its memory by accident. None of them is 0, since Wasmtime leaves out what is.
fn pattern(bytes: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = 0x436f_756e_7465_7273_u64;
    let mut words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) | 0x0101_0101_0101_0101
    });
    let mut pattern = Vec::with_capacity(bytes.next_multiple_of(8));
    while pattern.len() < bytes {
        pattern.extend(words.next().unwrap_or_default().to_le_bytes());
    }
    pattern.truncate(bytes);
    pattern
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::limits::Limits;
    use crate::prepare::compile::Form;
    use crate::prepare::snapshot::Value;
    use crate::sandbox::wasmtime_config::Optimization;

    /// The code of a component with these segments, two pages long, after its memory.
    fn code(segments: &str) -> CompiledCode {
        let text = format!(
            "(component (core module $m (memory (export \"memory\") 2) {segments}) \
             (core instance (instantiate $m)))"
        );
        let component = wat::parse_str(text).unwrap();
        CompiledCode::compile(&component, Form::Original, Optimization::None, &Limits::DEFAULT)
            .unwrap()
    }

    fn segment(kind: &str, bytes: &[u8]) -> String {
        let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data {kind} \"{text}\")")
    }

    fn state(memory: Vec<u8>) -> State {
        let mut state = State::default();
        state.set_memory("memory", &memory);
        state
    }

    #[test]
    fn the_pattern_is_replaced_where_it_is_the_memory_and_there_once() {
        let mut memory = vec![0; 2 * PAGE_BYTES];
        *memory.get_mut(7).unwrap() = 1;
        let state = state(memory);
        let template = Template::of(&state).unwrap();
        let pattern = pattern(PAGE_BYTES);
        assert!(!pattern.contains(&0));
        let once = segment("(i32.const 0)", &pattern);
        let filled = template.fill(code(&once)).unwrap().into_bytes();
        let own = segment("(i32.const 0)", template.contents);
        // As if it had been compiled so, but for zeros that Wasmtime would have left out.
        let mut found = filled.windows(PAGE_BYTES).filter(|bytes| *bytes == template.contents);
        assert!(found.next().is_some());
        assert_eq!(find(&filled, &pattern), None);
        let twice = format!("{once}{}", segment("", &pattern));
        let short = segment("(i32.const 0)", pattern.split_last().unwrap().1);
        for (other, why) in [(twice, "twice"), (short, "short"), (own, "other bytes")] {
            assert!(template.fill(code(&other)).is_none(), "{why}");
        }
        let not_code = CompiledCode::none();
        assert!(template.fill(not_code).is_none());
    }

    #[test]
    fn states_have_one_template_where_only_the_memory_differs() {
        let shape = |memory: Vec<u8>, global: i32| {
            let mut state = state(memory);
            state.set("global", Value::S32(global));
            Template::of(&state).map(|template| template.shape())
        };
        let with = |place: usize, pages: usize| {
            let mut memory = vec![0; pages * PAGE_BYTES];
            *memory.get_mut(place).unwrap() = 1;
            memory
        };
        let one = shape(with(0, 2), 1).unwrap();
        assert_eq!(shape(with(PAGE_BYTES - 1, 2), 1), Some(one));
        for other in [shape(with(PAGE_BYTES, 2), 1), shape(with(0, 3), 1), shape(with(0, 2), 2)] {
            assert_ne!(other.unwrap(), one);
        }
        assert_eq!(shape(vec![0; PAGE_BYTES], 1), None);
        let mut two = state(with(0, 1));
        two.set_memory("another", &with(0, 1));
        assert!(Template::of(&two).is_none());
    }
}
