//! `countersign trust aws`, `azure`, `gcp`, `stackit`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use countersign::{Audience, RunnerId, Subject};
use countersign_clouds::Cloud;
use countersign_trust::TrustSpec;

use crate::output::{self, Exit};
use countersign_deployment::{DefinitionArgument, Installation};

#[derive(Args)]
#[command(after_help = "\
Subjects and audience are compared for equality. While a definition migrates from one subject format
to the other, both subjects are included (`countersign subjects`). Values of the account are OpenTofu
variables, and words in capitals in JSON. A policy over a limit of the cloud is an error.

The JSON contains neither AWS's provider nor GCP's IAM bindings. It is the input of the cloud's own
command: `aws iam create-role --assume-role-policy-document`, a list of inputs of
`az identity federated-credential create`, the body of GCP's
`projects.locations.workloadIdentityPools.providers`, a list of STACKIT's federated identity providers.")]
pub(super) struct Write {
    /// The manifest, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// A definition with its workspace; repeat it for several [default: the definitions that migrate]
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID")]
    definitions: Vec<DefinitionArgument>,

    /// A runner, for the subject of definitions that have not migrated; repeat it for several
    #[arg(long = "runner", value_name = "UUID")]
    runners: Vec<RunnerId>,

    /// The audience of the tokens (`aud`) [default: the cloud's usual one]
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Option<Audience>,

    /// The name of the resources
    #[arg(long, value_name = "NAME", default_value = "countersign", value_parser = label)]
    name: String,

    /// Use the AWS account's existing provider of the issuer: an account has one for each URL. OpenTofu only
    #[arg(long)]
    existing_provider: bool,

    /// Write credentials of an application (`azuread`), not of a user-assigned identity. Azure and OpenTofu only
    #[arg(long)]
    application: bool,

    /// The output format
    #[arg(long, value_enum, default_value_t = Language::Hcl)]
    format: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// For OpenTofu
    Hcl,
    /// For the cloud's own commands
    Json,
}

impl Write {
    pub(super) fn run(&self, cloud: Cloud) -> Result<Exit> {
        for (is_given, option, of) in [
            (self.existing_provider, "--existing-provider", Cloud::Aws),
            (self.application, "--application", Cloud::Azure),
        ] {
            if is_given && cloud != of {
                bail!(
                    "{option} is an option of `trust {of}`, and means nothing for {cloud}: leave it out"
                );
            }
        }
        let installation = Installation::read(&self.policies)?;
        let definitions = installation.definitions(&self.definitions);
        if definitions.is_empty() {
            bail!("no definition migrates; give the trusted ones with --definition");
        }
        let workspaces: BTreeSet<_> = definitions.iter().map(|of| &of.workspace).collect();
        if self.definitions.is_empty() && workspaces.len() > 1 {
            bail!(
                "definitions of {} workspaces migrate, and each workspace needs a trust policy of its own: give those of \
                 one with --definition",
                workspaces.len()
            );
        }
        if workspaces.len() > 1 {
            // What the trust gives access to is then shared by all of them.
            output::warn(&format!(
                "the definitions are of {} workspaces, and each should have an identity of its own",
                workspaces.len()
            ));
        }
        let runners = self.runners.iter().cloned().collect();
        let mut subjects: BTreeMap<String, Subject> = BTreeMap::new();
        for definition in &definitions {
            // Several definitions may share one runner's subject, which the map keeps once.
            subjects.extend(installation.subjects_of(definition, &runners)?);
        }
        let trust = TrustSpec {
            issuer: installation.url.as_str().to_owned(),
            audience: installation.audience_or(self.audience.as_ref(), cloud)?,
            subjects: subjects.into_iter().collect(),
            name: self.name.clone(),
            existing_provider: self.existing_provider,
            of_application: self.application,
        };
        let generated = trust.generate(cloud)?;
        match self.format {
            Language::Hcl => output::print(&generated.hcl)?,
            Language::Json => output::print_json(&generated.json)?,
        }
        Ok(Exit::Success)
    }
}

/// Parses a name that OpenTofu accepts as a label and all clouds as a name.
fn label(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 32 lower-case letters, digits and dashes, beginning with a letter"
        .to_owned())
}
