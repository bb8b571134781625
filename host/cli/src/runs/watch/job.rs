//! Jobs, as far as they say which run they are for.

use std::collections::BTreeMap;

use countersign::{MAX_RUN_BYTES, Run, RunId, RunnerId};
use serde::Deserialize;

/// The label with the UUID of the run.
pub(super) const RUN: &str = "countersign/run";

/// The annotation with the UUID of the runner.
const RUNNER: &str = "countersign/runner";

/// The annotation with the run object.
const RUN_OBJECT: &str = "countersign/run-object";

/// A Job (`batch/v1`). Members that are not here are not read.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct KubernetesJob {
    pub(super) metadata: Metadata,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    name: String,
    pub(super) resource_version: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

/// Everything that a registration has.
pub(super) struct JobOfRun {
    pub(super) runner: RunnerId,
    pub(super) object: String,
}

impl KubernetesJob {
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The run that the label names.
    pub(super) fn run(&self) -> Option<RunId> {
        RunId::parse(self.metadata.labels.get(RUN)?).ok()
    }

    /// True when no pod of it runs any more, or none will.
    pub(super) fn has_ended(&self) -> bool {
        let has_ended = |condition: &Condition| {
            matches!(condition.r#type.as_str(), "Complete" | "Failed") && condition.status == "True"
        };
        self.metadata.deletion_timestamp.is_some() || self.status.conditions.iter().any(has_ended)
    }

    /// The runner and the run object of the Job of a run.
    ///
    /// # Errors
    /// When an annotation is missing or says something else than the label.
    pub(super) fn of_run(&self, run: &RunId) -> Result<JobOfRun, String> {
        let annotation = |name: &str| {
            let annotation = self.metadata.annotations.get(name);
            annotation.ok_or_else(|| format!("the annotation `{name}` is missing"))
        };
        let runner = annotation(RUNNER)?;
        let runner = RunnerId::parse(runner).map_err(|_| format!("`{RUNNER}` is no UUID"))?;
        let object = annotation(RUN_OBJECT)?;
        if object.len() > MAX_RUN_BYTES {
            return Err(format!("`{RUN_OBJECT}` is too long"));
        }
        let parsed = Run::parse(object.as_bytes());
        let parsed = parsed.map_err(|error| format!("`{RUN_OBJECT}`: {error}"))?;
        if parsed.id != *run {
            return Err(format!("`{RUN_OBJECT}` is of the run {}", parsed.id));
        }
        Ok(JobOfRun { runner, object: object.clone() })
    }
}
