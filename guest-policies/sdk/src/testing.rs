//! Runs and tokens for native tests: begin with a sample, change what the test is about.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::{Behavior, BuildingBlock, Definition, Implementation, Run, Token};

/// A run as meshStack's API reference shows it: workspace `my-workspace` applies a building block
/// of its own OpenTofu definition, and no trigger is known.
#[must_use]
pub fn run() -> Run {
    Run {
        id: "b3116611-e08b-4b00-91c5-10365b25a6ef".to_owned(),
        number: 1,
        behavior: Behavior::Apply,
        building_block: BuildingBlock {
            id: "68ce5455-2a4a-4a4b-a324-6a6c18cab85a".to_owned(),
            workspace: "my-workspace".to_owned(),
            project: Some("my-project".to_owned()),
            platform: Some("my-platform.my-location".to_owned()),
            parents: Vec::new(),
        },
        definition: Definition {
            id: "b23cfb9a-6974-444f-9d33-62134a632373".to_owned(),
            workspace: "my-workspace".to_owned(),
            version: 1,
            implementation: Implementation::Terraform,
        },
        trigger: None,
        runner: None,
        facts: Vec::new(),
    }
}

/// A token for that run: AWS and Azure audiences, two hours, issued on 2026-09-21 at 14:13:20 UTC.
#[must_use]
pub fn token() -> Token {
    Token {
        subject: "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.\
                  b23cfb9a-6974-444f-9d33-62134a632373"
            .to_owned(),
        audiences: vec![
            "aws-workload-identity-provider:demo".to_owned(),
            "api://AzureADTokenExchange".to_owned(),
        ],
        ttl_seconds: 7200,
        issued_at: 1_790_000_000,
    }
}

/// Compares `settings.schema.json` in `directory` with the schema of a settings type. Called by
/// the test that [`policy`](crate::policy) writes.
///
/// Writes the file when it is missing, or when the environment has `UPDATE=1`.
///
/// # Panics
/// When the file is another one, or cannot be read or written.
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
