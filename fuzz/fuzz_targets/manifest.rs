#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz_targets::fuzz("manifest", data));
