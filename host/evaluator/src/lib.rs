//! Decides, **before a token is signed**, whether a workload-identity token may be issued for a
//! run, and with what limits.
//!
//! Policies are WebAssembly components written by platform teams. The issuer asks once per run:
//!
//! ```text
//! run JSON ─Run::parse→ Run ─┐
//!                            ├→ Claims ─PolicySet::evaluate→ Decision ─into_approval→ Approval
//! TokenRequest::new ─────────┘                                                     └→ Refusal
//! ```
//!
//! One direction, no way back: a signer takes an [`Approval`], and only a [`Decision`] makes one.
//!
//! ```
//! use std::sync::Arc;
//!
//! use countersign::{Binding, BindingConfig, Engine, Limits, Mode, Policy, PolicySet, Scope, Settings};
//! use countersign::{Claims, Facts, Run, SubjectTemplate, SubjectFormat, TokenRequest};
//! # use std::error::Error;
//! # fn decide(component: &[u8], run: &[u8], now: u64) -> Result<(), Box<dyn Error>> {
//! // Once: the policies, each bound to the runs that it decides about.
//! let policy = Policy::load(&Engine::new()?, component, &Limits::DEFAULT)?;
//! let config = BindingConfig {
//!     name: "who-may-use-the-network-block".parse()?,
//!     settings: Settings::from_json(r#"{"workspaces": ["team-a"]}"#)?,
//!     scope: Scope::All,
//!     mode: Mode::Enforce,
//!     may_permit: true,
//!     limits: Limits::DEFAULT,
//!     claims: Vec::new(),
//! };
//! let policies = PolicySet::new(vec![Binding::prepare(Arc::new(policy), config)?])?;
//!
//! // For every run: its claims, then the decision.
//! let subject =
//!     SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id: "prod".parse()? };
//! let audiences = vec!["aws-workload-identity-provider:prod".parse()?];
//! let token = TokenRequest::new(audiences, 900, now)?;
//! let claims = Claims::new(Run::parse(run)?, None, Facts::default(), &subject, token)?;
//! match policies.evaluate(claims).into_approval() {
//!     Ok(approval) => println!("sign for {} s", approval.terms().ttl_seconds),
//!     Err(refusal) => println!("403: {:?}", refusal.reasons),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here opens a file or a socket or reads a clock: bytes and times are arguments. The one
//! thread belongs to [`Engine`] and counts ticks for the wall-clock limit.
//!
//! # What is guaranteed
//! - A policy sees its settings and the claims, and nothing else: it has no imports. Nothing that
//!   it writes is seen by another evaluation.
//! - Every error, fault and absence refuses. Grants only narrow. At least one policy must permit, and a
//!   policy that restricts never counts as one; [`reach`] tells which bindings can permit.
//! - The same policy set and claims give the same decision, to the byte of its record, but for
//!   three faults that depend on the machine and have codes of their own: `deadline`, `stack` (on a
//!   processor of another kind) and `host`.
//! - Secrets of a run object are dropped when it is parsed.
//!
//! # What is not
//! - Whether a run is genuine and still live: the caller vouches for it.
//! - That preparing is cheap where [`Preparation::InProcess`] is used: a component that is known to be
//!   costly is refused before it is compiled, but one made for it can still take much time and memory.
//!   [`Preparation::External`] bounds both.

#![deny(unsafe_code)]

/// The version of wasmtime that policies run on.
pub const WASMTIME_VERSION: &str = "48.0.8";

mod contract;
mod decision;
mod digest;
mod issuer_url;
mod limits;
mod policy_set;
mod prepare;
mod request;
mod sandbox;
mod strict_json;
mod text;

pub use decision::fault::{Fault, GrantFault};
pub use decision::outcome::{BindingTrace, Outcome, Reason, ReasonSource, Terms, refusal};
pub use decision::record::Record;
pub use decision::recorded::{
    DecisionReader, RecordedDecision, RecordedDecisionError, RecordedFault, RecordedTrace,
};
pub use decision::verdict::{
    Grant, MAX_CLAIM_VALUE_BYTES, MAX_GRANTED_CLAIMS, MAX_REASONS, PolicyReason, Verdict,
};
pub use decision::{Approval, Decision, Refusal};
pub use digest::{Digest, DigestError};
pub use issuer_url::{IssuerUrl, IssuerUrlError};
pub use limits::{
    ConfigureUsage, EvaluationUsage, LimitError, LimitField, LimitRule, LimitUnit, Limits,
    LimitsRecordError,
};
pub use policy_set::binding::{Binding, BindingConfig, BindingError};
pub use policy_set::description::{Description, SettingsProblem};
pub use policy_set::identity::BindingIdentity;
pub use policy_set::policy::Policy;
pub use policy_set::projection::Projection;
pub use policy_set::reach;
pub use policy_set::scope::{Mode, Scope};
pub use policy_set::set::{PolicySet, PolicySetError};
pub use policy_set::settings::{MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH, Settings, SettingsError};
pub use policy_set::settings_check::SettingsValidator;
pub use prepare::cache::{Cache, CacheEntry, EntryOf};
pub use prepare::compile::{Compile, CompileError, CompiledCode, Form, Preparation};
pub use prepare::component::imports;
pub use prepare::engine::{Engine, EngineConfig, EngineError};
pub use prepare::load_error::LoadError;
pub use prepare::pipeline::Prepared;
pub use prepare::snapshot::State;
pub use request::claims::{
    Claims, MAX_AUDIENCES, MAX_TIMESTAMP, MAX_TTL_SECONDS, TokenRequest, TokenRequestError,
    is_reserved_claim,
};
pub use request::facts::{
    Facts, FactsError, MAX_FACT_VALUE_BYTES, MAX_FACTS, MAX_REGISTERED_FACTS, RUNNER_FACTS,
};
pub use request::fields::{ClaimField, FieldForm, FieldValue, PARENT_MEMBERS, ParentMember};
pub use request::identifier::{
    Audience, BindingName, BuildingBlockId, ClaimName, DefinitionId, FactName, IdentifierError,
    MeshstackId, Platform, Project, RunId, RunnerId, Subject, Workspace,
};
pub use request::object_facts::{DISPLAY_NAMES, OBJECT_FACTS, ObjectFact};
pub use request::reader::RunError;
pub use request::record::{RecordError, read_run, run_record};
pub use request::run::{
    AuthorKind, Behavior, BuildingBlock, Definition, Implementation, Parent, Run, Trigger,
};
pub use request::run_object::{
    MAX_RUN_BYTES, MAX_RUN_DEPTH, MAX_RUN_TEXT_BYTES, check_json_with_run,
};
pub use request::subject::{
    SubjectError, SubjectFormat, SubjectFormatError, SubjectFormats, SubjectParts, SubjectTemplate,
};
pub use sandbox::wasmtime_config::Optimization;
pub use strict_json::{JsonError, MAX_VALUES, check_json};
pub use text::visible;
