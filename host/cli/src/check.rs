//! `countersign check`

mod online;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{
    Audience, DefinitionId, Facts, Optimization, PolicySet, Run, RunnerId, SubjectFormat,
    SubjectFormats, SubjectParts, Workspace, visible,
};
use countersign_clouds::{Cloud, GCP_SUBJECT_BYTES, Violation};
use countersign_deployment::{
    Config, DefinitionArgument, Deployment, Installation, Loader, ManifestBundle, engine,
};
use countersign_http::Tls;
use countersign_issuer::{IssueRequest, preflight_request};
use countersign_signing::{Algorithm, Issuer, PublicKey, SignError, Signer};
use serde::Serialize;
use serde_json::json;

use self::online::Online;
use crate::bounds;
use crate::cache::CacheArguments;
use crate::can_permit::{CanPermit, PermitArguments};
use crate::clock;
use crate::output::{self, Exit, FAILURE, Format, SUCCESS, Styled};
use crate::progress;

/// An example of RFC 7517, appendix A.1.
const RSA_MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

/// A placeholder where any UUID will do.
const MADE_UP: &str = "11111111-1111-4111-8111-111111111111";

/// Check a configuration before it is deployed: that policies load, that bindings can permit, and that clouds
/// accept the tokens
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign check --config issuer.toml
  countersign check --config issuer.toml --online
  countersign check --policies countersign.toml --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373

Policies, the certificate (it must be valid now, and its key its owner's alone) and keys of trusted issuers
are loaded as by a service, and the settings of all bindings
are validated against their schemas before any policy is configured. Then a token of each definition, for each
audience, undergoes the checks that precede a signature (docs/codes.md). Its size, the claims that policies
add, and several audiences in one token are unknown without a run. The definitions are those of
--definition and the migrating ones; without any, one of a workspace with a single letter. The audiences are
the usual ones, those of the manifest and those of the configuration; --audience replaces them.

For each of these definitions, and for each scope in the manifest, the output shows the bindings that can
permit: those that enforce, may permit, and apply to all of the runs, or to some of them. No policy is
evaluated, so a binding whose policy only restricts is included, unless it has `may-permit = false`. Without
any such binding, all of the runs are refused; --strict makes that an error. A binding that has the policy,
settings, scope, limits and claims of another and decides no more than that is redundant.

With --online, the keys of each trusted issuer are fetched as by the service: the output shows those that
can be used, those that are passed over with the reason, or why none can be fetched, and when the
first certificate of `listen.certificate` and the last of each `ca-file` expire.

The JSON has `checked` (a list with `audience`, `cloud`, `algorithm`, `subject`, and `violations` with
`code` and `message`), `gcp_workspace_bytes`: the maximum length of a workspace whose definitions GCP accepts, `can_permit`
(a list with `runs`: a scope as records have it, or an object with `definition_workspace` and `definition`, and
the names of bindings in `all_runs` and `some_runs`) and `redundant` (a list with `binding` and `beside`); with
--online also `online`: `trusted_issuers` (a list with `issuer`, `keys` with `kid` and `algorithms`,
`passed_over`, and `error` where they cannot be fetched) and `certificates` (a list with `file`, `expires_at`
in seconds since 1970, and `expired`).

Exit status: 0 no errors, 1 anything else.")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Check {
    /// The configuration of a service, `issuer.toml`
    #[arg(long, short, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,

    /// A manifest alone, `countersign.toml`; tokens are signed with RS256 then
    #[arg(long, short, value_name = "FILE", group = "what")]
    policies: Option<PathBuf>,

    /// Fetch the keys of trusted issuers too, and check the expiry of certificates
    #[arg(long, conflicts_with = "policies")]
    online: bool,

    #[command(flatten)]
    permits: PermitArguments,

    /// A runner, for by-runner subjects; repeat it for several [default: a made-up one]
    #[arg(long = "runner", value_name = "UUID")]
    runners: Vec<RunnerId>,

    /// An audience; repeat it for several
    #[arg(long = "audience", short, value_name = "AUDIENCE")]
    audiences: Vec<Audience>,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Checked {
    checked: Vec<One>,
    gcp_workspace_bytes: usize,
    #[serde(flatten)]
    can_permit: CanPermit,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<Online>,
}

#[derive(Serialize)]
struct One {
    audience: String,
    cloud: Option<&'static str>,
    algorithm: &'static str,
    subject: String,
    violations: Vec<Violation>,
}

impl Check {
    pub(crate) fn run(&self) -> Result<Exit> {
        let (policies, installation, config, online) = match (&self.config, &self.policies) {
            (Some(config), _) => {
                let (deployment, online) = self.load(config)?;
                let Deployment { context, installation, config, .. } = deployment;
                (context.policies, installation, Some(config), online)
            }
            (None, Some(manifest)) => {
                let (policies, installation) = self.prepare(manifest)?;
                (Arc::new(policies), installation, None, None)
            }
            (None, None) => anyhow::bail!("give --config or --policies"),
        };
        let definitions = installation.definitions(&self.permits.definitions);
        let can_permit = CanPermit::of(&policies, &definitions);
        let mut checked = self.tokens(&installation, config.as_deref(), can_permit)?;
        checked.online = online;
        let fine = checked.online.as_ref().is_none_or(Online::is_fine)
            && checked.checked.iter().all(|one| one.violations.is_empty())
            && !(self.permits.strict && checked.can_permit.leaves_some_out());
        match self.format {
            Format::Json => output::print_json(&checked)?,
            Format::Human => output::print(&text(&checked))?,
        }
        Ok(if fine { Exit::Success } else { Exit::Failed })
    }

    /// Reads the configuration of a service with everything that it names, and what is online where that is asked for.
    fn load(&self, config: &Path) -> Result<(Deployment, Option<Online>)> {
        let (loader, snapshot) = Loader::open(config, self.cache.open()?, output::warn_or_log)?;
        let deployment =
            progress::with_spinner("preparing the policies", || loader.deployment(&snapshot))?;
        let authorizer = loader.authorizer(&snapshot, &deployment.installation.url)?;
        if let Some(tls) = loader.tls(&snapshot)? {
            let tls = Tls::new(tls.certificate(), tls.key()).context("listen.certificate")?;
            tls.validity().check(clock::now(None)?).context("listen.certificate")?;
        }
        let online = self.online.then(|| {
            progress::with_spinner("fetching the keys of trusted issuers", || {
                Online::check(&loader, authorizer, &deployment.config)
            })
        });
        Ok((deployment, online.transpose()?))
    }

    /// Reads a manifest with its policies.
    fn prepare(&self, manifest: &Path) -> Result<(PolicySet, Installation)> {
        let name = || manifest.display().to_string();
        let bundle = ManifestBundle::read(manifest)?;
        let installation = bundle.installation(manifest)?;
        let entry = bundle.manifest.preparation;
        let engine = engine::engine_with(
            Optimization::None,
            entry,
            self.cache.open()?,
            output::warn_or_log,
        )?;
        let policies = bounds::prepare(&bundle, &engine, || true).with_context(name)?;
        Ok((policies, installation))
    }

    fn tokens(
        &self,
        installation: &Installation,
        config: Option<&Config>,
        can_permit: CanPermit,
    ) -> Result<Checked> {
        let meshstack = installation.subjects.meshstack_id.clone();
        let mut subjects = Vec::new();
        for of in self.definitions(installation)? {
            let mut runners: BTreeSet<_> = self.runners.iter().cloned().collect();
            if runners.is_empty() && installation.migrations.get(&of.definition).is_none() {
                runners.insert(RunnerId::parse(MADE_UP)?);
            }
            subjects.extend(installation.subjects_of(&of, &runners)?);
        }
        subjects.sort();
        subjects.dedup();
        let mut checked = Vec::new();
        for audience in self.audiences(installation, config) {
            let algorithm = config.map_or(Algorithm::Rs256, |config| {
                config.settings.algorithm_of(std::slice::from_ref(&audience))
            });
            for (_, subject) in &subjects {
                let ttl = config.map_or(3600, |c| c.settings.max_ttl_seconds);
                let violations =
                    preflight_of(installation, algorithm, subject.as_str(), &audience, ttl)?;
                checked.push(One {
                    cloud: installation.entry.audiences.of(audience.as_str()).map(Cloud::as_str),
                    audience: audience.to_string(),
                    algorithm: algorithm.as_str(),
                    subject: subject.to_string(),
                    violations,
                });
            }
        }
        // The bytes that a GCP subject leaves for the workspace.
        let shortest = SubjectParts::ByDefinition {
            meshstack,
            workspace: Workspace::parse("a")?,
            definition: DefinitionId::parse(MADE_UP)?,
        };
        let fixed = shortest.subject()?.as_str().len() - 1;
        let gcp_workspace_bytes = GCP_SUBJECT_BYTES.saturating_sub(fixed);
        Ok(Checked { checked, gcp_workspace_bytes, can_permit, online: None })
    }

    fn definitions(&self, installation: &Installation) -> Result<Vec<DefinitionArgument>> {
        let definitions = installation.definitions(&self.permits.definitions);
        if !definitions.is_empty() {
            return Ok(definitions);
        }
        Ok(vec![DefinitionArgument {
            workspace: Workspace::parse("a")?,
            definition: DefinitionId::parse(MADE_UP)?,
        }])
    }

    fn audiences(&self, installation: &Installation, config: Option<&Config>) -> Vec<Audience> {
        if !self.audiences.is_empty() {
            return self.audiences.clone();
        }
        let mut audiences: Vec<_> =
            Cloud::ALL.iter().filter_map(|cloud| installation.audience_of(*cloud)).collect();
        audiences.extend(installation.entry.audiences.own().map(|(audience, _)| audience.clone()));
        audiences.extend(config.iter().flat_map(|c| c.settings.es256_audiences.clone()));
        audiences.sort();
        audiences.dedup();
        audiences
    }
}

/// Runs the pre-signature checks on the token of a subject, as far as it is known without a run.
pub(crate) fn preflight_of(
    installation: &Installation,
    algorithm: Algorithm,
    subject: &str,
    audience: &Audience,
    ttl_seconds: u32,
) -> Result<Vec<Violation>> {
    // The time does not matter to the checks.
    const ISSUED_AT: u64 = 1_790_000_000;
    let issuer = Issuer::new(installation.url.clone(), Arc::new(NoSigner::new(algorithm)?));
    let parts = SubjectParts::parse(subject)?;
    let (workspace, definition, runner) = match &parts {
        SubjectParts::ByDefinition { workspace, definition, .. } => {
            (workspace.as_str(), definition.as_str(), None)
        }
        SubjectParts::ByRunner { runner, .. } => ("a", MADE_UP, Some(runner.clone())),
    };
    // The format of this subject alone: a migrating definition has both.
    let (SubjectParts::ByDefinition { meshstack, .. } | SubjectParts::ByRunner { meshstack, .. }) =
        &parts;
    let profile = match &parts {
        SubjectParts::ByDefinition { .. } => SubjectFormat::ByDefinition,
        SubjectParts::ByRunner { .. } => SubjectFormat::ByRunner,
    };
    let subjects =
        SubjectFormats { meshstack_id: meshstack.clone(), profile, overrides: BTreeMap::new() };
    let request = IssueRequest {
        run: made_up_run(workspace, definition)?,
        runner,
        facts: Facts::default(),
        audiences: vec![audience.clone()],
        ttl_seconds,
        now: ISSUED_AT,
    };
    Ok(preflight_request(request, &subjects, &installation.entry.audiences, &issuer)?)
}

/// A run of a definition whose workspace owns the building block too.
fn made_up_run(workspace: &str, definition: &str) -> Result<Run> {
    let object = json!({
        "kind": "meshBuildingBlockRun",
        "apiVersion": "v1",
        "metadata": {"uuid": MADE_UP},
        "spec": {
            "runNumber": 1,
            "behavior": "APPLY",
            "buildingBlock": {"uuid": MADE_UP, "spec": {
                "workspaceIdentifier": workspace,
                "projectIdentifier": null,
                "fullPlatformIdentifier": null,
                "parentBuildingBlocks": [],
            }},
            "buildingBlockDefinition": {"uuid": definition, "spec": {
                "workspaceIdentifier": workspace,
                "version": 1,
                "implementation": {"type": "TERRAFORM"},
            }},
        },
    });
    Ok(Run::parse(object.to_string().as_bytes())?)
}

/// A public key without a private half, so that nothing checked here can be signed.
struct NoSigner(PublicKey);

impl NoSigner {
    /// Returns the key of RFC 7517, appendix A.1: only the length of its signatures matters here.
    fn new(algorithm: Algorithm) -> Result<Self> {
        let jwk = match algorithm {
            Algorithm::Rs256 => json!({"kty": "RSA", "n": RSA_MODULUS, "e": "AQAB"}),
            Algorithm::Es256 => json!({
                "kty": "EC",
                "crv": "P-256",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            }),
        };
        Ok(Self(PublicKey::from_jwk(jwk.to_string().as_bytes())?))
    }
}

impl Signer for NoSigner {
    fn public(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        Err(SignError)
    }
}

fn text(checked: &Checked) -> String {
    let mut text = String::new();
    for one in &checked.checked {
        let cloud = one.cloud.unwrap_or("no cloud");
        let verdict = if one.violations.is_empty() {
            Styled(SUCCESS, "good")
        } else {
            Styled(FAILURE, "bad")
        };
        let (audience, subject) = (visible(&one.audience), &one.subject);
        let _ = writeln!(text, "{verdict}  {cloud} {} {audience} {subject}", one.algorithm);
        for violation in &one.violations {
            let _ = writeln!(text, "      {}: {}", violation.code, visible(&violation.message));
        }
    }
    let room = checked.gcp_workspace_bytes;
    let _ = writeln!(text, "GCP accepts definitions of workspaces with at most {room} characters");
    text.push_str(&checked.can_permit.text());
    text.extend(checked.online.iter().map(Online::text));
    text
}
