//! Checks a refusal: its own response, one line in the log, and an honest request answered after it.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{RUN, Running, SHARED_RUNNER, SHARED_SUBJECT, Setup, answer, folder, run};

/// All that was logged by this process, as JSON.
pub static LOGGED: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&logged);
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Writer(Arc::clone(&writer)))
        .init();
    logged
});

pub struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines of this crate's own that name the request.
pub fn lines_of(request: &str) -> usize {
    let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
    logged
        .lines()
        .filter(|line| line.contains(request))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("countersign")))
        .count()
}

pub async fn started(setup: Setup) -> (tempfile::TempDir, Running) {
    LazyLock::force(&LOGGED);
    let folder = folder();
    let service = Running::with(folder.path(), setup).await;
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CREATED);
    (folder, service)
}

/// Asks, and checks that the answer is a refusal of its own, with one line in the log.
pub async fn refused(
    service: &Running,
    what: &str,
    response: reqwest::Response,
) -> (StatusCode, Value) {
    let request = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let (status, body) = answer(response).await;
    assert!(status.is_client_error(), "{what}: {status} {body}");
    assert!(body["error"].is_string() && body.get("access_token").is_none(), "{what}: {body}");
    assert_eq!(lines_of(&request), 1, "{what}");
    let honest = service.by_identity(RUN, &service.identity(SHARED_SUBJECT)).await.status();
    assert_eq!(honest, StatusCode::OK, "after {what}");
    (status, body)
}
