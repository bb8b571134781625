//! Credentials of registries, from the files and the helpers of Docker and Podman.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::reference::Repository;
use crate::store;

/// The maximum length of a file of credentials, and of a helper's answer, in bytes.
const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;

/// The time within which a helper has to answer.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A credential of a registry. It cannot be printed.
#[derive(Clone)]
pub(crate) enum Credential {
    /// A user and a password.
    Basic { user: String, password: Zeroizing<String> },
    /// A refresh token, which the token endpoint takes.
    Identity(Zeroizing<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

/// The reason that there is no credential where one is configured. No message has anything of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] store::StoreError),
    /// A file is malformed.
    #[error("{}: expected the `auths` of Docker or Podman, as `docker login` and `podman login` write them", .0.display())]
    Malformed(PathBuf),
    /// A helper cannot be used.
    #[error("the credential helper `docker-credential-{helper}` {problem}")]
    Helper {
        /// The helper.
        helper: String,
        /// The problem.
        problem: &'static str,
    },
}

/// The files in which credentials are looked for.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    files: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: HashMap<String, Auth>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    #[serde(deserialize_with = "secret")]
    auth: Zeroizing<String>,
    #[serde(deserialize_with = "secret")]
    identitytoken: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    #[serde(deserialize_with = "secret")]
    secret: Zeroizing<String>,
}

impl CredentialFiles {
    /// The files that Docker and Podman use, by the variables of the environment that `variable` reads:
    /// `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`, `DOCKER_CONFIG` and `HOME`. The first one that has a
    /// credential is used.
    pub fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder =
            |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = folder("HOME");
        if let Some(file) = folder("REGISTRY_AUTH_FILE") {
            return Self { files: vec![file] };
        }
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let podman = "containers/auth.json";
        let files = [
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join(podman)),
            folder("XDG_CONFIG_HOME").or(in_home(".config")).map(|folder| folder.join(podman)),
            folder("DOCKER_CONFIG").or(in_home(".docker")).map(|folder| folder.join("config.json")),
        ];
        Self { files: files.into_iter().flatten().collect() }
    }

    /// The credential for a repository; `None` where no file has one. Helpers are asked, so this may block.
    ///
    /// # Errors
    /// When a file is malformed, or a helper that is configured fails: to go on without would hide why access is denied.
    pub(crate) fn find(
        &self,
        repository: &Repository,
    ) -> Result<Option<Credential>, CredentialsError> {
        for path in &self.files {
            let Some(bytes) = store::read_following(path, MAX_CREDENTIALS_BYTES)? else { continue };
            let bytes = Zeroizing::new(bytes);
            // serde's own message could repeat a credential.
            let file: File = serde_json::from_slice(&bytes)
                .map_err(|_| CredentialsError::Malformed(path.clone()))?;
            if let Some(credential) = file.find(path, repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

impl File {
    fn find(
        &self,
        path: &Path,
        repository: &Repository,
    ) -> Result<Option<Credential>, CredentialsError> {
        let registry = repository.registry().as_str();
        let helper = self.cred_helpers.get(registry).map(String::as_str);
        if let Some(helper) =
            helper.or(Some(self.creds_store.as_str()).filter(|name| !name.is_empty()))
            && let Some(credential) = ask_helper(helper, registry)?
        {
            return Ok(Some(credential));
        }
        // Podman has namespaces and repositories too: the most specific one is meant.
        let whole = repository.to_string();
        let mut name = whole.as_str();
        loop {
            let legacy = [format!("https://{name}"), format!("https://{name}/v1/")];
            let keys = [name, legacy[0].as_str(), legacy[1].as_str()];
            if let Some(auth) = keys.iter().find_map(|key| self.auths.get(*key)) {
                return auth
                    .credential()
                    .ok_or_else(|| CredentialsError::Malformed(path.to_owned()));
            }
            match name.rsplit_once('/') {
                Some((shorter, _)) => name = shorter,
                None => return Ok(None),
            }
        }
    }
}

impl Auth {
    /// The credential; `Some(None)` where the entry is empty, as a helper's is, and `None` where it is malformed.
    fn credential(&self) -> Option<Option<Credential>> {
        if !self.identitytoken.is_empty() {
            return Some(Some(Credential::Identity(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            return Some(None);
        }
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(self.auth.as_bytes()).ok()?);
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let password = Zeroizing::new(password.trim_end_matches('\0').to_owned());
        Some(Some(Credential::Basic { user: user.to_owned(), password }))
    }
}

/// Reads a text that is wiped from memory when it is dropped.
pub(crate) fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Asks a helper (docker-credential-helpers, the command `get`). `None` where it has no credential for the registry.
fn ask_helper(helper: &str, registry: &str) -> Result<Option<Credential>, CredentialsError> {
    let failed = |problem| CredentialsError::Helper { helper: crate::oci::shown(helper), problem };
    // The name is a part of a program's, and no path to one.
    let is_name = !helper.is_empty()
        && helper
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !is_name {
        return Err(failed("has a name that is none"));
    }
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get");
    let (success, answer) = run_helper(command, registry, HELPER_TIMEOUT).map_err(failed)?;
    if !success {
        let text = String::from_utf8_lossy(&answer);
        // The one error that helpers agree on.
        if text.contains("credentials not found in native keychain") {
            return Ok(None);
        }
        return Err(failed("failed"));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&answer).map_err(|_| failed("gave no answer that is understood"))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credential::Identity(answer.secret),
        _ => Credential::Basic { user: answer.username, password: answer.secret },
    }))
}

/// Runs a helper, and returns whether it succeeded and what it wrote; or the problem.
fn run_helper(
    mut command: Command,
    registry: &str,
    within: Duration,
) -> Result<(bool, Zeroizing<Vec<u8>>), &'static str> {
    let deadline = Instant::now() + within;
    let late = "did not answer in time";
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // It may repeat what it was given.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| "is not installed")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends early has its say by its status.
        let _ = stdin.write_all(registry.as_bytes());
    }
    let stdout = child.stdout.take();
    let (send, receive) = mpsc::channel();
    // Never joined: another process, such as an agent that the helper starts, may hold the pipe open for ever.
    thread::spawn(move || {
        let mut answer = Zeroizing::new(Vec::new());
        if let Some(stdout) = stdout {
            let _ = stdout.take(MAX_CREDENTIALS_BYTES).read_to_end(&mut answer);
        }
        // Nobody waits for one that is late.
        let _ = send.send(answer);
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            _ => {
                // It is gone already, or the system ends it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(late);
            }
        }
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let answer = receive.recv_timeout(left).map_err(|_| late)?;
    Ok((status.success(), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, repository: &str) -> Result<Option<String>, CredentialsError> {
        let file: File = serde_json::from_str(file).unwrap();
        let found = file.find(Path::new("auth.json"), &repository.parse().unwrap())?;
        Ok(found.map(|credential| match credential {
            Credential::Basic { user, password } => format!("{user}:{}", *password),
            Credential::Identity(token) => format!("token {}", *token),
        }))
    }

    #[test]
    fn the_most_specific_entry_is_meant() {
        let auth = |text: &str| format!(r#"{{"auth":"{}"}}"#, BASE64_STANDARD.encode(text));
        let file = format!(
            r#"{{"auths":{{"r.example":{},"r.example/a":{},"https://legacy.example/v1/":{},"empty.example":{{}},"t.example":{{"identitytoken":"x"}},"bad.example":{{"auth":"!"}}}}}}"#,
            auth("all:1"),
            auth("a:2:3"),
            auth("old:4"),
        );
        let of = |repository: &str| found(&file, repository);
        assert_eq!(of("r.example/b").unwrap().unwrap(), "all:1");
        assert_eq!(of("r.example/a").unwrap().unwrap(), "a:2:3");
        assert_eq!(of("r.example/a/b").unwrap().unwrap(), "a:2:3");
        assert_eq!(of("r.example/ab").unwrap().unwrap(), "all:1");
        assert_eq!(of("legacy.example/a").unwrap().unwrap(), "old:4");
        assert_eq!(of("t.example/a").unwrap().unwrap(), "token x");
        assert_eq!(of("r.example:5000/a").unwrap(), None);
        assert_eq!(of("empty.example/a").unwrap(), None);
        let error = of("bad.example/a").unwrap_err();
        assert!(matches!(error, CredentialsError::Malformed(_)), "{error}");
    }

    #[test]
    fn a_helper_is_a_name() {
        for helper in ["../evil", "a/b", "a b", "$(x)"] {
            let file = format!(r#"{{"credHelpers":{{"r.example":"{helper}"}}}}"#);
            assert!(found(&file, "r.example/a").is_err(), "{helper}");
        }
    }

    /// An agent that a helper starts may keep its output open for ever.
    #[cfg(unix)]
    #[test]
    fn a_helper_has_to_answer_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut command = Command::new("sh");
        // The process in the background has the output of the helper, until somebody opens the pipe.
        command.args(["-c", "read host; (read line < \"$0\") & exit 0"]).arg(&fifo);
        let ran = run_helper(command, "r.example", Duration::from_secs(1));
        assert_eq!(ran.unwrap_err(), "did not answer in time");
        std::fs::write(&fifo, "\n").unwrap();
    }

    #[test]
    fn a_credential_cannot_be_printed() {
        let password = Zeroizing::new("secret".to_owned());
        let printed = format!("{:?}", Credential::Basic { user: "user".to_owned(), password });
        assert!(!printed.contains("secret") && !printed.contains("user"), "{printed}");
    }
}
