//! `countersign subjects report`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Audience, DefinitionId, SubjectFormat, SubjectParts, Workspace, visible};
use countersign_decision_log::Reader;
use countersign_trust::{Admission, TokenClaims, TrustFiles};
use serde::Serialize;

use crate::log::RecordView;
use crate::output::{self, Exit, Format};
use crate::trust::read_trust;
use countersign_deployment::{DefinitionArgument, Installation};

/// Report the migration of each definition: its state, runners whose subject is still in use, and what trust accepts
#[derive(Args)]
#[command(after_help = "\
Reports on the migrating definitions, those of --definition, and those in the log.

The JSON is a list with `workspace`, `definition`, `state` (null, `begun`, `cut-over`, `finished`,
`abandoned`), `profile` (the current subject format), `old` and `new` (with `tokens`, `last` and `last_expires`, in
seconds since 1970, 0 if there was none), `runners` (those whose subject is still in use), `used` (true
if the log has a token of it) and `trust`: for each cloud in the files, the admission of `old` and `new` (`admitted`,
`not-admitted`, `unknown`; `old` is null if no runner is known).

Exit status: 0 reported, 1 anything else.")]
pub(super) struct Report {
    /// The manifest, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// A definition, with the workspace that owns it; repeat it for several
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID")]
    definitions: Vec<DefinitionArgument>,

    /// The decision log: the folder `log` in the state of a service
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,

    /// The trust policies in effect, as for `trust lint`; repeat it for several
    #[arg(long = "trust", value_name = "FILE")]
    trust: Vec<PathBuf>,

    /// The audience of tokens that trust must admit [default: the usual one of each cloud]
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Option<Audience>,

    /// Print the share of these definitions whose tokens have their own subject alone, in percent
    #[arg(long)]
    share: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The subjects of the tokens in a log.
#[derive(Debug, Default)]
pub(super) struct SubjectsOfLog {
    /// The tokens, by definition.
    pub counts: BTreeMap<DefinitionId, Counts>,
    /// The time of the first record.
    pub first: Option<u64>,
    /// The subject formats that the service last recorded, and the time of that record.
    pub forms: Option<(u64, BTreeMap<String, String>)>,
}

/// The tokens issued to the runs of a definition.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub old: Count,
    pub new: Count,
    /// The runners in their subjects.
    pub runners: BTreeSet<String>,
    /// Their audiences.
    pub audiences: BTreeSet<String>,
    pub workspace: Option<Workspace>,
}

/// Tokens of one subject format.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Count {
    pub tokens: u64,
    pub last: u64,
    pub last_expires: u64,
}

#[derive(Serialize)]
struct Row {
    workspace: String,
    definition: String,
    state: Option<&'static str>,
    profile: &'static str,
    old: Count,
    new: Count,
    runners: BTreeSet<String>,
    /// Set if the log has a token of the definition.
    used: bool,
    trust: BTreeMap<&'static str, TrustAdmission>,
}

#[derive(Serialize)]
struct TrustAdmission {
    old: Option<&'static str>,
    new: &'static str,
}

impl Report {
    pub(super) fn run(&self) -> Result<Exit> {
        let installation = Installation::read(&self.policies)?;
        let counts = self.log.as_deref().map(of_log).transpose()?.unwrap_or_default().counts;
        let trust = read_trust(&self.trust)?.trust;
        let mut definitions: BTreeSet<_> = installation.definitions(&[]).into_iter().collect();
        definitions.extend(self.definitions.iter().cloned());
        for (definition, of) in &counts {
            if let Some(workspace) = of.workspace.clone() {
                definitions
                    .insert(DefinitionArgument { workspace, definition: definition.clone() });
            }
        }
        let rows = definitions
            .iter()
            .map(|of| self.row(&installation, &counts, &trust, of))
            .collect::<Result<Vec<_>>>()?;
        let share = share(&rows);
        match self.format {
            _ if self.share => output::print(&format!("{share}\n"))?,
            Format::Json => output::print_json(&rows)?,
            Format::Human => output::print(&text(&rows, self.log.is_some()))?,
        }
        Ok(Exit::Success)
    }

    fn row(
        &self,
        installation: &Installation,
        counts: &BTreeMap<DefinitionId, Counts>,
        trust: &TrustFiles,
        of: &DefinitionArgument,
    ) -> Result<Row> {
        let counts = counts.get(&of.definition).cloned().unwrap_or_default();
        let migration = installation.migrations.get(&of.definition);
        let meshstack = installation.subjects.meshstack_id.clone();
        let new = SubjectParts::ByDefinition {
            meshstack: meshstack.clone(),
            workspace: of.workspace.clone(),
            definition: of.definition.clone(),
        };
        let mut runners: BTreeSet<_> =
            counts.runners.iter().filter_map(|r| r.parse().ok()).collect();
        runners.extend(migration.iter().flat_map(|migration| migration.runners.iter().cloned()));
        let old = runners
            .into_iter()
            .map(|runner| SubjectParts::ByRunner { meshstack: meshstack.clone(), runner });
        let old: Vec<_> = old.collect();
        let mut admissions = BTreeMap::new();
        for cloud in trust.clouds() {
            let audience = installation.audience_or(self.audience.as_ref(), cloud)?;
            let admits = |parts: &SubjectParts| -> Result<Admission> {
                let (issuer, subject) = (installation.url.as_str(), parts.subject()?);
                let audience = audience.as_str();
                Ok(trust.admits(cloud, TokenClaims { issuer, subject: subject.as_str(), audience }))
            };
            let mut of_old = None;
            for parts in &old {
                // The worst result of several runners.
                of_old = of_old.max(Some(rank(admits(parts)?)));
            }
            let admission =
                TrustAdmission { old: of_old.map(|(_, word)| word), new: rank(admits(&new)?).1 };
            admissions.insert(cloud.as_str(), admission);
        }
        Ok(Row {
            workspace: of.workspace.to_string(),
            definition: of.definition.to_string(),
            state: migration.map(|migration| migration.state.as_str()),
            profile: installation.subjects.profile_of(&of.definition).as_str(),
            old: counts.old,
            new: counts.new,
            used: counts.old.tokens + counts.new.tokens > 0,
            runners: counts.runners,
            trust: admissions,
        })
    }
}

/// The rank of a result, worse ones higher, and its name.
fn rank(admission: Admission) -> (u8, &'static str) {
    match admission {
        Admission::Admitted => (0, "admitted"),
        Admission::Unknown => (1, "unknown"),
        Admission::NotAdmitted => (2, "not-admitted"),
    }
}

/// The share of definitions whose tokens have their own subject, in percent; 100 if there is no definition.
fn share(rows: &[Row]) -> usize {
    let own = rows.iter().filter(|row| row.profile == SubjectFormat::ByDefinition.as_str()).count();
    (own * 100).checked_div(rows.len()).unwrap_or(100)
}

fn text(rows: &[Row], has_log: bool) -> String {
    let mut text = String::new();
    for row in rows {
        let state = row.state.unwrap_or("not migrated");
        let _ = writeln!(
            text,
            "{} {}: {state}, tokens are {}",
            row.workspace, row.definition, row.profile
        );
        for (what, count) in [("by-runner", row.old), ("by-definition", row.new)] {
            if count.tokens > 0 {
                let _ = writeln!(
                    text,
                    "  {what}: {} tokens, the last at {}, valid until {}",
                    count.tokens,
                    output::time(count.last),
                    output::time(count.last_expires)
                );
            }
        }
        if has_log && !row.used {
            text.push_str("  no token in the log: it does not use workload identity\n");
        }
        for runner in &row.runners {
            let _ = writeln!(text, "  got the subject of runner {runner}");
        }
        for (cloud, admission) in &row.trust {
            let old = admission.old.map(|old| format!("the runner's {old}, ")).unwrap_or_default();
            let _ = writeln!(text, "  trust of {cloud}: {old}the definition's {}", admission.new);
        }
    }
    if rows.is_empty() {
        text.push_str("no definition is migrating, and none was given\n");
    } else {
        let _ =
            writeln!(text, "{}% of {} definitions have their own subject", share(rows), rows.len());
    }
    visible(&text)
}

/// Reads the subjects of the tokens in a log.
///
/// # Errors
/// When a record is of an unknown version: it might matter.
pub(super) fn of_log(folder: &Path) -> Result<SubjectsOfLog> {
    let mut of_log = SubjectsOfLog::default();
    let mut reader = Reader::new(crate::log::folder_of(folder)?, 1);
    while let Some(entry) = reader.read()? {
        let place = || format!("{}: record {}", folder.display(), entry.sequence);
        let view = RecordView::of(&entry).context("not understood").with_context(place)?;
        of_log.first.get_or_insert(view.time);
        if view.kind == "subjects" {
            of_log.forms = Some((view.time, view.definitions));
            continue;
        }
        let (Some(issued), Some(decision)) = (view.issued, view.decision) else { continue };
        let of = &decision.claims.run.definition;
        let definition = DefinitionId::parse(of.id)?;
        let of_definition = of_log.counts.entry(definition).or_default();
        of_definition.audiences.extend(decision.claims.token.audiences.iter().cloned());
        of_definition.workspace = Some(Workspace::parse(of.workspace)?);
        let is_old = match issued.subject_profile {
            word if word == SubjectFormat::ByRunner.as_str() => true,
            word if word == SubjectFormat::ByDefinition.as_str() => false,
            _ => bail!("{}: unknown subject format", place()),
        };
        if let (true, Some(runner)) = (is_old, decision.claims.runner) {
            of_definition.runners.insert(runner.to_owned());
        }
        let count = if is_old { &mut of_definition.old } else { &mut of_definition.new };
        count.tokens += 1;
        count.last = count.last.max(view.time);
        count.last_expires = count.last_expires.max(issued.expires_at);
    }
    Ok(of_log)
}
