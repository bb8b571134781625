//! `countersign demo`

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Audience, Decision, Facts, IssuerUrl, Optimization, PolicySet, Run};
use countersign_deployment::{Manifest, ManifestBundle, ManifestFiles, engine};
use countersign_issuer::{
    Decider, DecisionContext, IssueRequest, RecordHead, RecordKind, RequestOrigin, Requester,
};
use countersign_signing::{Algorithm, Issuer, KeySet, SigningKey, TokenId};
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::decision_text::decision_text;
use crate::output::{self, DIM, Exit, STRONG, SUCCESS, Styled};
use crate::progress;

const MANIFEST: &str = include_str!("../../../examples/countersign.toml");
const RUN: &str = include_str!("../../../examples/run.json");

const AWS: &str = "aws-workload-identity-provider:demo";
const GCP: &str = "gcp-workload-identity-provider:demo";

/// Demonstrate the whole flow: a run approved, signed and verified, one refused, one narrowed
#[derive(Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(&self) -> Result<Exit> {
        let manifest = Manifest::parse(MANIFEST)?;
        let engine = engine::engine(Optimization::None, None, output::warn_or_log)?;
        let files = components(&manifest)?;
        let bundle = ManifestBundle::new(manifest, files);
        let policies =
            progress::with_spinner("preparing the policies", || bundle.prepare(&engine))?;
        let demo = Prepared::new(&bundle.manifest, policies)?;

        title("0", "The policies")?;
        output::print(&indent(MANIFEST))?;

        title("1", "A run of the platform team itself: approved, signed, verified")?;
        note("The published example run: workspace `my-workspace` applies its own definition.")?;
        let decision = demo.decide(RUN, &[AWS], 900)?;
        output::print(&decision_text(&decision))?;
        demo.sign_and_verify(decision)?;

        title("2", "The same run, but another workspace owns the building block: refused")?;
        note(
            "Only `workspaceIdentifier` differs. The subject is the same: AWS and Entra could not tell.",
        )?;
        let stranger = changed(RUN, "/spec/buildingBlock/spec/workspaceIdentifier", "team-b")?;
        let decision = demo.decide(&stranger, &[AWS], 900)?;
        output::print(&decision_text(&decision))?;
        if decision.into_approval().is_ok() {
            bail!("the demonstration failed: this run should have been refused");
        }
        note("Without an approval there is nothing to sign: the signer accepts nothing else.")?;

        title("3", "A dry run that requests too much: narrowed")?;
        note("DETECT, two hours, and an audience that the definition does not use:")?;
        let dry_run = changed(RUN, "/spec/behavior", "DETECT")?;
        let decision = demo.decide(&dry_run, &[AWS, GCP], 7200)?;
        output::print(&decision_text(&decision))?;
        demo.sign_and_verify(decision)?;

        title("→", "Next steps")?;
        output::print(&indent(
            "make policies\n\
             cargo run -q --bin countersign -- evaluate --policies examples/countersign.toml --run examples/run.json \\\n    \
             --audience aws-workload-identity-provider:demo --ttl 900\n",
        ))?;
        Ok(Exit::Success)
    }
}

/// The prepared policies of the demonstration, and a key generated for it.
struct Prepared {
    context: DecisionContext,
    issuer: Issuer,
    key_set: String,
}

impl Prepared {
    fn new(manifest: &Manifest, policies: PolicySet) -> Result<Self> {
        let entry = manifest.issuer.clone().context("the manifest names an issuer")?;
        let url = IssuerUrl::parse(&entry.url.context("the manifest names an issuer URL")?)?;
        let (key, _) = SigningKey::generate(Algorithm::Rs256)?;
        let key_set = serde_json::to_string(&KeySet::new([key.public()]))?;
        let issuer = Issuer::new(url, std::sync::Arc::new(key));
        let context = DecisionContext {
            policies: policies.into(),
            subjects: entry.subjects,
            clouds: entry.audiences,
        };
        Ok(Self { context, issuer, key_set })
    }

    fn decide(&self, run: &str, audiences: &[&str], ttl_seconds: u32) -> Result<Decision> {
        let audiences =
            audiences.iter().map(|text| Audience::parse(text)).collect::<Result<_, _>>()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let run = Run::parse(run.as_bytes())?;
        let facts = Facts::default();
        let request = IssueRequest { run, runner: None, facts, audiences, ttl_seconds, now };
        Ok(Decider::new(&self.context, &self.issuer).decide(request)?)
    }

    fn sign_and_verify(&self, decision: Decision) -> Result<()> {
        let id =
            TokenId::random().context("the system's random number generator failed")?.to_string();
        let requester = Requester::CommandLine { command: "demo".to_owned() };
        let origin = RequestOrigin { id, client: None, trace: None };
        let head = RecordHead {
            kind: RecordKind::Token,
            origin: &origin,
            requester: &requester,
            used: None,
            changes: None,
            service_account: None,
        };
        let pending = Decider::new(&self.context, &self.issuer).conclude(decision, head)?;
        // The key is dropped when the demonstration ends, so no token outlives it.
        let Some(issued) = pending.without_record().issued else {
            bail!("the demonstration failed: this run should have been approved");
        };
        let (token, key_set) = (issued.token, &self.key_set);
        let claims = verify(token.expose(), key_set, self.issuer.url().as_str())?;
        let verified =
            "verified as a cloud does: signature against the published key set, issuer, times";
        output::print(&format!(
            "\n  {} with {}\n  {}\n{}",
            Styled(SUCCESS, "signed"),
            Algorithm::Rs256.as_str(),
            Styled(SUCCESS, verified),
            indent(&format!("{claims:#}\n"))
        ))
    }
}

/// Verifies a token as a relying party does: with the published key set alone.
fn verify(token: &str, key_set: &str, issuer: &str) -> Result<Value> {
    let keys: JwkSet = serde_json::from_str(key_set)?;
    let header = jsonwebtoken::decode_header(token)?;
    let kid = header.kid.context("the token names no key")?;
    let key = keys.find(&kid).context("the token's key is not published")?;
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[AWS]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    let key = jsonwebtoken::DecodingKey::from_jwk(key)?;
    Ok(jsonwebtoken::decode::<Value>(token, &key, &validation)?.claims)
}

/// Resolves the components that the manifest names to the built-in ones.
fn components(manifest: &Manifest) -> Result<ManifestFiles> {
    manifest
        .files()
        .map(|path| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let name = file.strip_suffix(".wasm").unwrap_or(file);
            let built_in = countersign_policy_artifacts::POLICIES.iter().find(|(n, _)| *n == name);
            let (_, bytes) = built_in.with_context(|| format!("{path} is not built in"))?;
            Ok((path.to_owned(), bytes.to_vec()))
        })
        .collect()
}

/// Returns the run object with one string replaced.
fn changed(run: &str, pointer: &str, text: &str) -> Result<String> {
    let mut run: Value = serde_json::from_str(run)?;
    *run.pointer_mut(pointer).with_context(|| format!("the run has no {pointer}"))? = text.into();
    Ok(run.to_string())
}

fn title(number: &str, text: &str) -> Result<()> {
    output::print(&format!("\n{} {}\n", Styled(STRONG, number), Styled(STRONG, text)))
}

fn note(text: &str) -> Result<()> {
    output::print(&format!("  {}\n\n", Styled(DIM, text)))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n").replace("    \n", "\n")).collect()
}
