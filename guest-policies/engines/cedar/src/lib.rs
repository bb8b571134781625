//! Decides by the Cedar policies in its settings, evaluated by `cedar-policy`.
//!
//! The principal is the owning workspace, the action the run's behavior, the resource the definition, and
//! `context` has `run` and `token`: `schema.cedarschema` beside this file. A `forbid` denies, with its `@code` and
//! `@message`. A `permit` permits, and one annotated `@restrict` restricts; either may narrow by `@max_ttl`. Where
//! no policy applies Cedar denies, and so does this component, unless the settings name another default verdict.

mod entities;
mod format;
mod local;
mod nesting;
mod policies;
mod reads;
mod request;
mod source;
mod vocabulary;

use cedar_policy::{Entities, PolicySet, Schema};
use cedar_policy_core::authorizer::{Authorizer, Decision};
use countersign_policy::{Fact, Grant, Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::{samples, stage};
use miette::Diagnostic;

use crate::policies::Annotations;
use crate::request::Parts;

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
    /// Takes no policy that has a warning, and says which: `policy build` asks so.
    #[serde(default)]
    warnings: bool,
    /// A question of a tool: the policies are not taken, and the problems are the answer.
    #[serde(default)]
    ask: Option<Question>,
}

/// A question about policies. Only so many problems are passed on, so it says with which answer to begin, from 0 on.
#[settings]
pub struct Question {
    /// The text of the policies, formatted: parts of its bytes in hexadecimal digits.
    format: u32,
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
    /// The parts of requests that policies read.
    parts: Parts,
    default_verdict: DefaultVerdict,
}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let schema_text = settings.schema.as_deref().unwrap_or(SCHEMA);
    for source in [source::POLICIES.of(&settings.policies), source::SCHEMA.of(schema_text)] {
        nesting::check(&source)?;
    }
    if let Some(question) = settings.ask {
        return Err(format::answers(&settings.policies, question.format));
    }
    let source = source::SCHEMA.of(schema_text);
    let zones = local::zones(&settings.policies, schema_text);
    let schema = match Schema::from_cedarschema_str(&local::schema(schema_text, &zones)) {
        Ok((schema, warnings)) => {
            let warnings: Vec<_> = warnings.collect();
            match source.all(warnings.iter().map(|warning| warning as &dyn Diagnostic)) {
                none if none.is_empty() => schema,
                warnings => return Err(warnings),
            }
        }
        Err(error) => return Err(source.problems(&error)),
    };
    let (policies, annotations, findings) = policies::parse(&settings.policies, &schema)?;
    let entities = entities::read(settings.entities.map(|json| json.0), &schema);
    let (entities, of_entities) = match entities {
        Ok(entities) => (entities, Vec::new()),
        Err(problems) => (Entities::empty(), problems),
    };
    let problems: Vec<_> = findings.errors.into_iter().chain(of_entities).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    if settings.warnings && !findings.warnings.is_empty() {
        return Err(findings.warnings);
    }
    let names = request::Names::new()
        .map_err(|error| vec![Problem { pointer: String::new(), message: error }])?;
    let fits = fitting(&names, &schema, &zones);
    let fits = fits.map_err(|message| vec![source.whole(&unfit(&message))])?;
    let conditions: Vec<_> =
        policies.policies().map(|policy| policy.as_ref().condition()).collect();
    let parts = fits.read(&reads::of(&conditions));
    let prepared = Prepared {
        authorizer: Authorizer::new(),
        policies,
        annotations,
        entities,
        names,
        parts,
        default_verdict: settings.default_verdict,
    };
    // Warms up whatever Cedar does lazily, before the snapshot. A policy may fail on the sample and work on real runs.
    let run = sample::run();
    stage::evaluating_sample(&run);
    let _ = decide(&prepared, &run, &sample::token());
    stage::over();
    Ok(prepared)
}

/// Finds the parts of requests that fit a schema: one of the author's own may be older than what is made of claims, so that no
/// policy can read it, or demand it.
///
/// # Errors
/// A schema that lacks an attribute which requests may have, or has it of another type, is an error now and not a fault at
/// the first such run. No request has other attributes or types than these have, so that none is checked again.
fn fitting(names: &request::Names, schema: &Schema, zones: &[String]) -> Result<Parts, String> {
    let fits = |parts: &Parts| {
        samples().into_iter().try_for_each(|mut run| {
            let version = Fact { name: "opentofu-version".to_owned(), value: "1.8.2".to_owned() };
            run.facts.push(version);
            request::of(names, parts, &run, &sample::token(), Some(schema)).map(drop)
        })
    };
    let local = || Some(zones.to_vec());
    for (time, local, version) in [
        (true, local(), true),
        (true, local(), false),
        (true, None, true),
        (true, None, false),
        (false, local(), true),
        (false, local(), false),
        (false, None, true),
    ] {
        let parts = Parts::all(time, local, version);
        if fits(&parts).is_ok() {
            return Ok(parts);
        }
    }
    let parts = Parts::all(false, None, false);
    fits(&parts).map(|()| parts)
}

/// The reason that requests do not fit a schema. Cedar says it with a whole request.
fn unfit(message: &str) -> String {
    let without = match (message.split_once(" `{"), message.rsplit_once("}` ")) {
        (Some((before, _)), Some((_, after))) => format!("{before} of requests {after}"),
        _ => message.to_owned(),
    };
    format!("{without}; the schema needs at least what the built-in one has, in the same types")
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
    let request = request::of(&prepared.names, &prepared.parts, run, token, None)?;
    let response = prepared.authorizer.is_authorized(
        request,
        prepared.policies.as_ref(),
        prepared.entities.as_ref(),
    );
    // Cedar skips a policy that fails, also one that would have forbidden.
    if let Some(error) = response.diagnostics.errors.first() {
        return Err(error.to_string());
    }
    let determining = response.diagnostics.reason.iter();
    Ok(match response.decision {
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

#[cfg(test)]
mod tests;
