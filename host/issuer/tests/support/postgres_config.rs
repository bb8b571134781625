//! Stores on a test's server.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use countersign_issuer::{DatabaseUrl, PostgresConfig, PostgresStore, StoreError};
use zeroize::Zeroizing;

use crate::postgres::PASSWORD;
use crate::support::ISSUER;

pub(crate) fn config(url: &str) -> PostgresConfig {
    PostgresConfig {
        url: DatabaseUrl::parse(url).unwrap(),
        password: Some(Zeroizing::new(PASSWORD.to_owned())),
        authorities: None,
        connections: 16,
        query_timeout: Duration::from_secs(20),
        accepts_asynchronous: false,
    }
}

pub(crate) async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&config(url), ISSUER).await
}
