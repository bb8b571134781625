#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(component) = countersign_fuzz::smith::component(data) {
        countersign_fuzz::keep(&component);
        countersign_fuzz_targets::fuzz("component", &component);
    }
});
