//! Components made of any bytes, for fuzzing.
//!
//! A generator gives the component, so that what it makes can be kept as one: the corpus of the target
//! `component` is replayed by `make test`, which has no generator.

pub mod mutated;
pub mod smith;

/// The environment variable that names the folder to keep generated components in.
const KEEP: &str = "COUNTERSIGN_KEEP";

/// Writes a component that was generated into the folder that the environment names, if it does.
pub fn keep(component: &[u8]) {
    if let Some(folder) = std::env::var_os(KEEP) {
        let name = countersign_fuzz_targets::name_of(component);
        std::fs::write(std::path::Path::new(&folder).join(name), component).expect("a folder");
    }
}
