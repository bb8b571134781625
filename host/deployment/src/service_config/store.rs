//! `store`, `[database]` and `[replica]`: a database that replicas share, in the place of the one in the folder of state.

use std::time::Duration;

use countersign_issuer::DatabaseUrl;
use serde::Deserialize;

use super::file::{ConfigError, bounded, value};

/// The seconds by which keys are published for longer before they sign where several replicas publish them: their clocks
/// differ, and each takes over a change a moment later.
pub(super) const SHARED_MARGIN: u64 = 30;

/// The database that replicas share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseEntry {
    /// `store`: its place.
    pub url: DatabaseUrl,
    /// `database.password-file`: the file with the password; none where the server needs none.
    pub password_file: Option<String>,
    /// `database.ca-file`: certificates, in PEM, that verify the server beside those of public authorities.
    pub ca_file: Option<String>,
    /// `database.connections`: the maximum of connections.
    pub connections: usize,
    /// `database.query-milliseconds`: the time for each piece of work.
    pub query_timeout: Duration,
    /// `database.asynchronous-standby = "accept"`: a failover may forget what was acknowledged.
    pub accepts_asynchronous: bool,
    /// `replica.name`: the name of this process among the others; the machine's host name unless given.
    pub replica_name: Option<String>,
    /// `replica.poll-seconds`: the time for which tokens are issued without having seen the database.
    pub poll: Duration,
}

/// `[database]`, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DatabaseTable {
    password_file: Option<String>,
    ca_file: Option<String>,
    connections: Option<u64>,
    query_milliseconds: Option<u64>,
    asynchronous_standby: Option<AsynchronousWord>,
}

/// `[replica]`, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReplicaTable {
    name: Option<String>,
    poll_seconds: Option<u64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum AsynchronousWord {
    Refuse,
    Accept,
}

impl DatabaseTable {
    fn is_empty(&self) -> bool {
        self.password_file.is_none()
            && self.ca_file.is_none()
            && self.connections.is_none()
            && self.query_milliseconds.is_none()
            && self.asynchronous_standby.is_none()
    }
}

/// The database, where `store` names one.
pub(super) fn database(
    store: Option<&str>,
    table: DatabaseTable,
    replica: ReplicaTable,
) -> Result<Option<DatabaseEntry>, ConfigError> {
    let Some(store) = store else {
        let alone = "without `store = \"postgres://…\"` there is no database that replicas share";
        return match (table.is_empty(), replica.name, replica.poll_seconds) {
            (true, None, None) => Ok(None),
            (false, ..) => Err(value("[database]", alone)),
            _ => Err(value("[replica]", alone)),
        };
    };
    let url = DatabaseUrl::parse(store)
        .map_err(|problem| ConfigError::Database { problem: problem.to_string() })?;
    if let Some(name) = &replica.name
        && !is_replica_name(name)
    {
        return Err(value("replica.name", NAME_FORM));
    }
    let milliseconds =
        bounded("database.query-milliseconds", table.query_milliseconds, 2000, (50, 60_000))?;
    Ok(Some(DatabaseEntry {
        url,
        password_file: table.password_file,
        ca_file: table.ca_file,
        connections: bounded("database.connections", table.connections, 16, (2, 1000))?,
        query_timeout: Duration::from_millis(milliseconds),
        accepts_asynchronous: table.asynchronous_standby == Some(AsynchronousWord::Accept),
        replica_name: replica.name,
        poll: Duration::from_secs(bounded(
            "replica.poll-seconds",
            replica.poll_seconds,
            3,
            (1, 60),
        )?),
    }))
}

const NAME_FORM: &str = "a name has 1 to 63 letters, digits, `-`, `_` and `.`";

/// Tells whether a text is the name of a replica.
pub(crate) fn is_replica_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(is_of_name)
}
