//! Shared parts of the benches: policy sets, the published run, and figures of several runs with their record.

mod machine;
mod sets;

pub mod record;
pub mod spread;

use countersign::{Claims, Facts, Run, SubjectFormat, SubjectTemplate, TokenRequest};
use serde_json::{Value, json};

pub use machine::{compiler, machine, processors};
pub use sets::{alone, config, five_policies, same_workspace_on, set_of, ten_thousand_workspaces};

/// The published run object.
pub const RUN: &str = include_str!("../../examples/run.json");

/// The audience of the claims.
pub const AUDIENCE: &str = "aws-workload-identity-provider:demo";

/// The number of runs of a bench whose figures have a spread: `RUNS` in the environment, or five.
#[must_use]
#[expect(clippy::expect_used, reason = "a number that was typed")]
pub fn runs() -> usize {
    std::env::var("RUNS").map_or(5, |runs| runs.parse().expect("`RUNS`: a number"))
}

/// The published run, requesting 15 minutes for AWS.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant that parses")]
pub fn claims() -> Claims {
    claims_of(Run::parse(RUN.as_bytes()).expect("the published run parses"))
}

/// The published run with the user who triggered it, as the [five policies](five_policies) need it.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant that parses")]
pub fn triggered_run() -> Run {
    let mut run: Value = serde_json::from_str(RUN).expect("JSON");
    let trigger = json!({"author": {"type": "User", "identifier": "someone@example.com"}});
    let spec = run.get_mut("spec").and_then(Value::as_object_mut).expect("a spec");
    spec.insert("trigger".to_owned(), trigger);
    Run::parse(run.to_string().as_bytes()).expect("a run")
}

/// A run, requesting 15 minutes for AWS.
#[must_use]
#[expect(clippy::expect_used, reason = "constants that parse")]
pub fn claims_of(run: Run) -> Claims {
    let meshstack_id = "demo".parse().expect("a meshStack id");
    let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
    let audiences = vec![AUDIENCE.parse().expect("an audience")];
    let token = TokenRequest::new(audiences, 900, 1_790_000_000).expect("a request");
    Claims::new(run, None, Facts::default(), &subject, token).expect("a subject")
}
