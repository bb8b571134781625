//! Lints trust statements: reports those that admit too much, or can never match.

use std::collections::BTreeMap;

use countersign::{SubjectFormat, SubjectParts, visible};
use countersign_clouds::Cloud;
use countersign_clouds::{AZURE_CHARACTERS, GCP_SUBJECT_BYTES};
use serde::Serialize;

use crate::files::TrustFiles;
use crate::generate::{AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS};
use crate::node::Text;
use crate::trust_statement::{MatchKind, StatementKind, Test, TrustStatement, Unresolved};

/// The codes of findings, with their meaning.
pub const FINDINGS: &[(&str, &str)] = &[
    (
        "audience-of-another-cloud",
        "an audience that another cloud accepts as well: a token can be replayed there",
    ),
    ("malformed-subject", "a subject that no token can have"),
    ("no-audience", "any audience is admitted, so a token for something else can be replayed here"),
    ("no-subject", "every subject of the issuer is admitted"),
    ("not-readable", "a part that the files do not determine, so it was not evaluated"),
    (
        "old-and-new-subject",
        "a definition's subject and a runner's in one place: finish the migration",
    ),
    ("policy-too-long", "a trust policy over AWS's default limit"),
    ("prefix-admits-neighbour", "a prefix that ends within a name, so that longer names match too"),
    ("subject-pattern", "a subject that is not compared exactly"),
    ("subject-too-long", "a subject over the cloud's limit: it can never match"),
    ("too-many-credentials", "more credentials than an identity can have"),
];

/// One problem of a trust statement, or a possible one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code, one of [`FINDINGS`].
    pub code: &'static str,
    /// The file, as it was given.
    pub file: String,
    /// The place in the file: a line of HCL, a pointer into JSON (RFC 6901).
    pub place: String,
    /// The problem, and its remedy.
    pub message: String,
}

impl TrustFiles {
    /// Lints all trust statements. Findings are in the order of files and places.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let has_bindings =
            self.statements.iter().any(|(_, statement)| statement.kind == StatementKind::Binding);
        // A deny statement admits nobody, so nothing that it matches can be too much.
        for (file, statement) in self.statements.iter().filter(|(_, statement)| !statement.is_deny)
        {
            let mut found = |code, place: &crate::node::Place, message: String| {
                let (file, place) = (visible(file), place.to_string());
                findings.push(Finding { code, file, place, message: visible(&message) });
            };
            subjects(statement, has_bindings, &mut found);
            audiences(statement, &mut found);
            for Unresolved { place, what, .. } in &statement.unresolved {
                found("not-readable", place, format!("{what}: not evaluated"));
            }
        }
        for (file, place, what) in &self.unresolved {
            let (file, place) = (visible(file), place.to_string());
            let message = visible(&format!("{what}: not evaluated"));
            findings.push(Finding { code: "not-readable", file, place, message });
        }
        self.over_all(&mut findings);
        findings.sort_by(|a, b| {
            (&a.file, line(&a.place), a.code).cmp(&(&b.file, line(&b.place), b.code))
        });
        findings.dedup();
        findings
    }

    /// Lints the statements of each identity together.
    fn over_all(&self, findings: &mut Vec<Finding>) {
        let mut owners: BTreeMap<(Cloud, &str, &str), Vec<InFile<'_>>> = BTreeMap::new();
        for (file, statement) in &self.statements {
            // An owner without a name is scoped by its file, and so are roles: their names are not globally unique.
            let of_file =
                if statement.owner.is_empty() || statement.cloud == Cloud::Aws { file } else { "" };
            owners
                .entry((statement.cloud, of_file, &statement.owner))
                .or_default()
                .push((file, statement));
        }
        for ((cloud, _, owner), statements) in owners {
            let Some((file, first)) = statements.first() else { continue };
            let mut found = |code, place: String, file: &str, message: String| {
                findings.push(Finding {
                    code,
                    file: visible(file),
                    place,
                    message: visible(&message),
                });
            };
            let place = first.place.to_string();
            if cloud == Cloud::Azure && statements.len() > AZURE_CREDENTIALS {
                let message = format!(
                    "`{owner}` has {} credentials, and an identity can have {AZURE_CREDENTIALS}: use one identity \
                     more, or a flexible credential",
                    statements.len()
                );
                found("too-many-credentials", place.clone(), file, message);
            }
            if let Some(characters) = first.policy_characters.filter(|c| *c > AWS_POLICY_CHARACTERS)
            {
                let message = format!(
                    "a trust policy of {characters} characters without white space, and AWS accepts \
                     {AWS_POLICY_CHARACTERS} by default: use a role for each definition"
                );
                found("policy-too-long", place, file, message);
            }
            both_forms(&statements, &mut found);
        }
    }
}

/// A trust statement, with the file that contains it.
type InFile<'f> = (&'f str, &'f TrustStatement);

/// Reports an identity with subjects of both formats.
fn both_forms(
    statements: &[(&str, &TrustStatement)],
    found: &mut impl FnMut(&'static str, String, &str, String),
) {
    let mut forms: BTreeMap<SubjectFormat, (&str, &Test, &str)> = BTreeMap::new();
    for (file, statement) in statements {
        for test in statement.subjects.iter().filter(|test| test.kind != MatchKind::Other) {
            for value in test.values.iter().filter(|value| value.known) {
                let form = match SubjectParts::parse(&value.text) {
                    Ok(SubjectParts::ByRunner { .. }) => SubjectFormat::ByRunner,
                    Ok(SubjectParts::ByDefinition { .. }) => SubjectFormat::ByDefinition,
                    Err(_) => continue,
                };
                forms.entry(form).or_insert((file, test, &value.text));
            }
        }
    }
    let of = |profile| forms.get(&profile).copied();
    if let (Some((file, test, old)), Some((_, _, new))) =
        (of(SubjectFormat::ByRunner), of(SubjectFormat::ByDefinition))
    {
        let message = format!(
            "`{old}` admits every run of the runner, beside `{new}`: remove it when `countersign subjects \
             report` says that it is no longer issued"
        );
        found("old-and-new-subject", test.place.to_string(), file, message);
    }
}

type Found<'f> = dyn FnMut(&'static str, &crate::node::Place, String) + 'f;

fn subjects(statement: &TrustStatement, has_bindings: bool, found: &mut Found<'_>) {
    // GCP's provider may accept every subject if bindings restrict them.
    let restricted_by_bindings = statement.kind == StatementKind::Provider && has_bindings;
    let issuer = statement.issuer.as_ref().map_or("", |issuer| &issuer.text);
    let open = statement.condition.as_ref().map(|condition| condition.is_open(issuer));
    let none = statement.subjects.is_empty() || open.is_some_and(|(subject, _)| subject);
    if none && !restricted_by_bindings && !statement.may_hide_tests() {
        let message =
            "every subject of the issuer is admitted: compare `sub` with the intended subjects";
        found("no-subject", &statement.place, message.to_owned());
    }
    for test in &statement.subjects {
        let written = &test.written;
        match test.kind {
            MatchKind::Exact => {}
            MatchKind::Pattern | MatchKind::Prefix => {
                for value in &test.values {
                    pattern(test, value, found);
                }
            }
            MatchKind::IgnoreCase | MatchKind::Other => {
                let message = format!(
                    "the subject is compared by `{written}`, and a subject is one exact text: list them, and \
                     compare for equality"
                );
                found("subject-pattern", &test.place, message);
            }
        }
        if test.kind == MatchKind::Exact {
            for value in test.values.iter().filter(|value| value.known) {
                exact(statement.cloud, test, &value.text, found);
            }
        }
    }
}

/// Lints a subject that is compared by a pattern or a prefix.
fn pattern(test: &Test, value: &Text, found: &mut Found<'_>) {
    let (written, text) = (&test.written, &value.text);
    let prefix = if test.kind == MatchKind::Prefix {
        Some(text.as_str())
    } else {
        text.find(['*', '?']).and_then(|at| text.get(..at))
    };
    let message = match prefix {
        None => format!("`{written}` with `{text}`, which has no wildcard: compare for equality"),
        Some(_) => format!(
            "`{written}` with `{text}` admits every subject with that prefix: list the subjects, and compare for equality"
        ),
    };
    found("subject-pattern", &test.place, message);
    let Some(prefix) = prefix else { return };
    // The unfinished name is everything after the last separator.
    let name = prefix.rsplit(['.', ':', '}']).next().unwrap_or_default();
    let is_uuid = name.len() == 36;
    if !name.is_empty()
        && !is_uuid
        && name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
    {
        let dash = if name.ends_with('-') { "" } else { "-" };
        let message = format!(
            "the prefix `{prefix}` ends within a name: intended for `{name}`, it also admits `{name}{dash}b`. End it with \
             the separator that follows, or better list the subjects"
        );
        found("prefix-admits-neighbour", &test.place, message);
    }
}

/// Lints a subject that is compared byte by byte.
fn exact(cloud: Cloud, test: &Test, subject: &str, found: &mut Found<'_>) {
    let length = match cloud {
        Cloud::Gcp if subject.len() > GCP_SUBJECT_BYTES => {
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
    // Other issuers' subjects have formats of their own.
    let is_ours = subject.contains(":workspace.") || subject.contains("buildingblockdefinition");
    if let (true, Err(problem)) = (is_ours, SubjectParts::parse(subject)) {
        let star = if subject.contains('*') { "; here `*` is no wildcard" } else { "" };
        let message = format!("no token has the subject `{subject}`: {problem}{star}");
        found("malformed-subject", &test.place, message);
    }
}

fn audiences(statement: &TrustStatement, found: &mut Found<'_>) {
    if statement.kind == StatementKind::Binding {
        return;
    }
    let exact = statement
        .audiences
        .iter()
        .any(|test| test.kind == MatchKind::Exact && !test.values.is_empty());
    if !exact && !statement.may_hide_tests() {
        let message = match statement.cloud {
            Cloud::Gcp => {
                "no allowed audience: GCP then takes the provider's own resource name, which no token of a run has"
            }
            _ => {
                "no audience is compared: a token for something else can be replayed here. Compare `aud`"
            }
        };
        found("no-audience", &statement.place, message.to_owned());
    }
    for test in &statement.audiences {
        for value in test.values.iter().filter(|value| value.known) {
            let other = Cloud::of_audience(&value.text).filter(|cloud| *cloud != statement.cloud);
            if let Some(other) = other {
                let message = format!(
                    "`{}` is an audience of {other}: a token that is sent to one can be replayed at the other. Give {} \
                     its own",
                    value.text, statement.cloud
                );
                found("audience-of-another-cloud", &test.place, message);
            }
        }
    }
}

/// Truncates a text that may be long.
fn cut(text: &str) -> String {
    const SHOWN: usize = 200;
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

/// The sort key of a place: lines sort by number, not by their digits.
fn line(place: &str) -> (usize, &str) {
    (place.parse().unwrap_or(0), place)
}
