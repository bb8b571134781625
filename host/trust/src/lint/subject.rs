//! Lints the tests of the subject.

use countersign::SubjectParts;
use countersign_clouds::{AZURE_CHARACTERS, Cloud, GCP_SUBJECT_BYTES};

use super::Found;
use crate::node::{Place, Text};
use crate::trust_statement::{MatchKind, Test, TrustStatement};

/// Lints each test of the subject by itself.
pub(super) fn tests(statement: &TrustStatement, found: &mut Found<'_>) {
    let is_mapped = statement.subjects.iter().any(|test| test.kind == MatchKind::Mapping);
    // A condition that compares the subject itself says who is admitted, whatever bindings compare.
    let is_compared = statement.subjects.iter().any(|test| test.kind != MatchKind::Mapping);
    // All tests have to hold, so beside an exact one the others only narrow.
    let is_exact = statement.is_exact();
    let relevant = |test: &&Test| {
        !test.is_principal_set() && (!is_exact || (test.kind == MatchKind::Exact && !test.negated))
    };
    for test in statement.subjects.iter().filter(relevant) {
        let written = &test.written;
        match test.kind {
            MatchKind::Exact if !test.negated => {
                for value in &test.values {
                    exact(statement.cloud, test, value, is_mapped, found);
                }
            }
            MatchKind::Pattern | MatchKind::Prefix if !test.negated => {
                // Beside a value that every subject equals, the others say nothing.
                let is_every = |value: &&Text| value.text == "*" && value.origin.is_some();
                let has_every = test.values.iter().any(|value| is_every(&value));
                for value in test.values.iter().filter(|value| !has_every || is_every(value)) {
                    pattern(test, value, found);
                }
            }
            MatchKind::Mapping if is_compared => {}
            MatchKind::Mapping => {
                let mapping =
                    test.values.first().map(|value| value.text.as_str()).unwrap_or_default();
                let message = format!(
                    "`google.subject` is mapped from `{mapping}`, so bindings do not compare the subject itself: map \
                     `assertion.sub`, or compare the subject in the condition"
                );
                found("subject-pattern", &test.place, message);
            }
            _ => {
                let message = format!(
                    "the subject is compared by `{written}`, and a subject is one exact text: list them, and \
                     compare for equality"
                );
                found("subject-pattern", &test.place, message);
            }
        }
    }
}

/// Reports a mapping by which every token is the same principal.
pub(super) fn constant(statement: &TrustStatement, found: &mut Found<'_>) {
    let Some(test) = statement.constant_mapping() else { return };
    let mapping = test.values.first().map(|value| value.text.as_str()).unwrap_or_default();
    let message = format!(
        "`google.subject` is mapped from `{mapping}`, so every subject of the issuer is one principal: map \
         `assertion.sub`"
    );
    found("no-subject", &test.place, message);
}

/// Lints an attribute that a binding compares. `mappings` are its expressions in the providers of the pool.
pub(super) fn attribute(name: &str, mappings: &[&str], place: &Place, found: &mut Found<'_>) {
    let uses_subject = |mapping: &&&str| {
        ["assertion.sub", "assertion['sub']", "google.subject"]
            .iter()
            .any(|subject| mapping.contains(subject))
    };
    let others = || mappings.iter().filter(|mapping| **mapping != "assertion.sub");
    if let Some(mapping) = others().find(uses_subject) {
        let message = format!(
            "`attribute.{name}` is mapped from `{mapping}`, and a subject is one exact text: bind the intended subjects, \
             `principal://…/subject/SUBJECT`"
        );
        found("subject-pattern", place, message);
    } else if let Some(mapping) = others().next() {
        let message = format!(
            "principals by `attribute.{name}`, which is mapped from `{mapping}` and not from the subject: not evaluated"
        );
        found("not-readable", place, message);
    } else if mappings.is_empty() {
        let message =
            format!("principals by `{name}`, whose mapping is not in the files: not evaluated");
        found("not-readable", place, message);
    }
}

/// Lints a subject that is compared by a pattern or a prefix.
fn pattern(test: &Test, value: &Text, found: &mut Found<'_>) {
    let (written, text) = (&test.written, &value.text);
    let of = match &value.origin {
        Some(origin) => format!("`{text}`, {origin},"),
        None => format!("`{text}`"),
    };
    let is_prefix = test.kind == MatchKind::Prefix;
    let wildcard = if is_prefix { None } else { text.find(['*', '?']) };
    if wildcard.is_none() && !is_prefix {
        // Of a text that is not known, its unknown part may have one.
        let message = if value.known || !text.contains("${") {
            format!("`{written}` with {of} has no wildcard: compare for equality")
        } else {
            format!(
                "`{written}` takes {of} for a pattern: list the subjects, and compare for equality"
            )
        };
        found("subject-pattern", &test.place, message);
        return;
    }
    let prefix = match wildcard {
        Some(at) => text.get(..at).unwrap_or_default(),
        None => text.as_str(),
    };
    let is_everything = text.contains('*') && text.chars().all(|c| c == '*' || c == '?');
    if is_everything || (is_prefix && text.is_empty()) {
        let message = format!(
            "`{written}` with {of} admits every subject of the issuer: compare `sub` with the intended subjects"
        );
        found("no-subject", &test.place, message);
        return;
    }
    let is_only_prefix = is_prefix || wildcard.is_some_and(|at| text.get(at..) == Some("*"));
    let admits = if is_only_prefix {
        "every subject with that prefix"
    } else {
        "every subject of that form"
    };
    let message = format!(
        "`{written}` with {of} admits {admits}: list the subjects, and compare for equality"
    );
    found("subject-pattern", &test.place, message);
    if let Some(name) = unfinished(prefix).filter(|_| {
        is_prefix || wildcard.is_some_and(|at| text.get(at..).is_some_and(|r| r.starts_with('*')))
    }) {
        let dash = if name.ends_with('-') { "" } else { "-" };
        let message = format!(
            "the prefix `{prefix}` ends within a name: intended for `{name}`, it also admits `{name}{dash}b`. End it with \
             the separator that follows, or better list the subjects"
        );
        found("prefix-admits-neighbour", &test.place, message);
    }
}

/// The name within which a prefix ends, if longer names can follow.
fn unfinished(prefix: &str) -> Option<&str> {
    let name = prefix.rsplit(['.', ':', '}', '/']).next().unwrap_or_default();
    let is_name = name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let is_uuid = name.len() == 36;
    (is_name && !is_uuid && !is_word(prefix)).then_some(name)
}

/// Returns true if a prefix of one of our subjects ends where a fixed word stands:
/// `system:serviceaccount:MESHSTACK:workspace.WORKSPACE.buildingblockdefinition.UUID`.
fn is_word(prefix: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (at, character) in prefix.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' | '.' if depth == 0 => {
                parts.extend(prefix.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    let last = prefix.get(from..).unwrap_or_default();
    let begins = |word: &str| !last.is_empty() && word.starts_with(last);
    match parts.as_slice() {
        [] => begins("system"),
        ["system"] => begins("serviceaccount"),
        ["system", "serviceaccount", _] => begins("workspace"),
        ["system", "serviceaccount", _, "workspace", _] => begins("buildingblockdefinition"),
        _ => false,
    }
}

/// Lints a subject that is compared byte by byte.
fn exact(cloud: Cloud, test: &Test, value: &Text, is_mapped: bool, found: &mut Found<'_>) {
    let subject = &value.text;
    let literal = value.literal();
    let mut malformed = |problem: &str| {
        found(
            "malformed-subject",
            &test.place,
            format!("no token has the subject `{}`: {problem}", cut(subject)),
        );
    };
    // Other issuers' subjects have formats of their own, and none has a wildcard.
    let is_ours = subject.contains(":workspace.") || subject.contains("buildingblockdefinition");
    let star = if literal.contains('*') { "here `*` is no wildcard" } else { "" };
    match SubjectParts::parse(subject) {
        Err(problem) if is_ours && value.known => {
            let and = if star.is_empty() { "" } else { "; " };
            malformed(&format!("{problem}{and}{star}"));
        }
        _ if !star.is_empty() => {
            malformed(&format!("{star}, and it never matches: list the subjects"))
        }
        _ if value.known && cloud == Cloud::Aws && subject.contains("${") => malformed(
            "`${` is a text like any other: a policy has variables with the `Version` `2012-10-17`",
        ),
        _ if value.known && subject.trim() != subject.as_str() => {
            malformed("it begins or ends with white space");
        }
        _ if value.known && subject.is_empty() => malformed("it is empty"),
        _ => {}
    }
    if !value.known {
        return;
    }
    let length = match cloud {
        // The limit is of `google.subject`, which a mapping may shorten.
        Cloud::Gcp if subject.len() > GCP_SUBJECT_BYTES && !(is_mapped && test.in_condition) => {
            Some((subject.len(), GCP_SUBJECT_BYTES, "bytes"))
        }
        Cloud::Azure if subject.chars().count() > AZURE_CHARACTERS => {
            Some((subject.chars().count(), AZURE_CHARACTERS, "characters"))
        }
        _ => None,
    };
    if let Some((length, max, unit)) = length {
        let message =
            format!("a subject of {length} {unit}, and {cloud} takes {max}: `{}`", cut(subject));
        found("subject-too-long", &test.place, message);
    }
}

/// Truncates a text that may be long.
fn cut(text: &str) -> String {
    const SHOWN: usize = 200;
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}
