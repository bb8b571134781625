//! Signing keys outside of the process: in PKCS #11 tokens, and in AWS KMS.
//!
//! ```text
//! Signer::sign ─→ ExternalCustody ─SHA-256→ KeyDevice ─→ signature ─verified with the public key→ token
//!                    │                         ├ Pkcs11 ─socket→ helper process ─→ the vendor's module
//!                    └ probes, health          └ AwsKms ─HTTPS→ AWS KMS
//! ```
//!
//! [`ExternalCustody`] makes a [`KeyCustody`](countersign_issuer::KeyCustody) of a [`KeyDevice`], and believes none of what
//! it says: a signature leaves only when the public key that is published verifies it. After any failure nothing is signed
//! until a probe of every key was right, so that no request waits for a device that is gone.
//!
//! A PKCS #11 module is code of somebody else. It is loaded in a helper process, the same program with an argument that
//! makes it call [`serve_pkcs11`]: it has neither the memory nor the files of the service, and no token is in what it gets,
//! but a digest. The helper reads the PIN; the service never has it.
//!
//! # Limitations
//! - The helper has the user and the file system of the service: it contains crashes, and keeps secrets of memory apart. It
//!   is no sandbox against a module that means harm.
//! - Whoever may use the device with the same credentials can have it sign. Nothing of that is seen here.

#![forbid(unsafe_code)]

mod aws_kms;
mod device;
mod external;
#[cfg(unix)]
mod pkcs11;
mod probe;

pub use aws_kms::{AwsKms, AwsKmsConfig, CredentialSource};
pub use device::{DeviceError, KeyDevice, MAX_KEYS};
pub use external::{ExternalConfig, ExternalCustody};
#[cfg(unix)]
pub use pkcs11::{HelperProgram, Pkcs11, Pkcs11Config, ReadPin, serve_pkcs11};
