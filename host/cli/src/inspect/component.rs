//! Inspects a single component.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use countersign::{Digest, Engine, Limits, LoadError, Policy, imports, visible};
use countersign_schema::SettingsSchema;
use serde::Serialize;
use serde_json::Value;

use crate::limits_text::{LimitsJson, Needs};
use crate::output::{DIM, FAILURE, SUCCESS, Styled};
use crate::policy::Profile;
use countersign_deployment::files;

/// The arguments that bound what compiling a component may take.
#[derive(Args)]
pub(super) struct PrepareArguments {
    /// The limits, as in `limits.profile` of a binding [default: by the size of the component]
    #[arg(long, value_enum, conflicts_with = "policies")]
    profile: Option<Profile>,

    /// The time that compiling a component may take, in milliseconds [default: the profile's]
    #[arg(long, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(Limits::CEILING.prepare_ms)))]
    prepare_ms: Option<u32>,

    /// The memory that compiling a component may take, in bytes [default: the profile's]
    #[arg(long, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(
        Limits::MIN_PREPARE_MEMORY_BYTES..=Limits::CEILING.prepare_memory_bytes
    ))]
    prepare_memory_bytes: Option<u64>,
}

impl PrepareArguments {
    /// Tells whether limits are given that are no profile's.
    pub(super) fn are_given(&self) -> bool {
        self.prepare_ms.is_some() || self.prepare_memory_bytes.is_some()
    }

    /// The profile of a component with so many bytes. One that is larger than a compiled policy may be has an engine or an
    /// interpreter in it, and is built to be bound with their limits.
    fn profile(&self, bytes: usize) -> Profile {
        let is_large = bytes as u64 > Limits::DEFAULT.component_bytes;
        let by_size = if is_large { Profile::Interpreter } else { Profile::Compiled };
        self.profile.unwrap_or(by_size)
    }

    /// The limits of preparing and of the stack, and the ceilings of all others.
    fn limits(&self, profile: Profile) -> Limits {
        let of_profile = profile.limits();
        Limits {
            stack_bytes: of_profile.stack_bytes,
            prepare_ms: self.prepare_ms.unwrap_or(of_profile.prepare_ms),
            prepare_memory_bytes: self
                .prepare_memory_bytes
                .unwrap_or(of_profile.prepare_memory_bytes),
            ..Limits::CEILING
        }
    }
}

/// The properties of a component.
pub(super) struct Inspected {
    pub file: String,
    bytes: usize,
    digest: Digest,
    imports: Result<Vec<String>, LoadError>,
    pub policy: Result<Policy, LoadError>,
    profile: Profile,
    place: &'static str,
}

/// The JSON form of a component.
#[derive(Serialize)]
pub(super) struct InspectedJson<'a> {
    file: &'a str,
    bytes: usize,
    digest: Digest,
    imports: Option<&'a [String]>,
    loads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<DescriptionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<LimitsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<Needs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemJson>,
}

#[derive(Serialize)]
struct DescriptionJson<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    settings_schema: Option<Value>,
    schema_not_used: Option<String>,
}

#[derive(Serialize)]
struct ProblemJson {
    code: &'static str,
    message: String,
}

impl Inspected {
    /// Loads the component.
    pub(super) fn new(engine: &Engine, path: &Path, prepare: &PrepareArguments) -> Result<Self> {
        let bytes = files::read_component(path, Limits::CEILING.component_bytes)?;
        let profile = prepare.profile(bytes.len());
        let limits = prepare.limits(profile);
        Ok(Self {
            file: path.display().to_string(),
            bytes: bytes.len(),
            digest: Digest::of(&bytes),
            imports: imports(&bytes),
            policy: Policy::load(engine, &bytes, &limits),
            profile,
            place: engine.preparation().name(),
        })
    }

    pub(super) fn json(&self) -> InspectedJson<'_> {
        let policy = self.policy.as_ref();
        InspectedJson {
            file: &self.file,
            bytes: self.bytes,
            digest: self.digest,
            imports: self.imports.as_deref().ok(),
            loads: policy.is_ok(),
            description: policy.ok().map(|policy| {
                let description = policy.description();
                let schema = description.settings_schema.as_deref();
                DescriptionJson {
                    name: &description.name,
                    version: &description.version,
                    summary: &description.summary,
                    // Loading the policy has already parsed it.
                    settings_schema: schema.and_then(|schema| serde_json::from_str(schema).ok()),
                    schema_not_used: schema.and_then(schema_not_used),
                }
            }),
            limits: policy.ok().map(limits),
            profile: policy.is_ok().then(|| self.profile.name()),
            needs: policy.ok().map(|policy| limits(policy).needs()),
            problem: policy
                .err()
                .map(|problem| ProblemJson { code: problem.code(), message: problem.to_string() }),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} {value}", Styled(DIM, format!("{name:<9}")));
        };
        let headline = match &self.policy {
            Ok(_) => format!("{}  {}", Styled(SUCCESS, "loads"), visible(&self.file)),
            Err(_) => format!("{}  {}", Styled(FAILURE, "does not load"), visible(&self.file)),
        };
        if let Err(problem) = &self.policy {
            line("why", &format!("{problem} ({})", problem.code()));
            let of_preparing =
                matches!(problem, LoadError::PrepareTime { .. } | LoadError::PrepareMemory { .. });
            if of_preparing && self.profile == Profile::Compiled {
                let remedy = "--profile interpreter, where it has an engine or an interpreter in it; \
                              --prepare-ms and --prepare-memory-bytes";
                line("try", &remedy);
            }
        }
        line("digest", &self.digest);
        line("size", &format!("{} bytes", self.bytes));
        match &self.imports {
            Ok(imports) if imports.is_empty() => line("imports", &"none"),
            Ok(imports) => line("imports", &visible(&imports.join(", "))),
            Err(_) => line("imports", &"cannot be read"),
        }
        line("compiled", &format!("in {}", self.place));
        if let Ok(policy) = &self.policy {
            let description = policy.description();
            line("policy", &format!("{} {}", description.name, description.version));
            line("summary", &description.summary);
            let limits = limits(policy);
            line("limits", &limits.lines().join("\n            "));
            if self.profile == Profile::Interpreter {
                line(
                    "profile",
                    &"interpreter: limits = { profile = \"interpreter\" } in its binding",
                );
            }
            if let Some(needs) = limits.needs().line() {
                line("needs", &needs);
            }
            match &description.settings_schema {
                None => line("settings", &"none"),
                Some(schema) => {
                    let indented = schema.trim_end().replace('\n', "\n            ");
                    line("settings", &indented);
                    if let Some(why) = schema_not_used(schema) {
                        line(
                            "",
                            &format!("not used, the policy checks its settings itself: {why}"),
                        );
                    }
                }
            }
        }
        format!("{headline}\n{text}")
    }
}

/// The reason for not using a schema, if it is not used; safe to display.
fn schema_not_used(schema: &str) -> Option<String> {
    SettingsSchema::parse(schema).err().map(|why| visible(&why.to_string()))
}

/// The resources that `describe` used, against the defaults.
fn limits(policy: &Policy) -> LimitsJson {
    LimitsJson::new(&Limits::DEFAULT, policy, Some(policy.describe_usage()))
}
