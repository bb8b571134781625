//! A stand-in for a registry on loopback: the distribution specification in a page, with or without the referrers API, and with
//! every answer that a hostile one could give.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign::Digest;
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The content of a registry.
#[derive(Clone, Default)]
pub(crate) struct Content {
    /// By repository and digest.
    pub blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and digest or tag: media type and bytes.
    pub manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
}

/// A request that the stand-in saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

/// An answer.
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// A body that ends before its length.
    Truncated(Vec<u8>),
    /// A body that never ends.
    Endless,
    /// No answer, until the stand-in is dropped.
    Hang,
}

/// The answer in the place of the registry's own.
type Fault = Box<dyn Fn(&Seen) -> Option<Reply> + Send>;

/// The authentication that is asked for.
#[derive(Clone)]
pub(crate) enum Auth {
    Nobody,
    Basic {
        user: &'static str,
        password: &'static str,
    },
    /// A token of the endpoint, which is the stand-in's own or another one's.
    Token {
        realm: String,
        user: &'static str,
        password: &'static str,
    },
}

/// The token that the stand-in gives and takes.
const TOKEN: &str = "token-of-the-stand-in";

struct State {
    content: Mutex<Content>,
    seen: Mutex<Vec<Seen>>,
    fault: Mutex<Option<Fault>>,
    auth: Mutex<Auth>,
    has_referrers: bool,
    is_over: AtomicBool,
}

/// A registry that is running.
pub(crate) struct StandIn {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl StandIn {
    /// Starts a registry with some content; with the referrers API, or without it.
    pub(crate) fn start(content: Content, has_referrers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            content: Mutex::new(content),
            seen: Mutex::default(),
            fault: Mutex::default(),
            auth: Mutex::new(Auth::Nobody),
            has_referrers,
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let state = Arc::clone(&of_thread);
                // A client that was killed is gone.
                thread::spawn(move || stream.and_then(|stream| state.serve(stream)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn content(&self) -> Content {
        self.state.content.lock().unwrap().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.state.content.lock().unwrap());
    }

    pub(crate) fn fault(&self, fault: impl Fn(&Seen) -> Option<Reply> + Send + 'static) {
        *self.state.fault.lock().unwrap() = Some(Box::new(fault));
    }

    pub(crate) fn no_fault(&self) {
        *self.state.fault.lock().unwrap() = None;
    }

    pub(crate) fn ask_for(&self, auth: Auth) {
        *self.state.auth.lock().unwrap() = auth;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// An answer with a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Reply::Answer { status, headers: headers.collect(), body: body.into() }
}

impl State {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut parts = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return Ok(()) };
        let (mut length, mut authorization) = (0, None);
        let mut content_type = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "authorization" => authorization = Some(value.to_owned()),
                "content-type" => value.clone_into(&mut content_type),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let seen = Seen { method, target, authorization, body };
        self.seen.lock().unwrap().push(seen.clone());
        let fault = self.fault.lock().unwrap().as_ref().and_then(|fault| fault(&seen));
        let reply = fault.unwrap_or_else(|| self.reply(&seen, &content_type));
        self.write(reader.into_inner(), &seen, reply)
    }

    fn write(&self, mut stream: TcpStream, seen: &Seen, reply: Reply) -> std::io::Result<()> {
        let head = |status: u16, headers: &[(String, String)], length: &str| {
            let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{length}");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head + "\r\n"
        };
        match reply {
            Reply::Answer { status, headers, body } => {
                let length = format!("content-length: {}\r\n", body.len());
                stream.write_all(head(status, &headers, &length).as_bytes())?;
                if seen.method != "HEAD" {
                    stream.write_all(&body)?;
                }
                stream.flush()
            }
            Reply::Truncated(body) => {
                let length = format!("content-length: {}\r\n", body.len());
                stream.write_all(head(200, &[], &length).as_bytes())?;
                stream.write_all(&body[..body.len() / 2])
            }
            Reply::Endless => {
                stream.write_all(head(200, &[], "").as_bytes())?;
                while !self.is_over.load(Ordering::SeqCst) {
                    stream.write_all(&[0; 4096])?;
                }
                Ok(())
            }
            Reply::Hang => {
                while !self.is_over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }
        }
    }

    fn reply(&self, seen: &Seen, content_type: &str) -> Reply {
        if let Some(refused) = self.authenticate(seen) {
            return refused;
        }
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let Some(path) = path.strip_prefix("/v2/") else { return answer(404, &[], "") };
        if path.is_empty() {
            return answer(200, &[], "{}");
        }
        let mut content = self.content.lock().unwrap();
        if let Some((name, target)) = path.split_once("/manifests/") {
            let key = (name.to_owned(), target.to_owned());
            if seen.method == "PUT" {
                return self.put(&mut content, key, content_type, &seen.body);
            }
            return match content.manifests.get(&key) {
                Some((kind, bytes)) => {
                    let digest = Digest::of(bytes).to_string();
                    let headers =
                        [("content-type", kind.as_str()), ("docker-content-digest", &digest)];
                    answer(200, &headers, bytes.clone())
                }
                None => not_found("MANIFEST_UNKNOWN"),
            };
        }
        if let Some((name, target)) = path.split_once("/blobs/uploads/") {
            if seen.method == "POST" {
                let location = format!("/v2/{name}/blobs/uploads/1");
                return answer(202, &[("location", &location)], "");
            }
            let digest = query.rsplit("digest=").next().unwrap_or_default().replace("%3A", ":");
            let is_right = target == "1" && Digest::of(&seen.body).to_string() == digest;
            if !is_right {
                return answer(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
            }
            content.blobs.insert((name.to_owned(), digest), seen.body.clone());
            return answer(201, &[], "");
        }
        if let Some((name, digest)) = path.split_once("/blobs/") {
            return match content.blobs.get(&(name.to_owned(), digest.to_owned())) {
                Some(bytes) => {
                    answer(200, &[("content-type", "application/octet-stream")], bytes.clone())
                }
                None => not_found("BLOB_UNKNOWN"),
            };
        }
        if let Some((name, digest)) = path.split_once("/referrers/")
            && self.has_referrers
        {
            return answer(200, &[("content-type", INDEX)], referrers(&content, name, digest));
        }
        not_found("NOT_FOUND")
    }

    fn put(
        &self,
        content: &mut Content,
        (name, target): (String, String),
        content_type: &str,
        body: &[u8],
    ) -> Reply {
        let digest = Digest::of(body).to_string();
        let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
        let subject = parsed.pointer("/subject/digest").and_then(Value::as_str);
        let mut headers = vec![("docker-content-digest", digest.as_str())];
        if let Some(subject) = subject.filter(|_| self.has_referrers) {
            headers.push(("oci-subject", subject));
        }
        let reply = answer(201, &headers, "");
        for target in [digest, target] {
            let stored = (content_type.to_owned(), body.to_vec());
            content.manifests.insert((name.clone(), target), stored);
        }
        reply
    }

    /// The refusal of a request that lacks what is asked for.
    fn authenticate(&self, seen: &Seen) -> Option<Reply> {
        let basic = |user: &str, password: &str| {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        };
        let given = seen.authorization.as_deref().unwrap_or_default();
        match &*self.auth.lock().unwrap() {
            Auth::Nobody => None,
            Auth::Basic { user, password } => (given != basic(user, password))
                .then(|| answer(401, &[("www-authenticate", "Basic realm=\"stand-in\"")], "")),
            Auth::Token { realm, user, password } => {
                if seen.target.starts_with("/token") {
                    return Some(match given == basic(user, password) {
                        true => answer(200, &[], json!({ "token": TOKEN }).to_string()),
                        // Anonymous: a token that opens nothing.
                        false => answer(200, &[], json!({ "token": "anonymous" }).to_string()),
                    });
                }
                let challenge = format!("Bearer realm=\"{realm}\",service=\"stand-in\"");
                let is_given = given == format!("Bearer {TOKEN}");
                (!is_given).then(|| answer(401, &[("www-authenticate", &challenge)], ""))
            }
        }
    }
}

fn not_found(code: &str) -> Reply {
    answer(404, &[], json!({ "errors": [{ "code": code, "message": "no" }] }).to_string())
}

/// The index of what refers to a manifest.
fn referrers(content: &Content, name: &str, digest: &str) -> String {
    let of_name = content
        .manifests
        .iter()
        .filter(|((repository, target), _)| repository == name && target.starts_with("sha256:"));
    let manifests = of_name.filter_map(|(_, (kind, bytes))| {
        let parsed: Value = serde_json::from_slice(bytes).ok()?;
        (parsed.pointer("/subject/digest")? == digest && kind == MANIFEST).then(|| {
            json!({
                "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len(),
                "artifactType": parsed["artifactType"], "annotations": parsed["annotations"],
            })
        })
    });
    let manifests: Vec<_> = manifests.collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string()
}
