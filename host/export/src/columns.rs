//! The schema: its columns, and where a record has their values.

use std::fmt::Write as _;

use serde_json::Value;

/// The version of the schema. Within a version, columns are only added.
pub const SCHEMA_VERSION: u32 = 1;

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
    /// Its type, and where a record has its value.
    pub kind: Kind,
}

/// A column's type and source. Pointers (RFC 6901) lead to the first value that is there.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// The record's sequence, never null.
    Sequence,
    /// The record's hash in the chain, never null.
    Hash,
    /// The record itself, never null.
    Record,
    /// A text.
    Text(&'static [&'static str]),
    /// A text that a function finds.
    TextOf(fn(&Value) -> Option<&str>),
    /// An integer of 64 bits; null beyond.
    Integer(&'static [&'static str]),
    /// A time in seconds since 1970, as a timestamp in UTC.
    Time(&'static [&'static str]),
    /// A list of texts: the value itself, or a member of its elements.
    Texts(&'static str, Option<&'static str>),
    /// A list of structures.
    Rows(&'static str, &'static [Member]),
}

/// A member of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
    /// [`Kind::Text`], [`Kind::TextOf`] or [`Kind::Integer`].
    pub kind: Kind,
}

const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, doc, kind }
}

const fn member(name: &'static str, kind: Kind, doc: &'static str) -> Member {
    Member { name, doc, kind }
}

/// The columns, in order.
pub const COLUMNS: &[Column] = &[
    column("sequence", Kind::Sequence, "the record's sequence in its log, from 1"),
    column(
        "hash",
        Kind::Hash,
        "the record's hash in the chain, which covers all records before it",
    ),
    column("time", Kind::Time(&["/time"]), "the time of the record"),
    column(
        "kind",
        Kind::Text(&["/kind"]),
        "`token`, `decision`, `service-account`, `refused`, `withheld`, `registered`, `finished`, `subjects`, `release`, \
         `candidate`, `recovered`, `anchor` or `displaced`",
    ),
    column("request", Kind::Text(&["/request"]), "the id of the request"),
    column("client", Kind::Text(&["/client"]), "the address of the caller"),
    column(
        "requester_kind",
        Kind::TextOf(requester_kind),
        "`runner`, `run_token`, `control_plane`, `api_server` or `command_line`",
    ),
    column(
        "requester",
        Kind::TextOf(requester),
        "the runner, the name of the control plane's credential, or the command",
    ),
    column(
        "run_id",
        Kind::Text(&["/decision/claims/run/id", "/registered/run/id", "/run"]),
        "the run",
    ),
    column(
        "run_number",
        Kind::Integer(&["/decision/claims/run/number", "/registered/run/number"]),
        "the number of the run within its building block",
    ),
    column(
        "behavior",
        Kind::Text(&["/decision/claims/run/behavior", "/registered/run/behavior"]),
        "`APPLY`, `DETECT` or `DESTROY`",
    ),
    column(
        "building_block",
        Kind::Text(&[
            "/decision/claims/run/building_block/id",
            "/registered/run/building_block/id",
        ]),
        "the building block",
    ),
    column(
        "owning_workspace",
        Kind::Text(&[
            "/decision/claims/run/building_block/workspace",
            "/registered/run/building_block/workspace",
        ]),
        "the workspace that owns the building block",
    ),
    column(
        "project",
        Kind::Text(&[
            "/decision/claims/run/building_block/project",
            "/registered/run/building_block/project",
        ]),
        "the project of the building block",
    ),
    column(
        "platform",
        Kind::Text(&[
            "/decision/claims/run/building_block/platform",
            "/registered/run/building_block/platform",
        ]),
        "the platform of the building block",
    ),
    column(
        "definition",
        Kind::Text(&["/decision/claims/run/definition/id", "/registered/run/definition/id"]),
        "the building block definition",
    ),
    column(
        "definition_workspace",
        Kind::Text(&[
            "/decision/claims/run/definition/workspace",
            "/registered/run/definition/workspace",
        ]),
        "the workspace that owns the definition",
    ),
    column(
        "definition_version",
        Kind::Integer(&[
            "/decision/claims/run/definition/version",
            "/registered/run/definition/version",
        ]),
        "the version of the definition",
    ),
    column(
        "implementation",
        Kind::Text(&[
            "/decision/claims/run/definition/implementation",
            "/registered/run/definition/implementation",
        ]),
        "the implementation of the definition, such as `TERRAFORM`",
    ),
    column("runner", Kind::Text(&["/decision/claims/runner", "/runner"]), "the runner of the run"),
    column(
        "outcome",
        Kind::TextOf(outcome),
        "`approved` or `refused` where a token or a decision was asked for; `refused` too where the host refused before any decision",
    ),
    column("decision", Kind::Text(&["/decision/id"]), "the decision's id, a digest of it"),
    column(
        "policy_set",
        Kind::Text(&["/decision/policy_set"]),
        "the digest of the policy set that decided",
    ),
    column(
        "reasons",
        Kind::Rows("/decision/reasons", REASONS),
        "the reasons of a refusal by policies; of one by the host, see `host_reasons`",
    ),
    column(
        "host_reasons",
        Kind::Texts("/reasons", Some("code")),
        "the codes of the reasons for which the host refused before any decision",
    ),
    column(
        "preflight",
        Kind::Texts("/preflight", Some("code")),
        "the codes of the limits of a cloud that an approved token violates, for which it was not signed",
    ),
    column(
        "audiences",
        Kind::Texts("/decision/claims/token/audiences", None),
        "the audiences that were requested",
    ),
    column(
        "approved_audiences",
        Kind::Texts("/decision/terms/audiences", None),
        "the audiences that were approved",
    ),
    column(
        "ttl_seconds",
        Kind::Integer(&["/decision/claims/token/ttl_seconds"]),
        "the lifetime that was requested, in seconds",
    ),
    column(
        "approved_ttl_seconds",
        Kind::Integer(&["/decision/terms/ttl_seconds"]),
        "the lifetime that was approved, in seconds",
    ),
    column("subject", Kind::Text(&["/decision/claims/token/subject"]), "the subject of the token"),
    column("token_id", Kind::Text(&["/issued/jti"]), "the `jti` of the token that was issued"),
    column(
        "token_sha256",
        Kind::Text(&["/issued/token"]),
        "the SHA-256 of the token that was issued",
    ),
    column("key_id", Kind::Text(&["/issued/kid"]), "the `kid` of the key that signed it"),
    column("algorithm", Kind::Text(&["/issued/algorithm"]), "the algorithm of its signature"),
    column(
        "subject_profile",
        Kind::Text(&["/issued/subject_profile"]),
        "the format of its subject",
    ),
    column(
        "expires_at",
        Kind::Time(&["/issued/expires_at", "/expires_at"]),
        "the end of the token that was issued, or of the run that was registered",
    ),
    column(
        "bindings",
        Kind::Rows("/decision/trace", BINDINGS),
        "what each binding that applied to the run answered",
    ),
    column("action", Kind::Text(&["/action"]), "the action of a step of releases"),
    column(
        "release",
        Kind::Text(&["/release"]),
        "the release of a step, or the candidate that differs",
    ),
    column("class", Kind::Text(&["/class"]), "the class of difference of a candidate"),
    column(
        "mode",
        Kind::Text(&["/mode"]),
        "of a service account's token: `pass`, `shadow` or `enforce`",
    ),
    column(
        "namespace",
        Kind::Text(&["/service_account/namespace"]),
        "the namespace of the service account",
    ),
    column("service_account", Kind::Text(&["/service_account/name"]), "the service account"),
    column("pod", Kind::Text(&["/service_account/pod"]), "the pod that its token is for"),
    column(
        "service_account_audiences",
        Kind::Texts("/service_account/audiences", None),
        "the audiences of its token, also where nothing was decided",
    ),
    column("record", Kind::Record, "the record as the log has it: JSON"),
];

const REASONS: &[Member] = &[
    member("code", Kind::Text(&["/code"]), "the reason's code"),
    member("source", Kind::Text(&["/source"]), "`policy` or `host`"),
    member("binding", Kind::Text(&["/binding"]), "the binding that gave it"),
    member("message", Kind::Text(&["/message"]), "its text, which a policy wrote"),
];

const BINDINGS: &[Member] = &[
    member("binding", Kind::Text(&["/binding"]), "the binding"),
    member("mode", Kind::Text(&["/mode"]), "`enforce` or `shadow`"),
    member("policy", Kind::Text(&["/policy/name"]), "the policy's name"),
    member("policy_version", Kind::Text(&["/policy/version"]), "the policy's version"),
    member(
        "policy_digest",
        Kind::Text(&["/policy/digest"]),
        "the digest of the policy's component",
    ),
    member("settings", Kind::Text(&["/settings"]), "the digest of its settings"),
    member(
        "verdict",
        Kind::TextOf(verdict),
        "`permit`, `restrict`, `deny` or `abstain`; `fault` where there was no valid one",
    ),
    member("code", Kind::TextOf(code), "the code of the fault, or of the first reason of a denial"),
    member("fuel", Kind::Integer(&["/fuel/used"]), "the fuel that was used"),
    member("fuel_limit", Kind::Integer(&["/fuel/limit"]), "the fuel that the binding has"),
    member("memory_bytes", Kind::Integer(&["/memory_bytes/used"]), "the memory that was used"),
];

/// The message type of the schema.
pub fn schema_text() -> String {
    let mut text = String::from("message record {\n");
    for Column { name, kind, .. } in COLUMNS {
        let _ = match kind {
            Kind::Texts(..) => writeln!(
                text,
                "OPTIONAL GROUP {name} (LIST) {{ REPEATED GROUP list {{ OPTIONAL BYTE_ARRAY element (STRING); }} }}"
            ),
            Kind::Rows(_, members) => {
                let members = members.iter().map(|member| primitive(member.name, member.kind));
                writeln!(
                    text,
                    "OPTIONAL GROUP {name} (LIST) {{ REPEATED GROUP list {{ REQUIRED GROUP element {{\n{}}} }} }}",
                    members.collect::<String>()
                )
            }
            kind => write!(text, "{}", primitive(name, *kind)),
        };
    }
    text.push('}');
    text
}

fn primitive(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Sequence => format!("REQUIRED INT64 {name};\n"),
        Kind::Hash | Kind::Record => format!("REQUIRED BYTE_ARRAY {name} (STRING);\n"),
        Kind::Integer(_) => format!("OPTIONAL INT64 {name};\n"),
        Kind::Time(_) => format!("OPTIONAL INT64 {name} (TIMESTAMP(MICROS,true));\n"),
        _ => format!("OPTIONAL BYTE_ARRAY {name} (STRING);\n"),
    }
}

/// The first value that is there.
pub(crate) fn first<'v>(value: &'v Value, pointers: &[&str]) -> Option<&'v Value> {
    pointers.iter().find_map(|pointer| value.pointer(pointer).filter(|found| !found.is_null()))
}

/// The key of an object with one.
fn only_key(value: &Value) -> Option<&str> {
    let object = value.as_object()?;
    object.keys().next().filter(|_| object.len() == 1).map(String::as_str)
}

fn requester_kind(record: &Value) -> Option<&str> {
    only_key(record.get("requester")?)
}

fn requester(record: &Value) -> Option<&str> {
    let (_, by) = record.get("requester")?.as_object()?.iter().next()?;
    ["runner", "name", "command"].iter().find_map(|name| by.get(name)?.as_str())
}

fn outcome(record: &Value) -> Option<&str> {
    match record.pointer("/decision/outcome").and_then(Value::as_str) {
        Some(outcome) => Some(outcome),
        None => is_refused(record)?.then_some("refused"),
    }
}

/// Tells whether the host refused before any decision.
fn is_refused(record: &Value) -> Option<bool> {
    Some(match record.get("kind")?.as_str()? {
        "refused" => true,
        // In shadow it is signed all the same.
        "service-account" => record.get("reasons").is_some() && record.get("issued").is_none(),
        _ => false,
    })
}

fn verdict(trace: &Value) -> Option<&str> {
    if trace.get("fault").is_some_and(|fault| !fault.is_null()) {
        return Some("fault");
    }
    let verdict = trace.get("verdict")?;
    verdict.as_str().or_else(|| only_key(verdict))
}

fn code(trace: &Value) -> Option<&str> {
    first(trace, &["/fault/code", "/verdict/deny/0/code"])?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::outcome;

    #[test]
    fn a_refusal_without_a_decision_is_one() {
        let (kind, reasons) = ("service-account", json!([{ "code": "pod-without-run" }]));
        for (record, expected) in [
            (json!({ "kind": "token", "decision": { "outcome": "approved" } }), Some("approved")),
            (json!({ "kind": "refused", "reasons": reasons }), Some("refused")),
            (json!({ "kind": "finished" }), None),
            (json!({ "kind": kind, "mode": "enforce", "reasons": reasons }), Some("refused")),
            (json!({ "kind": kind, "mode": "shadow", "reasons": reasons, "issued": {} }), None),
            (json!({ "kind": kind, "mode": "pass", "issued": {} }), None),
            (
                json!({ "kind": kind, "decision": { "outcome": "refused" }, "issued": {} }),
                Some("refused"),
            ),
        ] {
            assert_eq!(outcome(&record), expected, "{record}");
        }
    }
}
