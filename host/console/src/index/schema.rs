//! The tables of an index, and what kind of file a path leads to.

use std::path::Path;
use std::{fs, io};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{query, query_scalar};

use super::IndexError;

/// The application in SQLite's header: `CSCI`.
const APPLICATION: i64 = 0x4353_4349;

/// The version of the tables. An index of another one is built anew.
const VERSION: i64 = 1;

const TABLES: [&str; 8] = [
    "PRAGMA application_id = 1129530185",
    "CREATE TABLE IF NOT EXISTS head (id INTEGER PRIMARY KEY CHECK (id = 1), first INTEGER NOT NULL, \
     before BLOB NOT NULL, last INTEGER NOT NULL)",
    // Segment, offset, length and hash.
    "CREATE TABLE IF NOT EXISTS entry (sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, frame BLOB NOT NULL)",
    // The earliest and latest time of 4,096 records.
    "CREATE TABLE IF NOT EXISTS zone (zone INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS term (field INTEGER NOT NULL, value TEXT NOT NULL, records INTEGER NOT NULL, \
     last INTEGER NOT NULL, PRIMARY KEY (field, value)) WITHOUT ROWID",
    // The records of a block that have a value.
    "CREATE TABLE IF NOT EXISTS posting (field INTEGER NOT NULL, value TEXT NOT NULL, block INTEGER NOT NULL, \
     places BLOB NOT NULL, PRIMARY KEY (field, value, block)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS key (hash INTEGER NOT NULL, sequence INTEGER NOT NULL, \
     PRIMARY KEY (hash, sequence)) WITHOUT ROWID",
    // Refused decisions of an hour by code, and all of them with an empty one.
    "CREATE TABLE IF NOT EXISTS refusal (hour INTEGER NOT NULL, code TEXT NOT NULL, decisions INTEGER NOT NULL, \
     PRIMARY KEY (hour, code)) WITHOUT ROWID",
];

/// The statement that says which version they are of.
const SET_VERSION: &str = "PRAGMA user_version = 1";

/// The kind of file that a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None, or an empty one.
    Absent,
    /// An index of this version.
    Current,
    /// An index of another version.
    OtherVersion,
    /// Something else, which is left as it is.
    Foreign,
}

/// Looks at the file at a path, and changes nothing.
pub(super) async fn kind(path: &Path) -> Result<Kind, IndexError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kind::Absent),
        Err(source) => return Err(IndexError::Io { path: path.to_owned(), source }),
        Ok(file) if !file.is_file() => return Ok(Kind::Foreign),
        Ok(file) if file.len() == 0 => return Ok(Kind::Absent),
        Ok(_) => {}
    }
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false);
    let Ok(database) = SqlitePoolOptions::new().max_connections(1).connect_with(options).await
    else {
        return Ok(Kind::Foreign);
    };
    let application: Result<i64, _> =
        query_scalar("PRAGMA application_id").fetch_one(&database).await;
    let version: Result<i64, _> = query_scalar("PRAGMA user_version").fetch_one(&database).await;
    database.close().await;
    Ok(match (application, version) {
        (Ok(APPLICATION), Ok(VERSION)) => Kind::Current,
        (Ok(APPLICATION), Ok(_)) => Kind::OtherVersion,
        _ => Kind::Foreign,
    })
}

/// Makes the tables that are not there.
pub(super) async fn make(database: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin().await?;
    for table in TABLES {
        query(table).execute(&mut *transaction).await?;
    }
    query(SET_VERSION).execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The statements that empty all tables.
pub(super) const CLEAR: [&str; 7] = [
    "DELETE FROM head",
    "DELETE FROM entry",
    "DELETE FROM zone",
    "DELETE FROM term",
    "DELETE FROM posting",
    "DELETE FROM key",
    "DELETE FROM refusal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_have_the_numbers() {
        assert_eq!(TABLES[0], format!("PRAGMA application_id = {APPLICATION}"));
        assert_eq!(SET_VERSION, format!("PRAGMA user_version = {VERSION}"));
    }
}
