//! Memory for a guest that lives for one evaluation: taken once, never given back.
//!
//! With the feature `engine` it is used again until the settings are taken ([`again`]): an engine parses, checks and warms up,
//! and leaves ten times what a decision needs, every page of which a host would look at after each evaluation.
//!
//! It begins behind the stack and the static data, and ends where the WebAssembly memory does, which grows
//! when that is not enough. An ordinary evaluation does not grow it, which would cost more than all the rest:
//! [`reserve`] sees to it when the settings have been taken. A small memory matters as much: a host looks at
//! every page of it after each evaluation.

mod again;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;

use self::again::Free;

/// Enough for ordinary claims and a verdict many times over.
const EVALUATION_BYTES: usize = 12 << 10;

const PAGE_BYTES: usize = 64 << 10;

/// Says to a host that an evaluation never gives memory back: it may then pass all claims in one allocation. The name is the host's, `ONE_WAY_MEMORY`.
#[used]
#[allow(unsafe_code, reason = "a custom section of the module")]
#[unsafe(link_section = "countersign:one-way-memory")]
static ONE_WAY_MEMORY: [u8; 1] = [1];

#[allow(unsafe_code, reason = "the linker's symbol")]
unsafe extern "C" {
    /// The end of the stack and the static data, as the linker has it.
    static __heap_base: u8;
}

struct Arena {
    /// First free address and the end of the current stretch; 0 before the first use.
    next: Cell<usize>,
    end: Cell<usize>,
    /// The blocks that have been given back, until the settings are taken; none without the feature `engine`.
    free: Free,
}

// SAFETY: the contract's components have one thread (the host refuses shared memories).
#[allow(unsafe_code, reason = "a static allocator must be `Sync`")]
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { next: Cell::new(0), end: Cell::new(0), free: Free::new() };

/// Makes sure that an ordinary evaluation has enough memory, also where the settings took all. What is given back from
/// now on is not used again.
pub(crate) fn reserve() {
    ARENA.begin();
    ARENA.free.close();
    if ARENA.end.get() - ARENA.next.get() < EVALUATION_BYTES {
        // Without it the evaluation asks for itself.
        ARENA.grow(EVALUATION_BYTES, 1);
    }
}

impl Arena {
    fn begin(&self) {
        if self.end.get() == 0 {
            self.next.set(&raw const __heap_base as usize);
            self.end.set(core::arch::wasm32::memory_size::<0>() * PAGE_BYTES);
        }
    }

    /// Takes `size` bytes at a multiple of `align`, or gives null when the host gives no memory.
    fn take(&self, size: usize, align: usize) -> *mut u8 {
        self.begin();
        if let Some(address) = self.within(size, align) {
            return address as *mut u8;
        }
        if self.grow(size, align)
            && let Some(address) = self.within(size, align)
        {
            return address as *mut u8;
        }
        null_mut()
    }

    fn within(&self, size: usize, align: usize) -> Option<usize> {
        let address = self.next.get().checked_next_multiple_of(align)?;
        let next = address.checked_add(size)?;
        (next <= self.end.get()).then(|| {
            self.next.set(next);
            address
        })
    }

    /// As `realloc`, until the settings are taken.
    ///
    /// # Safety
    /// As `realloc`.
    #[allow(unsafe_code, reason = "the allocator's interface")]
    unsafe fn realloc_again(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (held, align) = again::rounded(layout.size(), layout.align());
        let (size, _) = again::rounded(new_size, layout.align());
        if size <= held {
            if size < held {
                // SAFETY: the end of the block, which the caller gives up.
                unsafe { self.free.give(old as usize + size, held - size) };
            }
            return old;
        }
        if old as usize + held == self.next.get()
            && let Some(next) = (old as usize).checked_add(size)
            && next <= self.end.get()
        {
            self.next.set(next);
            return old;
        }
        let new = match self.free.take(size, align) {
            Some(address) => address as *mut u8,
            None => self.take(size, align),
        };
        if !new.is_null() {
            // SAFETY: `old` has `layout.size()` bytes by the caller's promise, `new` has more, and they do not overlap: a
            // block is free or given out. The caller gives `old` up.
            unsafe {
                std::ptr::copy_nonoverlapping(old, new, layout.size());
                self.free.give(old as usize, held);
            }
        }
        new
    }

    /// Asks for pages. What is left of the current stretch is used further when they follow it.
    fn grow(&self, size: usize, align: usize) -> bool {
        let Some(bytes) = size.checked_add(align) else { return false };
        // Ever larger steps, so that many small allocations do not mean many growths; and small ones, since
        // a host looks at every page after each evaluation, used or not.
        let held = core::arch::wasm32::memory_size::<0>();
        let pages = bytes.div_ceil(PAGE_BYTES).max(held / 8);
        let before = core::arch::wasm32::memory_grow::<0>(pages);
        if before == usize::MAX {
            return false;
        }
        let start = before * PAGE_BYTES;
        if start != self.end.get() {
            self.next.set(start);
        }
        self.end.set(start + pages * PAGE_BYTES);
        true
    }
}

// SAFETY: `take` gives each byte out once, aligned and within the memory, and `Free` only what was given back.
#[allow(unsafe_code, reason = "the allocator's interface")]
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.free.is_open() {
            let (size, align) = again::rounded(layout.size(), layout.align());
            return match self.free.take(size, align) {
                Some(address) => address as *mut u8,
                None => self.take(size, align),
            };
        }
        self.take(layout.size(), layout.align())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Every byte is given out once, and WebAssembly memory begins as zeros. What may have been used before is left to
        // what has not.
        if self.free.is_open() {
            let (size, align) = again::rounded(layout.size(), layout.align());
            return self.take(size, align);
        }
        self.take(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        if self.free.is_open() {
            let (size, _) = again::rounded(layout.size(), layout.align());
            // SAFETY: the caller gives up the block, which `alloc` made of that size.
            unsafe { self.free.give(old as usize, size) };
        }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.free.is_open() {
            // SAFETY: as this function's.
            return unsafe { self.realloc_again(old, layout, new_size) };
        }
        if new_size <= layout.size() {
            // What is left over stays unused, so that every byte is given out once.
            return old;
        }
        let is_last = || old as usize + layout.size() == self.next.get();
        if is_last()
            && let Some(next) = (old as usize).checked_add(new_size)
            && (next <= self.end.get() || self.grow(new_size, 1) && is_last())
            && next <= self.end.get()
        {
            // A vector that grows at the end of the arena grows in place.
            self.next.set(next);
            return old;
        }
        let new = self.take(new_size, layout.align());
        if !new.is_null() {
            // SAFETY: `old` has `layout.size()` bytes by the caller's promise, `new` has more,
            // and they do not overlap: each byte is given out once.
            unsafe { std::ptr::copy_nonoverlapping(old, new, layout.size()) };
        }
        new
    }
}
