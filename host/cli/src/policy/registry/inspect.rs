//! `countersign policy inspect` and `verify`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_deployment::{PolicyRegistries, files};
use countersign_registry::{
    FoundSignatures, ImageManifest, MAX_KEY_BYTES, PinnedReference, PolicyManifest, TrustPolicy,
    TrustedKey, TrustedSigner, VerificationKey, VerifyError,
};
use serde::Serialize;

use super::push::OptionalManifest;
use super::{ManifestArgument, wait_for};
use crate::output::{self, Exit, FAILURE, Format, SUCCESS, Styled};
use crate::{clock, progress};

/// Verify the signatures of a policy in a registry
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy verify oci://registry.example/policies/who-may@sha256:…
  countersign policy verify oci://registry.example/policies/who-may@sha256:… --key alice.pub --key bob.pub --threshold 2

By the `[[trusted-signer]]`s of the manifest, or by the given keys. The layer is not downloaded: the signature is of the digest of
the manifest, which has the digest of the layer.

The JSON has `reference`, `verified`, `code` and `problem` (null where it is verified), `revision` and `signers` (SHA-256 of the
public keys).

Exit status: 0 if the policy may be used, 1 otherwise.")]
pub(crate) struct Verify {
    /// The policy: oci://HOST/REPOSITORY@sha256:…
    #[arg(value_name = "REFERENCE")]
    reference: PinnedReference,

    /// A public key (PEM), in the place of those of the manifest; repeat it for several
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// The number of different keys that have to have signed
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "keys")]
    threshold: usize,

    #[command(flatten)]
    manifest: ManifestArgument,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Show what a registry has at a reference, trusted or not
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy inspect oci://registry.example/policies/who-may@sha256:…

Downloads the manifest and the signatures, and no layer. Everything but the digests is what the publisher says; `verify` says
whether it is signed.

The JSON has `reference`, `name`, `version`, `summary`, `contract`, `revision`, `layer` (`type`, `digest`, `bytes`), `engine`
(`reference`, `component`; null for a component), `cases`, `settings_schema` and `signatures` (a number).

Exit status: 0 if there is a policy, 1 otherwise.")]
pub(crate) struct Inspect {
    /// The policy: oci://HOST/REPOSITORY@sha256:…
    #[arg(value_name = "REFERENCE")]
    reference: PinnedReference,

    #[command(flatten)]
    manifest: OptionalManifest,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct VerifiedJson {
    reference: String,
    verified: bool,
    code: Option<&'static str>,
    problem: Option<String>,
    revision: Option<u64>,
    signers: Vec<Digest>,
}

#[derive(Serialize)]
struct InspectedJson {
    reference: String,
    name: Option<String>,
    version: Option<String>,
    summary: Option<String>,
    contract: Option<String>,
    revision: u64,
    layer: LayerJson,
    engine: Option<EngineJson>,
    cases: Option<Digest>,
    settings_schema: Option<Digest>,
    signatures: usize,
}

#[derive(Serialize)]
struct LayerJson {
    #[serde(rename = "type")]
    media_type: String,
    digest: Digest,
    bytes: u64,
}

#[derive(Serialize)]
struct EngineJson {
    reference: String,
    component: Digest,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<Exit> {
        let (client, trust, floor) = match self.keys.as_slice() {
            [] => {
                let PolicyRegistries { client, trust, store, .. } = self.manifest.read()?;
                (client, trust, store.floor(&self.reference.repository)?)
            }
            // The way to the registry may be the manifest's; who may sign is not.
            keys => (self.manifest.client_or_usual()?, self.trust(keys)?, 0),
        };
        let read = async { Ok(client.inspect(&self.reference).await?) };
        let (manifest, found) = progress::with_spinner("asking the registry", || wait_for(read))
            .with_context(|| self.reference.to_string())?;
        let now = clock::now(None)?;
        let verified = trust.verify(&self.reference, &manifest, &found, floor, now);
        let reference = self.reference.to_string();
        let text = match &verified {
            Ok(verified) => {
                let signers = verified.signers().iter().map(|id| format!("  by {id}\n"));
                let signers: String = signers.collect();
                format!("{}  {reference}\n{signers}", Styled(SUCCESS, "verified"))
            }
            Err(problem) => {
                let code = problem.code();
                format!("{}  {reference}\n  {problem} ({code})\n", Styled(FAILURE, "not trusted"))
            }
        };
        match self.format {
            Format::Json => {
                let error: Option<&VerifyError> = verified.as_ref().err();
                output::print_json(&VerifiedJson {
                    reference,
                    verified: verified.is_ok(),
                    code: error.map(VerifyError::code),
                    problem: error.map(ToString::to_string),
                    revision: verified.as_ref().ok().map(|verified| verified.policy().revision),
                    signers: verified.as_ref().map_or(Vec::new(), |v| v.signers().to_vec()),
                })?;
            }
            Format::Human => output::print(&text)?,
        }
        Ok(if verified.is_ok() { Exit::Success } else { Exit::Failed })
    }

    /// The rule that the given keys may sign this repository.
    fn trust(&self, files: &[PathBuf]) -> Result<TrustPolicy> {
        let mut keys = Vec::new();
        for file in files {
            let text = files::read(file, MAX_KEY_BYTES as u64)?;
            let key = VerificationKey::from_pem(&text);
            let key = key.with_context(|| file.display().to_string())?;
            keys.push(TrustedKey { key, not_before: None, not_after: None });
        }
        let repositories = self.reference.repository.to_string().parse()?;
        let threshold = self.threshold;
        Ok(TrustPolicy::new(vec![TrustedSigner { repositories, threshold, keys }])?)
    }
}

impl Inspect {
    pub(crate) fn run(&self) -> Result<Exit> {
        let client = self.manifest.client()?;
        let read = async { Ok(client.inspect(&self.reference).await?) };
        let (bytes, FoundSignatures { bundles, .. }) =
            progress::with_spinner("asking the registry", || wait_for(read))
                .with_context(|| self.reference.to_string())?;
        let found = Digest::of(&bytes);
        if found != self.reference.digest {
            let expected = self.reference.digest;
            return Err(VerifyError::Digest { found, expected }.into());
        }
        let of_reference = || self.reference.to_string();
        let manifest = ImageManifest::parse(&bytes).with_context(of_reference)?;
        let policy = PolicyManifest::of(&manifest).with_context(of_reference)?;
        let inspected = InspectedJson {
            reference: self.reference.to_string(),
            name: policy.name,
            version: policy.version,
            summary: policy.summary,
            contract: policy.contract,
            revision: policy.revision,
            layer: LayerJson {
                media_type: policy.layer.media_type,
                digest: policy.layer.digest,
                bytes: policy.layer.size,
            },
            engine: policy.engine.map(|engine| EngineJson {
                reference: engine.reference.to_string(),
                component: engine.component,
            }),
            cases: policy.cases,
            settings_schema: policy.settings_schema,
            signatures: bundles.len(),
        };
        match self.format {
            Format::Json => output::print_json(&inspected)?,
            Format::Human => output::print(&inspected.text())?,
        }
        Ok(Exit::Success)
    }
}

impl InspectedJson {
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.reference);
        let mut line = |name: &str, value: Option<String>| {
            let value = value.unwrap_or_else(|| "–".to_owned());
            text.push_str(&format!("  {name:<11} {}\n", output::one_line(&value)));
        };
        line("name", self.name.clone());
        line("version", self.version.clone());
        line("summary", self.summary.clone());
        line("contract", self.contract.clone());
        line("revision", Some(self.revision.to_string()));
        let LayerJson { media_type, digest, bytes } = &self.layer;
        line("layer", Some(format!("{digest}, {bytes} bytes, {media_type}")));
        if let Some(engine) = &self.engine {
            line("engine", Some(engine.reference.clone()));
        }
        line("cases", self.cases.map(|digest| digest.to_string()));
        line("schema", self.settings_schema.map(|digest| digest.to_string()));
        line("signatures", Some(self.signatures.to_string()));
        text
    }
}
