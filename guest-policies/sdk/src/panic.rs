//! Reports the message of a panic to the host.
//!
//! A policy imports nothing and WebAssembly here does not unwind, so the message cannot be
//! returned. It is written to a place in memory that the host finds by a mark, and then the policy
//! traps. The host treats it as untrusted text.

use std::fmt::Write as _;
use std::sync::Once;

const TEXT_BYTES: usize = 1000;

/// The report: mark, length in 32 bits little-endian, text. The mark is at an address divisible
/// by 16 and in static data, where the host looks.
#[repr(C, align(16))]
struct Report {
    mark: [u8; 16],
    length: u32,
    text: [u8; TEXT_BYTES],
}

static mut REPORT: Report =
    Report { mark: *b"countersign\0pan\x01", length: 0, text: [0; TEXT_BYTES] };

static INSTALLED: Once = Once::new();

/// Installs the hook that writes the report.
pub(crate) fn report_to_host() {
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let mut text = Text { length: 0 };
            // Truncated to the buffer: the beginning is the most informative.
            let _ = match info.payload_as_str() {
                Some(message) => text.write_str(message),
                None => text.write_str("no message"),
            };
            if let Some(place) = info.location() {
                let _ = write!(text, " ({}:{})", place.file(), place.line());
            }
        }));
    });
}

/// Appends to the report, and updates its length.
struct Text {
    length: usize,
}

impl std::fmt::Write for Text {
    #[allow(unsafe_code, reason = "the report is a static that the host reads")]
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let room = TEXT_BYTES - self.length;
        let mut taken = part.len().min(room);
        while !part.is_char_boundary(taken) {
            taken -= 1;
        }
        // SAFETY: a component of this contract has one thread, and no other reference to the
        // report exists: it is touched here only, through a raw pointer, and `taken` bytes fit.
        unsafe {
            let report = &raw mut REPORT;
            let text = (&raw mut (*report).text).cast::<u8>().add(self.length);
            std::ptr::copy_nonoverlapping(part.as_ptr(), text, taken);
            self.length += taken;
            (&raw mut (*report).length).write_volatile(self.length as u32);
        }
        if taken == part.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}
