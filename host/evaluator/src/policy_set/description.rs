//! A policy's own words: its description, and its problems with settings.

use std::fmt;

use crate::contract;
use crate::prepare::load_error::LoadError;
use crate::request::identifier::is_name;
use crate::strict_json::{self, JsonLimits};
use crate::text::{escape, is_misleading};

const MAX_SCHEMA_BYTES: usize = 65_536;
const MAX_SUMMARY_BYTES: usize = 512;
const MAX_VERSION_BYTES: usize = 64;

/// The maximum of problems with settings that are kept.
const MAX_PROBLEMS: usize = 32;

/// A policy's description of itself. Texts are checked or escaped, but they are the policy's: only
/// the digest identifies a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The policy's name: lower-case words joined by dashes, 1 to 63 bytes.
    pub name: String,
    /// Its version, by Semantic Versioning, at most 64 bytes.
    pub version: String,
    /// A sentence on its decisions, 1 to 512 bytes.
    pub summary: String,
    /// JSON Schema of its settings as JSON text of at most 64 KiB, or `None` when it has none.
    pub settings_schema: Option<String>,
}

impl Description {
    pub(super) fn check(raw: contract::Description) -> Result<Self, LoadError> {
        let problem = |problem: String| Err(LoadError::Description { problem });
        if !is_name(&raw.name) {
            return problem(format!(
                "the name `{}` is not 1 to 63 lower-case letters and digits with single dashes between them",
                escape(&raw.name, 80)
            ));
        }
        if raw.version.len() > MAX_VERSION_BYTES || semver::Version::parse(&raw.version).is_err() {
            return problem(format!(
                "the version `{}` does not follow Semantic Versioning",
                escape(&raw.version, 80)
            ));
        }
        if !(1..=MAX_SUMMARY_BYTES).contains(&raw.summary.len()) {
            return problem(format!(
                "the summary has {} bytes, expected 1 to 512",
                raw.summary.len()
            ));
        }
        let limits = JsonLimits { bytes: MAX_SCHEMA_BYTES, depth: 64 };
        let settings_schema = match raw.settings_schema {
            empty if empty.is_empty() => None,
            schema => match strict_json::parse(schema.as_bytes(), limits) {
                // It is printed as it is, so nothing in it may mislead a terminal.
                Ok(_) if schema.contains(|c| c != '\n' && is_misleading(c)) => {
                    return problem("the settings schema has control characters".to_owned());
                }
                Ok(_) => Some(schema),
                Err(error) => return problem(format!("the settings schema: {error}")),
            },
        };
        let summary = escape(&raw.summary, MAX_SUMMARY_BYTES);
        Ok(Self { name: raw.name, version: raw.version, summary, settings_schema })
    }
}

/// One problem with settings, in the words of the policy or of a [validator](crate::SettingsValidator)
/// before it. In a [`BindingError`](crate::BindingError) escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// JSON pointer (RFC 6901) into the settings, at most 256 bytes; empty for the whole.
    pub pointer: String,
    /// The problem there, and what was expected, at most 512 bytes.
    pub message: String,
}

/// The problems of settings that a policy rejected. It may give none, and has rejected them all the same.
pub(super) fn rejection_problems(problems: &[contract::Problem]) -> Vec<SettingsProblem> {
    if problems.is_empty() {
        let message = "rejected by the policy, without a reason".to_owned();
        return vec![SettingsProblem { pointer: String::new(), message }];
    }
    sanitise(problems.iter().map(|problem| (&*problem.pointer, &*problem.message)))
}

/// The first pointers and messages, made safe to show.
pub(super) fn sanitise<'p>(
    problems: impl Iterator<Item = (&'p str, &'p str)>,
) -> Vec<SettingsProblem> {
    problems
        .take(MAX_PROBLEMS)
        .map(|(pointer, message)| SettingsProblem {
            pointer: escape(pointer, 256),
            message: escape(message, 512),
        })
        .collect()
}

/// Problems as a list for people.
pub(super) struct ProblemList<'p>(pub(super) &'p [SettingsProblem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| match problem.pointer.as_str() {
            "" => write!(f, "\n  at the top: {}", problem.message),
            pointer => write!(f, "\n  {pointer}: {}", problem.message),
        })
    }
}
