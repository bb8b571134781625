//! A device that lies, fails or is gone: nothing that it says leaves, and it is said so.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_custody::ExternalConfig;
use countersign_issuer::{CustodyError, CustodyFailure, KeyCustody};
use countersign_signing::{Algorithm, Signer};
use support::{FakeDevice, Manner, QUICK, custody, until};

const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

const LIES: [Manner; 6] = [
    Manner::OtherKey,
    Manner::OtherBytes,
    Manner::Cut,
    Manner::Longer,
    Manner::Garbage,
    Manner::Empty,
];

const FAILURES: [CustodyFailure; 4] = [
    CustodyFailure::Unreachable,
    CustodyFailure::Slow,
    CustodyFailure::Refused,
    CustodyFailure::Malformed,
];

/// Bounds with which nothing is probed within a test.
const NEVER: ExternalConfig = ExternalConfig {
    probe_every: Duration::from_secs(86_400),
    retry_every: Duration::from_secs(86_400),
    ..QUICK
};

#[test]
fn what_a_device_signs_is_of_the_form_of_a_token() {
    let device = FakeDevice::new();
    let custody = custody(&device, NEVER);
    for algorithm in BOTH {
        let public = custody.make(algorithm).unwrap();
        let signer = custody.signer(public.kid()).unwrap();
        let signature = signer.sign(b"input").unwrap();
        // The fake gives ECDSA in DER.
        assert_eq!(signature.len(), if algorithm == Algorithm::Rs256 { 256 } else { 64 });
        assert_eq!(public.verified(b"input", &signature), Some(signature.clone()));
    }
    let mut kids = custody.list().unwrap();
    assert_eq!(kids.len(), 2);
    custody.destroy(&kids.pop().unwrap()).unwrap();
    assert_eq!(custody.list().unwrap(), kids);
    let missing = custody.signer("another").err().unwrap();
    assert!(matches!(missing, CustodyError::Missing { .. }), "{missing}");
    assert!(custody.health().unwrap().problem().is_none());
}

#[test]
fn no_lie_leaves_and_nothing_is_signed_until_a_probe_was_right() {
    for algorithm in BOTH {
        for lie in LIES {
            let device = FakeDevice::new();
            let custody = custody(&device, NEVER);
            let signer = custody.signer(custody.make(algorithm).unwrap().kid()).unwrap();
            device.behave(lie);
            assert!(signer.sign(b"input").is_err(), "{lie:?}");
            let health = custody.health().unwrap();
            let (failure, said) = health.problem().unwrap();
            assert_eq!(failure, CustodyFailure::WrongSignature, "{lie:?} {said}");
            // The device is well again, and nobody knows: no request finds out.
            device.behave(Manner::Honest);
            let asked = device.asked.load(Ordering::SeqCst);
            assert!(signer.sign(b"input").is_err());
            assert_eq!(device.asked.load(Ordering::SeqCst), asked);
        }
    }
}

#[test]
fn a_device_that_is_well_again_is_found_to_be() {
    let device = FakeDevice::new();
    let custody = custody(&device, QUICK);
    let signers: Vec<Arc<dyn Signer>> = BOTH
        .iter()
        .map(|algorithm| custody.signer(custody.make(*algorithm).unwrap().kid()).unwrap())
        .collect();
    let health = custody.health().unwrap();
    let failures = FAILURES.map(Manner::Fails);
    for manner in LIES.into_iter().chain(failures) {
        device.behave(manner);
        // By a probe, with no request.
        until(|| health.problem().is_some());
        for signer in &signers {
            assert!(signer.sign(b"input").is_err(), "{manner:?}");
        }
        let (failure, _) = health.problem().unwrap();
        match manner {
            Manner::Fails(expected) => assert_eq!(failure, expected),
            _ => assert_eq!(failure, CustodyFailure::WrongSignature, "{manner:?}"),
        }
        device.behave(Manner::Honest);
        until(|| health.problem().is_none());
        for signer in &signers {
            assert!(signer.sign(b"input").is_ok(), "{manner:?}");
        }
    }
}

#[test]
fn a_key_that_does_not_sign_is_not_made_or_loaded() {
    let device = FakeDevice::new();
    let custody = custody(&device, NEVER);
    let kid = custody.make(Algorithm::Es256).unwrap().kid().to_owned();
    for lie in LIES {
        device.behave(lie);
        assert!(custody.make(Algorithm::Es256).is_err(), "{lie:?}");
        assert!(custody.signer(&kid).is_err(), "{lie:?}");
        assert_eq!(custody.list().unwrap(), std::slice::from_ref(&kid), "{lie:?}");
    }
    // Another key under the name of one.
    device.behave(Manner::Honest);
    let other = custody.make(Algorithm::Es256).unwrap().kid().to_owned();
    device.rename(&other, &kid);
    let error = custody.signer(&kid).err().unwrap();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(said.starts_with("custody-wrong-key: "), "{said}");
}

#[test]
fn one_signature_too_many_is_refused_and_nothing_else() {
    let device = FakeDevice::new();
    let custody = custody(&device, ExternalConfig { max_in_flight: 0, ..NEVER });
    let signer = custody.signer(custody.make(Algorithm::Es256).unwrap().kid()).unwrap();
    assert!(signer.sign(b"input").is_err());
    assert!(custody.health().unwrap().problem().is_none(), "that says nothing of the device");
}

/// As when another replica destroys a key that is removed: this one may not have loaded the plan yet.
#[test]
fn a_key_that_is_gone_and_not_in_use_stops_nothing() {
    let device = FakeDevice::new();
    let custody = custody(&device, QUICK);
    let idle = custody.make(Algorithm::Es256).unwrap();
    let used = custody.make(Algorithm::Es256).unwrap();
    let (_idle, used_signer) =
        (custody.signer(idle.kid()).unwrap(), custody.signer(used.kid()).unwrap());
    used_signer.sign(b"input").unwrap();
    let health = custody.health().unwrap();
    device.rename(idle.kid(), "elsewhere");
    let asked = device.asked.load(Ordering::SeqCst);
    until(|| {
        assert!(health.problem().is_none());
        device.asked.load(Ordering::SeqCst) >= asked + 20
    });
    device.rename(used.kid(), "elsewhere too");
    until(|| health.problem().is_some());
    assert_eq!(health.problem().unwrap().0, CustodyFailure::Refused);
}
