//! The members of a decision's record, as they are read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{RecordedDecisionError, RecordedFault, identifier, limits, shown};
use crate::decision::outcome::{Outcome, Reason, ReasonSource, Terms};
use crate::decision::verdict::{Grant, MAX_REASONS, PolicyReason, RawGrant, Verdict};
use crate::digest::Digest;
use crate::limits::{EvaluationUsage, Limits};
use crate::policy_set::identity::BindingIdentity;
use crate::policy_set::scope::{Mode, Scope};
use crate::request::claims::{TokenRequest, is_reserved_claim};
use crate::request::identifier::{Audience, ClaimName};

/// The version alone, of a record whose other members are not known.
#[derive(Deserialize)]
pub(super) struct VersionText {
    pub(super) version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyText<'r> {
    pub(super) id: Digest,
    pub(super) version: u32,
    outcome: &'r str,
    #[serde(borrow, default)]
    reasons: Option<Vec<ReasonText<'r>>>,
    #[serde(borrow, default)]
    terms: Option<TermsText<'r>>,
    pub(super) policy_set: Digest,
    #[serde(borrow)]
    pub(super) claims: &'r RawValue,
    /// Read apart from the others where it is the last member.
    #[serde(borrow, default, deserialize_with = "given")]
    pub(super) trace: Option<Vec<TraceText<'r>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReasonText<'r> {
    #[serde(borrow)]
    code: Cow<'r, str>,
    #[serde(borrow)]
    message: Cow<'r, str>,
    source: &'r str,
    #[serde(default)]
    binding: Option<&'r str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermsText<'r> {
    #[serde(borrow)]
    audiences: Vec<Cow<'r, str>>,
    ttl_seconds: u32,
    #[serde(borrow)]
    claims: BTreeMap<Cow<'r, str>, Cow<'r, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceText<'r> {
    pub(super) binding: &'r str,
    mode: &'r str,
    pub(super) may_permit: bool,
    #[serde(borrow)]
    scope: &'r RawValue,
    #[serde(borrow)]
    policy: &'r RawValue,
    pub(super) settings: Digest,
    #[serde(borrow)]
    limits: &'r RawValue,
    #[serde(borrow)]
    claims: &'r RawValue,
    #[serde(borrow, default)]
    verdict: Option<VerdictText<'r>>,
    #[serde(borrow, default)]
    fault: Option<FaultText<'r>>,
    fuel: UsedText,
    memory_bytes: UsedText,
    output_bytes: UsedText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText<'r> {
    #[serde(borrow)]
    name: Cow<'r, str>,
    #[serde(borrow)]
    version: Cow<'r, str>,
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScopeText<'r> {
    All,
    DefinitionWorkspace(&'r str),
    Definition(&'r str),
    OwningWorkspace(&'r str),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictText<'r> {
    #[serde(borrow)]
    Permit(GrantText<'r>),
    #[serde(borrow)]
    Restrict(GrantText<'r>),
    #[serde(borrow)]
    Deny(Vec<PolicyReasonText<'r>>),
    Abstain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantText<'r> {
    #[serde(default)]
    max_ttl: Option<u32>,
    #[serde(borrow, default)]
    audiences: Option<Vec<Cow<'r, str>>>,
    #[serde(borrow, default)]
    claims: BTreeMap<Cow<'r, str>, Cow<'r, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyReasonText<'r> {
    #[serde(borrow)]
    code: Cow<'r, str>,
    #[serde(borrow)]
    message: Cow<'r, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultText<'r> {
    #[serde(borrow)]
    code: Cow<'r, str>,
    #[serde(borrow)]
    detail: Cow<'r, str>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct UsedText {
    used: Option<u64>,
    limit: u64,
}

/// Reads a member that is there. As an optional one it would be absent where it is `null`, and another trace could follow it.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<TraceText<'de>>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl BodyText<'_> {
    pub(super) fn outcome(&self, token: &TokenRequest) -> Result<Outcome, RecordedDecisionError> {
        let error = |problem: String| RecordedDecisionError::Outcome { problem };
        match (self.outcome, &self.reasons, &self.terms) {
            ("approved", None, Some(terms)) => {
                terms.terms(token).map(Outcome::Approved).map_err(error)
            }
            ("refused", Some(reasons), None) if !reasons.is_empty() => {
                let reasons = reasons.iter().map(ReasonText::reason).collect::<Result<_, _>>();
                reasons.map(Outcome::Refused).map_err(error)
            }
            _ => Err(error(
                "expected `approved` with terms, or `refused` with at least one reason".to_owned(),
            )),
        }
    }
}

impl ReasonText<'_> {
    fn reason(&self) -> Result<Reason, String> {
        let source = match self.source {
            "policy" => ReasonSource::Policy,
            "host" => ReasonSource::Host,
            _ => return Err("a reason is neither the policy's nor the host's".to_owned()),
        };
        Ok(Reason {
            code: self.code.clone().into_owned(),
            message: self.message.clone().into_owned(),
            source,
            binding: self.binding.map(identifier).transpose()?,
        })
    }
}

impl TermsText<'_> {
    /// The terms, if they are within the request.
    fn terms(&self, token: &TokenRequest) -> Result<Terms, String> {
        let audiences: Vec<Audience> =
            self.audiences.iter().map(|text| identifier(text)).collect::<Result<_, _>>()?;
        let is_within = !audiences.is_empty()
            && audiences.iter().all(|audience| token.audiences().contains(audience))
            && (1..=token.ttl_seconds()).contains(&self.ttl_seconds);
        if !is_within {
            return Err("the terms are wider than the request".to_owned());
        }
        let claims = self.claims.iter().map(|(name, value)| {
            let name: ClaimName = identifier(name)?;
            if is_reserved_claim(&name) {
                return Err(format!("the claim `{name}`, which only the host sets"));
            }
            Ok((name, value.clone().into_owned()))
        });
        Ok(Terms {
            audiences,
            ttl_seconds: self.ttl_seconds,
            claims: claims.collect::<Result<_, _>>()?,
        })
    }
}

impl<'r> TraceText<'r> {
    /// The texts that, with the name, settings and `may_permit`, make the identity.
    pub(super) fn texts(&self) -> [&'r str; 5] {
        [self.mode, self.scope.get(), self.policy.get(), self.limits.get(), self.claims.get()]
    }

    pub(super) fn identity(&self) -> Result<BindingIdentity, String> {
        let policy: PolicyText<'_> = serde_json::from_str(self.policy.get())
            .map_err(|_| format!("policy: not one: {}", shown(self.policy)))?;
        let claims: Vec<Cow<'_, str>> = serde_json::from_str(self.claims.get())
            .map_err(|_| format!("claims: not a list of names: {}", shown(self.claims)))?;
        Ok(BindingIdentity {
            name: identifier(self.binding)?,
            policy_name: policy.name.into_owned(),
            policy_version: policy.version.into_owned(),
            policy: policy.digest,
            settings: self.settings,
            scope: self.scope()?,
            mode: match self.mode {
                "enforce" => Mode::Enforce,
                "shadow" => Mode::Shadow,
                _ => return Err("mode: neither `enforce` nor `shadow`".to_owned()),
            },
            may_permit: self.may_permit,
            limits: limits(self.limits)?,
            claims: claims.iter().map(|name| identifier(name)).collect::<Result<_, _>>()?,
        })
    }

    fn scope(&self) -> Result<Scope, String> {
        let scope: ScopeText<'_> = serde_json::from_str(self.scope.get())
            .map_err(|_| format!("scope: not one: {}", shown(self.scope)))?;
        Ok(match scope {
            ScopeText::All => Scope::All,
            ScopeText::DefinitionWorkspace(text) => Scope::DefinitionWorkspace(identifier(text)?),
            ScopeText::Definition(text) => Scope::Definition(identifier(text)?),
            ScopeText::OwningWorkspace(text) => Scope::OwningWorkspace(identifier(text)?),
        })
    }

    /// The verdict with its grant checked again, or the fault.
    pub(super) fn result(
        &self,
        token: &TokenRequest,
        allowed: &[ClaimName],
    ) -> Result<Result<Verdict, RecordedFault>, String> {
        match (&self.verdict, &self.fault) {
            (Some(verdict), None) => verdict.verdict(token, allowed).map(Ok),
            (None, Some(fault)) => Ok(Err(RecordedFault {
                code: fault.code.clone().into_owned(),
                detail: fault.detail.clone().into_owned(),
            })),
            _ => Err("expected either a verdict or a fault".to_owned()),
        }
    }

    /// Checks that the limits beside the usage are the binding's.
    pub(super) fn check_limits(&self, of: &Limits) -> Result<(), String> {
        let found = [self.fuel.limit, self.memory_bytes.limit, self.output_bytes.limit];
        if found == [of.fuel, of.memory_bytes, of.output_bytes.into()] {
            return Ok(());
        }
        Err("the usage has other limits than the binding".to_owned())
    }

    pub(super) fn used(&self) -> EvaluationUsage {
        EvaluationUsage {
            fuel: self.fuel.used,
            memory_bytes: self.memory_bytes.used,
            output_bytes: self.output_bytes.used,
        }
    }
}

impl VerdictText<'_> {
    fn verdict(&self, token: &TokenRequest, allowed: &[ClaimName]) -> Result<Verdict, String> {
        Ok(match self {
            Self::Abstain => Verdict::Abstain,
            Self::Permit(grant) => Verdict::Permit(grant.grant(token, allowed)?),
            Self::Restrict(grant) => Verdict::Restrict(grant.grant(token, allowed)?),
            Self::Deny(reasons) if reasons.len() > MAX_REASONS => {
                return Err(format!("more than {MAX_REASONS} reasons"));
            }
            Self::Deny(reasons) => {
                let reason = |text: &PolicyReasonText<'_>| {
                    PolicyReason::recorded(&text.code, &text.message)
                        .ok_or_else(|| "a reason is out of form".to_owned())
                };
                Verdict::Deny(reasons.iter().map(reason).collect::<Result<_, _>>()?)
            }
        })
    }
}

impl GrantText<'_> {
    fn grant(&self, token: &TokenRequest, allowed: &[ClaimName]) -> Result<Grant, String> {
        let raw = RawGrant {
            max_ttl: self.max_ttl,
            audiences: self.audiences.as_deref(),
            claims: &mut self.claims.iter().map(|(name, value)| (&**name, &**value)),
        };
        Grant::check(raw, token, allowed).map_err(|fault| format!("the grant: {fault}"))
    }
}
