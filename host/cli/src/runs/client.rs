//! A client of the administration of runs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{RunId, RunnerId};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use crate::token::{body, http_client, service_url, whole};
use countersign_deployment::files;

/// The maximum length of the file of an API key, in bytes.
const MAX_KEY_FILE: u64 = 8 << 10;

/// The maximum length of a response, in bytes.
const MAX_RESPONSE: usize = 4 << 20;

/// The service, and the credential of the control plane.
#[derive(Args)]
pub(super) struct ServiceArguments {
    /// The URL of the service
    #[arg(long, value_name = "URL")]
    url: String,

    /// The file with an API key that has the permission `runs`, or with a token of a trusted issuer
    #[arg(long, value_name = "FILE")]
    api_key_file: PathBuf,

    /// Certificate authorities (PEM) to verify the service with, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A run, as the service shows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Run {
    pub run: String,
    pub runner: String,
    pub workspace: String,
    pub definition_workspace: String,
    pub definition: String,
    pub state: String,
    pub registered_at: u64,
    pub expires_at: u64,
    pub finished_at: Option<u64>,
}

/// A page of runs.
#[derive(Deserialize)]
pub(super) struct Page {
    pub runs: Vec<Run>,
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Finished {
    finished: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    error_description: String,
}

/// A client of a service.
pub(super) struct Client {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
    credential: HeaderValue,
}

impl ServiceArguments {
    pub(super) fn client(&self) -> Result<Client> {
        let url = service_url(&self.url)?;
        let authorities = self.ca_file.as_deref().map(|file| files::read(file, 1 << 20));
        let client = http_client(authorities.transpose()?.as_deref())?;
        let key = Zeroizing::new(files::read_text(&self.api_key_file, MAX_KEY_FILE)?);
        let bearer = Zeroizing::new(format!("Bearer {}", *key));
        // The error of a header value has nothing of it.
        let mut credential =
            HeaderValue::from_str(&bearer).context("--api-key-file: expected one line of ASCII")?;
        credential.set_sensitive(true);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Client { runtime, client, url, credential })
    }
}

impl Client {
    /// A page of runs.
    pub(super) fn page(&self, query: &[(&str, &str)]) -> Result<Page> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.read(Method::GET, &format!("/v1/runs?{query}"))
    }

    pub(super) fn run(&self, id: &RunId) -> Result<Run> {
        self.read(Method::GET, &format!("/v1/runs/{id}"))
    }

    pub(super) fn finish(&self, id: &RunId) -> Result<()> {
        self.ask(Method::POST, &format!("/v1/runs/{id}/finish")).map(drop)
    }

    /// Finishes the live runs of a runner, and gives their number.
    pub(super) fn finish_runner(&self, runner: &RunnerId) -> Result<u64> {
        let finished: Finished =
            self.read(Method::POST, &format!("/v1/runners/{runner}/finish"))?;
        Ok(finished.finished)
    }

    fn read<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T> {
        let body = self.ask(method, path)?;
        serde_json::from_slice(&body)
            .context("the response is none of this API: is this the service?")
    }

    fn ask(&self, method: Method, path: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.runtime.block_on(async {
            let request = self.client.request(method, format!("{}{path}", self.url));
            let request = request.header(AUTHORIZATION, self.credential.clone());
            let response =
                request.send().await.map_err(|error| anyhow::anyhow!("{}", whole(error)))?;
            let status = response.status();
            let body = body(response, MAX_RESPONSE).await.map_err(anyhow::Error::msg)?;
            if matches!(status, StatusCode::OK | StatusCode::NO_CONTENT) {
                return Ok(body);
            }
            let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
            match error.error_description.as_str() {
                "" => bail!("the service responded {}", status.as_u16()),
                description => bail!("the service responded {}: {description}", status.as_u16()),
            }
        })
    }
}
