//! `countersign trust aws`, `azure`, `gcp`, `stackit`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use countersign::{Audience, RunnerId, Subject};
use countersign_clouds::Cloud;
use countersign_trust::TrustOf;

use crate::output::{self, Exit};
use countersign_deployment::{DefinitionArgument, Installation};

#[derive(Args)]
#[command(after_help = "\
Subjects and audience are compared for equality. While a definition migrates from one format of subject
to the other, both are written (`countersign subjects`). What belongs to the account stands as
a variable of OpenTofu, and in JSON as a word in capitals. Over a limit of the cloud, nothing is
written.

The JSON has no provider of AWS and no bindings of GCP's principals. It is what the cloud's own command
takes: `aws iam create-role --assume-role-policy-document`,
one of `az identity federated-credential create` in a list, the body of GCP's
`projects.locations.workloadIdentityPools.providers`, STACKIT's federated identity providers in a list.")]
pub struct Write {
    /// The manifest, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// A definition, with the workspace that owns it; give it once for each [default: those that
    /// migrate]
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID")]
    definitions: Vec<DefinitionArgument>,

    /// A runner whose subject definitions have that do not migrate yet; give it once for each
    #[arg(long = "runner", value_name = "UUID")]
    runners: Vec<RunnerId>,

    /// What tokens are for (`aud`) [default: the usual one of the cloud]
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Option<Audience>,

    /// What the resources are called
    #[arg(long, value_name = "NAME", default_value = "countersign", value_parser = label)]
    name: String,

    /// Use the provider that the AWS account has for the issuer; there is one for each URL. OpenTofu only
    #[arg(long)]
    existing_provider: bool,

    /// The language
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
    pub fn run(&self, cloud: Cloud) -> Result<Exit> {
        let installation = Installation::read(&self.policies)?;
        let definitions = installation.definitions(&self.definitions);
        if definitions.is_empty() {
            bail!("no definition migrates; name those that are trusted by --definition");
        }
        let workspaces: BTreeSet<_> = definitions.iter().map(|of| &of.workspace).collect();
        if self.definitions.is_empty() && workspaces.len() > 1 {
            bail!(
                "definitions of {} workspaces migrate, and each should have trust of its own: name those of one \
                 by --definition",
                workspaces.len()
            );
        }
        let runners = self.runners.iter().cloned().collect();
        let mut subjects: BTreeMap<String, Subject> = BTreeMap::new();
        for definition in &definitions {
            // Several definitions can have one runner's subject.
            subjects.extend(installation.subjects_of(definition, &runners)?);
        }
        let trust = TrustOf {
            issuer: installation.url.as_str().to_owned(),
            audience: installation.audience_or(self.audience.as_ref(), cloud)?,
            subjects: subjects.into_iter().collect(),
            name: self.name.clone(),
            existing_provider: self.existing_provider,
        };
        let generated = trust.generate(cloud)?;
        match self.format {
            Language::Hcl => output::print(&generated.hcl)?,
            Language::Json => output::print_json(&generated.json)?,
        }
        Ok(Exit::Success)
    }
}

/// A label of OpenTofu's that all clouds take as a name.
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
