//! Components that wasm-smith makes.

use arbitrary::Unstructured;
use countersign_hostile_policies::guest::GUEST;
use countersign_hostile_policies::section;
use wasm_smith::{Component, Config, Module};

/// A component, or a sound policy with a further module in it, by the first byte.
pub fn component(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, data) = data.split_first()?;
    let mut data = Unstructured::new(data);
    if kind % 2 == 0 {
        return Some(Component::new(config(), &mut data).ok()?.to_bytes());
    }
    let config = Config { allow_start_export: true, ..config() };
    let module = Module::new(config, &mut data).ok()?.to_bytes();
    let mut component = GUEST.component();
    component.extend(section(1, &module));
    // Module 0 is the guest's own, and this is the next. It is instantiated, so its `start` runs.
    component.extend(section(2, &[1, 0, 1, 0]));
    Some(component)
}

/// Imports would be refused before anything is compiled.
fn config() -> Config {
    Config { max_imports: 0, min_imports: 0, max_memory32_bytes: 4 << 20, ..Config::default() }
}
