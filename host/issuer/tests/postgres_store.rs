//! The store that replicas share, beyond the contract: the plan of keys, the register, and databases that are not the right
//! one, on real servers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/postgres_config.rs"]
mod postgres_config;
mod support;

use std::sync::Arc;
use std::time::Duration;

use countersign::{Digest, Run, RunId};
use countersign_issuer::{
    Beat, KeyPlan, KeyTimes, MAX_STEP_BYTES, Membership, NewSharedStep, PostgresConfig,
    PostgresStore, RegisteredRun, Store, StoreError, StoreFailure, TakenReleases,
};
use countersign_signing::Algorithm;
use postgres::{PASSWORD, Pooler, Server, url};
use postgres_config::{config, open};
use support::{ISSUER, RUN, SHARED_RUNNER, START, run};
use zeroize::Zeroizing;

fn registered() -> RegisteredRun {
    RegisteredRun {
        run: Run::parse(run().to_string().as_bytes()).unwrap(),
        runner: SHARED_RUNNER.parse().unwrap(),
        facts: countersign::Facts::default(),
        run_token: None,
        registered_at: START,
        expires_at: START + 100,
        finished_at: None,
    }
}

/// Of many replicas that want to change the plan at once, one does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn one_of_many_changes_of_the_key_plan_is_made() {
    let server = Server::start();
    let migrated = PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (0, 3));
    let pooler = Pooler::start(server.port, 4);
    let store = Arc::new(open(&url(pooler.port)).await.unwrap());
    let times = KeyTimes { verifier_cache: 60, max_token_lifetime: 60, rotate_every: None };
    let mut kids = Vec::new();
    for round in 0..10 {
        let each = (0..12).map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let row = store.key_plan().await.unwrap();
                let (mut plan, kid) = (row.plan, format!("{round}-{number}"));
                let algorithm = Algorithm::Rs256;
                plan.rotate(kid.clone(), algorithm, &times, true, row.now).unwrap();
                (store.replace_key_plan(row.version, &plan).await.unwrap(), kid)
            })
        });
        let mut made = Vec::new();
        for one in each.collect::<Vec<_>>() {
            let (is_made, kid) = one.await.unwrap();
            made.extend(is_made.then_some(kid));
        }
        assert!(!made.is_empty());
        kids.extend(made);
    }
    // Each change that was acknowledged is in the plan, in the order of versions, and no other is.
    let row = store.key_plan().await.unwrap();
    assert_eq!(row.version, kids.len() as u64);
    let mut planned: Vec<_> = row.plan.keys.iter().map(|key| key.kid.clone()).collect();
    planned.sort_unstable();
    kids.sort_unstable();
    assert_eq!(planned, kids);
    assert!(!store.replace_key_plan(row.version - 1, &KeyPlan::default()).await.unwrap());

    store.keep_sealed_key("kid", b"sealed").await.unwrap();
    store.keep_sealed_key("kid", b"another").await.unwrap();
    assert_eq!(store.sealed_key("kid").await.unwrap().unwrap(), b"sealed");
    assert_eq!(store.sealed_keys().await.unwrap(), ["kid"]);
    store.remove_sealed_key("kid").await.unwrap();
    store.remove_sealed_key("kid").await.unwrap();
    assert!(store.sealed_key("kid").await.unwrap().is_none());
}

fn member(name: &str, instance: &str) -> Membership {
    let lease = Duration::from_secs(60);
    Membership { name: name.to_owned(), instance: instance.to_owned(), lease }
}

fn beat() -> Beat {
    Beat {
        plan_version: 3,
        policy_set: "policies".to_owned(),
        access: "access".to_owned(),
        log_sequence: 41,
        log_hash: "hash".to_owned(),
        checkpoint: "{}".to_owned(),
        checkpoint_key: "{}".to_owned(),
        releases: TakenReleases { step: 7, deciding: 6, candidate: "candidate".to_owned() },
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn a_name_is_one_processs_and_a_database_that_was_put_back_is_noticed() {
    let server = Server::start();
    PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    let (one, two) = (open(&server.url()).await.unwrap(), open(&server.url()).await.unwrap());
    let (first, second) = (member("a", "1"), member("a", "2"));
    assert!(one.replica_mark("a").await.unwrap().is_none());
    one.join(&first, None).await.unwrap();
    // Neither as new nor as what went on.
    let taken = |error| matches!(error, Err(StoreError::NameTaken { .. }));
    assert!(taken(two.join(&second, None).await));
    let mark = two.replica_mark("a").await.unwrap().unwrap();
    assert!(taken(two.join(&second, Some(&mark)).await));
    two.join(&member("b", "3"), None).await.unwrap();
    let seen = one.beat(&first, &beat()).await.unwrap();
    assert_eq!(seen.replicas.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(seen.replicas[0].beat, beat());
    assert!(seen.replicas[0].age_seconds < 60 && !seen.replicas[0].stopped);
    let mark = one.replica_mark("a").await.unwrap().unwrap();
    assert_eq!((mark.changes, mark.log_sequence, mark.log_hash.as_str()), (2, 41, "hash"));
    assert_eq!(one.changes(), 2);

    // It keeps the time from which on it has its configuration.
    let again = one.beat(&first, &beat()).await.unwrap();
    assert_eq!(again.replicas[0].configured_at, seen.replicas[0].configured_at);
    let changed = Beat { policy_set: "others".to_owned(), ..beat() };
    let changed = one.beat(&first, &changed).await.unwrap();
    assert!(changed.replicas[0].configured_at > seen.replicas[0].configured_at);

    // The database of a moment ago.
    let yesterday = server.dump();
    one.beat(&first, &beat()).await.unwrap();
    one.check_place().unwrap();
    server.restore(&yesterday);
    let displaced = one.beat(&first, &beat()).await;
    assert!(
        matches!(displaced, Err(StoreError::Displaced { found: 4, expected: 5 })),
        "{displaced:?}"
    );
    one.displace();
    assert!(one.check_place().is_err());

    // After an orderly stop another process has it at once, if it has seen what was left.
    one.leave(&first).await.unwrap();
    assert!(taken(two.join(&second, Some(&mark)).await));
    let mark = two.replica_mark("a").await.unwrap().unwrap();
    two.join(&second, Some(&mark)).await.unwrap();
    assert!(matches!(one.beat(&first, &beat()).await, Err(StoreError::Displaced { .. })));
    two.beat(&second, &beat()).await.unwrap();
    assert!(!two.forget_replica("a").await.unwrap());
    two.leave(&second).await.unwrap();
    assert!(two.forget_replica("a").await.unwrap());
    assert!(!two.forget_replica("a").await.unwrap());
}

fn step(number: u64, text: &str, decides: bool) -> NewSharedStep {
    let release = Digest::of(b"a release");
    NewSharedStep { number, text: text.to_owned(), release, decides }
}

/// Of many replicas that make the next step at once, one does; contents are there as they were put, and whatever else is in
/// the tables is an error. A service's role adds to them, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn steps_of_releases_follow_each_other_and_contents_stay() {
    let server = Server::start();
    server.sql("postgres", &format!("CREATE ROLE issuer LOGIN PASSWORD '{PASSWORD}'"));
    PostgresStore::migrate(&config(&server.url()), ISSUER, Some("issuer")).await.unwrap();
    let of_role = server.url().replace("//countersign@", "//issuer@");
    let pooler = Pooler::start(server.port, 4);
    let store = Arc::new(open(&of_role).await.unwrap());

    // Contents of no part, one and several.
    let mut contents = vec![Vec::new(), b"[[binding]]".to_vec(), vec![7; 1 << 20]];
    contents.push((0..(5 << 20) / 2).map(|at| (at % 251) as u8).collect());
    for content in &contents {
        let digest = Digest::of(content);
        assert_eq!(store.release_file(digest, 1).await.unwrap(), None);
        assert!(store.add_release_file(digest, content).await.unwrap());
        assert!(!store.add_release_file(digest, content).await.unwrap());
        let read = store.release_file(digest, content.len() as u64).await.unwrap();
        assert!(read.as_ref() == Some(content));
    }
    let problem = |error: StoreError| {
        assert_eq!(error.failure(), StoreFailure::Failed, "{error}");
        error.to_string()
    };
    let large = Digest::of(&contents[3]);
    let said = problem(store.release_file(large, 1 << 20).await.unwrap_err());
    assert!(said.contains(&format!("content {large}")) && said.contains("longer than"), "{said}");

    // A release names a description that is there, and a step a release.
    let (release, description) = (Digest::of(b"a release"), Digest::of(&contents[1]));
    assert!(store.add_release_steps(&[step(1, "{}", false)]).await.is_err());
    assert!(store.add_release_set(release, Digest::of(b"nowhere")).await.is_err());
    assert_eq!(store.release_set(release).await.unwrap(), None);
    store.add_release_set(release, description).await.unwrap();
    store.add_release_set(release, large).await.unwrap();
    assert_eq!(store.release_set(release).await.unwrap(), Some(description), "the first stays");

    // Neither a gap nor a number twice, and of several at once all or none.
    assert!(!store.add_release_steps(&[step(2, "{}", false)]).await.unwrap());
    let both = [step(1, "1", false), step(2, "2", true)];
    assert!(store.add_release_steps(&both).await.unwrap());
    assert!(!store.add_release_steps(&both).await.unwrap());
    assert!(!store.add_release_steps(&[step(2, "x", false), step(3, "y", false)]).await.unwrap());
    let through = open(&url(pooler.port)).await.unwrap();
    assert_eq!(through.release_steps(1).await.unwrap().len(), 2);
    for number in 3..13 {
        let each = (0..12).map(|one| {
            let (store, text) = (Arc::clone(&store), format!("{number} of {one}"));
            tokio::spawn(async move {
                (store.add_release_steps(&[step(number, &text, one % 2 == 0)]).await.unwrap(), text)
            })
        });
        let mut made = Vec::new();
        for one in each.collect::<Vec<_>>() {
            let (is_made, text) = one.await.unwrap();
            made.extend(is_made.then_some(text));
        }
        let there = store.release_steps(number).await.unwrap();
        assert_eq!((made.len(), there.len()), (1, 1), "{made:?}");
        assert_eq!((there[0].number, &there[0].text), (number, &made[0]));
    }
    let many: Vec<_> = (13..300).map(|number| step(number, "{}", false)).collect();
    assert!(store.add_release_steps(&many).await.unwrap());
    let some = store.release_steps(13).await.unwrap();
    assert!(some.len() < many.len() && some[0].number == 13, "{}", some.len());
    assert_eq!(store.release_steps(300).await.unwrap(), []);

    // Each beat tells of the last one, and of the last that decides.
    let first = member("a", "1");
    store.join(&first, None).await.unwrap();
    let seen = store.beat(&first, &beat()).await.unwrap().releases;
    let deciding =
        server.sql("countersign", "SELECT max(step) FROM countersign.release_step WHERE decides");
    assert_eq!((seen.step, seen.deciding.to_string()), (299, deciding));
    assert!(seen.deciding_for < 60_000);
    let later = "UPDATE countersign.release_step SET made_at = made_at - interval '1 hour'";
    server.sql("countersign", later);
    let seen = store.beat(&first, &beat()).await.unwrap();
    assert!((3_600_000..3_660_000).contains(&seen.releases.deciding_for), "{seen:?}");
    assert_eq!(seen.replicas[0].beat.releases, beat().releases);

    // The role of a service changes none of it.
    let psql = |statement: &str| {
        let statement = format!("SET ROLE issuer; {statement}");
        let path = server.path().to_owned();
        let mut psql = std::process::Command::new("psql");
        psql.args(["-X", "-q", "-U", "postgres", "-d", "countersign", "-c", &statement, "-h"]);
        psql.arg(path).args(["-p", &server.port.to_string()]);
        psql.output().unwrap()
    };
    for statement in [
        "DELETE FROM countersign.release_step",
        "UPDATE countersign.release_step SET content = 'x'",
        "UPDATE countersign.release_set SET description = release",
        "UPDATE countersign.release_part SET content = 'x'",
        "DELETE FROM countersign.release_file",
        "TRUNCATE countersign.release_part",
    ] {
        let said = String::from_utf8(psql(statement).stderr).unwrap();
        assert!(said.contains("permission denied"), "{statement}: {said}");
    }

    // Whoever owns the tables can do anything; what is too long or missing is not read.
    let sql = |statement: &str| server.sql("countersign", statement);
    let parts = |more: &str| format!("countersign.release_part WHERE digest = '{large}' {more}");
    sql(&format!("DELETE FROM {}", parts("AND part = 1")));
    let said = problem(store.release_file(large, 8 << 20).await.unwrap_err());
    assert!(said.contains("part 1 of 1048576 bytes is missing"), "{said}");
    assert!(!store.add_release_file(large, &contents[3]).await.unwrap());
    assert!(store.release_file(large, 8 << 20).await.unwrap().as_ref() == Some(&contents[3]));
    sql(&format!(
        "UPDATE countersign.release_file SET bytes = {} WHERE digest = '{large}'",
        1_u64 << 60
    ));
    let said = problem(store.release_file(large, 8 << 20).await.unwrap_err());
    assert!(said.contains("longer than 8388608 bytes"), "{said}");
    sql("ALTER TABLE countersign.release_step DROP CONSTRAINT release_step_content_check");
    sql(&format!(
        "UPDATE countersign.release_step SET content = repeat('x', {}) WHERE step = 299",
        MAX_STEP_BYTES + 1
    ));
    let said = problem(store.release_steps(290).await.unwrap_err());
    assert!(said.contains("step 299") && said.contains("longer than 65536 bytes"), "{said}");
    sql("ALTER TABLE countersign.release_set DROP CONSTRAINT release_set_description_fkey");
    sql("UPDATE countersign.release_set SET description = 'x'");
    let said = problem(store.release_set(release).await.unwrap_err());
    assert!(said.contains("its description has no digest"), "{said}");
}

/// Each database that is not the right one is refused in words of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn a_wrong_database_is_refused_by_name() {
    let mut server = Server::start();
    let url = server.url();
    let refused = async |says: &str, failure| {
        let error = open(&url).await.err().unwrap_or_else(|| panic!("opened, and not: {says}"));
        let text = format!("{error}");
        assert!(text.contains(says) && !text.contains(PASSWORD), "{text}");
        assert_eq!(error.failure(), failure, "{error:?}");
    };
    refused("run `countersign migrate`", StoreFailure::Schema).await;
    PostgresStore::migrate(&config(&url), ISSUER, None).await.unwrap();
    let migrated = PostgresStore::migrate(&config(&url), ISSUER, None).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (3, 3));
    let other = PostgresStore::migrate(&config(&url), "https://other.example.com", None).await;
    assert!(matches!(other, Err(StoreError::OtherInstallation { .. })), "{other:?}");
    open(&url).await.unwrap();
    let other =
        PostgresStore::open(&config(&url), "https://other.example.com").await.err().unwrap();
    assert!(other.to_string().contains("belongs to the issuer https://oidc.example.com"));

    let sql = |statement: &str| server.sql("countersign", statement);
    sql("INSERT INTO countersign.schema_version VALUES (9, 2)");
    // A later version that goes on with this program, as in the middle of an upgrade.
    open(&url).await.unwrap();
    sql("UPDATE countersign.schema_version SET serves_from = 9 WHERE version = 9");
    refused("are of version 9", StoreFailure::Schema).await;
    let later = PostgresStore::migrate(&config(&url), ISSUER, None).await;
    assert!(matches!(later, Err(StoreError::LaterVersion { found: 9, expected: 3 })), "{later:?}");
    sql("DELETE FROM countersign.schema_version WHERE version > 1");
    refused("run `countersign migrate`", StoreFailure::Schema).await;
    sql(
        "DROP TABLE countersign.key_plan, countersign.signing_key, countersign.release_step, countersign.release_set, \
         countersign.release_part, countersign.release_file; ALTER TABLE countersign.replica DROP COLUMN release_step, \
         DROP COLUMN deciding_step, DROP COLUMN candidate",
    );
    // Rows of an earlier version are kept, and brought to this one.
    sql("INSERT INTO countersign.used_token VALUES ('\\x00', 9)");
    let migrated = PostgresStore::migrate(&config(&url), ISSUER, None).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (1, 3));
    assert_eq!(sql("SELECT count(*) FROM countersign.used_token"), "1");

    sql("ALTER DATABASE countersign SET default_transaction_read_only = on");
    refused("takes no changes", StoreFailure::ReadOnly).await;
    server.sql("postgres", "ALTER DATABASE countersign RESET ALL");
    sql("ALTER ROLE countersign SET synchronous_commit = off");
    refused("synchronous_commit", StoreFailure::Failed).await;
    let accepting = PostgresConfig { accepts_asynchronous: true, ..config(&url) };
    PostgresStore::open(&accepting, ISSUER).await.unwrap();
    sql("ALTER ROLE countersign RESET ALL");
    sql(
        "REVOKE ALL ON SCHEMA countersign FROM countersign; ALTER SCHEMA countersign OWNER TO postgres",
    );
    refused("the database failed", StoreFailure::Schema).await;
    sql("ALTER SCHEMA countersign OWNER TO countersign");
    sql("GRANT ALL ON SCHEMA countersign TO countersign");

    sql("ALTER ROLE countersign CONNECTION LIMIT 0");
    refused("cannot be reached", StoreFailure::Full).await;
    sql("ALTER ROLE countersign CONNECTION LIMIT -1");

    // A standby itself, and a primary that does not wait for it.
    let standby = server.standby();
    let on_standby = open(&standby.url()).await.err().unwrap();
    assert_eq!(on_standby.failure(), StoreFailure::ReadOnly, "{on_standby}");
    refused("asynchronously", StoreFailure::Failed).await;
    PostgresStore::open(&accepting, ISSUER).await.unwrap();
    server.wait_for_standby();
    open(&url).await.unwrap();

    let wrong =
        PostgresConfig { password: Some(Zeroizing::new("another".to_owned())), ..config(&url) };
    let wrong = PostgresStore::open(&wrong, ISSUER).await.err().unwrap();
    assert!(!format!("{wrong:?} {wrong}").contains("another\""), "{wrong:?}");
    assert_eq!(wrong.failure(), StoreFailure::Unreachable);
    server.crash();
    refused("cannot be reached", StoreFailure::Unreachable).await;
}

/// The server is the one that was meant, or nothing is said to it: neither the password nor a run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn the_server_is_verified_before_anything_is_said() {
    let server = Server::start();
    PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    let certificate = server.speak_tls();
    let full = format!("postgres://countersign@127.0.0.1:{}/countersign", server.port);
    let other_name = full.replace("127.0.0.1", "localhost");
    let open = async |url: &str, authorities: Option<&std::path::Path>| {
        let config = PostgresConfig { authorities: authorities.map(Into::into), ..config(url) };
        PostgresStore::open(&config, ISSUER).await
    };
    let store = open(&full, Some(&certificate)).await.unwrap();
    assert!(store.use_once(ISSUER, "tls", START).await.unwrap());
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE usename = 'countersign'";
    assert_eq!(server.sql("postgres", encrypted), "t");
    open(&format!("{other_name}?sslmode=verify-ca"), Some(&certificate)).await.unwrap();
    let refused = async |url: &str, authorities| {
        let error = open(url, authorities).await.err().expect("it was taken");
        assert_eq!(error.failure(), StoreFailure::Unreachable, "{error:?}");
    };
    refused(&full, None).await;
    refused(&other_name, Some(&*certificate)).await;
    refused(&format!("{full}?sslmode=verify-ca"), None).await;
    server.switch_tls(false);
    refused(&full, Some(&*certificate)).await;
}

/// A disk without room is an error of its own, and what was acknowledged before stays.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn a_full_database_takes_nothing_and_forgets_nothing() {
    let server = Server::start();
    PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    let store = open(&server.url()).await.unwrap();
    assert!(store.use_once(ISSUER, "before", START).await.unwrap());
    server.fill_disk();
    let mut refused = 0;
    for number in 0..200 {
        // A page may have room for a few.
        if let Err(error) = store.use_once(ISSUER, &format!("{number}"), START).await {
            assert_eq!(error.failure(), StoreFailure::Full, "{error:?}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert!(!store.use_once(ISSUER, "before", START).await.unwrap());
    store.register(&registered()).await.unwrap();
    store.ready().await.unwrap();
}

/// Every piece of work ends in time, and is never taken for another's answer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn a_database_that_does_not_answer_is_an_error_in_time() {
    let mut server = Server::start();
    PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    let limits = PostgresConfig {
        query_timeout: Duration::from_millis(500),
        connections: 2,
        ..config(&server.url())
    };
    let store = PostgresStore::open(&limits, ISSUER).await.unwrap();
    store.register(&registered()).await.unwrap();
    let id = RUN.parse::<RunId>().unwrap();
    server.freeze(true);
    for _ in 0..3 {
        assert_eq!(store.run(&id).await.unwrap_err().failure(), StoreFailure::Slow);
        let used = store.use_once(ISSUER, "frozen", START).await.unwrap_err();
        assert_eq!(used.failure(), StoreFailure::Slow);
    }
    server.freeze(false);
    assert_eq!(*store.run(&id).await.unwrap().unwrap(), registered());
    // A lock that somebody holds is no answer either.
    let path = server.path().to_owned();
    let lock = format!(
        "psql -X -q -U postgres -h {} -p {} -d countersign -c \"BEGIN; LOCK TABLE countersign.run; SELECT pg_sleep(2)\"",
        path.display(),
        server.port
    );
    let mut holder = std::process::Command::new("sh").args(["-c", &lock]).spawn().unwrap();
    let slow = loop {
        match store.run(&id).await {
            Err(error) => break error,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(slow.failure(), StoreFailure::Slow);
    holder.wait().unwrap();
    store.run(&id).await.unwrap();

    server.crash();
    let lost = store.run(&id).await.unwrap_err();
    assert_eq!(lost.failure(), StoreFailure::Unreachable, "{lost:?}");
    server.run();
    // Connections that were lost meanwhile are in nobody's way.
    assert!(store.run(&id).await.unwrap().is_some());
    assert!(store.use_once(ISSUER, "after", START).await.unwrap());
}
