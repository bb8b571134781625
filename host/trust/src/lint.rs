//! What is wrong with trust, or could be.

use std::collections::BTreeMap;

use countersign::{SubjectFormat, SubjectParts, visible};
use countersign_clouds::Cloud;
use countersign_clouds::{AZURE_CHARACTERS, GCP_SUBJECT_BYTES};
use serde::Serialize;

use crate::files::TrustFiles;
use crate::generate::{AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS};
use crate::grant::{Grant, How, Part, Test, Unread};
use crate::node::Text;

/// The codes of findings, and what each means.
pub const FINDINGS: &[(&str, &str)] = &[
    (
        "audience-of-another-cloud",
        "an audience that another cloud takes as well: a token can be replayed there",
    ),
    ("malformed-subject", "a subject that no token can have"),
    ("no-audience", "any audience is let in, so a token for something else can be replayed here"),
    ("no-subject", "every subject of the issuer is let in"),
    ("not-readable", "what files do not say, so that it was not looked at"),
    ("old-and-new-subject", "a definition's subject and a runner's in one place: finish the move"),
    ("policy-too-long", "a trust policy over AWS's default limit"),
    ("prefix-admits-neighbour", "a prefix that ends within a name, so that longer names match too"),
    ("subject-pattern", "a subject that is not compared exactly"),
    ("subject-too-long", "a subject over the cloud's limit: it can never match"),
    ("too-many-credentials", "more credentials than an identity can have"),
];

/// One thing that is wrong with trust, or could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code, one of [`FINDINGS`].
    pub code: &'static str,
    /// The file, as it was given.
    pub file: String,
    /// Where in it: a line of HCL, a pointer into JSON (RFC 6901).
    pub place: String,
    /// What was found there, and what to do.
    pub message: String,
}

impl TrustFiles {
    /// Looks through all ways in, in the order of files and places.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let has_bindings = self.grants.iter().any(|(_, grant)| grant.part == Part::Binding);
        // What keeps somebody out lets nobody in.
        for (file, grant) in self.grants.iter().filter(|(_, grant)| !grant.denies) {
            let mut found = |code, place: &crate::node::Place, message: String| {
                let (file, place) = (visible(file), place.to_string());
                findings.push(Finding { code, file, place, message: visible(&message) });
            };
            subjects(grant, has_bindings, &mut found);
            audiences(grant, &mut found);
            for Unread { place, what, .. } in &grant.unread {
                found("not-readable", place, format!("{what}: not looked at"));
            }
        }
        for (file, place, what) in &self.unread {
            let (file, place) = (visible(file), place.to_string());
            let message = visible(&format!("{what}: not looked at"));
            findings.push(Finding { code: "not-readable", file, place, message });
        }
        self.over_all(&mut findings);
        findings.sort_by(|a, b| {
            (&a.file, line(&a.place), a.code).cmp(&(&b.file, line(&b.place), b.code))
        });
        findings.dedup();
        findings
    }

    /// What only all ways into one identity together show.
    fn over_all(&self, findings: &mut Vec<Finding>) {
        let mut owners: BTreeMap<(Cloud, &str, &str), Vec<InFile<'_>>> = BTreeMap::new();
        for (file, grant) in &self.grants {
            // One without a name is of its file.
            let of_file =
                if grant.owner.is_empty() || grant.cloud == Cloud::Aws { file } else { "" };
            owners.entry((grant.cloud, of_file, &grant.owner)).or_default().push((file, grant));
        }
        for ((cloud, _, owner), grants) in owners {
            let Some((file, first)) = grants.first() else { continue };
            let mut found = |code, place: String, file: &str, message: String| {
                findings.push(Finding {
                    code,
                    file: visible(file),
                    place,
                    message: visible(&message),
                });
            };
            let place = first.place.to_string();
            if cloud == Cloud::Azure && grants.len() > AZURE_CREDENTIALS {
                let message = format!(
                    "`{owner}` has {} credentials, and an identity can have {AZURE_CREDENTIALS}: use one identity \
                     more, or a flexible credential",
                    grants.len()
                );
                found("too-many-credentials", place.clone(), file, message);
            }
            if let Some(characters) = first.policy_characters.filter(|c| *c > AWS_POLICY_CHARACTERS)
            {
                let message = format!(
                    "a trust policy of {characters} characters without white space, and AWS takes \
                     {AWS_POLICY_CHARACTERS} by default: use a role for each definition"
                );
                found("policy-too-long", place, file, message);
            }
            both_forms(&grants, &mut found);
        }
    }
}

/// A way in, and the file that has it.
type InFile<'f> = (&'f str, &'f Grant);

/// Whether there are subjects of both forms.
fn both_forms(
    grants: &[(&str, &Grant)],
    found: &mut impl FnMut(&'static str, String, &str, String),
) {
    let mut forms: BTreeMap<SubjectFormat, (&str, &Test, &str)> = BTreeMap::new();
    for (file, grant) in grants {
        for test in grant.subjects.iter().filter(|test| test.how != How::Other) {
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
            "`{old}` lets in every run of the runner, beside `{new}`: take it out when `countersign subjects \
             report` says that nobody gets it any more"
        );
        found("old-and-new-subject", test.place.to_string(), file, message);
    }
}

type Found<'f> = dyn FnMut(&'static str, &crate::node::Place, String) + 'f;

fn subjects(grant: &Grant, has_bindings: bool, found: &mut Found<'_>) {
    // Which subjects a provider's tokens may be of, bindings say.
    let said_elsewhere = grant.part == Part::Provider && has_bindings;
    let issuer = grant.issuer.as_ref().map_or("", |issuer| &issuer.text);
    let open = grant.condition.as_ref().map(|condition| condition.is_open(issuer));
    let none = grant.subjects.is_empty() || open.is_some_and(|(subject, _)| subject);
    if none && !said_elsewhere && !grant.hides() {
        let message =
            "every subject of the issuer is let in: compare `sub` with the subjects that are meant";
        found("no-subject", &grant.place, message.to_owned());
    }
    for test in &grant.subjects {
        let written = &test.written;
        match test.how {
            How::Exact => {}
            How::Pattern | How::Prefix => {
                for value in &test.values {
                    pattern(test, value, found);
                }
            }
            How::IgnoreCase | How::Other => {
                let message = format!(
                    "the subject is compared by `{written}`, and subjects are one exact text each: list them, and \
                     compare for equality"
                );
                found("subject-pattern", &test.place, message);
            }
        }
        if test.how == How::Exact {
            for value in test.values.iter().filter(|value| value.known) {
                exact(grant.cloud, test, &value.text, found);
            }
        }
    }
}

/// A subject that is compared by a pattern or a prefix.
fn pattern(test: &Test, value: &Text, found: &mut Found<'_>) {
    let (written, text) = (&test.written, &value.text);
    let prefix = if test.how == How::Prefix {
        Some(text.as_str())
    } else {
        text.find(['*', '?']).and_then(|at| text.get(..at))
    };
    let message = match prefix {
        None => format!("`{written}` with `{text}`, which has no wildcard: compare for equality"),
        Some(_) => format!(
            "`{written}` with `{text}` lets in whatever begins so: list the subjects, and compare for equality"
        ),
    };
    found("subject-pattern", &test.place, message);
    let Some(prefix) = prefix else { return };
    // What is not finished: all after the last separator.
    let name = prefix.rsplit(['.', ':', '}']).next().unwrap_or_default();
    let is_uuid = name.len() == 36;
    if !name.is_empty()
        && !is_uuid
        && name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
    {
        let dash = if name.ends_with('-') { "" } else { "-" };
        let message = format!(
            "the prefix `{prefix}` ends within a name: meant for `{name}`, it lets in `{name}{dash}b` as well. End it with \
             the separator that follows, or better list the subjects"
        );
        found("prefix-admits-neighbour", &test.place, message);
    }
}

/// A subject that is compared byte by byte.
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
    if let Some((length, most, unit)) = length {
        let message =
            format!("a subject of {length} {unit}, and {cloud} takes {most}: `{}`", cut(subject));
        found("subject-too-long", &test.place, message);
    }
    // Of other issuers, nothing is said.
    let is_ours = subject.contains(":workspace.") || subject.contains("buildingblockdefinition");
    if let (true, Err(problem)) = (is_ours, SubjectParts::parse(subject)) {
        let star = if subject.contains('*') { "; here `*` is no wildcard" } else { "" };
        let message = format!("no token has the subject `{subject}`: {problem}{star}");
        found("malformed-subject", &test.place, message);
    }
}

fn audiences(grant: &Grant, found: &mut Found<'_>) {
    if grant.part == Part::Binding {
        return;
    }
    let exact =
        grant.audiences.iter().any(|test| test.how == How::Exact && !test.values.is_empty());
    if !exact && !grant.hides() {
        let message = match grant.cloud {
            Cloud::Gcp => {
                "no allowed audience: GCP then takes the provider's own resource name, which tokens of a run do not have"
            }
            _ => {
                "no audience is asked for: a token for something else can be replayed here. Compare `aud`"
            }
        };
        found("no-audience", &grant.place, message.to_owned());
    }
    for test in &grant.audiences {
        for value in test.values.iter().filter(|value| value.known) {
            let other = Cloud::of_audience(&value.text).filter(|cloud| *cloud != grant.cloud);
            if let Some(other) = other {
                let message = format!(
                    "`{}` is an audience of {other}: a token that is sent to one can be replayed at the other. Give {} \
                     its own",
                    value.text, grant.cloud
                );
                found("audience-of-another-cloud", &test.place, message);
            }
        }
    }
}

/// The beginning of a text that may be long.
fn cut(text: &str) -> String {
    const SHOWN: usize = 200;
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

/// Lines in their order, and not in that of their digits.
fn line(place: &str) -> (usize, &str) {
    (place.parse().unwrap_or(0), place)
}
