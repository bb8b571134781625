//! The core of an issuer of workload-identity tokens for runs: runs, exchange, decisions, keys over time, records.
//!
//! ```text
//! register ─→ Store              exchange ─→ requester ─→ run ─→ Decider (PolicySet ─→ Approval ─→ Issuer::sign)
//!                                                                                      ↓
//!                                   token ←─ durable ←─ record (LogWriter) ←─ PendingDecision
//! ```
//!
//! [`Decider`] is the one way from a request to a signed token or a refusal; [`Service`] adds the requesters, their
//! limits, the record, and the metrics. Doors over it, such as `countersign-http`, make its requests and translate its
//! answers and [`Problem`]s.
//!
//! An embedder can replace the [`Store`] of runs, the [`KeyCustody`] of private keys, the [`Clock`], and the source of
//! trusted issuers' keys ([`Fetch`]). Decisions are recorded in a [log](countersign_decision_log). Whoever makes the
//! [`ServiceParts`] reads the files, apart from the plan of keys ([`KeyRing`]) and the log.

#![forbid(unsafe_code)]

mod access;
mod checkpoint;
mod clock;
mod cluster_signer;
mod config;
mod decider;
mod identity;
mod keys;
mod metrics;
mod problem;
mod record;
mod release;
mod replica;
mod runners;
mod runs;
mod service;
mod store;
mod trace;

use std::pin::Pin;

pub use access::{ApiKey, ApiKeyText, Authorizer};
pub use checkpoint::{
    CHECKPOINT_KEY_FILE, CheckpointKeyError, CheckpointSigner, CheckpointVerifier,
    VERIFIER_KEYS_FILE,
};
pub use clock::{Clock, ClockError, SystemClock};
pub use cluster_signer::{
    ClusterSigner, ClusterSignerConfig, ClusterSignerParts, PublishedKey, PublishedKeys,
    SignRequest, SignerMode,
};
pub use config::{AddressLimits, ServiceConfig};
pub use decider::{
    CommittedDecision, ConcludeError, DecideError, Decided, Decider, DecisionContext, IssueRequest,
    Issued, PendingDecision, PreflightError, RecordHead, RequestError, SelectIssuer,
    ServiceAccountHead, preflight_request,
};
pub use identity::{
    AmbiguousIdentities, CLOCK_LEEWAY, ClaimValue, Fetch, FetchError, FetchErrorKind,
    FetchedDocument, Identity, IdentityError, Jwks, JwksError, KeySource, MAX_TOKEN_BYTES,
    Permission, Published, RequiredClaims, RequiredClaimsError, TrustedIdentities, TrustedIdentity,
    TrustedIssuer, TrustedIssuers, UnusableKey, VerificationAlgorithm, VerificationKey, Verified,
    is_secure, verified_claims,
};
pub use keys::{
    CustodyError, CustodyFailure, CustodyHealth, DatabasePlans, KeyCustody, KeyEntry, KeyFolder,
    KeyFolderError, KeyPlan, KeyPlans, KeyRing, KeyRingError, KeySealer, KeyTimes, Keys,
    LoadedPlan, Phase, RotateError, SealError, SealedKeys,
};
pub use problem::{LogFields, Problem, ProblemKind, Refused};
pub use record::{
    OpenLogError, RecordKind, RequestOrigin, Requester, SignerList, UsedToken, open_log,
};
pub use release::{ReleaseAction, ReleaseEvidence, ReleaseStep};
pub use replica::{Anchor, Replica, ReplicaProblem, anchors_of, last_anchors};
pub use runners::{RunnerEntry, RunnerKind, Runners};
pub use runs::{
    Liveness, MAX_SECRET_BYTES, MIN_SECRET_BYTES, RegisteredRun, RunTokenError, SecretHash,
    run_token_of,
};
pub use service::{
    ExchangeRequest, Principal, RegisteredQuestion, Registration, Service, ServiceError,
    ServiceParts, Slot, SubjectToken, TrialCounts, WatchedRelease,
};
pub use store::{
    Beat, DatabaseUrl, InvalidDatabaseUrl, KeyPlanRow, MAX_STEP_BYTES, Membership, Migrated,
    NewSharedStep, PostgresConfig, PostgresStore, Register, Registered, ReplicaEntry, RunPage,
    RunQuery, SharedReleases, SharedStep, SqliteStore, Store, StoreError, StoreFailure, StoreMark,
    TakenReleases, UnboundError, changes_of, check_bound,
};
pub use trace::{FinishedTrace, Trace, TraceEvent, TraceParent, TraceSink, TraceSpan, TraceValue};

/// A future that a trait's method gives.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
