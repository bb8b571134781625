//! Says what `configure` is about, for a fault that has no message: one of fuel, memory, stack or time.
//!
//! A guest that is ended says nothing more, and `configure` does what an author does not expect: it evaluates. So what it is
//! about is written to a place in memory that the host finds by a mark, as it finds the message of a panic.

use countersign_policy::Run;

const TEXT_BYTES: usize = 124;

/// The place: mark, length in 32 bits little-endian, text. The mark is at an address divisible by 16 and in static data,
/// where the host looks.
#[repr(C, align(16))]
struct Stage {
    mark: [u8; 16],
    length: u32,
    text: [u8; TEXT_BYTES],
}

static mut STAGE: Stage =
    Stage { mark: *b"countersign\0now\x01", length: 0, text: [0; TEXT_BYTES] };

/// Says that a sample run is evaluated, and which.
pub fn evaluating_sample(run: &Run) {
    let with = if run.trigger.is_some() { "with every field" } else { "without optional fields" };
    write(&format!(
        "while it evaluated a sample run ({}, {with}) to warm up",
        run.behavior.as_str()
    ));
}

/// Says that what was said is over.
pub fn over() {
    write("");
}

fn write(text: &str) {
    // The first bytes of a longer text; all of a shorter one.
    let bytes = text.as_bytes().get(..TEXT_BYTES).unwrap_or(text.as_bytes());
    // SAFETY: a component of this contract has one thread, and no other reference to the place exists: it is touched here
    // only, through a raw pointer, and `bytes` has at most `TEXT_BYTES`.
    #[allow(unsafe_code, reason = "the place is a static that the host reads")]
    unsafe {
        let stage = &raw mut STAGE;
        std::ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            (&raw mut (*stage).text).cast::<u8>(),
            bytes.len(),
        );
        (&raw mut (*stage).length).write_volatile(u32::try_from(bytes.len()).unwrap_or_default());
    }
}
