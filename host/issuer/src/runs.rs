//! Runs that the control plane has registered.

use std::fmt;

use countersign::{Run, RunnerId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The minimum length of a secret, in bytes: a shorter one could be guessed from its hash.
pub const MIN_SECRET_BYTES: usize = 16;

/// The maximum length of a secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 8192;

/// A run, the runner that executes it, and the time until which it may have tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredRun {
    /// Its facts.
    pub run: Run,
    /// The runner that it was given to.
    pub runner: RunnerId,
    /// The hash of its run token, where it has one.
    pub run_token: Option<SecretHash>,
    /// The time of its registration, in seconds since 1970.
    pub registered_at: u64,
    /// From when on it gets no token.
    pub expires_at: u64,
    /// The time at which it was finished.
    pub finished_at: Option<u64>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It may have tokens.
    Live,
    /// It was finished.
    Finished,
    /// It has expired.
    Expired,
}

impl RegisteredRun {
    /// The state of the run at `now`.
    pub fn liveness(&self, now: u64) -> Liveness {
        match self.finished_at {
            Some(_) => Liveness::Finished,
            None if now >= self.expires_at => Liveness::Expired,
            None => Liveness::Live,
        }
    }

    /// True when two registrations have the same facts. Their times do not matter.
    pub fn same_facts(&self, other: &Self) -> bool {
        self.run == other.run && self.runner == other.runner && self.run_token == other.run_token
    }
}

/// SHA-256 of a secret of many bits, which is all that is stored.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The hash whose bytes these are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash([redacted])")
    }
}

/// A run token of a run object that is not accepted. Nothing of it is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunTokenError {
    /// It is not a text.
    #[error("/spec/runToken: expected a text")]
    Type,
    /// It is too short or too long.
    #[error(
        "/spec/runToken: expected {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, found {bytes}"
    )]
    Length {
        /// Its length.
        bytes: usize,
    },
}

/// The hash of a run object's `spec.runToken`. The object was parsed by [`Run::parse`] before, which makes sure
/// that all readers agree on it.
///
/// # Errors
/// When there is one that is not accepted.
pub fn run_token_of(object: &[u8]) -> Result<Option<SecretHash>, RunTokenError> {
    #[derive(Deserialize)]
    struct Object {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        #[serde(rename = "runToken")]
        run_token: Option<String>,
    }
    let object: Object = serde_json::from_slice(object).map_err(|_| RunTokenError::Type)?;
    let Some(token) = object.spec.run_token.map(Zeroizing::new) else { return Ok(None) };
    if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&token.len()) {
        return Err(RunTokenError::Length { bytes: token.len() });
    }
    Ok(Some(SecretHash::of(token.as_bytes())))
}

/// A run object with the facts of a run and nothing else: [`Run::parse`] makes the same run of it.
pub fn run_object(run: &Run) -> String {
    let object = Object {
        kind: "meshBuildingBlockRun",
        api_version: "v1",
        metadata: Metadata { uuid: run.id.as_str() },
        spec: Spec {
            run_number: run.number,
            behavior: run.behavior.as_str(),
            building_block: BuildingBlock {
                uuid: run.building_block.id.as_str(),
                spec: BuildingBlockSpec {
                    workspace_identifier: run.building_block.workspace.as_str(),
                    project_identifier: run.building_block.project.as_ref().map(|p| p.as_str()),
                    full_platform_identifier: run
                        .building_block
                        .platform
                        .as_ref()
                        .map(|platform| platform.as_str()),
                    parent_building_blocks: run
                        .building_block
                        .parents
                        .iter()
                        .map(|parent| Parent {
                            building_block_uuid: parent.building_block.as_str(),
                            definition_uuid: parent.definition.as_str(),
                        })
                        .collect(),
                },
            },
            building_block_definition: Definition {
                uuid: run.definition.id.as_str(),
                spec: DefinitionSpec {
                    workspace_identifier: run.definition.workspace.as_str(),
                    version: run.definition.version,
                    implementation: Implementation { kind: run.definition.implementation.as_str() },
                },
            },
            trigger: run.trigger.as_ref().map(|trigger| Trigger {
                reason: trigger.reason.as_deref(),
                author: Author { identifier: &trigger.author, kind: trigger.author_kind.as_str() },
            }),
        },
    };
    // Its keys are texts, so it can be written.
    serde_json::to_string(&object).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'r> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'r>,
    spec: Spec<'r>,
}

#[derive(Serialize)]
struct Metadata<'r> {
    uuid: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'r> {
    run_number: u64,
    behavior: &'static str,
    building_block: BuildingBlock<'r>,
    building_block_definition: Definition<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger<'r>>,
}

#[derive(Serialize)]
struct BuildingBlock<'r> {
    uuid: &'r str,
    spec: BuildingBlockSpec<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildingBlockSpec<'r> {
    workspace_identifier: &'r str,
    project_identifier: Option<&'r str>,
    full_platform_identifier: Option<&'r str>,
    parent_building_blocks: Vec<Parent<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parent<'r> {
    building_block_uuid: &'r str,
    definition_uuid: &'r str,
}

#[derive(Serialize)]
struct Definition<'r> {
    uuid: &'r str,
    spec: DefinitionSpec<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionSpec<'r> {
    workspace_identifier: &'r str,
    version: u64,
    implementation: Implementation,
}

#[derive(Serialize)]
struct Implementation {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Trigger<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
    author: Author<'r>,
}

#[derive(Serialize)]
struct Author<'r> {
    identifier: &'r str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use countersign::{AuthorKind, Behavior, Implementation};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::{option, prop_assert_eq, proptest};

    use super::*;

    const OBJECT: &str = r#"{
        "kind": "meshBuildingBlockRun", "apiVersion": "v1",
        "metadata": {"uuid": "b3116611-e08b-4b00-91c5-10365b25a6ef"},
        "spec": {
            "runNumber": 7, "behavior": "DETECT", "runToken": "a-run-token-of-some-length",
            "buildingBlock": {"uuid": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a", "spec": {
                "displayName": "x", "workspaceIdentifier": "team-a", "projectIdentifier": "p",
                "fullPlatformIdentifier": "a.b", "inputs": [{"key": "k", "value": "input-secret"}],
                "parentBuildingBlocks": [{
                    "buildingBlockUuid": "11111111-1111-4111-8111-111111111111",
                    "definitionUuid": "22222222-2222-4222-8222-222222222222"}]}},
            "buildingBlockDefinition": {"uuid": "b23cfb9a-6974-444f-9d33-62134a632373", "spec": {
                "workspaceIdentifier": "platform", "version": 3,
                "implementation": {"type": "TERRAFORM", "sshPrivateKey": "ssh-secret"}}},
            "trigger": {"reason": "by \"hand\"", "author": {"identifier": "ü@example.com", "type": "User"}}
        }
    }"#;

    #[test]
    fn a_run_object_gives_back_the_run_and_no_secret() {
        for text in [
            OBJECT.to_owned(),
            OBJECT
                .replace("\"projectIdentifier\": \"p\",", "")
                .replace("\"reason\": \"by \\\"hand\\\"\",", ""),
            include_str!("../../evaluator/tests/data/published-get.json").to_owned(),
        ] {
            let run = Run::parse(text.as_bytes()).unwrap();
            let object = run_object(&run);
            assert_eq!(Run::parse(object.as_bytes()).unwrap(), run, "{object}");
            assert!(!object.contains("secret") && !object.contains("run-token"), "{object}");
        }
    }

    #[test]
    fn a_run_token_is_kept_as_a_hash() {
        let expected = SecretHash::of(b"a-run-token-of-some-length");
        assert_eq!(run_token_of(OBJECT.as_bytes()), Ok(Some(expected.clone())));
        let without = OBJECT.replace("\"runToken\"", "\"other\"");
        assert_eq!(run_token_of(without.as_bytes()), Ok(None));
        let short = OBJECT.replace("a-run-token-of-some-length", "short");
        assert_eq!(run_token_of(short.as_bytes()), Err(RunTokenError::Length { bytes: 5 }));
        let number = OBJECT.replace("\"a-run-token-of-some-length\"", "1");
        assert_eq!(run_token_of(number.as_bytes()), Err(RunTokenError::Type));
        assert_eq!(format!("{expected:?}"), "SecretHash([redacted])");
    }

    proptest! {
        /// Whatever a run is, what is kept of it is the same run again.
        #[test]
        fn what_is_kept_of_a_run_is_the_run(
            (names, numbers) in (
                (name(), name(), option::of(name()), option::of((name(), name()))),
                (0_u64..1 << 53, 0_u64..1 << 53),
            ),
            (behavior, implementation) in (
                select(Behavior::ALL.to_vec()),
                select(Implementation::ALL.to_vec()),
            ),
            ids in (id(), id(), id()),
            parents in vec((id(), id()), 0..4),
            trigger in option::of((option::of(line()), line(), select(AuthorKind::ALL.to_vec()))),
        ) {
            let run = Run {
                id: ids.0.parse().unwrap(),
                number: numbers.0,
                behavior,
                building_block: countersign::BuildingBlock {
                    id: ids.1.parse().unwrap(),
                    workspace: names.0.parse().unwrap(),
                    project: names.2.map(|name| name.parse().unwrap()),
                    platform: names.3.map(|(a, b)| format!("{a}.{b}").parse().unwrap()),
                    parents: parents
                        .iter()
                        .map(|(block, definition)| countersign::Parent {
                            building_block: block.parse().unwrap(),
                            definition: definition.parse().unwrap(),
                        })
                        .collect(),
                },
                definition: countersign::Definition {
                    id: ids.2.parse().unwrap(),
                    workspace: names.1.parse().unwrap(),
                    version: numbers.1,
                    implementation,
                },
                trigger: trigger.map(|(reason, author, author_kind)| countersign::Trigger {
                    reason,
                    author,
                    author_kind,
                }),
            };
            prop_assert_eq!(Run::parse(run_object(&run).as_bytes()).unwrap(), run);
        }
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9]{1,10}(-[a-z0-9]{1,8}){0,3}"
    }

    fn id() -> impl Strategy<Value = String> {
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    }

    /// Any text on one line.
    fn line() -> impl Strategy<Value = String> {
        vec(any::<char>().prop_filter("a control character", |c| !c.is_control()), 1..60)
            .prop_map(String::from_iter)
    }
}
