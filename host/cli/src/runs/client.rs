//! A client of the administration of runs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{RunId, RunnerId};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
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

/// A client of a service, which waits for each answer.
pub(super) struct Client {
    runtime: Runtime,
    api: Api,
}

/// The administration of runs of a service.
pub(super) struct Api {
    client: reqwest::Client,
    url: String,
    credential: HeaderValue,
}

/// An answer that is none of the expected ones.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The service gave none.
    #[error("{0}")]
    NoAnswer(String),
    /// The service said no.
    #[error("the service responded {status}{}", described(.description))]
    Status {
        /// Its status.
        status: u16,
        /// Its description, if it has one.
        description: String,
    },
}

fn described(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(": {description}") }
}

impl ServiceArguments {
    pub(super) fn client(&self) -> Result<Client> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Client { runtime, api: self.api()? })
    }

    pub(super) fn api(&self) -> Result<Api> {
        let url = service_url(&self.url)?;
        let authorities = self.ca_file.as_deref().map(|file| files::read(file, 1 << 20));
        let client = http_client(authorities.transpose()?.as_deref())?;
        let key = Zeroizing::new(files::read_text(&self.api_key_file, MAX_KEY_FILE)?);
        let bearer = Zeroizing::new(format!("Bearer {}", *key));
        // The error of a header value has nothing of it.
        let mut credential =
            HeaderValue::from_str(&bearer).context("--api-key-file: expected one line of ASCII")?;
        credential.set_sensitive(true);
        Ok(Api { client, url, credential })
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
        Ok(self.runtime.block_on(self.api.ask(method, path, None))?)
    }
}

impl Api {
    /// Registers a run with the runner that executes it. The object is sent as it is.
    pub(super) async fn register(
        &self,
        run: &RunId,
        runner: &RunnerId,
        object: String,
    ) -> Result<(), ApiError> {
        let path = format!("/v1/runs/{run}?runner={runner}");
        self.ask(Method::PUT, &path, Some(object)).await.map(drop)
    }

    /// Ends a run.
    pub(super) async fn finish(&self, run: &RunId) -> Result<(), ApiError> {
        self.ask(Method::POST, &format!("/v1/runs/{run}/finish"), None).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        object: Option<String>,
    ) -> Result<Zeroizing<Vec<u8>>, ApiError> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let mut request = request.header(AUTHORIZATION, self.credential.clone());
        if let Some(object) = object {
            request = request.header(CONTENT_TYPE, "application/json").body(object);
        }
        let response = request.send().await.map_err(|error| ApiError::NoAnswer(whole(error)))?;
        let status = response.status();
        let body = body(response, MAX_RESPONSE).await.map_err(ApiError::NoAnswer)?;
        if matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT) {
            return Ok(body);
        }
        let error: ErrorBody = serde_json::from_slice(&body).unwrap_or_default();
        Err(ApiError::Status { status: status.as_u16(), description: error.error_description })
    }
}
