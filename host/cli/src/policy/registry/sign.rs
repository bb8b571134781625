//! `countersign policy sign`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_deployment::files;
use countersign_registry::{MAX_KEY_BYTES, PinnedReference, PolicyKey, PolicySigner, sign};
use serde::Serialize;
use zeroize::Zeroizing;

use super::push::OptionalManifest;
use super::wait_for;
use crate::output::{self, Exit, Format};
use crate::{clock, progress};

/// Sign a policy in a registry, as `cosign verify` and this program accept it
#[derive(Args)]
#[command(after_help = "\
Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signer.pem
  openssl pkey -in signer.pem -pubout -out signer.pub
  countersign policy sign oci://registry.example/policies/who-may@sha256:… --key signer.pem

The signature is a Sigstore bundle (version 0.3, a DSSE envelope signed by a key), published as what refers to the manifest;
where the registry keeps no list of that, at the tag that stands for it. Only digests are signed: a tag names another policy
tomorrow. Several signers sign one after the other.

`cosign sign --new-bundle-format` makes signatures that are accepted as well. The key is on P-256, in PKCS #8 (PEM), and its
owner's alone (0600).

The JSON has `reference`, `key` (SHA-256 of the public key) and `signature` (the digest of its manifest).

Exit status: 0 if the signature is published, 1 otherwise.")]
pub(crate) struct Sign {
    /// The policy: oci://HOST/REPOSITORY@sha256:…
    #[arg(value_name = "REFERENCE")]
    reference: PinnedReference,

    /// The private key (PEM)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    #[command(flatten)]
    manifest: OptionalManifest,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct SignedJson {
    reference: String,
    key: Digest,
    signature: Digest,
}

impl Sign {
    pub(crate) fn run(&self) -> Result<Exit> {
        let text = Zeroizing::new(files::read_private(&self.key, MAX_KEY_BYTES as u64)?);
        let key = PolicyKey::from_pem(&text).with_context(|| self.key.display().to_string())?;
        drop(text);
        let client = self.manifest.client()?;
        let created = output::time(clock::now(None)?);
        let signature = progress::with_spinner("signing", || {
            wait_for(async { Ok(sign(&client, &self.reference, &key, &created).await?) })
        })?;
        let (reference, key) = (self.reference.to_string(), key.public_key().id());
        match self.format {
            Format::Json => output::print_json(&SignedJson { reference, key, signature })?,
            Format::Human => output::print(&format!("signed {reference} by the key {key}\n"))?,
        }
        Ok(Exit::Success)
    }
}
