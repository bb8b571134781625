//! Records as pages show them.

use serde::Serialize;
use serde_json::Value;

use crate::facts::refuses_undecided;
use crate::log::ReadRecord;
use crate::text::{Number, Text, Time};

/// The maximum number of members of a record that are listed one by one. More are in its JSON.
const MAX_MEMBERS: usize = 500;

/// A record in a list.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RecordLine {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
    pub(crate) time: Time,
    pub(crate) kind: Text,
    /// `approved` or `refused`; absent where nothing was decided.
    pub(crate) outcome: Option<Text>,
    pub(crate) run: Option<Text>,
    pub(crate) behavior: Option<Text>,
    pub(crate) owning_workspace: Option<Text>,
    pub(crate) definition_workspace: Option<Text>,
    pub(crate) definition: Option<Text>,
    pub(crate) reasons: Vec<ReasonView>,
    /// Limits of the cloud for which nothing was signed although the policies approved.
    pub(crate) preflight: Vec<ReasonView>,
    /// The id of the token that was signed.
    pub(crate) token: Option<Text>,
    pub(crate) decision: Option<Text>,
    pub(crate) policy_set: Option<Text>,
    /// Of a release's step or a candidate's difference.
    pub(crate) release: Option<Text>,
    pub(crate) action: Option<Text>,
    pub(crate) class: Option<Text>,
    /// The reason that the record is not shown: it is not what was verified.
    pub(crate) damage: Option<Text>,
}

/// A reason of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonView {
    pub(crate) code: Text,
    pub(crate) message: Text,
    pub(crate) source: Option<Text>,
    pub(crate) binding: Option<Text>,
}

/// A member of a record, by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) path: Text,
    pub(crate) value: Text,
}

impl Member {
    /// The value as a date, where it is a time.
    pub(crate) fn date(&self) -> Option<Time> {
        let name = self.path.as_str().rsplit('.').next()?;
        let is_time = ["time", "at", "issued_at", "expires_at"].contains(&name);
        self.value.as_str().parse().ok().filter(|_| is_time).map(Time)
    }
}

/// A binding's part in a decision.
#[derive(Debug, Clone, Default)]
pub(crate) struct BindingView {
    pub(crate) name: Text,
    pub(crate) mode: Text,
    pub(crate) scope: Text,
    pub(crate) policy: Text,
    pub(crate) digest: Text,
    pub(crate) settings: Text,
    pub(crate) may_permit: bool,
    /// `permit`, `restrict`, `deny`, `abstain` or `fault`.
    pub(crate) verdict: Text,
    /// Its grants or reasons, a line each.
    pub(crate) details: Vec<Text>,
    pub(crate) usage: Vec<UsageView>,
}

/// The usage of a limit by an evaluation.
#[derive(Debug, Clone)]
pub(crate) struct UsageView {
    pub(crate) what: &'static str,
    pub(crate) used: Option<Number>,
    pub(crate) limit: Number,
}

impl UsageView {
    /// The part that was used, in hundredths of a percent made whole.
    pub(crate) fn percent(&self) -> String {
        let Some(used) = self.used else { return String::new() };
        let hundredths = u128::from(used.0) * 10_000 / u128::from(self.limit.0.max(1));
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

/// A record, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Parsed(pub(crate) Value);

impl Parsed {
    /// Parses a record. One that is no JSON is an empty one.
    pub(crate) fn of(record: &[u8]) -> Self {
        Self(serde_json::from_slice(record).unwrap_or(Value::Null))
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<Text> {
        text_at(&self.0, pointer)
    }

    pub(crate) fn number(&self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer)?.as_u64()
    }

    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some()
    }

    /// The reasons at a place.
    pub(crate) fn reasons(&self, pointer: &str) -> Vec<ReasonView> {
        let reasons = self.0.pointer(pointer).and_then(Value::as_array);
        reasons.into_iter().flatten().map(reason).collect()
    }

    /// The bindings of the decision.
    pub(crate) fn bindings(&self) -> Vec<BindingView> {
        let trace = self.0.pointer("/decision/trace").and_then(Value::as_array);
        trace.into_iter().flatten().map(binding).collect()
    }

    /// The members at a place, each with its path below that.
    pub(crate) fn members(&self, pointer: &str) -> Vec<Member> {
        let mut members = Vec::new();
        if let Some(value) = self.0.pointer(pointer) {
            flatten(value, "", &mut members);
        }
        members
    }
}

impl RecordLine {
    pub(crate) fn new(read: &ReadRecord) -> Self {
        let (sequence, hash) = (read.sequence, read.hash.to_string());
        let record = match &read.record {
            Ok(record) => Parsed::of(record),
            Err(damage) => {
                let damage = Some(damage.as_str().into());
                return Self { sequence, hash, damage, ..Self::default() };
            }
        };
        let kind = record.text("/kind").unwrap_or_else(|| "unreadable".into());
        let (has_reasons, is_issued) = (record.has("/reasons"), record.has("/issued"));
        let is_refused = refuses_undecided(kind.as_str(), has_reasons, is_issued);
        let run =
            if record.has("/registered") { "/registered/run" } else { "/decision/claims/run" };
        let at = |rest: &str| record.text(&format!("{run}{rest}"));
        let mut reasons = record.reasons("/decision/reasons");
        reasons.extend(record.reasons("/reasons"));
        Self {
            sequence,
            hash,
            time: Time(record.number("/time").unwrap_or(0)),
            outcome: record
                .text("/decision/outcome")
                .or_else(|| is_refused.then(|| "refused".into())),
            run: at("/id").or_else(|| record.text("/run")),
            behavior: at("/behavior"),
            owning_workspace: at("/building_block/workspace"),
            definition_workspace: at("/definition/workspace"),
            definition: at("/definition/id"),
            reasons,
            preflight: record.reasons("/preflight"),
            token: record.text("/issued/jti"),
            decision: record.text("/decision/id").or_else(|| record.text("/of")),
            policy_set: record.text("/decision/policy_set").or_else(|| record.text("/policy_set")),
            release: record.text("/release"),
            action: record.text("/action"),
            class: record.text("/class"),
            damage: None,
            kind,
        }
    }

    /// The reasons that nothing was signed.
    pub(crate) fn all_reasons(&self) -> impl Iterator<Item = &ReasonView> {
        self.reasons.iter().chain(&self.preflight)
    }

    /// Tells whether it is an approval.
    pub(crate) fn is_approved(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.as_str() == "approved")
    }

    /// Tells whether it is a refusal.
    pub(crate) fn is_refused(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.as_str() == "refused")
    }

    /// Tells whether policies were asked.
    pub(crate) fn has_decision(&self) -> bool {
        self.policy_set.is_some() && self.outcome.is_some()
    }
}

fn text_at(value: &Value, pointer: &str) -> Option<Text> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(Text::from(text.as_str())),
        Value::Null => None,
        other => Some(Text::from(other.to_string())),
    }
}

fn reason(value: &Value) -> ReasonView {
    ReasonView {
        code: text_at(value, "/code").unwrap_or_default(),
        message: text_at(value, "/message").unwrap_or_default(),
        source: text_at(value, "/source"),
        binding: text_at(value, "/binding"),
    }
}

fn binding(value: &Value) -> BindingView {
    let text = |pointer: &str| text_at(value, pointer).unwrap_or_default();
    let (verdict, details) = verdict(value);
    let usage = |what, pointer: &str| {
        let limit = value.pointer(&format!("{pointer}/limit")).and_then(Value::as_u64)?;
        let used = value.pointer(&format!("{pointer}/used")).and_then(Value::as_u64).map(Number);
        Some(UsageView { what, used, limit: Number(limit) })
    };
    let usage = [
        usage("fuel", "/fuel"),
        usage("memory, bytes", "/memory_bytes"),
        usage("output, bytes", "/output_bytes"),
    ];
    BindingView {
        name: text("/binding"),
        mode: text("/mode"),
        scope: scope(value.pointer("/scope")),
        policy: Text::from(format!("{} {}", text("/policy/name").0, text("/policy/version").0)),
        digest: text("/policy/digest"),
        settings: text("/settings"),
        may_permit: value.pointer("/may_permit").and_then(Value::as_bool).unwrap_or(true),
        verdict,
        details,
        usage: usage.into_iter().flatten().collect(),
    }
}

/// A scope as records have it: `all`, or `definition: …`.
pub(crate) fn scope(value: Option<&Value>) -> Text {
    match value {
        Some(Value::String(all)) => Text::from(all.as_str()),
        Some(Value::Object(members)) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{}: {}", name.replace('_', "-"), value.as_str().unwrap_or_default())
            };
            Text::from(members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        _ => Text::default(),
    }
}

fn verdict(value: &Value) -> (Text, Vec<Text>) {
    if let Some(fault) = value.pointer("/fault") {
        let (code, detail) = (text_at(fault, "/code"), text_at(fault, "/detail"));
        let (code, detail) = (code.unwrap_or_default(), detail.unwrap_or_default());
        return ("fault".into(), vec![Text::from(format!("{}: {}", code.0, detail.0))]);
    }
    match value.pointer("/verdict") {
        Some(Value::String(word)) => (Text::from(word.as_str()), Vec::new()),
        Some(Value::Object(members)) => {
            let Some((word, content)) = members.iter().next() else { return Default::default() };
            let details = match content {
                Value::Array(reasons) => reasons
                    .iter()
                    .map(reason)
                    .map(|reason| Text::from(format!("{}: {}", reason.code.0, reason.message.0)))
                    .collect(),
                other => {
                    let mut members = Vec::new();
                    flatten(other, "", &mut members);
                    let line = |member: Member| format!("{} {}", member.path.0, member.value.0);
                    members.into_iter().map(line).map(Text::from).collect()
                }
            };
            (Text::from(word.as_str()), details)
        }
        _ => Default::default(),
    }
}

/// Lists the members of a value, in the order of their names.
fn flatten(value: &Value, path: &str, members: &mut Vec<Member>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let member = |value: String| Member { path: Text::from(path), value: Text::from(value) };
    if members.len() >= MAX_MEMBERS {
        return;
    }
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| flatten(value, &below(name), members));
        }
        Value::Array(values) if values.is_empty() => members.push(member("none".to_owned())),
        Value::Array(values)
            if values.iter().all(|value| !value.is_object() && !value.is_array()) =>
        {
            let value =
                |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            members.push(member(values.iter().map(value).collect::<Vec<_>>().join(", ")));
        }
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                flatten(value, &below(&place.to_string()), members);
            }
        }
        Value::String(text) => members.push(member(text.clone())),
        other => members.push(member(other.to_string())),
    }
}
