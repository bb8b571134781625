//! `countersign sign`

mod record_log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{Decision, IssuerUrl, SubjectFormats, visible};
use countersign_clouds::Violation;
use countersign_decision_log::Position;
use countersign_deployment::Manifest;
use countersign_issuer::{
    Decider, DecisionContext, IssueRequest, RecordHead, RecordKind, RequestOrigin, Requester,
};
use countersign_signing::{Issuer, MAX_PEM_BYTES, SigningKey, TokenId};
use serde::Serialize;
use serde_json::value::RawValue;

use self::record_log::RecordLog;
use crate::decision_text::decision_text;
use crate::output::{self, Exit, FAILURE, Format, Styled};
use crate::request::RequestArguments;
use countersign_deployment::files;

/// Decide on a run, and sign the token that is approved
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys generate --algorithm rs256 --out key.pem
  countersign sign --policies countersign.toml --run run.json --key key.pem \\
      --audience aws-workload-identity-provider:demo --ttl 900 > token

The token goes to stdout, the decision to stderr. With `--format json`, stdout has
`{\"token\": \"…\", \"record\": …, \"decision\": {…}}`; a refusal has no `token`. A token that the audience's
cloud would reject is not signed either: the output then has `preflight`, a list with `code` and
`message` (docs/codes.md). The decision is that of `countersign evaluate --format json`.

With `--log FOLDER` the decision, or refusal, is recorded in a decision log before the token is printed;
`countersign log verify` and `show` read it. `record` then has its `sequence` and `hash`. Without --log there is
no record: stderr says so, and `record` is null. The log of a running service is locked. The key that
signs the checkpoints of the log is in `keys` beside FOLDER, as in the state of a service, and is created
if missing.

Exit status: 0 signed, 2 refused (nothing is signed), 1 anything else.")]
pub(crate) struct Sign {
    #[command(flatten)]
    request: RequestArguments,

    /// The private key: RSA (signs RS256) or EC on P-256 (signs ES256), in PEM
    #[arg(long, short, value_name = "FILE")]
    key: PathBuf,

    /// The issuer identifier (`iss`) [default: `url` under `[issuer]` in the manifest]
    #[arg(long, value_name = "URL")]
    issuer: Option<IssuerUrl>,

    /// The decision log to write a record to, created where there is none [default: no record]
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The JSON of a signature or a refusal.
#[derive(Serialize)]
struct Signed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    preflight: &'a [Violation],
    /// Null where there is no record.
    record: Option<RecordPlace>,
    decision: &'a RawValue,
}

/// The place of a record in a log.
#[derive(Serialize)]
struct RecordPlace {
    sequence: u64,
    hash: String,
}

impl From<Position> for RecordPlace {
    fn from(position: Position) -> Self {
        Self { sequence: position.sequence, hash: position.hash.to_string() }
    }
}

impl Sign {
    pub(crate) fn run(&self) -> Result<Exit> {
        // The key, the issuer and the log first: preparing policies takes long, and a typing error should not wait for it.
        let key = read_key(&self.key)?;
        let (bundle, policies) = self.request.load()?;
        let url = self.issuer_url(&bundle.manifest, policies)?;
        let issuer = Issuer::new(url, Arc::new(key));
        let log = self.log.as_deref().map(RecordLog::open).transpose()?;
        let input = self.request.input(&bundle)?;
        let clouds = bundle.manifest.issuer.as_ref().map(|entry| entry.audiences.clone());
        let context = DecisionContext {
            // Optimising the policies costs more than it saves for a single decision.
            policies: Arc::new(self.request.prepare(&bundle)?),
            subjects: SubjectFormats {
                meshstack_id: input.subject.meshstack_id.clone(),
                profile: input.subject.profile,
                overrides: BTreeMap::new(),
            },
            clouds: clouds.unwrap_or_default(),
        };
        let request = IssueRequest {
            run: input.run,
            runner: input.runner,
            facts: input.facts,
            audiences: input.token.audiences().to_vec(),
            ttl_seconds: input.token.ttl_seconds(),
            now: input.token.issued_at(),
        };
        let decider = Decider::new(&context, &issuer);
        let decision = decider.decide(request)?;
        let json = decision_json(&decision)?;
        if self.format == Format::Human {
            // Before the signature: a token must not leave when its decision cannot be shown.
            output::eprint_or_fail(decision_text(&decision).trim_end())?;
        }
        let id =
            TokenId::random().context("the system's random number generator failed")?.to_string();
        let requester = Requester::CommandLine { command: "sign".to_owned() };
        let origin = RequestOrigin { id, client: None, trace: None };
        let head = RecordHead {
            kind: RecordKind::Token,
            origin: &origin,
            requester: &requester,
            used: None,
            changes: None,
            service_account: None,
        };
        let pending = decider.conclude(decision, head)?;
        let committed = match &log {
            Some(log) => log.commit(pending)?,
            None => pending.without_record(),
        };
        if self.format == Format::Human {
            for Violation { code, message } in &committed.decided.preflight {
                let text = visible(&format!("{code}: {message}"));
                output::eprint_or_fail(&format!("{} {text}", Styled(FAILURE, "not signed")))?;
            }
            output::eprint_or_fail(&match committed.position {
                Some(position) => format!("record {} of the decision log", position.sequence),
                None => "no record: this decision is in no decision log (see --log)".to_owned(),
            })?;
        }
        let token = committed.issued.as_ref().map(|issued| issued.token.expose());
        match (self.format, token) {
            (Format::Human, None) => {}
            (Format::Human, Some(token)) => output::print(&format!("{token}\n"))?,
            (Format::Json, token) => output::print_json(&Signed {
                token,
                preflight: &committed.decided.preflight,
                record: committed.position.map(RecordPlace::from),
                decision: &json,
            })?,
        }
        Ok(if token.is_some() { Exit::Success } else { Exit::Refused })
    }

    fn issuer_url(&self, manifest: &Manifest, policies: &Path) -> Result<IssuerUrl> {
        if let Some(url) = &self.issuer {
            return Ok(url.clone());
        }
        let url = manifest.issuer.as_ref().and_then(|issuer| issuer.url.as_deref());
        let url = url.with_context(|| {
            format!(
                "the token needs an issuer: add `url` under `[issuer]` in {}, or give --issuer",
                policies.display()
            )
        })?;
        IssuerUrl::parse(url).with_context(|| format!("{}: issuer.url", policies.display()))
    }
}

/// A decision as indented JSON. Its order is kept, since its id depends on it.
fn decision_json(decision: &Decision) -> Result<Box<RawValue>> {
    let text = serde_json::to_string_pretty(&decision.record())?;
    Ok(RawValue::from_string(text.replace('\n', "\n  "))?)
}

/// Reads a private key. Errors never quote it.
pub(crate) fn read_key(path: &Path) -> Result<SigningKey> {
    let text = files::read(path, MAX_PEM_BYTES as u64)?;
    SigningKey::from_pem(&text).with_context(|| path.display().to_string())
}
