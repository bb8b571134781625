//! The floor: the rules as functions of this program.

use std::collections::HashSet;

use countersign::Claims;

use super::{Answer, Peer};
use crate::facts;
use crate::rules::{AUDIENCES, Also, CEILINGS, Rules, TRIGGERS};

/// Plain Rust: no sandbox, no limits, no record.
pub struct Plain {
    rules: Rules,
    also: HashSet<String>,
    workspaces: HashSet<String>,
}

impl Plain {
    /// The rules as plain Rust.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let (also, workspaces) = match rules {
            Rules::OwnWorkspace => (Vec::new(), Vec::new()),
            Rules::SameWorkspace(also) => (also.workspaces.clone(), Vec::new()),
            Rules::AllowedConsumers(list) => (Vec::new(), list.clone()),
            Rules::Five { also, workspaces } => (also.workspaces.clone(), workspaces.clone()),
        };
        Self {
            rules: rules.clone(),
            also: also.into_iter().collect(),
            workspaces: workspaces.into_iter().collect(),
        }
    }

    fn same_workspace(&self, also: &Also, claims: &Claims) -> Result<u32, &'static str> {
        let owner = &claims.run().building_block.workspace;
        let ttl_seconds = claims.token().ttl_seconds();
        if *owner == claims.run().definition.workspace {
            Ok(ttl_seconds)
        } else if self.also.contains(owner.as_str()) {
            Ok(ttl_seconds.min(also.max_ttl))
        } else {
            Err("foreign-workspace")
        }
    }

    fn allowed(&self, claims: &Claims) -> Result<u32, &'static str> {
        let owner = claims.run().building_block.workspace.as_str();
        let listed = self.workspaces.contains(owner);
        listed.then(|| claims.token().ttl_seconds()).ok_or("workspace-not-listed")
    }
}

impl Peer for Plain {
    type Input = Claims;

    fn input(&self, claims: &Claims) -> Claims {
        claims.clone()
    }

    fn decide(&mut self, claims: Claims) -> Answer {
        let ttl_seconds = claims.token().ttl_seconds();
        let checked = |admits: bool, code| if admits { Ok(ttl_seconds) } else { Err(code) };
        let verdicts = match &self.rules {
            Rules::OwnWorkspace => {
                let run = claims.run();
                let own = run.building_block.workspace == run.definition.workspace;
                vec![checked(own, "foreign-workspace")]
            }
            Rules::SameWorkspace(also) => vec![self.same_workspace(also, &claims)],
            Rules::AllowedConsumers(_) => vec![self.allowed(&claims)],
            Rules::Five { also, .. } => {
                let behavior = facts::behavior(&claims);
                let ceiling = CEILINGS.iter().find(|(name, _)| *name == behavior);
                let triggers = TRIGGERS.iter().find(|(name, _)| *name == behavior);
                let author = claims.run().trigger.as_ref().map(|trigger| trigger.author_kind);
                let audiences = claims.token().audiences();
                let used = if facts::implementation(&claims) != "terraform" {
                    Err("no-audiences-set")
                } else {
                    let used = audiences.iter().any(|one| AUDIENCES.contains(&one.as_str()));
                    checked(used, "audience-not-used")
                };
                let may_trigger = match (triggers, author) {
                    (Some(_), None) => Err("author-not-known"),
                    (Some((_, kinds)), Some(kind)) => {
                        checked(kinds.contains(&facts::author_kind(kind)), "author-not-allowed")
                    }
                    (None, _) => Ok(ttl_seconds),
                };
                vec![
                    self.same_workspace(also, &claims),
                    self.allowed(&claims),
                    checked(
                        ceiling.is_none_or(|(_, most)| ttl_seconds <= *most),
                        "ttl-above-ceiling",
                    ),
                    used,
                    may_trigger,
                ]
            }
        };
        let codes = verdicts.iter().filter_map(|verdict| verdict.err()).map(str::to_owned);
        Answer::new(codes, verdicts.iter().filter_map(|verdict| verdict.ok()))
    }
}
