//! Memory that is used again until the settings are taken.
//!
//! Blocks are multiples of [`UNIT`] bytes at multiples of it. Small ones are kept by their size; of larger ones the first
//! that is large enough is taken, and what is left of it given back. Nothing is joined again.

use std::cell::Cell;

/// The sizes and the alignment of blocks, in bytes: room for the next block's address and the size.
const UNIT: usize = 16;

/// The number of sizes that are kept apart.
const SIZES: usize = 64;

/// The blocks that have been given back.
pub(super) struct Free {
    is_closed: Cell<bool>,
    /// The addresses of the first blocks of 1, 2, … units; 0 for none.
    small: [Cell<usize>; SIZES],
    large: Cell<usize>,
}

/// The size and alignment of the block for so many bytes.
pub(super) const fn rounded(size: usize, align: usize) -> (usize, usize) {
    // No layout is empty, or near the end of the address space.
    (size.saturating_add(UNIT - 1) & !(UNIT - 1), if align < UNIT { UNIT } else { align })
}

impl Free {
    pub(super) const fn new() -> Self {
        Self {
            is_closed: Cell::new(false),
            small: [const { Cell::new(0) }; SIZES],
            large: Cell::new(0),
        }
    }

    /// Says that blocks are taken back.
    pub(super) fn is_open(&self) -> bool {
        cfg!(feature = "engine") && !self.is_closed.get()
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
    }

    /// Takes a block of a rounded size, if one is there.
    #[allow(unsafe_code, reason = "a list within the blocks")]
    pub(super) fn take(&self, size: usize, align: usize) -> Option<usize> {
        if align > UNIT {
            return None;
        }
        if let Some(first) = self.small.get(size / UNIT - 1) {
            let block = first.get();
            if block != 0 {
                // SAFETY: a block that was given back, whose first word is the next one's address.
                first.set(unsafe { next(block) });
                return Some(block);
            }
        }
        self.take_large(size)
    }

    #[allow(unsafe_code, reason = "a list within the blocks")]
    fn take_large(&self, size: usize) -> Option<usize> {
        let (mut before, mut block) = (0, self.large.get());
        while block != 0 {
            // SAFETY: a large block that was given back, which begins with the next one's address and its size.
            let (after, held) = unsafe { (next(block), *((block as *const usize).add(1))) };
            if held >= size {
                match before {
                    0 => self.large.set(after),
                    // SAFETY: as above.
                    _ => unsafe { *(before as *mut usize) = after },
                }
                if held > size {
                    // SAFETY: the end of a block that is taken.
                    unsafe { self.give(block + size, held - size) };
                }
                return Some(block);
            }
            (before, block) = (block, after);
        }
        None
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// The block has so many bytes, a multiple of [`UNIT`], at a multiple of it, and nothing uses it any more.
    #[allow(unsafe_code, reason = "a list within the blocks")]
    pub(super) unsafe fn give(&self, block: usize, size: usize) {
        let words = block as *mut usize;
        match self.small.get(size / UNIT - 1) {
            Some(first) => {
                // SAFETY: by the caller's promise.
                unsafe { *words = first.get() };
                first.set(block);
            }
            None => {
                // SAFETY: by the caller's promise; a block has room for two words.
                unsafe {
                    *words = self.large.get();
                    *words.add(1) = size;
                }
                self.large.set(block);
            }
        }
    }
}

/// The address of the block after one that was given back.
///
/// # Safety
/// The block was given back.
#[allow(unsafe_code, reason = "a list within the blocks")]
unsafe fn next(block: usize) -> usize {
    // SAFETY: by the caller's promise.
    unsafe { *(block as *const usize) }
}
