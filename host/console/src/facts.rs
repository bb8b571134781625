//! The facts of a record that it is found by.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

/// The version of records that this crate reads.
const VERSION: u32 = 1;

/// A field with few values, each of many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    /// The kind of a record, such as `token`, `decision`, `refused` or `release`.
    Kind,
    /// `approved` or `refused`. Only records with an answer to a request have it.
    Outcome,
    /// A workspace that owns the building block or its definition.
    Workspace,
    /// The building block definition.
    Definition,
    /// The code of a reason.
    Code,
    /// A binding that applied.
    Binding,
    /// A binding and the code of a reason that it gave.
    Cause,
    /// The policy set that decided.
    PolicySet,
    /// The release that a step or a candidate's difference is about.
    Release,
    /// The class of a candidate's difference.
    Class,
    /// The key that signed the token.
    Kid,
    /// Any outcome: what a search finds unless asked for otherwise.
    Answer,
}

/// A field with many values, each of few records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The run.
    Run,
    /// The id of the token (`jti`).
    Token,
    /// The id of the decision.
    Decision,
    /// The id of the request.
    Request,
}

/// The facts of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Seconds since 1970; 0 where the record does not say.
    pub(crate) time: u64,
    /// The fields with their values, each once.
    pub(crate) terms: Vec<(Field, String)>,
    /// The keys with their values.
    pub(crate) keys: Vec<(Key, String)>,
}

impl Field {
    /// Every field.
    pub(crate) const ALL: [Self; 12] = [
        Self::Kind,
        Self::Outcome,
        Self::Workspace,
        Self::Definition,
        Self::Code,
        Self::Binding,
        Self::Cause,
        Self::PolicySet,
        Self::Release,
        Self::Class,
        Self::Kid,
        Self::Answer,
    ];

    /// The number that the index has for it. Within a version of the index it stays.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Kind => 1,
            Self::Outcome => 2,
            Self::Workspace => 3,
            Self::Definition => 4,
            Self::Code => 5,
            Self::Binding => 6,
            Self::Cause => 7,
            Self::PolicySet => 8,
            Self::Release => 9,
            Self::Class => 10,
            Self::Kid => 11,
            Self::Answer => 12,
        }
    }
}

impl Key {
    /// The number that the index has for a value: 63 bits of its digest. Another value may have the same, so what is found
    /// by it is compared with the record.
    pub(crate) fn number(self, value: &str) -> i64 {
        let kind: u8 = match self {
            Self::Run => 1,
            Self::Token => 2,
            Self::Decision => 3,
            Self::Request => 4,
        };
        let digest = Sha256::new().chain_update([kind]).chain_update(value).finalize();
        let first = digest.first_chunk().copied().unwrap_or_default();
        i64::from_be_bytes(first) & i64::MAX
    }
}

/// Tells whether a record without a decision is one of a refusal by the host.
pub(crate) fn refuses_undecided(kind: &str, has_reasons: bool, is_issued: bool) -> bool {
    match kind {
        "refused" => true,
        // In shadow it is signed whatever refuses it.
        "service-account" => has_reasons && !is_issued,
        _ => false,
    }
}

/// The value of [`Field::Cause`].
pub(crate) fn cause(binding: &str, code: &str) -> String {
    format!("{binding}\n{code}")
}

#[derive(Deserialize)]
struct RecordText {
    version: u32,
    kind: String,
    time: u64,
    request: Option<String>,
    issued: Option<IssuedText>,
    #[serde(default)]
    preflight: Vec<ReasonText>,
    decision: Option<DecisionText>,
    run: Option<String>,
    #[serde(default)]
    reasons: Vec<ReasonText>,
    registered: Option<RegisteredText>,
    release: Option<String>,
    of: Option<String>,
    class: Option<String>,
}

#[derive(Deserialize)]
struct IssuedText {
    jti: String,
    kid: String,
}

#[derive(Deserialize)]
struct DecisionText {
    id: String,
    outcome: String,
    #[serde(default)]
    reasons: Vec<ReasonText>,
    policy_set: String,
    claims: ClaimsText,
    #[serde(default)]
    trace: Vec<TraceText>,
}

#[derive(Deserialize)]
struct ReasonText {
    code: String,
    binding: Option<String>,
}

#[derive(Deserialize)]
struct TraceText {
    binding: String,
}

#[derive(Deserialize)]
struct RegisteredText {
    run: RunText,
}

#[derive(Deserialize)]
struct ClaimsText {
    run: RunText,
}

#[derive(Deserialize)]
struct RunText {
    id: String,
    building_block: BlockText,
    definition: DefinitionText,
}

#[derive(Deserialize)]
struct BlockText {
    workspace: String,
}

#[derive(Deserialize)]
struct DefinitionText {
    id: String,
    workspace: String,
}

/// A record of a kind, or with members, that this version does not know.
#[derive(Deserialize)]
struct AnyText {
    version: u32,
    kind: String,
    time: u64,
    #[serde(flatten)]
    _rest: IgnoredAny,
}

impl Facts {
    /// The facts of a record. One that this version does not read has the kind `unreadable`: it is there, and found.
    pub(crate) fn of(record: &[u8]) -> Self {
        match serde_json::from_slice::<RecordText>(record) {
            Ok(text) if text.version == VERSION => Self::known(text),
            _ => match serde_json::from_slice::<AnyText>(record) {
                Ok(text) if text.version == VERSION => {
                    Self { time: text.time, terms: vec![(Field::Kind, text.kind)], keys: vec![] }
                }
                _ => {
                    Self { terms: vec![(Field::Kind, "unreadable".to_owned())], ..Self::default() }
                }
            },
        }
    }

    fn known(text: RecordText) -> Self {
        let mut facts = Self { time: text.time, ..Self::default() };
        let (has_reasons, is_issued) = (!text.reasons.is_empty(), text.issued.is_some());
        if text.decision.is_none() && refuses_undecided(&text.kind, has_reasons, is_issued) {
            facts.outcome("refused".to_owned());
        }
        if matches!(text.kind.as_str(), "refused" | "service-account") {
            facts.reasons(text.reasons);
        }
        facts.term(Field::Kind, text.kind);
        facts.key(Key::Request, text.request);
        if let Some(issued) = text.issued {
            facts.key(Key::Token, Some(issued.jti));
            facts.term(Field::Kid, issued.kid);
        }
        facts.reasons(text.preflight);
        facts.key(Key::Run, text.run);
        facts.key(Key::Decision, text.of);
        if let Some(registered) = text.registered {
            facts.run(registered.run);
        }
        if let Some(release) = text.release {
            facts.term(Field::Release, release);
        }
        if let Some(class) = text.class {
            facts.term(Field::Class, class);
        }
        if let Some(decision) = text.decision {
            facts.key(Key::Decision, Some(decision.id));
            facts.outcome(decision.outcome);
            facts.term(Field::PolicySet, decision.policy_set);
            facts.reasons(decision.reasons);
            facts.run(decision.claims.run);
            decision.trace.into_iter().for_each(|trace| facts.term(Field::Binding, trace.binding));
        }
        facts
    }

    /// Tells whether it has a value of a field.
    pub(crate) fn has(&self, field: Field, value: &str) -> bool {
        self.terms.iter().any(|(known, is)| *known == field && is == value)
    }

    /// Tells whether it has a value of a key.
    pub(crate) fn has_key(&self, key: Key, value: &str) -> bool {
        self.keys.iter().any(|(known, is)| *known == key && is == value)
    }

    /// The values of a field.
    pub(crate) fn values(&self, field: Field) -> impl Iterator<Item = &str> {
        self.terms.iter().filter(move |(known, _)| *known == field).map(|(_, value)| value.as_str())
    }

    fn outcome(&mut self, outcome: String) {
        self.term(Field::Outcome, outcome);
        self.term(Field::Answer, String::new());
    }

    fn run(&mut self, run: RunText) {
        self.key(Key::Run, Some(run.id));
        self.term(Field::Workspace, run.building_block.workspace);
        self.term(Field::Workspace, run.definition.workspace);
        self.term(Field::Definition, run.definition.id);
    }

    fn reasons(&mut self, reasons: Vec<ReasonText>) {
        for ReasonText { code, binding } in reasons {
            if let Some(binding) = binding {
                self.term(Field::Cause, cause(&binding, &code));
            }
            self.term(Field::Code, code);
        }
    }

    fn term(&mut self, field: Field, value: String) {
        if !self.has(field, &value) {
            self.terms.push((field, value));
        }
    }

    fn key(&mut self, key: Key, value: Option<String>) {
        if let Some(value) = value
            && !self.has_key(key, &value)
        {
            self.keys.push((key, value));
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Workspace => "workspace",
            Self::Definition => "definition",
            Self::Code => "code",
            Self::Binding => "binding",
            Self::Cause => "cause",
            Self::PolicySet => "policy-set",
            Self::Release => "release",
            Self::Class => "class",
            Self::Kid => "kid",
            Self::Answer => "answer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Field};

    /// In shadow a service account's token is signed whatever refuses it, and found by the code all the same.
    #[test]
    fn a_service_accounts_token_without_a_decision_is_refused_where_it_is_not_signed() {
        let reasons = r#""reasons":[{"code":"pod-without-run","message":"x"}]"#;
        let issued = r#""issued":{"jti":"j","kid":"k"}"#;
        for (more, is_refused, has_code) in [
            (reasons.to_owned(), true, true),
            (format!("{reasons},{issued}"), false, true),
            (issued.to_owned(), false, false),
        ] {
            let record = format!(r#"{{"version":1,"kind":"service-account","time":1,{more}}}"#);
            let facts = Facts::of(record.as_bytes());
            assert_eq!(facts.has(Field::Outcome, "refused"), is_refused, "{record}");
            assert_eq!(facts.has(Field::Code, "pod-without-run"), has_code, "{record}");
        }
    }
}
