//! The certificate of a service: checked before it is deployed, and replaced apart from policies.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;
use service::{Served, configure};
use support::{countersign, folder};

/// The years in which a certificate is valid.
type Years = (i32, i32);

const VALID: Years = (2020, 4000);
const EXPIRED: Years = (2020, 2021);
const NOT_YET: Years = (3999, 4000);

/// Writes a certificate with its key, which only its owner can open.
fn write(folder: &Path, (from, to): Years) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    fs::write(folder.join("tls.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    open_to(folder, 0o600);
}

fn open_to(folder: &Path, mode: u32) {
    fs::set_permissions(folder.join("tls.key"), fs::Permissions::from_mode(mode)).unwrap();
}

/// A service with a certificate, and a plain listener for its metrics.
fn configured(folder: &Path) -> String {
    let api_key = configure(folder, "");
    let config = fs::read_to_string(folder.join("issuer.toml")).unwrap();
    let listen =
        "[listen]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nprobes = \"127.0.0.1:0\"\n";
    fs::write(folder.join("issuer.toml"), config.replace("[listen]\n", listen)).unwrap();
    api_key
}

#[test]
fn a_certificate_that_clients_refuse_is_an_error_of_the_check() {
    let folder = folder();
    configured(folder.path());
    let check = || countersign(folder.path(), "check --config issuer.toml");
    for (years, problem) in [
        (VALID, None),
        (EXPIRED, Some("the certificate has expired: `notAfter` is 1609459200")),
        (NOT_YET, Some("the certificate is not valid yet: `notBefore` is ")),
    ] {
        write(folder.path(), years);
        let ran = check();
        assert_eq!(ran.status, i32::from(problem.is_some()), "{}", ran.stderr);
        assert!(problem.is_none_or(|problem| ran.stderr.contains(problem)), "{}", ran.stderr);
    }
    // A key that others can open is nobody's own, as signing keys.
    write(folder.path(), VALID);
    for (mode, status) in [(0o640, 1), (0o604, 1), (0o644, 1), (0o620, 1), (0o600, 0), (0o400, 0)] {
        open_to(folder.path(), mode);
        let ran = check();
        assert_eq!(ran.status, status, "{mode:o}: {}", ran.stderr);
        let says = ran.stderr.contains("tls.key: others than its owner can read or write it");
        assert_eq!(says, status == 1, "{mode:o}: {}", ran.stderr);
        if status == 1 {
            let served = countersign(folder.path(), "serve --config issuer.toml");
            assert_eq!(served.status, 1);
            assert!(served.stderr.contains("tls.key: others than its owner"), "{}", served.stderr);
        }
    }
}

#[test]
fn certificates_and_policies_are_replaced_apart() {
    let folder = folder();
    let path = folder.path();
    let api_key = configured(path);
    write(path, VALID);
    let served = Served::start(path);
    let reloads = || {
        let text = served.metrics(&api_key);
        let count = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |count| count.trim().parse::<u64>().unwrap())
        };
        (
            count("countersign_reloads_total{result=\"failed\"}"),
            count("countersign_certificate_not_after_timestamp_seconds"),
        )
    };
    let year_4000 = 64_060_588_800;
    assert_eq!(reloads(), (0, year_4000));
    let manifest = path.join("countersign.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let reload = |expected: &[&str]| {
        let seen = served.logged().len();
        served.signal(Signal::HUP);
        for text in expected {
            served.wait_for(text, seen);
        }
    };
    // A certificate that is wrong keeps no policy out.
    for broken in 0..4 {
        match broken {
            0 => fs::write(path.join("tls.pem"), "nonsense").unwrap(),
            1 => write(path, EXPIRED),
            2 => open_to(path, 0o644),
            _ => fs::remove_file(path.join("tls.key")).unwrap(),
        }
        let text = good.replace("\"my-workspace\" }", &format!("\"another-{broken}\" }}"));
        assert_ne!(text, good);
        fs::write(&manifest, text).unwrap();
        reload(&["failed to reload the certificate", "reloaded policies"]);
        write(path, VALID);
        reload(&["reloaded the certificate"]);
    }
    let (failed, not_after) = reloads();
    assert!(failed >= 4 && not_after == year_4000, "{failed} {not_after}");
    // And the other way round.
    fs::write(&manifest, "nonsense").unwrap();
    write(path, (2020, 3000));
    reload(&["reloaded the certificate", "failed to reload policies"]);
    assert_eq!(reloads().1, 32_503_680_000);
    assert_eq!(served.stop(), 0);

    // One that has expired is served, since clients may not look, and it is said.
    fs::write(&manifest, good).unwrap();
    write(path, EXPIRED);
    let served = Served::start(path);
    served.wait_for("the certificate is not valid: clients refuse it", 0);
    assert!(served.logged().contains("\"level\":\"ERROR\""));
    assert_eq!(served.stop(), 0);
}
