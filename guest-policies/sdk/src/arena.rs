//! Memory for a guest that lives for one evaluation: taken from an arena, never given back.
//!
//! The arena is static, so an ordinary evaluation asks the host for no memory: growing costs more
//! than all the rest. A policy that needs more than the arena gets pages of the WebAssembly
//! memory, one after the other.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;

/// Enough for the claims and a verdict many times over, few enough pages to be cheap to clear.
const ARENA_BYTES: usize = 48 << 10;

const PAGE_BYTES: usize = 64 << 10;

#[repr(C, align(16))]
struct Room(std::cell::UnsafeCell<[u8; ARENA_BYTES]>);

struct Arena {
    room: Room,
    /// First free address and the end of the current stretch; 0 before the first use.
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: the contract's components have one thread (the host refuses shared memories).
#[allow(unsafe_code, reason = "a static allocator must be `Sync`")]
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena {
    room: Room(std::cell::UnsafeCell::new([0; ARENA_BYTES])),
    next: Cell::new(0),
    end: Cell::new(0),
};

impl Arena {
    /// Takes `size` bytes at a multiple of `align`, or gives null when the host gives no memory.
    fn take(&self, size: usize, align: usize) -> *mut u8 {
        if self.end.get() == 0 {
            let start = self.room.0.get() as usize;
            self.next.set(start);
            self.end.set(start + ARENA_BYTES);
        }
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

    /// Asks for pages. What is left of the current stretch is used further when they follow it.
    fn grow(&self, size: usize, align: usize) -> bool {
        let Some(bytes) = size.checked_add(align) else { return false };
        // Ever larger steps, so that many small allocations do not mean many growths.
        let held = core::arch::wasm32::memory_size::<0>();
        let pages = bytes.div_ceil(PAGE_BYTES).max(held / 2);
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

// SAFETY: `take` gives each byte out once, aligned and within the memory; nothing is given back.
#[allow(unsafe_code, reason = "the allocator's interface")]
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size(), layout.align())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Every byte is given out once, and WebAssembly memory begins as zeros.
        self.take(layout.size(), layout.align())
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if new_size <= layout.size() {
            // What is left over stays unused, so that every byte is given out once.
            return old;
        }
        let is_last = old as usize + layout.size() == self.next.get();
        if is_last
            && let Some(next) = (old as usize).checked_add(new_size)
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
