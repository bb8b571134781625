//! Decides by the Cedar policies in its settings, evaluated by `cedar-policy`.
//!
//! The principal is the owning workspace, the action the run's behavior, the resource the definition, and
//! `context` has `run` and `token`: `schema.cedarschema` beside this file. A `forbid` denies, with its `@code` and
//! `@message`. A `permit` permits, and one annotated `@restrict` restricts; either may narrow by `@max_ttl`. Where
//! no policy applies Cedar denies, and so does this component, unless the settings name another default verdict.

mod policies;
mod request;

use cedar_policy::{Authorizer, Decision, Entities, PolicySet, Schema};
use countersign_policy::{Grant, Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::samples;

use crate::policies::Annotations;

/// The schema of requests, where the settings have no other.
const SCHEMA: &str = include_str!("schema.cedarschema");

/// Policies in Cedar.
#[settings]
pub struct Settings {
    /// The text of the policies.
    policies: String,
    /// The text of a schema in Cedar's own syntax, in place of the built-in one.
    #[serde(default)]
    schema: Option<String>,
    /// Entities in Cedar's JSON form: `[{"uid": {"type": "Workspace", "id": "team-a"}, "attrs": {}, "parents":
    /// [{"type": "Group", "id": "consumers"}]}]`.
    #[serde(default)]
    entities: Option<EntitiesJson>,
    /// The verdict where no policy applies: `deny`, as in Cedar, `restrict` or `abstain`.
    #[serde(default)]
    default_verdict: DefaultVerdict,
}

/// The verdict where no policy applies.
///
/// There is no `permit`: a policy that lets a run in has to apply to it.
#[settings]
#[derive(Default, Clone, Copy)]
pub enum DefaultVerdict {
    /// Denies, with the code `no-policy-permits`.
    #[default]
    Deny,
    /// Restricts nothing.
    Restrict,
    /// Abstains.
    Abstain,
}

/// Entities, as JSON: an array.
#[derive(serde::Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
#[serde(transparent)]
struct EntitiesJson(serde_json::Value);

#[cfg(not(target_arch = "wasm32"))]
impl countersign_policy::schemars::JsonSchema for EntitiesJson {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Entities".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "array", "items": {"type": "object"}})
    }
}

/// Policies that were parsed and validated, and have decided once.
pub struct Prepared {
    authorizer: Authorizer,
    policies: PolicySet,
    annotations: Annotations,
    entities: Entities,
    names: request::Names,
    default_verdict: DefaultVerdict,
}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let schema = settings.schema.as_deref().unwrap_or(SCHEMA);
    let schema = match Schema::from_cedarschema_str(schema) {
        Ok((schema, warnings)) => match warnings.map(|warning| problem("/schema", &warning)).next()
        {
            None => schema,
            Some(warning) => return Err(vec![warning]),
        },
        Err(error) => return Err(vec![problem("/schema", &error)]),
    };
    let (policies, annotations) = policies::parse(&settings.policies, &schema)?;
    let entities = settings.entities.map_or(serde_json::Value::Array(Vec::new()), |json| json.0);
    let entities = Entities::from_json_value(entities, Some(&schema))
        .map_err(|error| vec![problem("/entities", &error)])?;
    let prepared = Prepared {
        authorizer: Authorizer::new(),
        policies,
        annotations,
        entities,
        names: request::Names::new()
            .map_err(|error| vec![Problem { pointer: String::new(), message: error }])?,
        default_verdict: settings.default_verdict,
    };
    // A schema that lacks an attribute which requests may have, or has it of another type, is an error now and not a fault
    // at the first such run. No request has other attributes or types than these have, so that none is checked again.
    for run in samples() {
        request::of(&prepared.names, &run, &sample::token(), Some(&schema))
            .map_err(|message| vec![Problem { pointer: "/schema".to_owned(), message }])?;
    }
    // Warms up whatever Cedar does lazily, before the snapshot. A policy may fail on the sample and work on real runs.
    let _ = decide(&prepared, &sample::run(), &sample::token());
    Ok(prepared)
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|problem| {
        // A policy that fails has not permitted: the host turns the panic into a fault with this message.
        #[expect(clippy::panic, reason = "a guest reports a fault by panicking")]
        {
            panic!("{problem}")
        }
    })
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, String> {
    let request = request::of(&prepared.names, run, token, None)?;
    let response =
        prepared.authorizer.is_authorized(&request, &prepared.policies, &prepared.entities);
    // Cedar skips a policy that fails, also one that would have forbidden.
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(error.to_string());
    }
    let determining = response.diagnostics().reason();
    Ok(match response.decision() {
        Decision::Allow => prepared.annotations.allow(determining, token),
        Decision::Deny => match prepared.annotations.reasons(determining) {
            reasons if !reasons.is_empty() => Verdict::Deny(reasons),
            _ => match prepared.default_verdict {
                DefaultVerdict::Deny => {
                    Verdict::deny("no-policy-permits", "no Cedar policy permits it")
                }
                DefaultVerdict::Restrict => Verdict::Restrict(Grant::new()),
                DefaultVerdict::Abstain => Verdict::abstain(),
            },
        },
    })
}

fn problem(pointer: &str, error: &dyn std::error::Error) -> Problem {
    // Cedar's errors name the place in their sources.
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    Problem { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use countersign_policy::parse_settings;
    use serde_json::{Value, json};

    use super::*;

    const ANY: &str = "permit(principal, action, resource);";

    #[track_caller]
    fn check(settings: Value, expected: &Verdict) {
        let prepared = parse_settings(&settings.to_string()).expect("settings");
        let prepared = prepare(prepared).expect("policies");
        let found = decide(&prepared, &sample::run(), &sample::token());
        assert_eq!(found.as_ref(), Ok(expected), "{settings}");
    }

    #[test]
    fn a_permit_that_does_not_restrict_has_to_apply() {
        let grant = |max_ttl| Grant { max_ttl: Some(max_ttl), ..Grant::new() };
        for (policies, expected) in [
            (format!("@restrict {ANY}"), Verdict::Restrict(Grant::new())),
            (format!("@restrict(\"\") @max_ttl(\"900\") {ANY}"), Verdict::Restrict(grant(900))),
            (format!("@restrict @max_ttl(\"900\") {ANY} {ANY}"), Verdict::Permit(grant(900))),
            (format!("@restrict {ANY} @max_ttl(\"600\") {ANY}"), Verdict::Permit(grant(600))),
            (
                format!("@restrict @max_ttl(\"900\") {ANY} @restrict @max_ttl(\"600\") {ANY}"),
                Verdict::Restrict(grant(600)),
            ),
            (
                format!(
                    "@restrict {ANY} @id(\"no\") @message(\"no\") forbid(principal, action, resource);"
                ),
                Verdict::deny("no", "no"),
            ),
        ] {
            check(json!({"policies": policies}), &expected);
        }
    }

    #[test]
    fn the_default_verdict_is_never_a_permit() {
        let policies = "forbid(principal, action == Action::\"destroy\", resource);";
        let denial = Verdict::deny("no-policy-permits", "no Cedar policy permits it");
        for (default, expected) in [
            (json!({}), &denial),
            (json!({"default-verdict": "deny"}), &denial),
            (json!({"default-verdict": "restrict"}), &Verdict::Restrict(Grant::new())),
            (json!({"default-verdict": "abstain"}), &Verdict::Abstain),
        ] {
            let mut settings = json!({"policies": policies});
            settings
                .as_object_mut()
                .expect("an object")
                .extend(default.as_object().cloned().unwrap_or_default());
            check(settings, expected);
        }
        for settings in [
            json!({"policies": policies, "default-verdict": "permit"}),
            json!({"policies": policies, "otherwise": "abstain"}),
        ] {
            assert!(parse_settings::<Settings>(&settings.to_string()).is_err(), "{settings}");
        }
    }

    #[test]
    fn restrict_is_an_annotation_of_a_permit_and_takes_no_value() {
        for (policies, says) in [
            (format!("@restrict(\"no\") {ANY}"), "@restrict takes no value, found `no`"),
            (
                "@restrict forbid(principal, action, resource);".to_owned(),
                "@restrict is for a policy that permits",
            ),
        ] {
            let settings = json!({"policies": policies}).to_string();
            let problems = prepare(parse_settings(&settings).expect("settings")).err();
            let problems = problems.expect("a problem");
            assert!(problems.iter().any(|problem| problem.message.contains(says)), "{problems:?}");
        }
    }
}
