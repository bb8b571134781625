//! Wiping the memory that a guest wrote to, by one of two methods.

use std::sync::LazyLock;

use wasmtime::Enabled;
use wasmtime::component::Component;

/// The method by which the memory that a guest wrote to is wiped. What the next guest finds is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wiping {
    /// The kernel is asked for the pages that were written, and these are copied.
    WrittenPages,
    /// All of it is copied, and nothing asked.
    Whole,
}

/// The largest small memory, in pages of WebAssembly.
const SMALL_MEMORY_PAGES: u64 = 1;

/// A page of WebAssembly.
const PAGE_BYTES: usize = 64 << 10;

/// The most code that a policy with a small memory usually has.
const SMALL_CODE_BYTES: usize = 512 << 10;

impl Wiping {
    /// The number of ways.
    pub(crate) const COUNT: usize = 2;

    /// The faster way for a component.
    pub(crate) fn of(component: &Component) -> Self {
        let pages = component.resources_required().and_then(|all| all.max_initial_memory_size);
        Self::where_small(pages.is_some_and(|pages| pages <= SMALL_MEMORY_PAGES))
    }

    /// The way that code of so many bytes probably needs.
    pub(crate) fn likely(code_bytes: usize) -> Self {
        Self::where_small(code_bytes <= SMALL_CODE_BYTES)
    }

    /// The maximum of a memory that is wiped and kept. What is above is given back to the system.
    pub(super) fn kept_bytes(self) -> usize {
        match self {
            Self::WrittenPages => 512 << 10,
            Self::Whole => SMALL_MEMORY_PAGES as usize * PAGE_BYTES,
        }
    }

    /// The value of Wasmtime's configuration.
    pub(super) fn scan(self) -> Enabled {
        match self {
            Self::WrittenPages => Enabled::Auto,
            Self::Whole => Enabled::No,
        }
    }

    fn where_small(is_small: bool) -> Self {
        if is_small && *COPIES_FASTER { Self::Whole } else { Self::WrittenPages }
    }
}

/// Tells whether this processor copies a small memory faster than the kernel tells which pages of it were
/// written: so it was measured on AMD's, and the reverse on Intel's (`make bench`).
static COPIES_FASTER: LazyLock<bool> = LazyLock::new(is_amd);

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use wasmtime::{Instance, Module, Store};

    use super::*;
    use crate::sandbox::wasmtime_config::{Optimization, config, pool};

    /// Finds its memory as it should be, grows it, and writes to all of it.
    const GUEST: &str = r#"(module
        (memory 1)
        (data (i32.const 5000) "begins so")
        (func (export "run") (param $grow i32) (result i32)
            (local $sum i32) (local $at i32)
            (loop $next
                (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
            (drop (memory.grow (local.get $grow)))
            (memory.fill (i32.const 0) (i32.const 0xa5) (i32.mul (memory.size) (i32.const 65536)))
            (i32.add (local.get $sum) (i32.mul (memory.size) (i32.const 65536)))))"#;

    /// Otherwise a guest would know more than its arguments.
    #[test]
    fn each_way_leaves_nothing_that_was_written() {
        let text = "begins so".bytes().map(u32::from).sum::<u32>();
        for wiping in [Wiping::WrittenPages, Wiping::Whole] {
            let mut config = config(Optimization::None);
            config.allocation_strategy(pool(1, 1, wiping));
            let engine = wasmtime::Engine::new(&config).unwrap();
            let module = Module::new(&engine, wat::parse_str(GUEST).unwrap()).unwrap();
            for grow in [0, 0, 1, 0, 12, 3, 0] {
                let mut store = Store::new(&engine, ());
                store.set_fuel(1 << 40).unwrap();
                store.set_epoch_deadline(1);
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let run = instance.get_typed_func::<u32, u32>(&mut store, "run").unwrap();
                let found = run.call(&mut store, grow).unwrap();
                assert_eq!(found, text + (1 + grow) * 65_536, "{wiping:?}, growing by {grow}");
            }
        }
    }
}
