//! Decides by the Cedar policies in its settings, evaluated by `cedar-policy`.
//!
//! The principal is the owning workspace, the action the run's behavior, the resource the definition, and
//! `context` has `run` and `token`: `schema.cedarschema` beside this file. A policy that forbids denies, with its
//! `@code` and `@message`; one that permits may narrow by `@max_ttl`. Where none applies Cedar denies, and so
//! does this, unless the settings say that it abstains.

mod policies;
mod request;

use cedar_policy::{Authorizer, Decision, Entities, PolicySet, Schema};
use countersign_policy::{
    AuthorKind, Behavior, Parent, Problem, Run, Token, Trigger, Verdict, policy, sample, settings,
};

use crate::policies::Annotations;

/// The schema of requests, where the settings have no other.
const SCHEMA: &str = include_str!("schema.cedarschema");

/// Policies in Cedar.
#[settings]
pub struct Settings {
    /// The text of the policies.
    policies: String,
    /// The text of a schema in Cedar's own form, where the policies or the entities need another than the one
    /// for runs.
    #[serde(default)]
    schema: Option<String>,
    /// Entities in Cedar's JSON form: `[{"uid": {"type": "Workspace", "id": "team-a"}, "attrs": {}, "parents":
    /// [{"type": "Group", "id": "consumers"}]}]`.
    #[serde(default)]
    entities: Option<EntitiesJson>,
    /// The verdict where no policy applies: `deny`, as Cedar has it, or `abstain`.
    #[serde(default)]
    otherwise: Otherwise,
}

/// The verdict where no policy applies.
#[settings]
#[derive(Default, Clone, Copy)]
pub enum Otherwise {
    /// Denies, with the code `no-policy-permits`.
    #[default]
    Deny,
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
    schema: Schema,
    names: request::Names,
    otherwise: Otherwise,
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
        schema,
        otherwise: settings.otherwise,
    };
    // A schema that does not have what requests may have is found here.
    for run in samples() {
        request::of(&prepared.names, &run, &sample::token(), &prepared.schema)
            .map_err(|message| vec![Problem { pointer: "/schema".to_owned(), message }])?;
    }
    // What is done lazily is done here, once. A policy that fails on the sample may do for real runs.
    let _ = decide(&prepared, &sample::run(), &sample::token());
    Ok(prepared)
}

/// Runs of each behavior, with all that a run can have, and with as little.
fn samples() -> impl Iterator<Item = Run> {
    [Behavior::Apply, Behavior::Detect, Behavior::Destroy].into_iter().flat_map(|behavior| {
        let (mut full, mut bare) = (sample::run(), sample::run());
        full.runner = Some(full.id.clone());
        full.building_block.parents = vec![Parent {
            building_block: full.building_block.id.clone(),
            definition: full.definition.id.clone(),
        }];
        full.trigger = Some(Trigger {
            reason: Some("a sample".to_owned()),
            author: "someone@example.com".to_owned(),
            author_kind: AuthorKind::User,
        });
        (bare.building_block.project, bare.building_block.platform) = (None, None);
        [full, bare].map(|run| Run { behavior, ..run })
    })
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|problem| {
        // A policy that fails has not permitted: the host makes a fault of it, with this message.
        #[expect(clippy::panic, reason = "how a guest tells its host of a fault")]
        {
            panic!("{problem}")
        }
    })
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, String> {
    let request = request::of(&prepared.names, run, token, &prepared.schema)?;
    let response =
        prepared.authorizer.is_authorized(&request, &prepared.policies, &prepared.entities);
    // Cedar skips a policy that fails, also one that would have forbidden.
    if let Some(error) = response.diagnostics().errors().next() {
        return Err(error.to_string());
    }
    let determining = response.diagnostics().reason();
    Ok(match response.decision() {
        Decision::Allow => prepared.annotations.grant(determining, token).permit(),
        Decision::Deny => match prepared.annotations.reasons(determining) {
            reasons if !reasons.is_empty() => Verdict::Deny(reasons),
            _ => match prepared.otherwise {
                Otherwise::Deny => Verdict::deny("no-policy-permits", "no Cedar policy permits it"),
                Otherwise::Abstain => Verdict::abstain(),
            },
        },
    })
}

fn problem(pointer: &str, error: &dyn std::error::Error) -> Problem {
    // What is wrong, and the causes, which say where.
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
