//! The host's side of `wit/policy.wit`, for a guest that is followed and not held to the letter.
#![allow(missing_docs, unreachable_pub, reason = "generated")]

use countersign::{
    AuthorKind as OfAuthor, Behavior as OfBehavior, Claims, Implementation as OfImplementation,
};

wasmtime::component::bindgen!({ path: "../../wit", world: "token-policy" });

pub(super) use exports::countersign::policy::policy::Verdict;
use exports::countersign::policy::policy::{
    AuthorKind, Behavior, BuildingBlock, Definition, Implementation, Parent, Run, Token, Trigger,
};

/// The kind of a verdict, as cases name it.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Permit(_) => "permit",
        Verdict::Restrict(_) => "restrict",
        Verdict::Deny(_) => "deny",
        Verdict::Abstain => "abstain",
    }
}

pub(super) fn run(claims: &Claims) -> Run {
    let run = claims.run();
    let (block, definition) = (&run.building_block, &run.definition);
    let parents = block.parents.iter().map(|parent| Parent {
        building_block: parent.building_block.to_string(),
        definition: parent.definition.to_string(),
    });
    Run {
        id: run.id.to_string(),
        number: run.number,
        behavior: match run.behavior {
            OfBehavior::Apply => Behavior::Apply,
            OfBehavior::Detect => Behavior::Detect,
            OfBehavior::Destroy => Behavior::Destroy,
        },
        building_block: BuildingBlock {
            id: block.id.to_string(),
            workspace: block.workspace.to_string(),
            project: block.project.as_ref().map(ToString::to_string),
            platform: block.platform.as_ref().map(ToString::to_string),
            parents: parents.collect(),
        },
        definition: Definition {
            id: definition.id.to_string(),
            workspace: definition.workspace.to_string(),
            version: definition.version,
            implementation: match definition.implementation {
                OfImplementation::Manual => Implementation::Manual,
                OfImplementation::Terraform => Implementation::Terraform,
                OfImplementation::GithubWorkflow => Implementation::GithubWorkflow,
                OfImplementation::GitlabCicd => Implementation::GitlabCicd,
                OfImplementation::AzureDevops => Implementation::AzureDevops,
            },
        },
        trigger: run.trigger.as_ref().map(|trigger| Trigger {
            reason: trigger.reason.clone(),
            author: trigger.author.clone(),
            author_kind: match trigger.author_kind {
                OfAuthor::User => AuthorKind::User,
                OfAuthor::ApiKey => AuthorKind::ApiKey,
                OfAuthor::ApiUser => AuthorKind::ApiUser,
                OfAuthor::System => AuthorKind::System,
            },
        }),
        runner: claims.runner().map(ToString::to_string),
        facts: Vec::new(),
    }
}

pub(super) fn token(claims: &Claims) -> Token {
    let token = claims.token();
    Token {
        subject: claims.subject().to_string(),
        audiences: token.audiences().iter().map(ToString::to_string).collect(),
        ttl_seconds: token.ttl_seconds(),
        issued_at: token.issued_at(),
    }
}
