//! The host's side of `wit/policy.wit`: what is lowered into a guest and lifted out of it.
//!
//! The order of fields and cases is the contract's. Wasmtime compares these types with the
//! component's before the first call, so a mistake here is a load error, not a wrong decision.

mod arguments;
mod block;
mod lifted;

use wasmtime::component::{ComponentType, Lift, Lower};

pub(crate) use self::arguments::{ArgumentForm, Arguments, LoweredArguments, ONE_WAY_MEMORY};
pub(crate) use self::lifted::{LiftFailed, List, Text};
use crate::request::claims::Claims;
use crate::request::identifier::FactName;
use crate::request::run;

/// Name of the exported interface.
pub(crate) const INTERFACE: &str = "countersign:policy/policy@1.0.0";

/// The interface without its version.
pub(crate) const INTERFACE_STEM: &str = "countersign:policy/policy@";

/// The version of the contract that this host serves.
pub(crate) const VERSION: (u64, u64, u64) = (1, 0, 0);

pub(crate) type DescribeParams = ();
pub(crate) type DescribeResults = (Description,);
pub(crate) type ConfigureParams<'a> = (&'a str,);
pub(crate) type ConfigureResults = (Result<(), Vec<Problem>>,);
pub(crate) type EvaluateParams<'a> = (&'a Run<'a>, &'a Token<'a>);
pub(crate) type EvaluateResults = (Verdict,);

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Behavior {
    #[component(name = "apply")]
    Apply,
    #[component(name = "detect")]
    Detect,
    #[component(name = "destroy")]
    Destroy,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Implementation {
    #[component(name = "manual")]
    Manual,
    #[component(name = "terraform")]
    Terraform,
    #[component(name = "github-workflow")]
    GithubWorkflow,
    #[component(name = "gitlab-cicd")]
    GitlabCicd,
    #[component(name = "azure-devops")]
    AzureDevops,
    #[component(name = "other")]
    #[expect(dead_code, reason = "hosts of 1.0 refuse what they do not know")]
    Other,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum AuthorKind {
    #[component(name = "user")]
    User,
    #[component(name = "api-key")]
    ApiKey,
    #[component(name = "api-user")]
    ApiUser,
    #[component(name = "system")]
    System,
    #[component(name = "other")]
    #[expect(dead_code, reason = "hosts of 1.0 refuse what they do not know")]
    Other,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Fact<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Parent<'a> {
    #[component(name = "building-block")]
    building_block: &'a str,
    definition: &'a str,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct BuildingBlock<'a> {
    id: &'a str,
    workspace: &'a str,
    project: Option<&'a str>,
    platform: Option<&'a str>,
    parents: Vec<Parent<'a>>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Definition<'a> {
    id: &'a str,
    workspace: &'a str,
    version: u64,
    implementation: Implementation,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Trigger<'a> {
    reason: Option<&'a str>,
    author: &'a str,
    #[component(name = "author-kind")]
    author_kind: AuthorKind,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Run<'a> {
    id: &'a str,
    number: u64,
    behavior: Behavior,
    #[component(name = "building-block")]
    building_block: BuildingBlock<'a>,
    definition: Definition<'a>,
    trigger: Option<Trigger<'a>>,
    runner: Option<&'a str>,
    facts: Vec<Fact<'a>>,
}

#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Token<'a> {
    subject: &'a str,
    audiences: Vec<&'a str>,
    #[component(name = "ttl-seconds")]
    ttl_seconds: u32,
    #[component(name = "issued-at")]
    issued_at: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(claims: &'a Claims) -> Self {
        let run = claims.run();
        Self {
            id: run.id.as_str(),
            number: run.number,
            behavior: match run.behavior {
                run::Behavior::Apply => Behavior::Apply,
                run::Behavior::Detect => Behavior::Detect,
                run::Behavior::Destroy => Behavior::Destroy,
            },
            building_block: BuildingBlock {
                id: run.building_block.id.as_str(),
                workspace: run.building_block.workspace.as_str(),
                project: run.building_block.project.as_ref().map(|p| p.as_str()),
                platform: run.building_block.platform.as_ref().map(|p| p.as_str()),
                parents: run.building_block.parents.iter().map(Parent::new).collect(),
            },
            definition: Definition {
                id: run.definition.id.as_str(),
                workspace: run.definition.workspace.as_str(),
                version: run.definition.version,
                implementation: match run.definition.implementation {
                    run::Implementation::Manual => Implementation::Manual,
                    run::Implementation::Terraform => Implementation::Terraform,
                    run::Implementation::GithubWorkflow => Implementation::GithubWorkflow,
                    run::Implementation::GitlabCicd => Implementation::GitlabCicd,
                    run::Implementation::AzureDevops => Implementation::AzureDevops,
                },
            },
            trigger: run.trigger.as_ref().map(Trigger::new),
            runner: claims.runner().map(|runner| runner.as_str()),
            facts: claims.facts().iter().map(Fact::new).collect(),
        }
    }
}

impl<'a> Fact<'a> {
    fn new((name, value): (&'a FactName, &'a str)) -> Self {
        Self { name: name.as_str(), value }
    }
}

impl<'a> Parent<'a> {
    fn new(parent: &'a run::Parent) -> Self {
        Self {
            building_block: parent.building_block.as_str(),
            definition: parent.definition.as_str(),
        }
    }
}

impl<'a> Trigger<'a> {
    fn new(trigger: &'a run::Trigger) -> Self {
        Self {
            reason: trigger.reason.as_deref(),
            author: &trigger.author,
            author_kind: match trigger.author_kind {
                run::AuthorKind::User => AuthorKind::User,
                run::AuthorKind::ApiKey => AuthorKind::ApiKey,
                run::AuthorKind::ApiUser => AuthorKind::ApiUser,
                run::AuthorKind::System => AuthorKind::System,
            },
        }
    }
}

impl<'a> Token<'a> {
    pub(crate) fn new(claims: &'a Claims) -> Self {
        let token = claims.token();
        Self {
            subject: claims.subject().as_str(),
            audiences: token.audiences().iter().map(|audience| audience.as_str()).collect(),
            ttl_seconds: token.ttl_seconds(),
            issued_at: token.issued_at(),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    #[component(name = "settings-schema")]
    pub(crate) settings_schema: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Problem {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Reason {
    pub(crate) code: Text,
    pub(crate) message: Text,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct GrantedClaim {
    pub(crate) name: Text,
    pub(crate) value: Text,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Grant {
    #[component(name = "max-ttl")]
    pub(crate) max_ttl: Option<u32>,
    pub(crate) audiences: Option<List<Text>>,
    pub(crate) claims: List<GrantedClaim>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Verdict {
    #[component(name = "permit")]
    Permit(Grant),
    #[component(name = "restrict")]
    Restrict(Grant),
    #[component(name = "deny")]
    Deny(List<Reason>),
    #[component(name = "abstain")]
    Abstain,
}

impl Verdict {
    /// Its size in bytes, as it is counted against a limit: texts, and the items of lists.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Abstain => 0,
            Self::Deny(reasons) => {
                let texts = reasons.iter().map(|r| r.code.len() + r.message.len());
                size_of_val(&**reasons) + texts.sum::<usize>()
            }
            Self::Permit(grant) | Self::Restrict(grant) => {
                let audiences = grant.audiences.as_deref().unwrap_or_default();
                let claims = grant.claims.iter().map(|c| c.name.len() + c.value.len());
                size_of_val(audiences)
                    + audiences.iter().map(|audience| audience.len()).sum::<usize>()
                    + size_of_val(&*grant.claims)
                    + claims.sum::<usize>()
            }
        }
    }
}
