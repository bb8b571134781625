//! A child that has no memory left says so with its exit status.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::compile_request::EXHAUSTED;

/// Whether this process is a child that compiles.
static COMPILES: AtomicBool = AtomicBool::new(false);

/// The system's allocator. In a child process that compiles, it ends the process with a status of its
/// own when there is no memory left, where Rust would abort it: so the parent can tell that from a
/// crash. Everywhere else it is the system's allocator and nothing more.
///
/// A program that does not make it its `#[global_allocator]` is held to the same limit, but reports
/// `prepare-failed` in the place of `prepare-memory`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExitWhenExhausted;

pub(crate) fn exit_when_exhausted() {
    COMPILES.store(true, Ordering::Relaxed);
}

// SAFETY: every call is the system allocator's; at most the process ends before it returns.
#[expect(unsafe_code, reason = "allocators are unsafe to implement")]
unsafe impl GlobalAlloc for ExitWhenExhausted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { or_exit(System.alloc(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { or_exit(System.alloc_zeroed(layout)) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { or_exit(System.realloc(ptr, layout, new_size)) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

fn or_exit(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() && COMPILES.load(Ordering::Relaxed) {
        // Not `std::process::exit`: handlers that run then could allocate.
        // SAFETY: ends the process without touching its memory.
        #[expect(unsafe_code, reason = "a foreign function")]
        unsafe {
            libc::_exit(EXHAUSTED)
        }
    }
    pointer
}
