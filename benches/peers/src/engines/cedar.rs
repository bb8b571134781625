//! Cedar, with `cedar-policy`.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression,
};
use countersign::Claims;

use super::{Answer, Peer};
use crate::facts::{self, Form};
use crate::rules::{AUDIENCES, Also, CEILINGS, Rules, TRIGGERS};

const OWN_WORKSPACE: &str = r#"
permit(principal, action == Action::"issue", resource)
when { context.run.building_block.workspace == context.run.definition.workspace };
"#;

/// Cedar returns allow or deny with the determining policies: a code or a maximum TTL is an annotation of a policy that
/// the caller looks up.
const SAME_WORKSPACE: &str = r#"
@code("foreign-workspace")
forbid(principal, action == Action::"issue", resource)
unless {
    context.run.building_block.workspace == context.run.definition.workspace
        || principal in Group::"also"
};

@ttl("also")
permit(principal in Group::"also", action == Action::"issue", resource)
unless { context.run.building_block.workspace == context.run.definition.workspace };
"#;

const ALLOWED_CONSUMERS: &str = r#"
@code("workspace-not-listed")
forbid(principal, action == Action::"issue", resource)
unless { principal in Group::"workspaces" };
"#;

const OTHERWISE: &str = r#"
permit(principal, action == Action::"issue", resource);
"#;

/// `cedar-policy`: builds the request from the claims, and authorises it.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    workspace: EntityTypeName,
    definition: EntityTypeName,
    action: EntityUid,
    /// The annotations by the policy's id.
    codes: HashMap<PolicyId, String>,
    lifetimes: HashMap<PolicyId, u32>,
}

/// `cedar-policy` with a request that was built before: authorises it.
pub struct CedarRequestMade(Cedar);

/// A request, and the lifetime that it requests.
pub struct CedarRequest {
    request: Request,
    ttl_seconds: u32,
}

/// Its values.
enum Values {}

impl Form for Values {
    type Value = RestrictedExpression;

    fn text(text: &str) -> RestrictedExpression {
        RestrictedExpression::new_string(text.to_owned())
    }

    fn number(number: i64) -> RestrictedExpression {
        RestrictedExpression::new_long(number)
    }

    fn list(items: Vec<RestrictedExpression>) -> RestrictedExpression {
        RestrictedExpression::new_set(items)
    }

    fn record(members: Vec<(&'static str, RestrictedExpression)>) -> RestrictedExpression {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        RestrictedExpression::new_record(members).expect("no name twice")
    }
}

impl Cedar {
    /// The rules in Cedar.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let workspaces = group("workspaces");
        let also = group("also");
        let (policies, entities) = match rules {
            Rules::OwnWorkspace => (OWN_WORKSPACE.to_owned(), Vec::new()),
            Rules::SameWorkspace(Also { workspaces: two, .. }) => {
                (format!("{SAME_WORKSPACE}{OTHERWISE}"), members(two, &[(two, &also)]))
            }
            Rules::AllowedConsumers(list) => {
                (format!("{ALLOWED_CONSUMERS}{OTHERWISE}"), members(list, &[(list, &workspaces)]))
            }
            Rules::Five { also: Also { workspaces: two, .. }, workspaces: list } => {
                let mut all: Vec<String> = two.clone();
                all.extend(list.iter().filter(|name| !two.contains(name)).cloned());
                let policies =
                    format!("{SAME_WORKSPACE}{ALLOWED_CONSUMERS}{}{OTHERWISE}", three_more());
                (policies, members(&all, &[(two, &also), (list, &workspaces)]))
            }
        };
        let max_ttl = match rules {
            Rules::SameWorkspace(also) | Rules::Five { also, .. } => also.max_ttl,
            Rules::OwnWorkspace | Rules::AllowedConsumers(_) => 0,
        };
        let policies: PolicySet = policies.parse().expect("Cedar");
        let annotated = |name| {
            policies.policies().filter_map(move |policy| {
                Some((policy.id().clone(), policy.annotation(name)?.to_owned()))
            })
        };
        Self {
            authorizer: Authorizer::new(),
            codes: annotated("code").collect(),
            lifetimes: annotated("ttl").map(|(id, _)| (id, max_ttl)).collect(),
            policies,
            entities: Entities::from_entities(entities, None).expect("entities"),
            workspace: "Workspace".parse().expect("a type"),
            definition: "Definition".parse().expect("a type"),
            action: r#"Action::"issue""#.parse().expect("an action"),
        }
    }
}

impl Peer for Cedar {
    type Input = Claims;

    fn input(&self, claims: &Claims) -> Claims {
        claims.clone()
    }

    fn decide(&mut self, claims: Claims) -> Answer {
        self.authorize(self.request(&claims))
    }
}

impl Peer for CedarRequestMade {
    type Input = CedarRequest;

    fn input(&self, claims: &Claims) -> CedarRequest {
        self.0.request(claims)
    }

    fn decide(&mut self, request: CedarRequest) -> Answer {
        self.0.authorize(request)
    }
}

impl CedarRequestMade {
    /// The rules in Cedar.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self(Cedar::new(rules))
    }
}

impl Cedar {
    fn request(&self, claims: &Claims) -> CedarRequest {
        let run = claims.run();
        let context = [
            ("run".to_owned(), facts::run::<Values>(claims)),
            ("token".to_owned(), facts::token::<Values>(claims)),
        ];
        let of = |kind: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
        };
        let request = Request::new(
            of(&self.workspace, run.building_block.workspace.as_str()),
            self.action.clone(),
            of(&self.definition, run.definition.id.as_str()),
            Context::from_pairs(context).expect("no name twice"),
            None,
        )
        .expect("a request");
        CedarRequest { request, ttl_seconds: claims.token().ttl_seconds() }
    }

    fn authorize(&self, CedarRequest { request, ttl_seconds }: CedarRequest) -> Answer {
        let response = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
        let reasons = response.diagnostics().reason();
        match response.decision() {
            Decision::Allow => {
                let lifetimes = reasons.filter_map(|policy| self.lifetimes.get(policy).copied());
                Answer::Admitted(lifetimes.fold(ttl_seconds, u32::min))
            }
            // No policy forbids the request, and none permits it.
            Decision::Deny if self.codes.is_empty() => {
                Answer::new(["foreign-workspace".to_owned()], [])
            }
            Decision::Deny => {
                Answer::new(reasons.filter_map(|policy| self.codes.get(policy).cloned()), [])
            }
        }
    }
}

fn three_more() -> String {
    const HEAD: &str = "forbid(principal, action == Action::\"issue\", resource)";
    let list = |items: &[&str]| {
        let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
        items.join(", ")
    };
    let mut text = format!(
        "@code(\"no-audiences-set\") {HEAD} \
         unless {{ context.run.definition.implementation == \"terraform\" }};\n\
         @code(\"audience-not-used\") {HEAD} \
         when {{ context.run.definition.implementation == \"terraform\" }} \
         unless {{ context.token.audiences.containsAny([{}]) }};\n",
        list(&AUDIENCES)
    );
    for (behavior, most) in CEILINGS {
        text += &format!(
            "@code(\"ttl-above-ceiling\") {HEAD} when {{ \
             context.run.behavior == {behavior:?} && context.token.ttl_seconds > {most} }};\n"
        );
    }
    for (behavior, kinds) in TRIGGERS {
        text += &format!(
            "@code(\"author-not-known\") {HEAD} when {{ context.run.behavior == {behavior:?} }} \
             unless {{ context.run has trigger }};\n\
             @code(\"author-not-allowed\") {HEAD} \
             when {{ context.run.behavior == {behavior:?} && context.run has trigger }} \
             unless {{ [{}].contains(context.run.trigger.author_kind) }};\n",
            list(kinds)
        );
    }
    text
}

fn workspace(name: &str) -> EntityUid {
    entity("Workspace", name)
}

fn group(name: &str) -> EntityUid {
    entity("Group", name)
}

fn entity(kind: &str, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(
        kind.parse().expect("a type"),
        cedar_policy::EntityId::new(name),
    )
}

/// Workspaces as members of the groups that list them.
fn members(all: &[String], groups: &[(&Vec<String>, &EntityUid)]) -> Vec<Entity> {
    let listed: Vec<HashSet<&String>> =
        groups.iter().map(|(list, _)| list.iter().collect()).collect();
    all.iter()
        .map(|name| {
            let parents = groups
                .iter()
                .zip(&listed)
                .filter(|(_, list)| list.contains(name))
                .map(|((_, group), _)| (*group).clone());
            Entity::new_no_attrs(workspace(name), parents.collect())
        })
        .collect()
}
