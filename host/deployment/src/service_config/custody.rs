//! `keys.custody`: the place of the private keys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::file::{ConfigError, bounded, value};

/// The beginning of the names of keys in a device, unless another is given.
const LABEL: &str = "countersign";
/// The maximum length of such a beginning, of a label of a token, and of a region, in bytes.
const MAX_LABEL_BYTES: usize = 32;
/// The maximum number of variables that a module is given.
const MAX_VARIABLES: usize = 16;

/// The place of the private keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustodyEntry {
    /// Files in the folder of state, as text.
    Folder,
    /// Files in the folder of state, each encrypted by the key in this file.
    EncryptedFolder {
        /// `keys.sealing-key-file`.
        sealing_key_file: String,
    },
    /// The database that replicas share, each encrypted by the key in this file.
    Database {
        /// `keys.sealing-key-file`: the same on every replica.
        sealing_key_file: String,
    },
    /// A PKCS #11 token.
    Pkcs11(Pkcs11Entry),
    /// AWS KMS.
    AwsKms(AwsKmsEntry),
}

/// `[keys.pkcs11]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Entry {
    /// `module`: the file of the module.
    pub module: String,
    /// `token`: the label of the token.
    pub token: String,
    /// `pin-file`: the file with the user's PIN, which the helper process reads.
    pub pin_file: String,
    /// `label`: the beginning of the labels of the keys.
    pub label: String,
    /// `processes`: the number of helper processes, each with a session.
    pub processes: usize,
    /// `timeout-milliseconds`: the maximum time of a signature.
    pub timeout: Duration,
    /// `environment`: the variables that the helper process has.
    pub environment: BTreeMap<String, String>,
}

/// `[keys.aws-kms]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKmsEntry {
    /// `region`.
    pub region: String,
    /// `endpoint`: the URL of a service that is not AWS's own.
    pub endpoint: Option<String>,
    /// `alias`: the beginning of the names of the keys.
    pub alias: String,
    /// `credentials-file`: a file of credentials, read anew; those of the environment unless given.
    pub credentials_file: Option<String>,
    /// `timeout-milliseconds`: the maximum time of a request.
    pub timeout: Duration,
    /// `concurrent`: the maximum of signatures at a time.
    pub concurrent: usize,
}

/// `[keys.pkcs11]`, as it is written.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pkcs11Table {
    module: String,
    token: String,
    pin_file: String,
    label: Option<String>,
    processes: Option<u64>,
    timeout_milliseconds: Option<u64>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

/// `[keys.aws-kms]`, as it is written.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AwsKmsTable {
    region: String,
    endpoint: Option<String>,
    alias: Option<String>,
    credentials_file: Option<String>,
    timeout_milliseconds: Option<u64>,
    concurrent: Option<u64>,
}

/// `keys.custody`, as it is written.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CustodyWord {
    Folder,
    EncryptedFolder,
    Database,
    Pkcs11,
    AwsKms,
}

/// The parts of `[keys]` about custody.
pub(super) struct CustodyTables {
    pub(super) custody: Option<CustodyWord>,
    pub(super) sealing_key_file: Option<String>,
    pub(super) pkcs11: Option<Pkcs11Table>,
    pub(super) aws_kms: Option<AwsKmsTable>,
}

impl CustodyTables {
    /// The custody, where replicas share a database or not.
    pub(super) fn parse(self, is_shared: bool) -> Result<CustodyEntry, ConfigError> {
        let default = if is_shared { CustodyWord::Database } else { CustodyWord::Folder };
        let word = self.custody.unwrap_or(default);
        match (word, is_shared) {
            (CustodyWord::Database, false) => {
                let problem =
                    "without `store = \"postgres://…\"` there is no database that replicas share";
                return Err(value("keys.custody", problem));
            }
            (CustodyWord::Folder | CustodyWord::EncryptedFolder, true) => {
                let problem = "replicas have no folder in common: their keys are in the database, or in a device";
                return Err(value("keys.custody", problem));
            }
            _ => {}
        }
        let is_sealed = matches!(word, CustodyWord::EncryptedFolder | CustodyWord::Database);
        if self.sealing_key_file.is_some() && !is_sealed {
            let problem =
                "nothing is encrypted by it: set `custody = \"encrypted-folder\"`, or `store`";
            return Err(value("keys.sealing-key-file", problem));
        }
        if self.pkcs11.is_some() && word != CustodyWord::Pkcs11 {
            return Err(value("[keys.pkcs11]", "not used: set `custody = \"pkcs11\"`"));
        }
        if self.aws_kms.is_some() && word != CustodyWord::AwsKms {
            return Err(value("[keys.aws-kms]", "not used: set `custody = \"aws-kms\"`"));
        }
        let sealing_key_file =
            |problem| self.sealing_key_file.ok_or_else(|| value("keys.sealing-key-file", problem));
        Ok(match word {
            CustodyWord::Folder => CustodyEntry::Folder,
            CustodyWord::EncryptedFolder => CustodyEntry::EncryptedFolder {
                sealing_key_file: sealing_key_file(
                    "missing: private keys are encrypted by the key in this file (`openssl rand -base64 32 > FILE`)",
                )?,
            },
            CustodyWord::Database => CustodyEntry::Database {
                sealing_key_file: sealing_key_file(
                    "missing: with a shared database private keys are in it, encrypted by the key in this file, which \
                     all replicas have (`openssl rand -base64 32 > FILE`)",
                )?,
            },
            CustodyWord::Pkcs11 => {
                let missing =
                    || value("[keys.pkcs11]", "missing: it names `module`, `token` and `pin-file`");
                CustodyEntry::Pkcs11(self.pkcs11.ok_or_else(missing)?.parse()?)
            }
            CustodyWord::AwsKms => {
                let missing = || value("[keys.aws-kms]", "missing: it names `region`");
                CustodyEntry::AwsKms(self.aws_kms.ok_or_else(missing)?.parse()?)
            }
        })
    }
}

impl Pkcs11Table {
    fn parse(self) -> Result<Pkcs11Entry, ConfigError> {
        let is_label = (1..=MAX_LABEL_BYTES).contains(&self.token.len())
            && !self.token.chars().any(char::is_control);
        if !is_label {
            return Err(value("keys.pkcs11.token", "the label of a token has 1 to 32 bytes"));
        }
        // A module that is found by its name is found in places that others may write.
        if !self.module.contains('/') {
            let problem = "expected a path, such as \"/usr/lib/softhsm/libsofthsm2.so\"";
            return Err(value("keys.pkcs11.module", problem));
        }
        let is_variable = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if self.environment.len() > MAX_VARIABLES || !self.environment.keys().all(is_variable) {
            let problem = "at most 16 variables, of letters, digits and `_`";
            return Err(value("keys.pkcs11.environment", problem));
        }
        Ok(Pkcs11Entry {
            module: self.module,
            token: self.token,
            pin_file: self.pin_file,
            label: beginning("keys.pkcs11.label", self.label)?,
            processes: bounded("keys.pkcs11.processes", self.processes, 2, (1, 32))?,
            timeout: Duration::from_millis(bounded(
                "keys.pkcs11.timeout-milliseconds",
                self.timeout_milliseconds,
                2000,
                (50, 60_000),
            )?),
            environment: self.environment,
        })
    }
}

impl AwsKmsTable {
    fn parse(self) -> Result<AwsKmsEntry, ConfigError> {
        let is_region = (1..=MAX_LABEL_BYTES).contains(&self.region.len())
            && self.region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_region {
            return Err(value("keys.aws-kms.region", "expected letters, digits and hyphens"));
        }
        if self.endpoint.as_ref().is_some_and(|url| !is_endpoint(url)) {
            let problem =
                "expected a URL of https, or of http on this machine, without path and credentials";
            return Err(value("keys.aws-kms.endpoint", problem));
        }
        Ok(AwsKmsEntry {
            region: self.region,
            endpoint: self.endpoint,
            alias: beginning("keys.aws-kms.alias", self.alias)?,
            credentials_file: self.credentials_file,
            timeout: Duration::from_millis(bounded(
                "keys.aws-kms.timeout-milliseconds",
                self.timeout_milliseconds,
                2000,
                (50, 60_000),
            )?),
            concurrent: bounded("keys.aws-kms.concurrent", self.concurrent, 32, (1, 256))?,
        })
    }
}

/// The beginning of the names of keys.
fn beginning(key: &'static str, given: Option<String>) -> Result<String, ConfigError> {
    let label = given.unwrap_or_else(|| LABEL.to_owned());
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !(1..=MAX_LABEL_BYTES).contains(&label.len()) || !label.bytes().all(is_of_name) {
        return Err(value(key, "expected 1 to 32 letters, digits, `-` and `_`"));
    }
    Ok(label)
}

/// Tells whether a text is the URL of a service that may be given credentials.
fn is_endpoint(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else { return false };
    let is_local = url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    });
    (url.scheme() == "https" || (url.scheme() == "http" && is_local))
        && url.path() == "/"
        && url.query().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}
