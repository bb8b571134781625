//! Components generated from arbitrary bytes, for fuzzing.
//!
//! Generated components can be kept in the corpus of the target `component`, which `make test` replays
//! without the generators.

pub mod mutated;
pub mod smith;

/// The environment variable that names the folder to keep generated components in.
const KEEP: &str = "COUNTERSIGN_KEEP";

/// Writes a generated component into the folder that the environment names, if it names one.
pub fn keep(component: &[u8]) {
    if let Some(folder) = std::env::var_os(KEEP) {
        let name = countersign_fuzz_targets::name_of(component);
        std::fs::write(std::path::Path::new(&folder).join(name), component).expect("a folder");
    }
}
