//! `countersign env`

mod check;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use countersign::{Audience, RunId};
use serde_json::{Map, Value, json};

use crate::output::{self, Exit};
use crate::token::service_url;
use countersign_deployment::files;

/// Print the environment variables of a cloud's OpenTofu provider
#[derive(Args)]
#[command(after_help = "\
Examples:
  eval \"$(countersign env aws --role-arn arn:aws:iam::123456789012:role/runs --region eu-central-1)\"
  eval \"$(countersign env azure --client-id \"$ID\" --tenant-id \"$TENANT\" --subscription-id \"$SUB\")\"
  eval \"$(countersign env gcp --write credentials.json --audience \"$PROVIDER\" \\
      --service-account \"$ACCOUNT\")\"

The token itself is in a file that `countersign token --write` renews. No secret is printed. `--format json` prints an object of names and values.")]
pub(crate) struct Env {
    #[command(subcommand)]
    cloud: CloudCommand,

    /// The form of the output
    #[arg(long, global = true, value_enum, default_value_t = EnvFormat::Sh)]
    format: EnvFormat,
}

#[derive(Subcommand)]
enum CloudCommand {
    Aws(Aws),
    Gcp(Gcp),
    Azure(Azure),
    Stackit(Stackit),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EnvFormat {
    /// Shell commands
    Sh,
    /// An object of names and values
    Json,
}

/// For the providers `aws` and `awscc`, the AWS CLI and SDKs
#[derive(Args)]
struct Aws {
    /// The role to assume
    #[arg(long, value_name = "ARN", value_parser = check::role)]
    role_arn: String,

    /// The region
    #[arg(long, value_name = "REGION", value_parser = check::region)]
    region: Option<String>,

    /// The session's name in AWS's own log
    #[arg(long, value_name = "NAME", default_value = "countersign", value_parser = check::session)]
    session_name: String,

    /// The token's file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/run/secrets/workload-identity/aws/token"
    )]
    token_file: PathBuf,
}

/// For the providers `google` and `google-beta`, and Google's libraries
#[derive(Args)]
#[command(after_help = "\
Google's libraries read a credential file (`external_account`), which --write creates. It refers to the
token's file; or, with --url, --run and --run-token-file, to the URL that serves a token for
each use. It then contains the run token, and only its owner can read it.")]
struct Gcp {
    /// The provider's resource name: `//iam.googleapis.com/projects/…/providers/…`
    #[arg(long, value_name = "PROVIDER", value_parser = provider)]
    audience: String,

    /// The service account to impersonate; none if the principal itself has the roles
    #[arg(long, value_name = "EMAIL", value_parser = check::email)]
    service_account: Option<String>,

    /// The credential file to write
    #[arg(long, short, value_name = "PATH")]
    write: PathBuf,

    /// The token's file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/run/secrets/workload-identity/gcp/token"
    )]
    token_file: PathBuf,

    /// The service's URL, to fetch tokens from it instead of a file
    #[arg(long, value_name = "URL", requires_all = ["run", "run_token_file", "token_audience"])]
    url: Option<String>,

    /// The run, with --url
    #[arg(long, value_name = "UUID", requires = "url")]
    run: Option<RunId>,

    /// The run token's file, with --url
    #[arg(long, value_name = "FILE", requires = "url")]
    run_token_file: Option<PathBuf>,

    /// The audience of the token (`aud`), with --url
    #[arg(long, value_name = "AUDIENCE", requires = "url")]
    token_audience: Option<Audience>,

    /// Google's Security Token Service
    #[arg(long, value_name = "URL", default_value = "https://sts.googleapis.com/v1/token")]
    sts_url: String,
}

/// For the providers `azurerm`, `azuread` and `azapi`, and Azure's libraries
#[derive(Args)]
struct Azure {
    /// The client id of the identity
    #[arg(long, value_name = "UUID", value_parser = check::uuid)]
    client_id: String,

    /// The tenant, by its id or one of its domains
    #[arg(long, value_name = "TENANT", value_parser = check::tenant)]
    tenant_id: String,

    /// The subscription
    #[arg(long, value_name = "UUID", value_parser = check::uuid)]
    subscription_id: Option<String>,

    /// The token's file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/run/secrets/workload-identity/azure/token"
    )]
    token_file: PathBuf,
}

/// For the provider `stackit`, and STACKIT's libraries
#[derive(Args)]
struct Stackit {
    /// The service account
    #[arg(long, value_name = "EMAIL", value_parser = check::email)]
    service_account: String,

    /// The token's file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/var/run/secrets/workload-identity/stackit/token"
    )]
    token_file: PathBuf,
}

/// Names and values.
type Variables = Vec<(&'static str, String)>;

impl Env {
    pub(crate) fn run(&self) -> Result<Exit> {
        let variables = match &self.cloud {
            CloudCommand::Aws(aws) => aws.variables()?,
            CloudCommand::Gcp(gcp) => gcp.write()?,
            CloudCommand::Azure(azure) => azure.variables()?,
            CloudCommand::Stackit(stackit) => stackit.variables()?,
        };
        print(&variables, self.format)
    }
}

impl Aws {
    fn variables(&self) -> Result<Variables> {
        let mut variables = vec![
            ("AWS_ROLE_ARN", self.role_arn.clone()),
            ("AWS_ROLE_SESSION_NAME", self.session_name.clone()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&self.token_file)?),
        ];
        variables.extend(self.region.clone().map(|region| ("AWS_REGION", region)));
        Ok(variables)
    }
}

impl Azure {
    fn variables(&self) -> Result<Variables> {
        let token_file = text(&self.token_file)?;
        let mut variables = vec![
            ("ARM_USE_OIDC", "true".to_owned()),
            ("ARM_CLIENT_ID", self.client_id.clone()),
            ("ARM_TENANT_ID", self.tenant_id.clone()),
            ("ARM_OIDC_TOKEN_FILE_PATH", token_file.clone()),
            ("AZURE_CLIENT_ID", self.client_id.clone()),
            ("AZURE_TENANT_ID", self.tenant_id.clone()),
            ("AZURE_FEDERATED_TOKEN_FILE", token_file),
        ];
        variables.extend(self.subscription_id.clone().map(|id| ("ARM_SUBSCRIPTION_ID", id)));
        Ok(variables)
    }
}

impl Stackit {
    fn variables(&self) -> Result<Variables> {
        Ok(vec![
            ("STACKIT_USE_OIDC", "1".to_owned()),
            ("STACKIT_SERVICE_ACCOUNT_EMAIL", self.service_account.clone()),
            ("STACKIT_FEDERATED_TOKEN_FILE", text(&self.token_file)?),
        ])
    }
}

impl Gcp {
    fn write(&self) -> Result<Variables> {
        let source = match (&self.url, &self.run, &self.run_token_file, &self.token_audience) {
            (Some(url), Some(run), Some(file), Some(audience)) => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("audience", audience.as_str());
                let (url, query) = (service_url(url)?, query.finish());
                json!({
                    "url": format!("{url}/v1/runs/{run}/token?{query}"),
                    "headers": { "Authorization": format!("Bearer {}", files::read_text(file, 16 << 10)?) },
                    "format": { "type": "json", "subject_token_field_name": "value" },
                })
            }
            _ => json!({ "file": text(&self.token_file)?, "format": { "type": "text" } }),
        };
        let mut credentials = json!({
            "type": "external_account",
            "audience": self.audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": self.sts_url,
            "credential_source": source,
        });
        if let Some(account) = &self.service_account {
            let url = format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
            );
            if let Some(members) = credentials.as_object_mut() {
                members.insert("service_account_impersonation_url".to_owned(), url.into());
            }
        }
        let file = format!("{credentials:#}\n");
        files::replace(&self.write, file.as_bytes(), true)?;
        let path =
            std::path::absolute(&self.write).with_context(|| self.write.display().to_string())?;
        Ok(vec![("GOOGLE_APPLICATION_CREDENTIALS", text(&path)?)])
    }
}

/// Parses the resource name of a provider, in the form of Google's libraries.
fn provider(text: &str) -> Result<String, String> {
    if text.starts_with("//iam.googleapis.com/") && text.contains("/providers/") {
        return Ok(text.to_owned());
    }
    Err("expected //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/ID/providers/ID".to_owned())
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(ToOwned::to_owned);
    text.with_context(|| format!("{}: not UTF-8", path.display()))
}

fn print(variables: &[(&str, String)], format: EnvFormat) -> Result<Exit> {
    match format {
        EnvFormat::Sh => {
            let lines: String = variables
                .iter()
                .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
                .collect();
            output::print(&lines)?;
        }
        EnvFormat::Json => {
            let object: Map<String, Value> = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
                .collect();
            output::print_json(&object)?;
        }
    }
    Ok(Exit::Success)
}

/// Quotes a word for a shell (POSIX section 2.2.2), so that nothing in it is evaluated.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
