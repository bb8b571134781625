//! A key with notes, and logs that it signs.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig};
use countersign_receipts::{NoteSigner, VerifierKey, ecdsa_signature};

/// Small, so that logs have several segments and many checkpoints.
pub(crate) const CONFIG: LogConfig = LogConfig { segment_bytes: 16 << 10, checkpoint_records: 50 };

/// "Signs" checkpoints by a checksum, and notes with Ed25519 and ECDSA.
pub(crate) struct Key {
    pub(crate) signer: NoteSigner,
    ecdsa: EcdsaKeyPair,
    vkey: String,
}

impl Key {
    pub(crate) fn new(origin: &str) -> Self {
        let signer = NoteSigner::generate(|_| origin.to_owned()).unwrap();
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let vkey = signer.key().to_string();
        Self { signer, ecdsa, vkey }
    }

    /// Another one, for another thread of control over the same log.
    pub(crate) fn again(&self) -> Self {
        let signer = NoteSigner::parse(&self.signer.to_private_text().unwrap()).unwrap();
        let vkey = signer.key().to_string();
        let pkcs8 = self.ecdsa.to_pkcs8v1().unwrap();
        let ecdsa =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Self { signer, ecdsa, vkey }
    }

    pub(crate) fn ed25519(&self) -> VerifierKey {
        self.signer.key().clone()
    }

    pub(crate) fn ecdsa(&self) -> VerifierKey {
        let point = self.ecdsa.public_key().as_ref();
        VerifierKey::ecdsa(self.signer.key().name(), point).unwrap()
    }
}

impl CheckpointKey for Key {
    fn kid(&self) -> &'static str {
        "test"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        let sum = message.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(format!("{sum:016x}"))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }

    fn note_key(&self) -> Option<&str> {
        Some(&self.vkey)
    }

    fn sign_note(&self, text: &str) -> Option<Vec<String>> {
        let jws = self.ecdsa.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(vec![self.signer.sign(text), ecdsa_signature(&self.ecdsa(), jws.as_ref())?])
    }

    fn verify_note(&self, note_key: &str, text: &str, signatures: &[String]) -> bool {
        let lines: String = signatures.iter().map(|line| format!("{line}\n")).collect();
        let note = countersign_receipts::Note::parse(format!("{text}\n{lines}").as_bytes());
        let keys = [self.ed25519(), self.ecdsa()];
        note_key == self.vkey
            && note.unwrap().verify(&keys).is_ok_and(|(_, found)| found.len() == 2)
    }
}

pub(crate) fn record(number: u64) -> Vec<u8> {
    format!("{{\"number\":{number},\"and\":\"some text that is of no interest here\"}}")
        .into_bytes()
}

/// Appends records, in batches, and signs a checkpoint of the end.
pub(crate) fn append(folder: &Path, key: &Key, records: u64) {
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(key.again())).unwrap();
    let end = log.last() + records;
    while log.last() < end {
        let batch = (log.last() + 1..=end).take(7).map(record).collect::<Vec<_>>();
        log.append(&batch, 1).unwrap();
    }
    log.checkpoint(1).unwrap();
}
