//! A sample run and token, to begin a test with.

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
