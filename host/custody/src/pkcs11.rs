//! PKCS #11 tokens, whose module is loaded in helper processes.

mod helper;
mod pool;
mod protocol;
mod serve;
mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_signing::{Algorithm, PublicKey};

use self::pool::Pool;
use self::protocol::{Answer, Request};
use crate::device::{DeviceError, KeyDevice};

pub use helper::HelperProgram;
pub use serve::{ReadPin, serve_pkcs11};

/// The maximum time in which a key is made: a device may search for primes for long.
const MAKE_TIME: Duration = Duration::from_secs(60);

/// A token and the way to it.
#[derive(Debug, Clone)]
pub struct Pkcs11Config {
    /// The program of the helper.
    pub helper: HelperProgram,
    /// The file of the module.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The file with the PIN of the user, which the helper reads.
    pub pin_file: PathBuf,
    /// The beginning of the labels of the keys: `LABEL/KID`.
    pub label: String,
    /// The number of helper processes, each with a session of its own.
    pub processes: usize,
    /// The maximum time of a signature, and of any other operation but making a key.
    pub timeout: Duration,
    /// The environment of the helper, which has nothing else of this process's.
    pub environment: BTreeMap<String, String>,
}

/// A PKCS #11 token.
pub struct Pkcs11 {
    name: String,
    timeout: Duration,
    pool: Pool,
}

impl Pkcs11 {
    /// The token that a configuration names. No helper is started yet.
    pub fn new(config: Pkcs11Config) -> Self {
        let (name, timeout) = (format!("PKCS #11 token `{}`", config.token), config.timeout);
        Self { name, timeout, pool: Pool::new(config) }
    }

    fn ask(&self, request: &Request) -> Result<Answer, DeviceError> {
        self.pool.ask(request, self.timeout)
    }
}

impl KeyDevice for Pkcs11 {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn list(&self) -> Result<Vec<String>, DeviceError> {
        match self.ask(&Request::List)? {
            Answer::Kids(kids) => Ok(kids),
            other => Err(other.unexpected()),
        }
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, DeviceError> {
        match self.pool.ask(&Request::Make { algorithm }, MAKE_TIME)? {
            Answer::Key(Some(jwk)) => public(&jwk),
            other => Err(other.unexpected()),
        }
    }

    fn public(&self, kid: &str) -> Result<Option<PublicKey>, DeviceError> {
        match self.ask(&Request::Public { kid: kid.to_owned() })? {
            Answer::Key(jwk) => jwk.as_deref().map(public).transpose(),
            other => Err(other.unexpected()),
        }
    }

    fn sign(
        &self,
        kid: &str,
        algorithm: Algorithm,
        sha256: &[u8; 32],
    ) -> Result<Vec<u8>, DeviceError> {
        let sha256 = BASE64_STANDARD.encode(sha256);
        match self.ask(&Request::Sign { kid: kid.to_owned(), algorithm, sha256 })? {
            Answer::Signature(signature) => BASE64_STANDARD
                .decode(signature)
                .map_err(|_| DeviceError::malformed("a signature that is not base64")),
            other => Err(other.unexpected()),
        }
    }

    fn destroy(&self, kid: &str) -> Result<(), DeviceError> {
        match self.ask(&Request::Destroy { kid: kid.to_owned() })? {
            Answer::Destroyed => Ok(()),
            other => Err(other.unexpected()),
        }
    }
}

fn public(jwk: &str) -> Result<PublicKey, DeviceError> {
    PublicKey::from_jwk(jwk.as_bytes()).map_err(|error| DeviceError::malformed(error.to_string()))
}
