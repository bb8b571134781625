//! A device in memory that does as it is told, right or wrong.
#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use countersign_custody::{DeviceError, ExternalConfig, ExternalCustody, KeyDevice};
use countersign_issuer::CustodyFailure;
use countersign_signing::{Algorithm, PublicKey};

/// The manner in which a device answers a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// By another key of the same type.
    OtherKey,
    /// Over other bytes.
    OtherBytes,
    Cut,
    Longer,
    Garbage,
    Empty,
    Fails(CustodyFailure),
}

/// A private key that signs digests.
enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// Keys in memory.
pub(crate) struct FakeDevice {
    keys: Mutex<BTreeMap<String, (Arc<Key>, PublicKey)>>,
    others: [Key; 2],
    manner: Mutex<Manner>,
    pub(crate) asked: AtomicU64,
}

impl Key {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Algorithm::Es256 => {
                Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
            }
        }
    }

    fn public(&self) -> PublicKey {
        let der = match self {
            Self::Rsa(key) => AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap(),
            Self::Ec(key) => AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap(),
        };
        PublicKey::from_pkix_der(der.as_ref()).unwrap()
    }

    fn sign(&self, sha256: &[u8; 32]) -> Vec<u8> {
        let digest = Digest::import_less_safe(sha256, &SHA256).unwrap();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).unwrap();
                signature
            }
            Self::Ec(key) => key.sign_digest(&digest).unwrap().as_ref().to_vec(),
        }
    }
}

impl FakeDevice {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            keys: Mutex::default(),
            others: [Key::new(Algorithm::Rs256), Key::new(Algorithm::Es256)],
            manner: Mutex::new(Manner::Honest),
            asked: AtomicU64::new(0),
        })
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Has the key of one name under another.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let mut keys = self.keys.lock().unwrap();
        let key = keys.remove(from).unwrap();
        keys.insert(to.to_owned(), key);
    }
}

impl KeyDevice for FakeDevice {
    fn name(&self) -> String {
        "a device".to_owned()
    }

    fn list(&self) -> Result<Vec<String>, DeviceError> {
        Ok(self.keys.lock().unwrap().keys().cloned().collect())
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, DeviceError> {
        let key = Key::new(algorithm);
        let public = key.public();
        let entry = (Arc::new(key), public.clone());
        self.keys.lock().unwrap().insert(public.kid().to_owned(), entry);
        Ok(public)
    }

    fn public(&self, kid: &str) -> Result<Option<PublicKey>, DeviceError> {
        Ok(self.keys.lock().unwrap().get(kid).map(|(_, public)| public.clone()))
    }

    fn sign(
        &self,
        kid: &str,
        algorithm: Algorithm,
        sha256: &[u8; 32],
    ) -> Result<Vec<u8>, DeviceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.keys.lock().unwrap().get(kid).cloned();
        let (key, _) = found.ok_or_else(|| DeviceError::new(CustodyFailure::Refused, "no key"))?;
        let manner = *self.manner.lock().unwrap();
        let good = key.sign(sha256);
        Ok(match manner {
            Manner::Honest => good,
            Manner::OtherKey => {
                let [rsa, ec] = &self.others;
                if algorithm == Algorithm::Rs256 { rsa } else { ec }.sign(sha256)
            }
            Manner::OtherBytes => key.sign(&[7; 32]),
            Manner::Cut => good[..good.len() - 1].to_vec(),
            Manner::Longer => [&good[..], &[0]].concat(),
            Manner::Garbage => vec![0xa5; good.len()],
            Manner::Empty => Vec::new(),
            Manner::Fails(failure) => return Err(DeviceError::new(failure, "as a test")),
        })
    }

    fn destroy(&self, kid: &str) -> Result<(), DeviceError> {
        self.keys.lock().unwrap().remove(kid);
        Ok(())
    }
}

/// Bounds with which a failure is over as soon as the device is well.
pub(crate) const QUICK: ExternalConfig = ExternalConfig {
    max_in_flight: 8,
    parallel: 2,
    probe_every: Duration::from_millis(1),
    retry_every: Duration::from_millis(1),
};

/// Waits for something that happens by itself.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never was so");
        thread::yield_now();
    }
}

pub(crate) fn custody(device: &Arc<FakeDevice>, config: ExternalConfig) -> ExternalCustody {
    ExternalCustody::new(Arc::clone(device) as Arc<dyn KeyDevice>, config).unwrap()
}
