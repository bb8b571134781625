//! `issuer.toml`: its listeners, the proxies in front of them, and the limits of those that call.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::IpAddr;
use std::time::Duration;

use countersign_deployment::{Config, CustodyEntry};

const BASE: &str = "policies = \"countersign.toml\"\nstate = \"state\"\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(&format!("{BASE}{text}")).map_err(|error| error.to_string())
}

#[test]
fn connections_that_are_idle_outlive_the_proxies_in_front() {
    let settings = parse("").unwrap().settings;
    assert_eq!(settings.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.header_timeout, Duration::from_secs(10));
    let settings = parse("[limits]\nidle-seconds = 3600\nheader-seconds = 1\n").unwrap().settings;
    assert_eq!(settings.idle_timeout, Duration::from_secs(3600));
    assert_eq!(settings.header_timeout, Duration::from_secs(1));
}

#[test]
fn addresses_are_not_limited_unless_they_are() {
    let addresses = parse("[limits]\nconnections = 50\n").unwrap().settings.addresses;
    assert_eq!((addresses.connections, addresses.per_second), (50, 0));
    assert!(!addresses.is_trusted_proxy("127.0.0.1".parse().unwrap()));
    let config = parse(
        "[listen]\ntrusted-proxies = [\"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.1\", \"::ffff:192.0.2.9\"]\n\
         client-address-header = \"X-Forwarded-For\"\nprobes = \"127.0.0.1:9090\"\n\
         [limits]\naddress-connections = 20\naddress-per-second = 30\n",
    )
    .unwrap();
    assert_eq!(config.listen.probes, Some("127.0.0.1:9090".parse().unwrap()));
    let addresses = config.settings.addresses;
    assert_eq!((addresses.connections, addresses.per_second, addresses.burst), (20, 30, 60));
    for (address, trusted) in [
        ("10.255.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("11.0.0.1", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("192.0.2.9", true),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(addresses.is_trusted_proxy(address), trusted, "{address}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (text, problem) in [
        ("[limits]\nidle-seconds = 0\n", "limits.idle-seconds: 0 is not in 1 to 3600"),
        ("[limits]\nidle-seconds = 3601\n", "limits.idle-seconds: 3601 is not in 1 to 3600"),
        ("[limits]\nunproven-requests = 0\n", "limits.unproven-requests: 0 is not in 1 to 1024"),
        (
            "[limits]\nunproven-per-second = 0\n",
            "limits.unproven-per-second: 0 is not in 1 to 1000000",
        ),
        (
            "[limits]\nconnections = 10\naddress-connections = 11\n",
            "limits.address-connections: 11 is not in 1 to 10",
        ),
        ("[limits]\naddress-burst = 0\n", "limits.address-burst: 0 is not in 1 to 1000000"),
        (
            "[listen]\nprobes = \"127.0.0.1:8080\"\n",
            "listen.probes: the same as `address`; give it a port of its own",
        ),
        ("[listen]\ntrusted-proxies = [\"10.0.0.0/8\"]\n", "belong together"),
        ("[listen]\nclient-address-header = \"x\"\n", "belong together"),
        (
            "[listen]\ntrusted-proxies = [\"0.0.0.0/0\"]\nclient-address-header = \"x\"\n",
            "every client could make its address up",
        ),
        (
            "[listen]\ntrusted-proxies = [\"::/0\"]\nclient-address-header = \"x\"\n",
            "every client could make its address up",
        ),
        (
            "[listen]\ntrusted-proxies = [\"proxy.example\"]\nclient-address-header = \"x\"\n",
            "expected an address",
        ),
        (
            "[listen]\ntrusted-proxies = [\"10.0.0.0/33\"]\nclient-address-header = \"x\"\n",
            "expected an address",
        ),
        (
            "[listen]\ntrusted-proxies = [\"10.0.0.0/8\"]\nclient-address-header = \"a b\"\n",
            "expected the name of a header",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

/// Each custody has what it needs, and nothing of another one.
#[test]
fn a_custody_is_configured_as_a_whole() {
    const STORE: &str = "store = \"postgres://issuer@db.example.com/countersign\"\n";
    const PKCS11_TABLE: &str = "\nmodule = \"/m.so\"\ntoken = \"t\"\npin-file = \"pin\"\n";
    const PKCS11: &str = "[keys]\ncustody = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"/m.so\"\ntoken = \"t\"\n\
                          pin-file = \"pin\"\n";
    const KMS: &str = "[keys]\ncustody = \"aws-kms\"\n[keys.aws-kms]\nregion = \"eu-1\"\n";
    let custody = |text: &str| parse(text).map(|config| config.custody);
    for store in ["", STORE] {
        let Ok(CustodyEntry::Pkcs11(entry)) = custody(&format!("{store}{PKCS11}")) else {
            panic!("{store}");
        };
        assert_eq!((entry.label.as_str(), entry.processes), ("countersign", 2));
        let local = "endpoint = \"http://127.0.0.1:4566\"\n";
        let Ok(CustodyEntry::AwsKms(entry)) = custody(&format!("{store}{KMS}{local}")) else {
            panic!("{store}");
        };
        assert_eq!((entry.alias.as_str(), entry.concurrent), ("countersign", 32));
    }
    let sealing_key_file = "seal".to_owned();
    for (text, expected) in [
        (String::new(), CustodyEntry::Folder),
        ("[keys]\ncustody = \"folder\"\n".to_owned(), CustodyEntry::Folder),
        (
            "[keys]\ncustody = \"encrypted-folder\"\nsealing-key-file = \"seal\"\n".to_owned(),
            CustodyEntry::EncryptedFolder { sealing_key_file: sealing_key_file.clone() },
        ),
        (
            format!("{STORE}[keys]\nsealing-key-file = \"seal\"\n"),
            CustodyEntry::Database { sealing_key_file },
        ),
    ] {
        assert_eq!(custody(&text), Ok(expected), "{text}");
    }
    for (text, problem) in [
        ("[keys]\ncustody = \"hsm\"\n".to_owned(), "unknown variant"),
        ("[keys]\ncustody = \"encrypted-folder\"\n".to_owned(), "keys.sealing-key-file: missing"),
        (
            "[keys]\ncustody = \"folder\"\nsealing-key-file = \"seal\"\n".to_owned(),
            "keys.sealing-key-file: nothing is encrypted by it",
        ),
        (
            "[keys]\ncustody = \"database\"\nsealing-key-file = \"seal\"\n".to_owned(),
            "keys.custody: without `store",
        ),
        ("[keys]\ncustody = \"pkcs11\"\n".to_owned(), "[keys.pkcs11]: missing"),
        ("[keys]\ncustody = \"aws-kms\"\n".to_owned(), "[keys.aws-kms]: missing"),
        (format!("{PKCS11}[keys.aws-kms]\nregion = \"x\"\n"), "[keys.aws-kms]: not used"),
        (format!("[keys.pkcs11]{PKCS11_TABLE}"), "[keys.pkcs11]: not used"),
        (PKCS11.replace("/m.so", "m.so"), "keys.pkcs11.module: expected a path"),
        (PKCS11.replace("\"t\"", "\"\""), "keys.pkcs11.token"),
        (format!("{PKCS11}processes = 0\n"), "keys.pkcs11.processes: 0 is not in 1 to 32"),
        (format!("{PKCS11}label = \"a/b\"\n"), "keys.pkcs11.label"),
        (format!("{PKCS11}environment = {{ \"A=B\" = \"\" }}\n"), "keys.pkcs11.environment"),
        (format!("{PKCS11}pin = \"1234\"\n"), "unknown field `pin`"),
        (KMS.replace("eu-1", "eu.1"), "keys.aws-kms.region"),
        (format!("{KMS}endpoint = \"http://kms.example.com\"\n"), "keys.aws-kms.endpoint"),
        (format!("{KMS}endpoint = \"https://a:b@kms.example.com\"\n"), "keys.aws-kms.endpoint"),
        (format!("{KMS}endpoint = \"https://kms.example.com/x\"\n"), "keys.aws-kms.endpoint"),
        (format!("{KMS}concurrent = 257\n"), "keys.aws-kms.concurrent: 257 is not in 1 to 256"),
        (
            KMS.replace("[keys.aws-kms]", "sealing-key-file = \"s\"\n[keys.aws-kms]"),
            "keys.sealing-key-file: nothing is encrypted by it",
        ),
        (format!("{STORE}[keys]\ncustody = \"folder\"\n"), "keys.custody: replicas have no folder"),
        (
            format!("{STORE}[keys]\ncustody = \"encrypted-folder\"\nsealing-key-file = \"s\"\n"),
            "keys.custody: replicas have no folder",
        ),
    ] {
        let error = custody(&text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

/// A database that replicas share needs its tables, and nothing of a password is repeated.
#[test]
fn a_shared_database_is_configured_as_a_whole() {
    const STORE: &str = "store = \"postgres://issuer@db.example.com/countersign\"\n";
    const SEALING: &str = "[keys]\nsealing-key-file = \"sealing-key\"\n";
    let entry = parse(&format!("{STORE}{SEALING}")).unwrap();
    let database = entry.database.unwrap();
    assert_eq!(database.url.to_string(), "postgres://issuer@db.example.com:5432/countersign");
    assert_eq!((database.connections, database.poll), (16, Duration::from_secs(3)));
    assert_eq!(database.query_timeout, Duration::from_secs(2));
    assert!(!database.accepts_asynchronous && database.replica_name.is_none());
    // Published for a little longer than by one process.
    let alone = parse("").unwrap().settings.key_times.verifier_cache;
    assert_eq!(entry.settings.key_times.verifier_cache, alone + 30);
    for (text, problem) in [
        (STORE.to_owned(), "keys.sealing-key-file: missing"),
        (SEALING.to_owned(), "keys.sealing-key-file: nothing is encrypted by it"),
        ("[replica]\nname = \"a\"\n".to_owned(), "[replica]: without `store"),
        ("[database]\nconnections = 3\n".to_owned(), "[database]: without `store"),
        (
            format!("{STORE}[replica]\nname = \"a b\"\n{SEALING}"),
            "replica.name: a name has 1 to 63",
        ),
        (format!("{STORE}[replica]\nname = \"\"\n{SEALING}"), "replica.name: a name has 1 to 63"),
        (
            format!("{STORE}[replica]\npoll-seconds = 0\n{SEALING}"),
            "replica.poll-seconds: 0 is not",
        ),
        (
            format!("{STORE}[database]\nconnections = 1\n{SEALING}"),
            "database.connections: 1 is not",
        ),
        (
            format!("{STORE}[database]\nquery-milliseconds = 10\n{SEALING}"),
            "database.query-milliseconds: 10 is not",
        ),
        (
            format!("{STORE}[database]\nasynchronous-standby = \"maybe\"\n{SEALING}"),
            "unknown variant",
        ),
        (
            format!("store = \"postgres://a:hunter2@host/b\"\n{SEALING}"),
            "store: a password is in it",
        ),
        (format!("store = \"sqlite:x\"\n{SEALING}"), "store: expected `postgres://"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(problem) && !error.contains("hunter2"), "{text}: {error}");
    }
}
