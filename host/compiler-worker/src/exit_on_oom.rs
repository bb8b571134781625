//! Reports running out of memory by the child's exit status.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::compile_request::OUT_OF_MEMORY;

/// Set in a child process that compiles.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which exits a child process that compiles with a status of its own when memory runs out.
///
/// Rust would abort instead, which the parent could not tell from a crash. In every other process this is the system's
/// allocator and nothing more.
///
/// A program without this `#[global_allocator]` is held to the same limit, but reports `prepare-failed` instead of
/// `prepare-memory`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExitOnOom;

pub(crate) fn enable_exit_on_oom() {
    IS_WORKER.store(true, Ordering::Relaxed);
}

// SAFETY: every call is forwarded to the system allocator; at most the process exits before it returns.
#[expect(unsafe_code, reason = "allocators are unsafe to implement")]
unsafe impl GlobalAlloc for ExitOnOom {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, and so that of `System`.
        unsafe { or_exit(System.alloc(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, and so that of `System`.
        unsafe { or_exit(System.alloc_zeroed(layout)) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, and so that of `System`.
        unsafe { or_exit(System.realloc(ptr, layout, new_size)) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `GlobalAlloc`, and so that of `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

fn or_exit(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() && IS_WORKER.load(Ordering::Relaxed) {
        // Not `std::process::exit`: exit handlers could allocate, and there is no memory.
        // SAFETY: `_exit` ends the process without touching its memory.
        #[expect(unsafe_code, reason = "a foreign function")]
        unsafe {
            libc::_exit(OUT_OF_MEMORY)
        }
    }
    pointer
}
