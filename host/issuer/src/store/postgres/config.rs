//! The place of a database, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

/// A database, and the limits on what a store does there.
pub struct PostgresConfig {
    /// Its place.
    pub url: DatabaseUrl,
    /// The password of the role; none where the server needs none.
    pub password: Option<Zeroizing<String>>,
    /// Certificates, in PEM, that verify the server beside those of public authorities.
    pub authorities: Option<PathBuf>,
    /// The maximum of connections.
    pub connections: usize,
    /// The time in which each piece of work must be done, with its connection.
    pub query_timeout: Duration,
    /// True where it may forget, in a failover, what it has acknowledged: single use is not kept then.
    pub accepts_asynchronous: bool,
}

/// `postgres://ROLE@HOST:PORT/DATABASE`, without a password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    role: String,
    host: String,
    port: u16,
    database: String,
    tls: Tls,
}

/// The verification of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// Its certificate is of its name.
    Full,
    /// An authority has signed its certificate, for whatever name.
    Authority,
    /// Plain.
    Off,
}

/// A text that is not the place of a database. The message has nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDatabaseUrl(&'static str);

impl DatabaseUrl {
    /// Parses `postgres://ROLE@HOST:PORT/DATABASE?sslmode=MODE`. The port is 5432 unless given, a host that begins with
    /// `/` cannot be given, and the mode is `verify-full` (the default), `verify-ca` or `disable`.
    ///
    /// # Errors
    /// When it has another form, above all when a password is in it.
    pub fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        const FORM: &str = "expected `postgres://ROLE@HOST:PORT/DATABASE`, in which ROLE and DATABASE have letters, digits, \
                            `_`, `.` and `-`";
        let invalid = || InvalidDatabaseUrl(FORM);
        let rest = ["postgres://", "postgresql://"].iter().find_map(|one| text.strip_prefix(one));
        let rest = rest.ok_or_else(invalid)?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (authority, database) = place.split_once('/').ok_or_else(invalid)?;
        let (role, server) = authority.rsplit_once('@').ok_or_else(invalid)?;
        if role.contains(':') {
            let problem = "a password is in it: put that into a file, and name it as `database.password-file`";
            return Err(InvalidDatabaseUrl(problem));
        }
        let (host, port) = server_of(server).ok_or_else(invalid)?;
        if !is_name(role) || !is_name(database) {
            return Err(invalid());
        }
        let tls = match query {
            None | Some("sslmode=verify-full") => Tls::Full,
            Some("sslmode=verify-ca") => Tls::Authority,
            Some("sslmode=disable") => Tls::Off,
            Some(query) if query.contains("password") => {
                let problem = "a password is in it: put that into a file, and name it as `database.password-file`";
                return Err(InvalidDatabaseUrl(problem));
            }
            Some(_) => {
                let problem = "expected `?sslmode=verify-full` (the default), `verify-ca` or `disable`, and nothing else: \
                               other modes verify nothing";
                return Err(InvalidDatabaseUrl(problem));
            }
        };
        let (role, database) = (role.to_owned(), database.to_owned());
        Ok(Self { role, host, port, database, tls })
    }

    /// True where the connection is plain, and leaves this machine.
    pub fn is_exposed(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        let is_local = self.host == "localhost" || address.is_some_and(|host| host.is_loopback());
        self.tls == Tls::Off && !is_local
    }
}

/// Its place, which has no secret.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, host, port, database, tls } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let mode = match tls {
            Tls::Full => "",
            Tls::Authority => "?sslmode=verify-ca",
            Tls::Off => "?sslmode=disable",
        };
        write!(f, "postgres://{role}@{host}:{port}/{database}{mode}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PostgresConfig {
    pub(super) fn options(&self) -> PgConnectOptions {
        let url = &self.url;
        let options = PgConnectOptions::new_without_pgpass()
            .host(&url.host)
            .port(url.port)
            .username(&url.role)
            .database(&url.database)
            .password(self.password.as_ref().map_or("", |password| password.as_str()))
            .application_name("countersign")
            // A pooler takes none but those that it knows.
            .extra_float_digits(None)
            // Of a pooler's many connections, none has what another one prepared.
            .statement_cache_capacity(0)
            .ssl_mode(match url.tls {
                Tls::Full => PgSslMode::VerifyFull,
                Tls::Authority => PgSslMode::VerifyCa,
                Tls::Off => PgSslMode::Disable,
            });
        match &self.authorities {
            Some(file) => options.ssl_root_cert(file),
            None => options,
        }
    }
}

fn server_of(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("5432"))?)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "5432"));
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_host)).then_some((host, port))?
        }
    };
    Some((host.to_owned(), port.parse().ok().filter(|port| *port > 0)?))
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_url_has_one_form_and_no_password() {
        for good in [
            "postgres://countersign@db.example.com:5433/countersign",
            "postgres://countersign@127.0.0.1:5432/issuer?sslmode=disable",
            "postgres://a_b.c-d@[::1]:6432/x?sslmode=verify-ca",
        ] {
            assert_eq!(DatabaseUrl::parse(good).unwrap().to_string(), good);
        }
        let default = DatabaseUrl::parse("postgresql://a@host/b?sslmode=verify-full").unwrap();
        assert_eq!(default.to_string(), "postgres://a@host:5432/b");
        for (bad, says) in [
            ("postgres://a:secret@host/b", "password-file"),
            ("postgres://a@host/b?password=secret", "password-file"),
            ("postgres://a@host/b?sslmode=prefer", "verify nothing"),
            ("postgres://a@host/b?sslmode=verify-full&options=-cfsync=off", "verify nothing"),
            ("postgres://a@host/b?", "verify nothing"),
            ("postgres://host/b", "expected `postgres"),
            ("postgres://a@host", "expected `postgres"),
            ("postgres://a@host/", "expected `postgres"),
            ("postgres://a@host/b/c", "expected `postgres"),
            ("postgres://a@host:0/b", "expected `postgres"),
            ("postgres://a@host:x/b", "expected `postgres"),
            ("postgres://a@ho%20st/b", "expected `postgres"),
            ("postgres://a@[::1/b", "expected `postgres"),
            ("postgres://a%3A@host/b", "expected `postgres"),
            ("mysql://a@host/b", "expected `postgres"),
            ("", "expected `postgres"),
        ] {
            let problem = DatabaseUrl::parse(bad).unwrap_err().to_string();
            assert!(problem.contains(says) && !problem.contains("secret"), "{bad}: {problem}");
        }
        let exposed = |text| DatabaseUrl::parse(text).unwrap().is_exposed();
        assert!(exposed("postgres://a@10.0.0.1/b?sslmode=disable"));
        assert!(!exposed("postgres://a@127.0.0.1/b?sslmode=disable"));
        assert!(!exposed("postgres://a@10.0.0.1/b"));
    }
}
