//! Helper processes that die, are silent, or answer garbage; none of it reaches a signature, and none is started without
//! end.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_custody::{DeviceError, HelperProgram, KeyDevice, Pkcs11, Pkcs11Config};
use countersign_issuer::CustodyFailure;
use countersign_signing::Algorithm;
use tempfile::TempDir;

const KID: &str = "0123456789012345678901234567890123456789012";

/// A helper that is a script: each line of `answers` is one message, framed. Then `end` is run. It notes each start.
fn helper(folder: &Path, answers: &[&str], end: &str) -> Pkcs11 {
    helper_for(folder, answers, end, Duration::from_millis(200))
}

fn helper_for(folder: &Path, answers: &[&str], end: &str, timeout: Duration) -> Pkcs11 {
    let mut script = format!("echo >> {}/starts\n", folder.display());
    for answer in answers {
        let length = answer.len();
        let octal: String = u32::try_from(length)
            .unwrap()
            .to_be_bytes()
            .iter()
            .map(|byte| format!("\\{byte:03o}"))
            .collect();
        script += &format!("printf '{octal}%s' '{answer}' >&0\n");
    }
    script += end;
    let pin_file = folder.join("pin");
    if !pin_file.exists() {
        fs::write(&pin_file, "1234").unwrap();
    }
    Pkcs11::new(Pkcs11Config {
        helper: HelperProgram::new("/bin/sh", ["-c", &script]),
        module: "/nowhere/module.so".into(),
        token: "token".to_owned(),
        pin_file,
        label: "countersign".to_owned(),
        processes: 1,
        timeout,
        environment: BTreeMap::from([("OF_MODULE".to_owned(), "set".to_owned())]),
    })
}

fn starts(folder: &Path) -> usize {
    fs::read_to_string(folder.join("starts")).unwrap_or_default().len()
}

fn sign(device: &Pkcs11) -> DeviceError {
    device.sign(KID, Algorithm::Es256, &[0; 32]).unwrap_err()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn garbage_of_a_helper_is_a_failure_with_a_code() {
    use CustodyFailure::{Malformed, Refused, Unreachable, WrongKey};
    let opened = "\"opened\"";
    for (answers, end, expected) in [
        (vec![], "exit 3", Unreachable),
        (vec![], "kill -9 $$", Unreachable),
        (vec![], "printf 'HTTP/1.1 200 OK' >&0", Unreachable),
        (vec!["\"destroyed\""], "", Unreachable),
        (vec![opened], "exit 0", Unreachable),
        (vec![opened], "printf '\\377\\377\\377\\377' >&0; exec sleep 600", Malformed),
        (vec![opened], "printf '\\000\\000\\000\\001x' >&0; exec sleep 600", Malformed),
        (vec![opened, "{\"kids\":[]}"], "exec sleep 600", Malformed),
        (vec![opened, opened], "exec sleep 600", Malformed),
        (vec![opened, "{\"signature\":\"***\"}"], "exec sleep 600", Malformed),
        (vec![opened, "{\"signature\":1}"], "exec sleep 600", Malformed),
        (
            vec![opened, "{\"failed\":{\"kind\":\"refused\",\"said\":\"no\\nline\"}}"],
            "exec sleep 600",
            Refused,
        ),
        (
            vec![opened, "{\"failed\":{\"kind\":\"wrong-key\",\"said\":\"x\"}}"],
            "exec sleep 600",
            WrongKey,
        ),
        (
            vec!["{\"failed\":{\"kind\":\"unreachable\",\"said\":\"x\"}}"],
            "exec sleep 600",
            Unreachable,
        ),
    ] {
        let folder = folder();
        let device = helper_for(folder.path(), &answers, end, Duration::from_secs(60));
        let error = sign(&device);
        assert_eq!(error.failure, expected, "{answers:?} {end}: {error}");
        assert!(!error.said.contains('\n'), "{error}");
    }
}

#[test]
fn a_helper_that_is_silent_is_killed() {
    let folder = folder();
    let device = helper(folder.path(), &["\"opened\""], "exec sleep 600");
    assert_eq!(sign(&device).failure, CustodyFailure::Slow);
}

#[test]
fn a_helper_that_dies_is_started_again_after_a_time_that_grows() {
    let folder = folder();
    let device = helper(folder.path(), &["\"opened\""], "exit 0");
    for _ in 0..2000 {
        assert_eq!(sign(&device).failure, CustodyFailure::Unreachable);
    }
    // Each start doubles the time to the next one: that so many asked makes no difference.
    assert!((1..40).contains(&starts(folder.path())), "{}", starts(folder.path()));
}

#[test]
fn a_pin_that_was_refused_is_not_tried_again() {
    let folder = folder();
    let refused = "{\"failed\":{\"kind\":\"pin\",\"said\":\"PinIncorrect\"}}";
    let device = helper(folder.path(), &[refused], "exec sleep 600");
    let mut errors = Vec::new();
    // The first one is told by the token; those that follow by the time to wait, and then by what is known of the PIN.
    let began = Instant::now();
    while !errors.iter().any(|said: &String| said.contains("not tried again")) {
        assert!(began.elapsed() < Duration::from_secs(60), "{errors:?}");
        errors = vec![sign(&device).said];
        std::thread::yield_now();
    }
    assert_eq!(starts(folder.path()), 1);
    fs::write(folder.path().join("pin"), "12345678").unwrap();
    while starts(folder.path()) == 1 {
        assert!(began.elapsed() < Duration::from_secs(120), "it is not started again");
        assert_eq!(sign(&device).failure, CustodyFailure::Refused);
    }
    assert_eq!(starts(folder.path()), 2);
}

#[test]
fn a_helper_has_nothing_of_its_parents() {
    let folder = folder();
    let out = folder.path().display().to_string();
    let end = format!(
        "/usr/bin/env > {out}/environment; ls -l /proc/$$/fd > {out}/files; echo \"$0 $*\" > {out}/line; exit 0"
    );
    let held = fs::File::create(folder.path().join("held-open")).unwrap();
    let device = helper_for(folder.path(), &["\"opened\""], &end, Duration::from_secs(60));
    assert_eq!(sign(&device).failure, CustodyFailure::Unreachable);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let environment = read("environment");
    assert!(environment.contains("OF_MODULE=set"), "{environment}");
    // Cargo sets it for this test.
    assert!(std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("CARGO")));
    assert!(!environment.contains("CARGO"), "{environment}");
    for name in ["environment", "files", "line"] {
        assert!(!read(name).contains("1234"), "the PIN is in {name}");
        assert!(!read(name).contains("held-open"), "{}", read(name));
    }
    drop(held);
}
