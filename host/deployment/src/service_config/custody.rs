//! `keys.custody`: the place of the private keys.

use serde::Deserialize;

use super::file::{ConfigError, value};

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
}

/// `keys.custody`, as it is written.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CustodyWord {
    Folder,
    EncryptedFolder,
    Database,
}

/// What `[keys]` says of custody.
pub(super) struct CustodyTables {
    pub(super) custody: Option<CustodyWord>,
    pub(super) sealing_key_file: Option<String>,
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
                let problem = "replicas have no folder in common: their keys are in the database";
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
        })
    }
}
