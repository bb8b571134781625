//! Runs and tokens for native tests: begin with a sample, change what the test is about.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

pub use crate::sample::{run, token};

/// Compares `settings.schema.json` in `directory` with the schema of a settings type. Called by
/// the test that [`policy`](crate::policy) writes.
///
/// Writes the file when it is missing, or when the environment has `UPDATE=1`.
///
/// # Panics
/// When the schemas differ, or the file cannot be read or written.
#[track_caller]
pub fn check_settings_schema<S: JsonSchema>(directory: &str) {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<S>();
    let current = format!("{:#}\n", schema.as_value());
    let path = Path::new(directory).join("settings.schema.json");
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    if update || !path.exists() {
        std::fs::write(&path, &current).expect("settings.schema.json can be written");
    }
    let file = std::fs::read_to_string(&path).expect("settings.schema.json can be read");
    assert!(
        file == current,
        "{} is not the schema of the settings; rewrite it with `UPDATE=1 cargo test`. It should \
         be:\n{current}",
        path.display()
    );
}
