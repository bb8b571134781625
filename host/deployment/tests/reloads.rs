//! Snapshots: each file is read once, and told apart by its digest.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use countersign::Engine;
use countersign_deployment::files::{FileError, FileKind, FileSource, FileSystem};
use countersign_deployment::{Deployment, Loader, Snapshot};
use countersign_policy_artifacts::SAME_WORKSPACE;

const CONFIG: &str = r#"
policies = "countersign.toml"
state = "state"

[[trusted-issuer]]
url = "https://cluster.example.com"
jwks-file = "jwks.json"
"#;

/// The key of RFC 7517 appendix A.1.
const JWKS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

const LIMITS: &str = "limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }";

const FILES: [&str; 6] =
    ["countersign.toml", "issuer.toml", "jwks.json", "migrations.json", "p.wasm", "s.json"];

fn manifest() -> String {
    let binding = |name: &str, more: &str| {
        format!(
            "[[binding]]\nname = \"{name}\"\npolicy = \"p.wasm\"\nscope = \"all\"\n{LIMITS}\n{more}\n"
        )
    };
    format!(
        "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n\
         subject-migrations = \"migrations.json\"\n{}{}{}",
        binding("one", ""),
        // The same files again.
        binding("two", "settings-file = \"s.json\""),
        binding("three", "settings-file = \"s.json\""),
    )
}

/// The file system, and how often each file was read from it.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<BTreeMap<PathBuf, usize>>>);

impl Counted {
    /// The reads of each file since the last call, by its name.
    fn take(&self) -> Vec<(String, usize)> {
        let reads = std::mem::take(&mut *self.0.lock().unwrap());
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        reads.into_iter().map(|(path, count)| (name(path), count)).collect()
    }
}

impl FileSource for Counted {
    fn read(&self, path: &Path, limit: u64, kind: FileKind) -> Result<Vec<u8>, FileError> {
        *self.0.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        FileSystem.read(path, limit, kind)
    }
}

struct Service {
    folder: tempfile::TempDir,
    reads: Counted,
    loader: Loader,
    first: Snapshot,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("issuer.toml", CONFIG.as_bytes()),
            ("countersign.toml", manifest().as_bytes()),
            ("jwks.json", JWKS),
            ("migrations.json", br#"{"version":1,"migrations":[]}"#),
            ("p.wasm", SAME_WORKSPACE),
            ("s.json", br#"{"also":["team-a"]}"#),
        ] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let reads = Counted::default();
        let path = folder.path().join("issuer.toml");
        let engine = |_| Ok(Engine::new()?);
        let (loader, first) = Loader::open_from(Box::new(reads.clone()), &path, engine).unwrap();
        Self { folder, reads, loader, first }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn deploy(&self, snapshot: &Snapshot) -> Deployment {
        let deployment = self.loader.deployment(snapshot).unwrap();
        self.loader.authorizer(snapshot, &deployment.installation.url).unwrap();
        deployment
    }

    fn is_changed(&self, next: &Snapshot) -> bool {
        next.fingerprints() != self.first.fingerprints()
    }
}

fn each_once() -> Vec<(String, usize)> {
    FILES.map(|name| (name.to_owned(), 1)).into()
}

#[test]
fn a_start_and_a_reload_read_each_file_once() {
    let service = Service::start();
    let before = service.deploy(&service.first);
    assert_eq!(before.context.policies.bindings().len(), 3);
    assert_eq!(service.reads.take(), each_once());

    fs::write(service.path("s.json"), br#"{"also":["team-b"]}"#).unwrap();
    let next = service.loader.snapshot(&service.first);
    assert!(service.is_changed(&next));
    let after = service.deploy(&next);
    assert_ne!(after.context.policies.digest(), before.context.policies.digest());
    assert_eq!(service.reads.take(), each_once());
}

#[test]
fn a_change_of_the_same_length_and_time_is_noticed() {
    let service = Service::start();
    for name in FILES {
        let path = service.path(name);
        let (bytes, metadata) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
        let changed: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
        for (bytes, expected) in [(&changed, true), (&bytes, false)] {
            fs::write(&path, bytes).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(metadata.modified().unwrap()).unwrap();
            let now = fs::metadata(&path).unwrap();
            assert_eq!(now.len(), metadata.len());
            assert_eq!(now.modified().unwrap(), metadata.modified().unwrap());
            let next = service.loader.snapshot(&service.first);
            assert_eq!(service.is_changed(&next), expected, "{name}");
        }
    }
}

#[test]
fn a_file_that_is_touched_is_not_a_change_and_is_not_parsed_again() {
    let service = Service::start();
    let later = SystemTime::now() + Duration::from_secs(3600);
    for name in FILES {
        let file = File::options().write(true).open(service.path(name)).unwrap();
        file.set_modified(later).unwrap();
    }
    let next = service.loader.snapshot(&service.first);
    assert!(!service.is_changed(&next));
    let (before, after) = (service.deploy(&service.first), service.deploy(&next));
    assert!(Arc::ptr_eq(&before.manifest, &after.manifest));
    assert!(Arc::ptr_eq(&before.config, &after.config));
}

#[test]
fn access_is_replaced_although_the_policies_are_wrong() {
    let service = Service::start();
    let url = service.deploy(&service.first).installation.url;
    for (name, bytes) in
        [("p.wasm", None), ("s.json", Some("no")), ("countersign.toml", Some("no"))]
    {
        let path = service.path(name);
        let good = fs::read(&path).unwrap();
        match bytes {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let next = service.loader.snapshot(&service.first);
        assert!(service.is_changed(&next), "{name}");
        assert!(service.loader.deployment(&next).is_err(), "{name}");
        service.loader.authorizer(&next, &url).unwrap();
        fs::write(&path, good).unwrap();
        assert!(!service.is_changed(&service.loader.snapshot(&next)), "{name}");
    }
    // And the other way round.
    fs::remove_file(service.path("jwks.json")).unwrap();
    let next = service.loader.snapshot(&service.first);
    assert!(service.loader.authorizer(&next, &url).is_err());
    service.loader.deployment(&next).unwrap();
}
