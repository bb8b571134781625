//! Policy sets: those that decided, and what is known of each binding.

use std::sync::Arc;

use askama::Template;
use countersign::{Digest, Limits};
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::facts::Field;
use crate::frame::Frame;
use crate::policies::KnownPolicies;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::record::{Parsed, scope};
use crate::text::{Number, Text};

/// The policy sets that are listed: those with most decisions.
const MAX_SETS: u32 = 200;

#[derive(Template, Serialize)]
#[template(path = "policies.html")]
struct PoliciesView {
    log: Frame,
    policy_sets: Vec<SetView>,
}

/// A policy set.
#[derive(Serialize)]
struct SetView {
    policy_set: Text,
    /// The decisions that it made.
    decisions: Number,
    /// The record of the last one; 0 where it made none.
    last: Number,
    /// The place that it is from, where this console has it.
    origin: Option<Text>,
}

#[derive(Template, Serialize)]
#[template(path = "policy_set.html")]
struct PolicySetView {
    log: Frame,
    policy_set: Text,
    origin: Option<Text>,
    /// The reason that the set, which should be there, cannot be used.
    problem: Option<Text>,
    decisions: Number,
    /// The record that the bindings were read from, where the set is not here: those that applied to its run.
    record: Option<u64>,
    bindings: Vec<BindingView>,
}

/// A binding of a policy set.
#[derive(Default, Serialize)]
struct BindingView {
    binding: Text,
    mode: Text,
    scope: Text,
    may_permit: bool,
    policy: Text,
    component: Text,
    /// The manifest in a registry, where the policy comes from one.
    reference: Option<Text>,
    revision: Option<Number>,
    /// The ids of the keys whose signatures were verified.
    signers: Vec<Text>,
    /// The reason that nothing is known of its signatures.
    unsigned: Option<Text>,
    settings_digest: Text,
    claims: Vec<Text>,
    summary: Option<Text>,
    settings: Option<Text>,
    schema: Option<Text>,
    limits: Vec<LimitView>,
}

#[derive(Serialize)]
struct LimitView {
    name: Text,
    value: Number,
}

impl View for PoliciesView {
    fn lines(&self) -> Vec<Value> {
        self.policy_sets.iter().map(value).collect()
    }
}

impl View for PolicySetView {
    fn lines(&self) -> Vec<Value> {
        self.bindings.iter().map(value).collect()
    }
}

pub(crate) async fn policies(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let policies = Arc::clone(&asked.console.policies);
    let known = tokio::task::spawn_blocking(move || policies.known()).await.unwrap_or_default();
    let origin = |digest: &str| {
        let of = known.iter().find(|(known, _)| known.to_string() == digest);
        of.map(|(_, origin)| Text::from(origin.as_str()))
    };
    let values = asked.log.index.values(Field::PolicySet, MAX_SETS).await?;
    let mut sets: Vec<_> = values
        .into_iter()
        .map(|value| SetView {
            origin: origin(&value.value),
            policy_set: value.value.into(),
            decisions: Number(value.records),
            last: Number(value.last),
        })
        .collect();
    for (digest, origin) in &known {
        let digest = Text::from(digest.to_string());
        if !sets.iter().any(|set| set.policy_set == digest) {
            let origin = Some(origin.as_str().into());
            sets.push(SetView {
                policy_set: digest,
                decisions: Number(0),
                last: Number(0),
                origin,
            });
        }
    }
    respond(asked.format, &PoliciesView { log: asked.frame("policies"), policy_sets: sets })
}

pub(crate) async fn policy_set(
    asked: &PageRequest<'_>,
    digest: &str,
) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let parsed = Digest::parse(digest).map_err(|_| Problem::not_found("no such page"))?;
    let policies = Arc::clone(&asked.console.policies);
    let found = tokio::task::spawn_blocking(move || policies.find(parsed)).await;
    let (known, problem) = match found.unwrap_or_else(|_| Err("it cannot be prepared".to_owned())) {
        Ok(known) => (known, None),
        Err(problem) => (None, Some(problem)),
    };
    let value = asked.log.index.value(Field::PolicySet, digest).await?;
    if known.is_none() && problem.is_none() && value.is_none() {
        return Err(Problem::not_found("no policy set with this digest is on record"));
    }
    let last = value.as_ref().map(|value| value.last).filter(|last| *last <= asked.state.last);
    let (bindings, record) = match (&known, last) {
        (Some(known), _) => (of_known(known), None),
        (None, Some(last)) => {
            let read = asked.log.read(&asked.state, vec![last]).await?.pop();
            let record = read.and_then(|read| read.record.ok()).unwrap_or_default();
            (of_record(&Parsed::of(&record)), Some(last))
        }
        (None, None) => (Vec::new(), None),
    };
    let view = PolicySetView {
        log: asked.frame("policies"),
        policy_set: digest.into(),
        origin: known.as_ref().map(|known| known.origin.as_str().into()),
        problem: problem.map(Text::from),
        decisions: Number(value.map_or(0, |value| value.records)),
        record,
        bindings,
    };
    respond(asked.format, &view)
}

/// The bindings of a set that is here: all of them.
fn of_known(known: &KnownPolicies) -> Vec<BindingView> {
    let bindings = known.policies.bindings().iter();
    let view = |binding: &countersign::Binding| {
        let (identity, description) = (binding.identity(), binding.policy().description());
        let signed = known.signed_of(identity.name.as_str());
        let is_signed = signed.and_then(|signed| signed.as_ref().ok());
        let signers = is_signed.into_iter().flat_map(|signed| &signed.signers);
        BindingView {
            reference: is_signed.map(|signed| signed.reference.as_str().into()),
            revision: is_signed.map(|signed| Number(signed.revision)),
            signers: signers.map(|signer| signer.as_str().into()).collect(),
            unsigned: signed
                .and_then(|signed| signed.as_ref().err())
                .map(|problem| problem.as_str().into()),
            binding: identity.name.as_str().into(),
            mode: identity.mode.as_str().into(),
            scope: scope(serde_json::to_value(&identity.scope).ok().as_ref()),
            may_permit: identity.may_permit,
            policy: format!("{} {}", identity.policy_name, identity.policy_version).into(),
            component: identity.policy.to_string().into(),
            settings_digest: identity.settings.to_string().into(),
            claims: identity.claims.iter().map(|name| name.as_str().into()).collect(),
            summary: Some(description.summary.as_str().into()),
            settings: known.settings_of(identity.name.as_str()).map(pretty),
            schema: description.settings_schema.as_deref().map(pretty),
            limits: Limits::FIELDS
                .iter()
                .map(|field| LimitView {
                    name: field.member.into(),
                    value: Number(field.get(&identity.limits)),
                })
                .collect(),
        }
    };
    bindings.map(view).collect()
}

/// The bindings of a decision, which are all that a record says of its set.
fn of_record(record: &Parsed) -> Vec<BindingView> {
    let bindings = record.bindings().into_iter();
    let view = |binding: crate::record::BindingView| BindingView {
        binding: binding.name,
        mode: binding.mode,
        scope: binding.scope,
        may_permit: binding.may_permit,
        policy: binding.policy,
        component: binding.digest,
        settings_digest: binding.settings,
        ..BindingView::default()
    };
    bindings.map(view).collect()
}

/// JSON on several lines; as it is where it is none.
fn pretty(json: &str) -> Text {
    let parsed: Option<Value> = serde_json::from_str(json).ok();
    let pretty = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok());
    Text::from(pretty.unwrap_or_else(|| json.to_owned()))
}
