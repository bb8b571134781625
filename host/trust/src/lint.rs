//! Lints trust statements: reports those that admit too much, or can never match.

mod codes;
mod subject;

use std::collections::BTreeMap;

use countersign::{SubjectFormat, SubjectParts, visible};
use countersign_clouds::Cloud;
use serde::Serialize;

pub use codes::{FINDINGS, Severity};

use crate::files::TrustFiles;
use crate::generate::{AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS};
use crate::modules::folder_of;
use crate::node::Place;
use crate::trust_statement::{
    Effect, MatchKind, StatementKind, Test, TrustStatement, UnknownEffect, Unresolved,
};

/// One problem of a trust statement, or a possible one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code, one of [`FINDINGS`].
    pub code: &'static str,
    /// The severity, which follows from the code.
    pub severity: Severity,
    /// The file, as it was given.
    pub file: String,
    /// The place in the file: a line of HCL or YAML, a pointer into JSON (RFC 6901).
    pub place: String,
    /// The problem, and its remedy.
    pub message: String,
    /// The reason that a comment in the file gives for accepting the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

impl Finding {
    fn new(code: &'static str, file: &str, place: &dyn std::fmt::Display, message: &str) -> Self {
        // A finding is one line.
        let message = visible(message).replace('\n', " ");
        let (file, place) = (visible(file), place.to_string());
        Self { code, severity: Severity::of(code), file, place, message, accepted: None }
    }
}

impl TrustFiles {
    /// Lints all trust statements. Findings are in the order of files and places.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let gaps = self.unresolved.iter().map(|(file, place, what)| {
            Finding::new("not-readable", file, place, &format!("{what}: not evaluated"))
        });
        findings.extend(gaps);
        let unreadable = self.unreadable.iter();
        findings.extend(unreadable.map(|(file, place, problem)| {
            Finding::new(
                "unreadable-file",
                file,
                place,
                &format!("nothing of the file was read: {problem}"),
            )
        }));
        findings.extend(self.repeated_keys.iter().map(|(file, place, key)| {
            let message = format!("the key `{key}` stands again in one object: OpenTofu takes this one, and the earlier one is lost");
            Finding::new("repeated-key", file, place, &message)
        }));
        let context = Context::of(self);
        // A deny statement admits nobody, so nothing that it matches can be too much.
        let statements = self
            .statements
            .iter()
            .filter(|(_, statement)| !statement.is_deny() && !statement.is_aside);
        for (file, statement) in statements {
            let mut found = |code, place: &Place, message: String| {
                findings.push(Finding::new(code, file, place, &message));
            };
            for (place, what) in &statement.never {
                found("never-admits", place, what.clone());
            }
            if statement.never.is_empty() {
                context.subjects(statement, &mut found);
                audiences(statement, &mut found);
            } else {
                // Once somebody is admitted, a subject that no token has is the next thing that is wrong.
                subject::tests(statement, &mut |code, place, message| {
                    if code == "malformed-subject" {
                        found(code, place, message);
                    }
                });
            }
            for Unresolved { place, what, effect } in &statement.unresolved {
                if !matches!(effect, UnknownEffect::NamesProvider | UnknownEffect::NarrowsAside) {
                    found("not-readable", place, format!("{what}: not evaluated"));
                }
            }
        }
        self.asides(&mut findings);
        self.over_all(&mut findings);
        self.accept(&mut findings);
        findings.sort_by(|a, b| {
            (&a.file, line(&a.place), a.code, &a.message).cmp(&(
                &b.file,
                line(&b.place),
                b.code,
                &b.message,
            ))
        });
        findings.dedup();
        findings
    }

    /// Reports once a file that members of its bindings are not known.
    fn asides(&self, findings: &mut Vec<Finding>) {
        let mut files: BTreeMap<&str, (&Place, usize)> = BTreeMap::new();
        for (file, statement) in self.statements.iter().filter(|(_, statement)| statement.is_aside)
        {
            files.entry(file).or_insert((&statement.place, 0)).1 += 1;
        }
        findings.extend(files.into_iter().map(|(file, (place, count))| {
            let message = format!(
                "{count} members of IAM bindings, from here on, are not known, and may be principals of a pool: not evaluated"
            );
            Finding::new("not-readable", file, place, &message)
        }));
    }

    /// Marks the findings that comments accept, and reports the comments that accept nothing.
    fn accept(&self, findings: &mut Vec<Finding>) {
        let mut unused = Vec::new();
        for (file, comment) in &self.accepted {
            let file_name = visible(file);
            let mut is_used = false;
            let is_meant = |finding: &&mut Finding| {
                finding.file == file_name
                    && finding.code == comment.code
                    && finding.place.parse() == Ok(comment.about)
            };
            for finding in findings.iter_mut().filter(is_meant) {
                is_used = true;
                if !comment.reason.is_empty() {
                    finding.accepted = Some(visible(&comment.reason));
                }
            }
            let message = match (is_used, comment.reason.is_empty()) {
                (true, false) => continue,
                (true, true) => format!(
                    "`accept {}` has no reason, so it accepts nothing: write one after the code",
                    comment.code
                ),
                (false, _) => format!(
                    "`accept {}` accepts nothing: line {} has no such finding",
                    comment.code, comment.about
                ),
            };
            unused.push(Finding::new("unused-accept", file, &comment.line, &message));
        }
        findings.extend(unused);
    }

    /// Lints the statements of each identity together.
    fn over_all(&self, findings: &mut Vec<Finding>) {
        let mut owners: BTreeMap<(Cloud, String, &str), Vec<InFile<'_>>> = BTreeMap::new();
        for (file, statement) in self.statements.iter().filter(|(_, statement)| !statement.is_aside)
        {
            // An owner without a name is scoped by its file, and so are roles: their names are not globally unique. An
            // expression means something in its folder.
            let scope = if statement.owner.is_empty() || statement.cloud == Cloud::Aws {
                file.clone()
            } else if statement.owner.contains("${") {
                folder_of(file)
            } else {
                String::new()
            };
            let key = (statement.cloud, scope, statement.owner.as_str());
            owners.entry(key).or_default().push((file, statement));
        }
        for ((cloud, _, owner), statements) in owners {
            let Some((file, first)) = statements.first() else { continue };
            if cloud == Cloud::Azure && statements.len() > AZURE_CREDENTIALS {
                let message = format!(
                    "`{owner}` has {} credentials, and an identity can have {AZURE_CREDENTIALS}: use one identity \
                     more, or a flexible credential",
                    statements.len()
                );
                findings.push(Finding::new("too-many-credentials", file, &first.place, &message));
            }
            if let Some(characters) = first.policy_characters.filter(|c| *c > AWS_POLICY_CHARACTERS)
            {
                let message = format!(
                    "a trust policy of {characters} characters without white space, and AWS accepts \
                     {AWS_POLICY_CHARACTERS} by default: use a role for each definition"
                );
                findings.push(Finding::new("policy-too-long", file, &first.place, &message));
            }
            both_forms(&statements, findings);
        }
    }
}

/// The statements of a set of files that others depend on.
struct Context<'s> {
    bindings: Vec<&'s TrustStatement>,
    /// Providers, with true for those that accept every subject.
    providers: Vec<(&'s TrustStatement, bool)>,
    denies: Vec<&'s TrustStatement>,
}

impl<'s> Context<'s> {
    fn of(files: &'s TrustFiles) -> Self {
        let statements = || files.statements.iter().map(|(_, statement)| statement);
        let of_kind = |kind| statements().filter(move |s| s.kind == kind && !s.is_aside);
        Self {
            bindings: of_kind(StatementKind::Binding).collect(),
            providers: of_kind(StatementKind::Provider).map(|s| (s, is_open(s))).collect(),
            denies: statements().filter(|s| s.effect == Effect::Deny).collect(),
        }
    }

    /// Lints the subjects of a statement.
    fn subjects(&self, statement: &TrustStatement, found: &mut Found<'_>) {
        let issuer = statement.issuer.as_ref().map_or("", |issuer| &issuer.text);
        let problem = match statement.kind {
            _ if statement.may_hide_tests() => None,
            StatementKind::Provider
                if is_open(statement) && statement.constant_mapping().is_some() =>
            {
                subject::constant(statement, found);
                return;
            }
            StatementKind::Provider => {
                // A provider may accept every subject if bindings of its pool restrict them.
                let is_bound = self.bindings.iter().any(|other| other.is_of_pool(statement));
                let may_be_bound =
                    self.bindings.iter().any(|other| other.may_be_of_pool(statement));
                if is_open(statement) && may_be_bound && !is_bound {
                    let message = "every subject of the issuer is accepted, unless bindings in the files are of its pool, \
                                   which is not known: not evaluated";
                    found("not-readable", &statement.place, message.to_owned());
                }
                (is_open(statement) && !may_be_bound).then_some(
                    "every subject of the issuer is accepted, and no binding of its pool is in the files: compare `sub` with \
                     the intended subjects in the condition",
                )
            }
            StatementKind::Binding if statement.is_public => Some(
                "everybody may act as this account, with a token of any issuer or none: name the principals",
            ),
            StatementKind::Binding => {
                // The providers of the pool restrict a binding of all of its principals.
                let of_pool =
                    || self.providers.iter().filter(|(other, _)| other.may_be_of_pool(statement));
                let is_known = of_pool().any(|(other, _)| other.is_of_pool(statement));
                let may_be_closed =
                    of_pool().next().is_some() && of_pool().all(|(_, is_open)| !is_open);
                if statement.subjects.is_empty() && may_be_closed && !is_known {
                    let message = "all principals of a pool are admitted, and its providers are not known: not evaluated";
                    found("not-readable", &statement.place, message.to_owned());
                }
                (statement.subjects.is_empty() && !may_be_closed).then_some(
                    "every subject of the issuer is admitted: compare `sub` with the intended subjects",
                )
            }
            StatementKind::Whole
                if is_open(statement) && self.closing_deny(statement).is_some() =>
            {
                let deny = self.closing_deny(statement);
                let patterns = deny.filter(|test| test.kind == MatchKind::Pattern);
                if let Some(test) = patterns {
                    let message = format!(
                        "`{}` of the Deny leaves every subject that matches the pattern: list the subjects, and compare for equality",
                        test.written
                    );
                    found("subject-pattern", &test.place, message);
                }
                None
            }
            StatementKind::Whole => is_open(statement).then_some(
                "every subject of the issuer is admitted: compare `sub` with the intended subjects",
            ),
        };
        if let Some(problem) = problem {
            found("no-subject", &statement.place, problem.to_owned());
            // Where every subject passes the condition, its tests are a part of that problem.
            if statement.condition.is_some() {
                return;
            }
        }
        if statement.kind == StatementKind::Binding {
            self.attributes(statement, found);
        }
        let compares_a_part =
            statement.condition.as_ref().filter(|condition| condition.compares_a_part(issuer));
        if let Some(condition) = compares_a_part {
            let message = "the condition compares a part of the subject, and a subject is one exact text: list them, and \
                           compare for equality";
            found("subject-pattern", &condition.place, message.to_owned());
        }
        subject::tests(statement, found);
    }

    /// Lints the attributes by which a binding names principals.
    fn attributes(&self, statement: &TrustStatement, found: &mut Found<'_>) {
        let of_pool = || self.providers.iter().filter(|(other, _)| other.is_of_pool(statement));
        for test in statement.subjects.iter().filter(|test| test.is_principal_set()) {
            let value = test.values.first().map(|value| value.text.as_str()).unwrap_or_default();
            let name = value.split('/').next().unwrap_or_default();
            let attribute = format!("attribute.{name}");
            let mappings: Vec<&str> = of_pool()
                .flat_map(|(provider, _)| &provider.attributes)
                .filter(|(of, mapping)| *of == attribute && mapping.known)
                .map(|(_, mapping)| mapping.text.trim())
                .collect();
            subject::attribute(name, &mappings, &test.place, found);
        }
    }

    /// The test of a deny statement of the same owner that refuses all other subjects.
    fn closing_deny(&self, statement: &TrustStatement) -> Option<&Test> {
        let mut closing = self.denies.iter().filter(|other| {
            other.owner == statement.owner
                && other.audiences.is_empty()
                && other
                    .unresolved
                    .iter()
                    .all(|unresolved| unresolved.effect == UnknownEffect::AddsValue)
                && other.subjects.len() == 1
                && other.subjects.iter().all(|test| test.negated && test.kind != MatchKind::Other)
        });
        closing.find_map(|other| other.subjects.first())
    }
}

/// Returns true if a statement accepts every subject, as far as its tests say.
fn is_open(statement: &TrustStatement) -> bool {
    let issuer = statement.issuer.as_ref().map_or("", |issuer| &issuer.text);
    if let Some(condition) = &statement.condition {
        return condition.is_open(issuer).0;
    }
    if statement.may_hide_tests() {
        return false;
    }
    !statement.subjects.iter().any(|test| test.kind != MatchKind::Mapping)
}

/// A trust statement, with the file that contains it.
type InFile<'f> = (&'f str, &'f TrustStatement);

/// Reports an identity with subjects of both formats.
fn both_forms(statements: &[InFile<'_>], findings: &mut Vec<Finding>) {
    let mut forms: BTreeMap<SubjectFormat, (&str, &Test, &str)> = BTreeMap::new();
    for (file, statement) in statements {
        let tests = statement
            .subjects
            .iter()
            .filter(|test| !matches!(test.kind, MatchKind::Other | MatchKind::Mapping));
        for test in tests {
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
        findings.push(Finding::new("old-and-new-subject", file, &test.place, &message));
    }
}

type Found<'f> = dyn FnMut(&'static str, &Place, String) + 'f;

fn audiences(statement: &TrustStatement, found: &mut Found<'_>) {
    if statement.kind == StatementKind::Binding {
        return;
    }
    let is_exact = |test: &Test| match test.kind {
        MatchKind::Exact => !test.values.is_empty(),
        // A pattern without a wildcard is an exact text; one that is not known may be.
        MatchKind::Pattern => {
            !test.values.is_empty()
                && test.values.iter().all(|value| !value.literal().contains(['*', '?']))
        }
        // Each token has an audience, so a test that also holds without one is a test of it.
        MatchKind::Other => {
            let operator = test.written.to_ascii_lowercase();
            let is_equality =
                operator.contains(":stringequals") || operator == "stringequalsifexists";
            is_equality && !test.values.is_empty()
        }
        _ => false,
    };
    let exact = statement.audiences.iter().any(|test| is_exact(test) && !test.negated);
    let has_client_ids = statement.client_ids.as_ref().is_some_and(|ids| !ids.is_empty());
    // Without allowed audiences, GCP takes the provider's own resource name alone.
    let needs_one = statement.cloud != Cloud::Gcp;
    if needs_one && !exact && !has_client_ids && !statement.may_hide_tests() {
        let message = match statement.cloud {
            Cloud::Aws => {
                "no audience is compared, so each client id of the provider is admitted: a token for something else can \
                 be replayed here. Compare `aud`"
            }
            _ => {
                "no audience is compared: a token for something else can be replayed here. Compare `aud`"
            }
        };
        found("no-audience", &statement.place, message.to_owned());
    }
    for test in &statement.audiences {
        for value in &test.values {
            if test.kind == MatchKind::Exact && !test.negated && value.literal().contains('*') {
                let message =
                    format!("no token has the audience `{}`: here `*` is no wildcard", value.text);
                found("never-admits", &test.place, message);
            }
            if let (true, Some(other)) = (value.known, other_cloud(statement.cloud, &value.text)) {
                found("audience-of-another-cloud", &test.place, other);
            }
        }
    }
    for id in statement.client_ids.iter().flatten().filter(|id| !exact && id.known) {
        if let Some(other) = other_cloud(statement.cloud, &id.text) {
            found(
                "audience-of-another-cloud",
                &statement.place,
                format!("the provider's client id {other}"),
            );
        }
    }
}

/// The problem of an audience that is another cloud's.
fn other_cloud(cloud: Cloud, audience: &str) -> Option<String> {
    let other = Cloud::of_audience(audience).filter(|other| *other != cloud)?;
    Some(format!(
        "`{audience}` is an audience of {other}: a token that is sent to one can be replayed at the other. Give {cloud} \
         its own"
    ))
}

/// The sort key of a place: lines sort by number, not by their digits.
fn line(place: &str) -> (usize, &str) {
    (place.parse().unwrap_or(0), place)
}
