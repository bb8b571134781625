//! The rules as policies of Countersign.

use std::sync::Arc;

use countersign::{Binding, Claims, Engine, Limits, Outcome, Policy, PolicySet, Scope};
use countersign_benches::{config, set_of};
use countersign_policy_artifacts::{
    ALLOWED_CONSUMERS, AUDIENCE_PER_IMPLEMENTATION, SAME_WORKSPACE, TRIGGER_GATE, TTL_CEILING,
};
use serde_json::{Value, json};

use crate::engines::{Answer, Peer};
use crate::rules::{AUDIENCES, Also, CEILINGS, Rules, TRIGGERS};

/// A policy set as one engine among others.
pub struct Countersign(PolicySet);

impl Countersign {
    /// The rules as policies.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self(set_of(&stack(rules)))
    }
}

impl Peer for Countersign {
    type Input = Claims;

    fn input(&self, claims: &Claims) -> Claims {
        claims.clone()
    }

    fn decide(&mut self, claims: Claims) -> Answer {
        match self.0.evaluate(claims).outcome() {
            Outcome::Approved(terms) => Answer::Admitted(terms.ttl_seconds),
            Outcome::Refused(reasons) => {
                Answer::new(reasons.iter().map(|reason| reason.code.clone()), [])
            }
        }
    }
}

/// The policies of rules, each with its settings.
#[must_use]
pub fn stack(rules: &Rules) -> Vec<(&'static [u8], Value)> {
    match rules {
        Rules::OwnWorkspace => vec![(SAME_WORKSPACE, json!({}))],
        Rules::SameWorkspace(also) => vec![(SAME_WORKSPACE, same_workspace(also))],
        Rules::AllowedConsumers(list) => vec![(ALLOWED_CONSUMERS, json!({"workspaces": list}))],
        Rules::Five { also, workspaces } => {
            let mut ceilings: serde_json::Map<_, _> =
                CEILINGS.iter().map(|(name, most)| ((*name).to_owned(), json!(most))).collect();
            ceilings.insert("longer".to_owned(), json!("deny"));
            let triggers: serde_json::Map<_, _> =
                TRIGGERS.iter().map(|(name, kinds)| ((*name).to_owned(), json!(kinds))).collect();
            vec![
                (SAME_WORKSPACE, same_workspace(also)),
                (ALLOWED_CONSUMERS, json!({"workspaces": workspaces})),
                (TTL_CEILING, ceilings.into()),
                (AUDIENCE_PER_IMPLEMENTATION, json!({"implementations": {"terraform": AUDIENCES}})),
                (TRIGGER_GATE, json!({"behaviors": triggers})),
            ]
        }
    }
}

fn same_workspace(also: &Also) -> Value {
    json!({"also": also.workspaces, "also-max-ttl": also.max_ttl})
}

/// That many bindings, of which three apply to the published run: by its definition workspace, by its definition and by
/// its owning workspace. All others are for other definitions and never apply.
#[must_use]
pub fn many(total: usize) -> PolicySet {
    let engine = Engine::new().expect("an engine");
    let rules = Rules::five();
    let stack = stack(&rules);
    let scopes = [
        Scope::DefinitionWorkspace("my-workspace".parse().expect("a workspace")),
        Scope::Definition("b23cfb9a-6974-444f-9d33-62134a632373".parse().expect("a definition")),
        Scope::OwningWorkspace("my-workspace".parse().expect("a workspace")),
    ];
    let policies: Vec<_> = stack
        .iter()
        .take(scopes.len())
        .map(|(component, settings)| {
            let policy = Policy::load(&engine, component, &Limits::DEFAULT).expect("a policy");
            (Arc::new(policy), settings)
        })
        .collect();
    let three =
        policies.iter().zip(scopes).enumerate().map(|(index, ((policy, settings), scope))| {
            Binding::prepare(Arc::clone(policy), config(index, settings, scope)).expect("a binding")
        });
    let others = (3..total).map(|index| {
        let (policy, settings) = policies.get(index % policies.len()).expect("a policy");
        let definition = format!("00000000-0000-4000-8000-{index:012x}");
        let scope = Scope::Definition(definition.parse().expect("a definition"));
        Binding::prepare_lazily(Arc::clone(policy), config(index, settings, scope))
            .expect("a binding")
    });
    PolicySet::new(three.chain(others).collect()).expect("a set")
}
