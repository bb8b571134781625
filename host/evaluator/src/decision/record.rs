//! Decisions as they are kept on record: the wire's mirrors of the domain types.
//!
//! The shape is stable: within a `version`, members are added and never change their meaning.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::Decision;
use super::outcome::{BindingTrace, Outcome, Reason, Terms};
use super::verdict::{Grant, Verdict};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::policy_set::identity::BindingIdentity;
use crate::policy_set::scope::Scope;
use crate::request::record::ClaimsRecord;

/// A decision as JSON. It serialises always to the same bytes, and holds no secret.
///
/// ```json
/// {
///   "id": "sha256:…",             // digest of the other members as compact JSON, in this order
///   "version": 1,
///   "outcome": "refused",         // or "approved"
///   "reasons": [                  // when refused: at least one
///     {"code": "…", "message": "…", "source": "policy", "binding": "…"}
///   ],
///   "terms": {                    // when approved
///     "audiences": ["…"], "ttl_seconds": 900, "claims": {}
///   },
///   "policy_set": "sha256:…",
///   "claims": {"run": {…}, "runner": "…", "token": {…}},   // read back by `Claims::from_record`
///   "trace": [                    // every binding that applied, in the order of names
///     {"binding": "…", "mode": "enforce", "may_permit": true,   // false: a permit only narrows
///      "scope": {"definition": "…"},   // or "all"
///      "policy": {"name": "…", "version": "…", "digest": "sha256:…"}, "settings": "sha256:…",
///      "limits": {"component_bytes": 1048576, …}, "claims": ["…"],
///      "verdict": {"permit": {…}},  // or {"restrict": {…}}, {"deny": [{"code": "…", "message": "…"}]}, "abstain":
///                                   // the policy's own answer, also where `may_permit` is false
///      "fault": {"code": "…", "detail": "…"},   // in the verdict's place
///      "fuel": {"used": 12345, "limit": 10000000},   // used: null where it cannot be trusted
///      "memory_bytes": {"used": 131072, "limit": 16777216},
///      "output_bytes": {"used": 96, "limit": 65536}}
///   ]
/// }
/// ```
#[derive(Debug, Serialize)]
pub struct Record<'d> {
    id: String,
    #[serde(flatten)]
    body: Body<'d>,
}

impl<'d> Record<'d> {
    pub(crate) fn new(decision: &'d Decision) -> Self {
        Self { id: decision.id().to_string(), body: Body::new(decision) }
    }
}

/// The digest of a decision's record without its id, and the whole record, written in one go.
pub(crate) fn written(decision: &Decision) -> (Digest, Box<str>) {
    let body = json(&Body::new(decision));
    let id = Digest::of(body.as_bytes());
    let members = body.strip_prefix('{').unwrap_or_default();
    // As long as it will be at once, so that it is copied once.
    (id, [r#"{"id":""#, &id.to_string(), r#"","#, members].concat().into())
}

/// Digest of everything that decides, given in the order of names.
pub(crate) fn policy_set_digest<'b>(bindings: impl Iterator<Item = &'b BindingIdentity>) -> Digest {
    digest(&bindings.map(BindingRecord::new).collect::<Vec<_>>())
}

fn digest(value: &impl Serialize) -> Digest {
    Digest::of(json(value).as_bytes())
}

#[expect(clippy::expect_used, reason = "a digest of nothing would be worse")]
fn json(value: &impl Serialize) -> String {
    // A decision by five policies fits: growing there step by step would copy most of it once more.
    let mut bytes = Vec::with_capacity(4096);
    serde_json::to_writer(&mut bytes, value).expect("the mirrors have only strings for keys");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[derive(Debug, Serialize)]
struct Body<'d> {
    version: u32,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<ReasonRecord<'d>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<TermsRecord<'d>>,
    policy_set: Digest,
    claims: ClaimsRecord<'d>,
    trace: Vec<TraceRecord<'d>>,
}

impl<'d> Body<'d> {
    fn new(decision: &'d Decision) -> Self {
        let (outcome, reasons, terms) = match &decision.outcome {
            Outcome::Approved(terms) => ("approved", None, Some(TermsRecord::new(terms))),
            Outcome::Refused(reasons) => {
                ("refused", Some(reasons.iter().map(ReasonRecord::new).collect()), None)
            }
        };
        Self {
            version: 1,
            outcome,
            reasons,
            terms,
            policy_set: decision.policy_set,
            claims: ClaimsRecord::new(&decision.claims),
            trace: decision.trace.iter().map(TraceRecord::new).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct ReasonRecord<'d> {
    code: &'d str,
    message: &'d str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'d str>,
}

impl<'d> ReasonRecord<'d> {
    fn new(reason: &'d Reason) -> Self {
        Self {
            code: &reason.code,
            message: &reason.message,
            source: reason.source.as_str(),
            binding: reason.binding.as_ref().map(|name| name.as_str()),
        }
    }
}

#[derive(Debug, Serialize)]
struct TermsRecord<'d> {
    audiences: Vec<&'d str>,
    ttl_seconds: u32,
    claims: BTreeMap<&'d str, &'d str>,
}

impl<'d> TermsRecord<'d> {
    fn new(terms: &'d Terms) -> Self {
        Self {
            audiences: terms.audiences.iter().map(|a| a.as_str()).collect(),
            ttl_seconds: terms.ttl_seconds,
            claims: terms.claims.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct TraceRecord<'d> {
    #[serde(flatten)]
    binding: BindingRecord<'d>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictRecord<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultRecord>,
    fuel: UsedRecord,
    memory_bytes: UsedRecord,
    output_bytes: UsedRecord,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum VerdictRecord<'d> {
    Permit(GrantRecord<'d>),
    Restrict(GrantRecord<'d>),
    Deny(Vec<PolicyReasonRecord<'d>>),
    Abstain,
}

#[derive(Debug, Serialize)]
struct GrantRecord<'d> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ttl: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audiences: Option<Vec<&'d str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<&'d str, &'d str>,
}

#[derive(Debug, Serialize)]
struct PolicyReasonRecord<'d> {
    code: &'d str,
    message: &'d str,
}

#[derive(Debug, Serialize)]
struct FaultRecord {
    code: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
struct UsedRecord {
    /// `null` where the reading cannot be trusted.
    used: Option<u64>,
    limit: u64,
}

impl<'d> TraceRecord<'d> {
    fn new(trace: &'d BindingTrace) -> Self {
        let (verdict, fault) = match &trace.result {
            Ok(verdict) => (Some(VerdictRecord::new(verdict)), None),
            Err(fault) => {
                (None, Some(FaultRecord { code: fault.code(), detail: fault.to_string() }))
            }
        };
        Self {
            binding: BindingRecord::new(&trace.binding),
            verdict,
            fault,
            fuel: UsedRecord { used: trace.used.fuel, limit: trace.binding.limits.fuel },
            memory_bytes: UsedRecord {
                used: trace.used.memory_bytes,
                limit: trace.binding.limits.memory_bytes,
            },
            output_bytes: UsedRecord {
                used: trace.used.output_bytes,
                limit: trace.binding.limits.output_bytes.into(),
            },
        }
    }
}

impl<'d> VerdictRecord<'d> {
    fn new(verdict: &'d Verdict) -> Self {
        match verdict {
            Verdict::Abstain => Self::Abstain,
            Verdict::Deny(reasons) => Self::Deny(
                reasons
                    .iter()
                    .map(|r| PolicyReasonRecord { code: &r.code, message: &r.message })
                    .collect(),
            ),
            Verdict::Permit(grant) => Self::Permit(GrantRecord::new(grant)),
            Verdict::Restrict(grant) => Self::Restrict(GrantRecord::new(grant)),
        }
    }
}

impl<'d> GrantRecord<'d> {
    fn new(grant: &'d Grant) -> Self {
        Self {
            max_ttl: grant.max_ttl,
            audiences: grant
                .audiences
                .as_ref()
                .map(|kept| kept.iter().map(|a| a.as_str()).collect()),
            claims: grant.claims.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct BindingRecord<'d> {
    binding: &'d str,
    mode: &'static str,
    may_permit: bool,
    scope: &'d Scope,
    policy: PolicyRecord<'d>,
    settings: Digest,
    limits: LimitsRecord,
    claims: Vec<&'d str>,
}

#[derive(Debug, Serialize)]
struct PolicyRecord<'d> {
    name: &'d str,
    version: &'d str,
    digest: Digest,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum ScopeRecord<'d> {
    All,
    DefinitionWorkspace(&'d str),
    Definition(&'d str),
    OwningWorkspace(&'d str),
}

/// Limits as an object with a member for each row of their table.
#[derive(Debug)]
struct LimitsRecord(Limits);

impl<'d> BindingRecord<'d> {
    fn new(binding: &'d BindingIdentity) -> Self {
        Self {
            binding: binding.name.as_str(),
            mode: binding.mode.as_str(),
            may_permit: binding.may_permit,
            scope: &binding.scope,
            policy: PolicyRecord {
                name: &binding.policy_name,
                version: &binding.policy_version,
                digest: binding.policy,
            },
            settings: binding.settings,
            limits: LimitsRecord(binding.limits),
            claims: binding.claims.iter().map(|name| name.as_str()).collect(),
        }
    }
}

impl Serialize for LimitsRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(Limits::FIELDS.iter().map(|field| (field.member, field.get(&self.0))))
    }
}

/// A scope as records have it: `"all"`, or an object with one member.
impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = match self {
            Self::All => ScopeRecord::All,
            Self::DefinitionWorkspace(w) => ScopeRecord::DefinitionWorkspace(w.as_str()),
            Self::Definition(d) => ScopeRecord::Definition(d.as_str()),
            Self::OwningWorkspace(w) => ScopeRecord::OwningWorkspace(w.as_str()),
        };
        record.serialize(serializer)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
