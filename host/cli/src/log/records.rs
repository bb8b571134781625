//! The parts of records that the command line reads.

use std::collections::BTreeMap;

use countersign_decision_log::Entry;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::output;

/// The members of a record that are read.
#[derive(Deserialize)]
pub(crate) struct RecordView<'r> {
    pub kind: &'r str,
    pub time: u64,
    #[serde(default)]
    pub request: Option<&'r str>,
    #[serde(borrow, default)]
    pub issued: Option<IssuedView<'r>>,
    /// The subject formats of definitions.
    #[serde(default)]
    pub definitions: BTreeMap<String, String>,
    /// The violated limits of a cloud for a token that policies approved.
    #[serde(default)]
    pub preflight: Vec<ReasonView>,
    #[serde(borrow, default)]
    pub decision: Option<DecisionView<'r>>,
    /// The facts of a run that was registered.
    #[serde(borrow, default)]
    pub registered: Option<RegisteredView<'r>>,
    /// The id of a run that was finished, or that a rule of the host refused a token for.
    #[serde(default)]
    pub run: Option<&'r str>,
    /// The effect of decisions on tokens of service accounts: `pass`, `shadow` or `enforce`.
    #[serde(default)]
    pub mode: Option<&'r str>,
    /// The service account that a token is for.
    #[serde(borrow, default)]
    pub service_account: Option<ServiceAccountView<'r>>,
    /// The host's reasons for a refusal before any decision.
    #[serde(default)]
    pub reasons: Vec<ReasonView>,
    /// The action of a step of releases.
    #[serde(default)]
    pub action: Option<&'r str>,
    /// The class of difference of a candidate.
    #[serde(default)]
    pub class: Option<&'r str>,
    /// The release that the step is about.
    #[serde(default)]
    pub release: Option<&'r str>,
}

#[derive(Deserialize)]
pub(crate) struct ServiceAccountView<'r> {
    pub namespace: &'r str,
    pub name: &'r str,
    pub audiences: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct RegisteredView<'r> {
    #[serde(borrow)]
    pub run: RunView<'r>,
}

#[derive(Deserialize)]
pub(crate) struct IssuedView<'r> {
    pub jti: &'r str,
    pub token: &'r str,
    pub algorithm: &'r str,
    pub subject_profile: &'r str,
    pub expires_at: u64,
}

#[derive(Deserialize)]
pub(crate) struct DecisionView<'r> {
    pub id: &'r str,
    pub outcome: &'r str,
    #[serde(default)]
    pub reasons: Vec<ReasonView>,
    pub claims: ClaimsView<'r>,
}

#[derive(Deserialize)]
pub(crate) struct ReasonView {
    pub code: String,
}

#[derive(Deserialize)]
pub(crate) struct ClaimsView<'r> {
    #[serde(borrow)]
    pub run: RunView<'r>,
    #[serde(default)]
    pub runner: Option<&'r str>,
    pub token: TokenView,
}

#[derive(Deserialize)]
pub(crate) struct RunView<'r> {
    pub id: &'r str,
    pub behavior: &'r str,
    #[serde(borrow)]
    pub building_block: BuildingBlockView<'r>,
    #[serde(borrow)]
    pub definition: DefinitionView<'r>,
}

#[derive(Deserialize)]
pub(crate) struct BuildingBlockView<'r> {
    pub workspace: &'r str,
}

#[derive(Deserialize)]
pub(crate) struct DefinitionView<'r> {
    pub id: &'r str,
    pub workspace: &'r str,
}

#[derive(Deserialize)]
pub(crate) struct TokenView {
    pub audiences: Vec<String>,
}

/// A record with its position: the JSON form.
#[derive(Serialize)]
pub(super) struct Placed<'r> {
    sequence: u64,
    hash: String,
    record: &'r RawValue,
}

impl<'r> RecordView<'r> {
    /// Parses an entry; `None` for an unknown version.
    pub(crate) fn of(entry: &'r Entry) -> Option<Self> {
        serde_json::from_slice(&entry.record).ok()
    }

    /// The codes of the reasons that refuse, or would where decisions were enforced: those of the decision, of the limits of
    /// clouds, or of the host before any decision.
    pub(crate) fn would_refuse(&self) -> Vec<&str> {
        let decided = self.decision.iter().flat_map(|decision| &decision.reasons);
        let all = decided.chain(&self.preflight).chain(&self.reasons);
        all.map(|reason| reason.code.as_str()).collect()
    }

    /// The run that the record is about.
    pub(crate) fn run_id(&self) -> Option<&'r str> {
        let of_decision = self.decision.as_ref().map(|decision| decision.claims.run.id);
        let of_registration = self.registered.as_ref().map(|registered| registered.run.id);
        of_decision.or(of_registration).or(self.run)
    }

    /// Formats one line for people.
    pub(crate) fn line(&self, sequence: u64) -> String {
        let time = output::time(self.time);
        let Some(decision) = &self.decision else {
            let run = self.run_id().map_or_else(String::new, |run| format!(" run {run}"));
            let codes: Vec<_> = self.reasons.iter().map(|r| r.code.as_str()).collect();
            let reasons =
                if codes.is_empty() { String::new() } else { format!(": {}", codes.join(",")) };
            let words = [self.action, self.class, self.release].into_iter().flatten();
            let step = words.fold(String::new(), |step, word| format!("{step} {word}"));
            let of = self.service_account.as_ref().map(|of| {
                let (namespace, name, audiences) = (of.namespace, of.name, of.audiences.join(" "));
                format!(" {namespace}/{name} for {audiences}")
            });
            let of = of.unwrap_or_default();
            let mode = self.mode.map(|mode| format!(" {mode}")).unwrap_or_default();
            let jti = self.issued.as_ref().map(|issued| format!(" signed {}", issued.jti));
            let jti = jti.unwrap_or_default();
            return format!("{sequence} {time} {}{mode}{of}{step}{run}{reasons}{jti}", self.kind);
        };
        let run = &decision.claims.run;
        let what = match (decision.outcome, &self.issued) {
            (_, Some(issued)) if !self.would_refuse().is_empty() => {
                let codes = self.would_refuse().join(",");
                format!("signed in shadow {}, enforced: {codes}", issued.jti)
            }
            ("approved", Some(issued)) => format!("issued {} {}", issued.algorithm, issued.jti),
            ("approved", None) if !self.preflight.is_empty() => {
                let codes: Vec<_> = self.preflight.iter().map(|r| r.code.as_str()).collect();
                format!("not signed {}", codes.join(","))
            }
            (outcome, _) => {
                let codes: Vec<_> = decision.reasons.iter().map(|r| r.code.as_str()).collect();
                format!("{outcome} {}", codes.join(","))
            }
        };
        format!(
            "{sequence} {time} {} run {} {} of {} by {} for {}: {}",
            self.kind,
            run.id,
            run.behavior,
            run.definition.workspace,
            run.building_block.workspace,
            decision.claims.token.audiences.join(" "),
            what.trim_end()
        )
    }
}

impl<'r> Placed<'r> {
    /// The record as the log has it, or `None` if it is not JSON.
    pub(super) fn of(entry: &'r Entry) -> Option<Self> {
        Some(Self {
            sequence: entry.sequence,
            hash: entry.hash.to_string(),
            record: serde_json::from_slice(&entry.record).ok()?,
        })
    }
}
