//! The store of policies: what it keeps, what it notices, and what an end at any step leaves of it.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/registry.rs"]
mod registry;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::Digest;
use countersign_registry::{
    CredentialFiles, Fetcher, NewContent, NewPolicy, PolicyStore, RegistryClient, Source,
    StoreDisk, SystemStoreDisk, Timing, TrustPolicy, TrustedKey, TrustedSigner, VerificationKey,
};
use registry::{Content, StandIn};
use serde_json::Value;
use shipped::{Installation, REPOSITORY, changed, layer, ok, published, refused, world};

/// A disk that stops at an operation: nothing is done from then on, and of a write a half.
struct Stopping {
    left: AtomicUsize,
}

impl Stopping {
    /// Fails where no operation is left.
    fn step(&self) -> io::Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("stopped"))
    }
}

impl StoreDisk for Stopping {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            fs::write(path, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        SystemStoreDisk.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        SystemStoreDisk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        SystemStoreDisk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // A process that has ended removes nothing.
        self.step()?;
        SystemStoreDisk.remove(path)
    }
}

/// An end at any operation of the disk leaves whole content alone, and either a policy that is not there or all of it.
#[test]
fn an_end_at_any_operation_of_the_disk_leaves_whole_content() {
    let (content, digest) = published();
    let registry = StandIn::start(content, true);
    let repository: countersign_registry::Repository =
        format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    let reference = repository.pinned(digest);
    let keys = tempfile::tempdir().unwrap();
    shipped::write_keys(keys.path());
    let key = VerificationKey::from_pem(&fs::read(keys.path().join("alice.pub")).unwrap()).unwrap();
    let trust = TrustPolicy::new(vec![TrustedSigner {
        repositories: registry.host().parse().unwrap(),
        threshold: 1,
        keys: vec![TrustedKey { key, not_before: None, not_after: None }],
    }])
    .unwrap();
    let client = RegistryClient::new(Vec::new(), CredentialFiles::default(), Timing::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut steps, mut stopped) = (0, true);
    while stopped {
        let folder = tempfile::tempdir().unwrap();
        let fetch = |store: &PolicyStore| {
            let source = Source::Registry(&client);
            let fetcher = Fetcher { source, store, trust: &trust, allow_older: false };
            runtime.block_on(fetcher.fetch(&reference, 0)).map_err(|error| error.to_string())
        };
        let disk = Stopping { left: AtomicUsize::new(steps) };
        stopped = fetch(&PolicyStore::on(Box::new(disk), folder.path())).is_err();
        for entry in fs::read_dir(folder.path().join("blobs")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
            assert_eq!(Digest::of(&fs::read(&path).unwrap()).to_string(), name, "step {steps}");
        }
        let store = PolicyStore::at(folder.path());
        match store.load(&reference, &trust, 1 << 20, 0) {
            Ok(policy) => assert_eq!(
                Digest::of(policy.component.as_bytes()).to_string(),
                layer(&published().0)
            ),
            Err(error) => {
                assert!(stopped && error.code() == "not-in-store", "step {steps}: {error}")
            }
        }
        fetch(&store).unwrap();
        store.load(&reference, &trust, 1 << 20, 0).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0, "step {steps}");
        steps += 1;
    }
    // Six files, each of which is written, named and synced.
    assert!(steps > 12, "{steps}");
}

/// The disk of a process that another one overtakes: while the store is tidied, which begins what is done under its lock, the
/// floor is another one.
struct Overtaken {
    floor: PathBuf,
    floors: PathBuf,
}

impl StoreDisk for Overtaken {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        SystemStoreDisk.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemStoreDisk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        SystemStoreDisk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::copy(&self.floor, self.floors.join(self.floor.file_name().unwrap()))?;
        SystemStoreDisk.remove(path)
    }
}

/// Of two fetches at once, the one with the lower revision does not win by being the later one.
#[test]
fn a_floor_that_another_process_raises_is_not_lowered() {
    let repository: countersign_registry::Repository = "r.example/policies".parse().unwrap();
    let other = tempfile::tempdir().unwrap();
    PolicyStore::at(other.path()).raise_floor(&repository, 9).unwrap();
    let mut floors = fs::read_dir(other.path().join("floors")).unwrap();
    let floor = floors.next().unwrap().unwrap().path();
    for (lowers, revision, expected) in [(false, 3, 9), (true, 3, 3), (true, 12, 9)] {
        let folder = tempfile::tempdir().unwrap();
        PolicyStore::at(folder.path()).raise_floor(&repository, 1).unwrap();
        fs::write(folder.path().join("new/unfinished"), "").unwrap();
        let floors = folder.path().join("floors");
        let disk = Overtaken { floor: floor.clone(), floors };
        let store = PolicyStore::on(Box::new(disk), folder.path());
        if lowers {
            // Of a floor that is in the way.
            store.raise_floor(&repository, 20).unwrap();
            fs::write(folder.path().join("new/unfinished"), "").unwrap();
            store.lower_floor(&repository, revision).unwrap();
        } else {
            store.raise_floor(&repository, revision).unwrap();
        }
        assert_eq!(store.floor(&repository).unwrap(), expected, "{lowers} {revision}");
    }
}

/// A store that was changed is noticed when it is read, and mended by the next fetch.
#[test]
fn a_store_that_was_changed_is_noticed() {
    let (_registry, installation) = world("");
    ok(installation.run("fetch"));
    let (content, digest) = published();
    let blobs = installation.path().join("policy-store/blobs");
    for digest in [layer(&content), digest.to_string()] {
        let path = blobs.join(digest.replace("sha256:", ""));
        let whole = fs::read(&path).unwrap();
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        for bytes in [other, whole[1..].to_vec(), [whole.as_slice(), b" "].concat(), Vec::new()] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(installation.evaluate().status, 1);
            ok(installation.run("fetch"));
            assert_eq!(installation.evaluate().status, 0);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert_eq!(installation.evaluate().status, 1);
        fs::remove_file(&path).unwrap();
        ok(installation.run("fetch"));
    }
    // The configuration decides nothing, and is mended for whoever carries the policy elsewhere.
    let config = blobs.join(config(&content).replace("sha256:", ""));
    fs::write(&config, "{}").unwrap();
    ok(installation.run("fetch"));
    installation.stored();
    ok(installation.run("policy export exported"));
    // Nor does a signature that is damaged stop the fetch that mends it.
    let signatures = installation.path().join("policy-store/signatures");
    let signatures = signatures.join(digest.to_string().replace("sha256:", ""));
    let entry = fs::read_dir(&signatures).unwrap().next().unwrap().unwrap().path();
    for bytes in [vec![b' '; 16], Vec::new(), vec![b' '; 200 << 10]] {
        fs::write(&entry, bytes).unwrap();
        refused(&installation.evaluate(), "unsigned");
        ok(installation.run("fetch"));
        assert_eq!(installation.evaluate().status, 0);
        // Beside a good one it means nothing.
        let damaged = signatures.join("0".repeat(64));
        fs::write(&damaged, vec![b' '; 200 << 10]).unwrap();
        assert_eq!(installation.evaluate().status, 0);
        fs::remove_file(damaged).unwrap();
    }
    // Signatures that are gone are not missed once they were verified: they are verified each time.
    fs::remove_dir_all(installation.path().join("policy-store/signatures")).unwrap();
    let decided = installation.evaluate();
    assert!(decided.status == 1 && decided.stderr.contains("(unsigned)"), "{}", decided.stderr);
    // Nor does a key that is no longer trusted.
    ok(installation.run("fetch"));
    fs::copy(installation.path().join("bob.pub"), installation.path().join("alice.pub")).unwrap();
    let decided = installation.evaluate();
    assert!(decided.stderr.contains("(signature-other-key)"), "{}", decided.stderr);
}

#[test]
fn policies_are_carried_in_a_folder() {
    let (_registry, installation) = world("");
    ok(installation.run("fetch"));
    ok(installation.run("policy export file://carried"));
    let carried = installation.path().join("carried");
    let (content, digest) = published();
    let parts = [digest.to_string(), config(&content), layer(&content)];
    // An installation that reaches no registry.
    let nowhere = StandIn::start(Content::default(), true);
    let other = Installation::new(&nowhere, &format!("@{digest}"), "");
    let manifest = fs::read_to_string(installation.path().join("countersign.toml")).unwrap();
    fs::write(other.path().join("countersign.toml"), manifest).unwrap();
    let line = format!("policy import {}", carried.display());
    ok(other.run(&line));
    assert_eq!(other.evaluate().status, 0);
    assert!(nowhere.seen().is_empty());
    // The folder is trusted with nothing.
    let mut number_of_parts = 0;
    for blob in fs::read_dir(carried.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [bytes.as_slice(), b" "].concat()).unwrap();
        let third = Installation::new(&nowhere, &format!("@{digest}"), "");
        let manifest = fs::read_to_string(installation.path().join("countersign.toml")).unwrap();
        fs::write(third.path().join("countersign.toml"), manifest).unwrap();
        let ran = third.run(&line);
        let name = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap());
        // Of what merely refers to the policy, nothing depends on it but the signature.
        let is_part = parts.contains(&name);
        number_of_parts += usize::from(is_part);
        if ran.status == 0 {
            assert!(!is_part, "{name}");
            assert_eq!(third.evaluate().status, 0);
        } else {
            assert_eq!(ran.status, 1, "{name}: {}", ran.stderr);
            assert!(!third.stored().contains(&layer(&published().0)), "{}", ran.stderr);
        }
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(number_of_parts, parts.len());
    let exists = installation.run("policy export carried");
    assert!(exists.status == 1 && exists.stderr.contains("exists"), "{}", exists.stderr);
}

/// An imported version is a floor, as one that was fetched is.
#[test]
fn an_older_version_does_not_come_back_in_a_folder() {
    let (mut content, first) = published();
    let second = changed(&mut content, |manifest| {
        manifest["annotations"]["io.countersign.revision"] = "2".into();
    });
    let registry = StandIn::start(content, true);
    let signers = "keys = [{ file = \"alice.pub\" }]";
    let pin = |installation: &Installation, digest: Digest| {
        installation.pin(&registry, &format!("@{digest}"), "", signers);
    };
    let [older, newer] = [first, second].map(|digest| {
        let installation = Installation::new(&registry, &format!("@{digest}"), "");
        ok(installation.run("fetch"));
        ok(installation.run("policy export carried"));
        installation
    });
    let import =
        |from: &Installation| format!("policy import {}", from.path().join("carried").display());
    let installation = Installation::new(&registry, &format!("@{second}"), "");
    ok(installation.run(&import(&newer)));
    pin(&installation, first);
    refused(&installation.run(&import(&older)), "older-than-floor");
    refused(&installation.run("fetch"), "older-than-floor");
    ok(installation.run(&format!("{} --allow-older", import(&older))));
    assert_eq!(installation.evaluate().status, 0);
    // Policies that a folder brings beside those that are pinned are not in use.
    ok(installation.run(&import(&newer)));
    assert_eq!(installation.evaluate().status, 0);
    // A version that is in use, and that another folder brought, stays the lowest.
    let other = format!(
        "\n[[binding]]\nname = \"other\"\npolicy = \"oci://{}/{REPOSITORY}@{second}\"\nscope = \"all\"\nmode = \"shadow\"\n",
        registry.host()
    );
    let manifest = installation.path().join("countersign.toml");
    fs::write(&manifest, fs::read_to_string(&manifest).unwrap() + &other).unwrap();
    ok(installation.run(&import(&newer)));
    assert_eq!(installation.evaluate().status, 0);
}

/// The digest of the configuration of the published policy.
fn config(content: &Content) -> String {
    let (_, digest) = published();
    let (_, bytes) = &content.manifests[&(REPOSITORY.to_owned(), digest.to_string())];
    let manifest: Value = serde_json::from_slice(bytes).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

/// A policy that is text travels with the digest of its engine, which is verified by the rules of its own repository.
#[test]
fn a_text_travels_with_its_engine() {
    let (content, engine) = published();
    let registry = StandIn::start(content, true);
    let host = registry.host();
    let engine = format!("{host}/{REPOSITORY}@{engine}");
    let component = Digest::parse(&layer(&registry.content())).unwrap();
    let publish_settings = |settings: &[u8], component: Digest, own_settings: Option<&str>| {
        let policy = NewPolicy {
            content: NewContent::Text {
                settings: settings.to_vec(),
                engine: format!("oci://{engine}").parse().unwrap(),
                component,
                own_settings: own_settings.map(str::to_owned),
            },
            name: "text".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "A text".to_owned(),
            revision: 0,
            settings_schema: None,
            cases: None,
            run: None,
            created: None,
            author: None,
        };
        let client = RegistryClient::new(Vec::new(), CredentialFiles::default(), Timing::default());
        let repository = format!("{host}/texts/mine").parse().unwrap();
        let tag = "1".parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let published = runtime
            .block_on(countersign_registry::publish(&client, &repository, &tag, &policy, None))
            .unwrap();
        published.reference.to_string()
    };
    let publish = |component: Digest, own_settings: Option<&str>| {
        let settings = br#"{"also":["team-a"],"also-max-ttl":1800}"#;
        publish_settings(settings, component, own_settings)
    };
    let text = publish(component, Some("also"));
    let installation = Installation::new(&registry, "@", "");
    let manifest = |reference: &str, more: &str, engines: &str| {
        let text = format!(
            "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n\
             [[trusted-signer]]\nrepository = \"{host}/texts\"\nkeys = [{{ file = \"bob.pub\" }}]\n\
             [[trusted-signer]]\nrepository = \"{host}/policies\"\nkeys = [{{ file = \"{engines}.pub\" }}]\n\
             [[binding]]\nname = \"text\"\npolicy = \"{reference}\"\nscope = \"all\"\n\
             limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}\n{more}\n"
        );
        fs::write(installation.path().join("countersign.toml"), text).unwrap();
    };
    manifest(&text, "", "alice");
    refused(&installation.run("fetch"), "unsigned");
    ok(installation.run(&format!("policy sign {text} --key bob.pem")));
    // Whoever signs texts does not bring an engine along.
    manifest(&text, "", "mallory");
    refused(&installation.run("fetch"), "signature-other-key");
    assert_eq!(installation.stored(), Vec::<String>::new());
    manifest(&text, "", "alice");
    let fetched = ok(installation.run("fetch --format json"));
    let json: Value = serde_json::from_str(&fetched.stdout).unwrap();
    assert_eq!(json["policies"].as_array().unwrap().len(), 2, "the engine too");
    let decided = installation.evaluate();
    assert_eq!(decided.status, 0, "{}", decided.stderr);
    // The binding's settings have its place in the text; this policy wants a list there, which no settings are.
    manifest(&text, "settings = { team = \"b\" }", "alice");
    let decided = installation.evaluate();
    assert!(decided.status == 1 && decided.stderr.contains("also"), "{}", decided.stderr);
    // A text that two readers could read differently is none, also where the binding gives settings.
    let settings = br#"{"also":["team-a"],"also":["team-b"]}"#;
    let twice = publish_settings(settings, component, Some("own"));
    ok(installation.run(&format!("policy sign {twice} --key bob.pem")));
    for more in ["", "settings = { team = \"b\" }"] {
        manifest(&twice, more, "alice");
        ok(installation.run("fetch"));
        let decided = installation.evaluate();
        assert!(
            decided.status == 1 && decided.stderr.contains("appears twice"),
            "{}",
            decided.stderr
        );
    }
    // An engine that is another one than the text names.
    let other = publish(Digest::of(b"other"), None);
    ok(installation.run(&format!("policy sign {other} --key bob.pem")));
    manifest(&other, "", "alice");
    refused(&installation.run("fetch"), "engine-mismatch");
    // A text that takes no settings gets none.
    let plain = publish(component, None);
    ok(installation.run(&format!("policy sign {plain} --key bob.pem")));
    manifest(&plain, "settings = { also = [\"team-b\"] }", "alice");
    ok(installation.run("fetch"));
    let decided = installation.evaluate();
    assert!(decided.status == 1 && decided.stderr.contains("takes none"), "{}", decided.stderr);
    manifest(&plain, "", "alice");
    assert_eq!(installation.evaluate().status, 0);
    // Its files are written all or not at all.
    let pulled = installation.path().join("pulled");
    fs::create_dir(&pulled).unwrap();
    fs::write(pulled.join("settings.json"), "{}").unwrap();
    let ran = installation.run(&format!("policy pull {plain} --output pulled"));
    assert!(ran.status == 1 && ran.stderr.contains("exists"), "{}", ran.stderr);
    assert!(!pulled.join("policy.wasm").exists());
    fs::remove_file(pulled.join("settings.json")).unwrap();
    ok(installation.run(&format!("policy pull {plain} --output pulled")));
    assert!(pulled.join("settings.json").exists() && pulled.join("policy.wasm").exists());
    // It is a part of a release, and of a folder that is carried.
    configure_service(&installation);
    ok(installation.run("release stage --config issuer.toml"));
    ok(installation.run("policy export carried"));
    fs::remove_dir_all(installation.path().join("policy-store")).unwrap();
    ok(installation.run("policy import carried"));
    assert_eq!(installation.evaluate().status, 0);
}

fn configure_service(installation: &Installation) {
    let config =
        "policies = \"countersign.toml\"\nstate = \"state\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
    fs::write(installation.path().join("issuer.toml"), config).unwrap();
}
