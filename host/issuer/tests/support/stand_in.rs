//! A trusted issuer on loopback, whose responses a test sets.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use countersign_signing::{KeySet, SigningKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The issuer's responses, and the requests that it had.
#[derive(Default)]
struct Pages {
    pages: HashMap<String, Page>,
    asked: Vec<(String, HeaderMap)>,
}

#[derive(Clone)]
struct Page {
    status: u16,
    body: String,
    headers: Vec<(&'static str, String)>,
}

pub(crate) struct StandIn {
    pub url: String,
    pages: Arc<Mutex<Pages>>,
    /// True while responses are held back.
    held: watch::Sender<bool>,
}

impl StandIn {
    /// Starts one that publishes a key set without keys.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (pages, (held, is_held)) = (Arc::<Mutex<Pages>>::default(), watch::channel(false));
        let state = (Arc::clone(&pages), is_held);
        let router = Router::new().fallback(respond).with_state(state);
        tokio::spawn(serve_plainly(listener, router));
        let issuer = Self { url, pages, held };
        let document = json!({"issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url)});
        issuer.set(DISCOVERY, document.to_string());
        issuer.publish_jwks(&[]);
        issuer
    }

    pub(crate) fn set(&self, path: &str, body: String) {
        self.put(path, 200, body, Vec::new());
    }

    pub(crate) fn fail(&self, path: &str, status: u16) {
        self.put(path, status, String::new(), vec![("location", "/jwks".to_owned())]);
    }

    /// Sets a response with its `Cache-Control`.
    pub(crate) fn set_cached(&self, path: &str, body: String, cache_control: &str) {
        self.put(path, 200, body, vec![("cache-control", cache_control.to_owned())]);
    }

    fn put(&self, path: &str, status: u16, body: String, headers: Vec<(&'static str, String)>) {
        let page = Page { status, body, headers };
        self.pages.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    pub(crate) fn page(&self, path: &str) -> String {
        self.pages.lock().unwrap().pages[path].body.clone()
    }

    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        let keys = KeySet::new(keys.iter().map(|key| key.public()));
        self.set("/jwks", serde_json::to_string(&keys).unwrap());
    }

    pub(crate) fn publish_jwks(&self, keys: &[Value]) {
        self.set("/jwks", json!({"keys": keys}).to_string());
    }

    /// Holds responses back, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send(held).unwrap();
    }

    /// The number of requests that it had.
    pub(crate) fn asked(&self) -> usize {
        self.pages.lock().unwrap().asked.len()
    }

    /// The paths of these requests, and their headers.
    pub(crate) fn requests(&self) -> Vec<(String, HeaderMap)> {
        self.pages.lock().unwrap().asked.clone()
    }
}

async fn respond(
    State((pages, mut held)): State<(Arc<Mutex<Pages>>, watch::Receiver<bool>)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    pages.lock().unwrap().asked.push((uri.path().to_owned(), headers));
    held.wait_for(|held| !held).await.unwrap();
    let page = pages.lock().unwrap().pages.get(uri.path()).cloned();
    let page = page.unwrap_or(Page { status: 404, body: String::new(), headers: Vec::new() });
    let mut response = Response::builder().status(StatusCode::from_u16(page.status).unwrap());
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(page.body)).unwrap()
}

/// Serves plain HTTP without a limit of any kind.
pub(crate) async fn serve_plainly(listener: TcpListener, router: Router) {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}
