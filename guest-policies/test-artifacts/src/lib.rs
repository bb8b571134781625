//! The policies that only tests use, as components. A crate of their own, for development dependencies, so that the
//! program is built without them.

macro_rules! component {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"))
    };
}

/// Returns the verdict in its settings: it permits anything.
pub const SCRIPTED: &[u8] = component!("scripted");

/// The policies of the cookbook that are in Rust, by name.
pub const COOKBOOK: &[(&str, &[u8])] = &[
    ("approved-parents", component!("approved-parents")),
    ("break-glass", component!("break-glass")),
    ("emergency-stop", component!("emergency-stop")),
    ("team-standard-rust", component!("team-standard-rust")),
];
