//! The API server of a cluster: lists and watches of Jobs, by its REST interface.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_deployment::files;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::job::{KubernetesJob, RUN};
use crate::token::{body, http_client, service_url, whole};

/// The maximum length of a service account's token, in bytes.
const MAX_TOKEN: u64 = 64 << 10;

/// The maximum length of a page of Jobs, or of an event, in bytes. Kubernetes keeps no object of more than 1.5 MB.
const MAX_PAGE: usize = 64 << 20;
const MAX_EVENT: usize = 4 << 20;

/// The maximum of Jobs that are asked for at a time.
const PAGE: usize = 50;

/// The seconds after which the API server ends a watch, and the time after which this process does.
const WATCH_SECONDS: u64 = 300;
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS + 30);

/// An API server.
pub(super) struct Cluster {
    client: reqwest::Client,
    url: String,
    token_file: PathBuf,
}

/// The Jobs at one moment.
pub(super) struct Listed {
    pub(super) jobs: Vec<KubernetesJob>,
    pub(super) resource_version: String,
}

/// A change of a Job.
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) job: KubernetesJob,
    pub(super) resource_version: String,
}

/// The kind of a change.
pub(super) enum EventKind {
    /// It is new, or changed.
    Seen,
    /// It is gone.
    Deleted,
    /// Nothing changed; the version did.
    Bookmark,
}

/// A request that the API server did not answer as expected.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClusterError {
    /// The changes since a version are not there any more: 410.
    #[error("the cluster does not have the changes since then any more")]
    Gone,
    /// It answered another status.
    #[error("the cluster responded {status}: {message}")]
    Status {
        /// The status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// There was no answer, or none that can be read.
    #[error("the cluster: {0}")]
    NoAnswer(String),
    /// The token cannot be read.
    #[error("--cluster-token-file: {0}")]
    Token(String),
}

#[derive(Deserialize)]
struct JobList {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<KubernetesJob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default)]
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct EventBody {
    r#type: String,
    object: serde_json::Value,
}

/// The object of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusBody {
    code: u16,
    message: String,
}

/// A watch, which gives one event after the other.
pub(super) struct JobWatch {
    response: Response,
    buffer: Vec<u8>,
}

impl Cluster {
    /// An API server at a URL, or that of this pod.
    pub(super) fn new(url: Option<&str>, ca_file: &Path, token_file: PathBuf) -> Result<Self> {
        let found = || {
            let variable = |name: &str| {
                std::env::var(name).ok().filter(|value| !value.is_empty()).with_context(|| {
                    format!("{name} is not set: this is no pod; name the API server by --cluster")
                })
            };
            let host = variable("KUBERNETES_SERVICE_HOST")?;
            let port = variable("KUBERNETES_SERVICE_PORT")?;
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            anyhow::Ok(format!("https://{host}:{port}"))
        };
        let url = url.map_or_else(found, |url| Ok(url.to_owned()))?;
        let url = service_url(&url).context("--cluster")?;
        let authorities = match url.starts_with("https:") {
            true => Some(files::read(ca_file, 1 << 20)?),
            false => None,
        };
        let client = http_client(authorities.as_deref()).context("--cluster-ca-file")?;
        Ok(Self { client, url, token_file })
    }

    /// The Jobs of runs, at one moment.
    pub(super) async fn jobs(&self, namespace: &str) -> Result<Listed, ClusterError> {
        let (mut jobs, mut next) = (Vec::new(), String::new());
        loop {
            let limit = PAGE.to_string();
            let mut query = vec![("limit", limit.as_str())];
            if !next.is_empty() {
                query.push(("continue", next.as_str()));
            }
            let response = self.ask(namespace, &query, None).await?;
            let body = body(response, MAX_PAGE).await.map_err(ClusterError::NoAnswer)?;
            let list: JobList = serde_json::from_slice(&body)
                .map_err(|_| ClusterError::NoAnswer("the list is no list of Jobs".to_owned()))?;
            jobs.extend(list.items);
            match list.metadata.r#continue.filter(|next| !next.is_empty()) {
                Some(more) if more == next => {
                    return Err(ClusterError::NoAnswer("the list does not end".to_owned()));
                }
                Some(more) => next = more,
                None => {
                    let resource_version = list.metadata.resource_version;
                    return Ok(Listed { jobs, resource_version });
                }
            }
        }
    }

    /// The changes since a version.
    pub(super) async fn watch(
        &self,
        namespace: &str,
        version: &str,
    ) -> Result<JobWatch, ClusterError> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let response = self.ask(namespace, &query, Some(WATCH_TIMEOUT)).await?;
        Ok(JobWatch { response, buffer: Vec::new() })
    }

    async fn ask(
        &self,
        namespace: &str,
        query: &[(&str, &str)],
        timeout: Option<Duration>,
    ) -> Result<Response, ClusterError> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        let query = pairs.append_pair("labelSelector", RUN).extend_pairs(query).finish();
        let path = format!("{}/apis/batch/v1/namespaces/{namespace}/jobs?{query}", self.url);
        // Each time: the kubelet replaces it before it expires.
        let token = files::read_text(&self.token_file, MAX_TOKEN);
        let token = Zeroizing::new(token.map_err(|error| ClusterError::Token(error.to_string()))?);
        let bearer = Zeroizing::new(format!("Bearer {}", token.trim_end()));
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| ClusterError::Token("expected one line of ASCII".to_owned()))?;
        bearer.set_sensitive(true);
        let mut request = self.client.get(path).header(AUTHORIZATION, bearer);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let response =
            request.send().await.map_err(|error| ClusterError::NoAnswer(whole(error)))?;
        match response.status().as_u16() {
            200 => Ok(response),
            410 => Err(ClusterError::Gone),
            status => {
                let body = body(response, MAX_EVENT).await.unwrap_or_default();
                let said: StatusBody = serde_json::from_slice(&body).unwrap_or_default();
                Err(ClusterError::Status { status, message: said.message })
            }
        }
    }
}

impl JobWatch {
    /// The next event; `None` when the API server has ended the watch.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClusterError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return event(&line).map(Some);
            }
            if self.buffer.len() > MAX_EVENT {
                return Err(ClusterError::NoAnswer("an event is too long".to_owned()));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(ClusterError::NoAnswer(whole(error))),
            }
        }
    }
}

fn event(line: &[u8]) -> Result<Event, ClusterError> {
    let unreadable = || ClusterError::NoAnswer("an event is none of a watch".to_owned());
    let EventBody { r#type, object } = serde_json::from_slice(line).map_err(|_| unreadable())?;
    let kind = match r#type.as_str() {
        "ADDED" | "MODIFIED" => EventKind::Seen,
        "DELETED" => EventKind::Deleted,
        "BOOKMARK" => EventKind::Bookmark,
        "ERROR" => {
            let said: StatusBody = serde_json::from_value(object).unwrap_or_default();
            return Err(match said.code {
                410 => ClusterError::Gone,
                status => ClusterError::Status { status, message: said.message },
            });
        }
        _ => return Err(unreadable()),
    };
    let job: KubernetesJob = serde_json::from_value(object).map_err(|_| unreadable())?;
    let resource_version = job.metadata.resource_version.clone();
    if resource_version.is_empty() {
        return Err(unreadable());
    }
    Ok(Event { kind, job, resource_version })
}
