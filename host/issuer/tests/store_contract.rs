//! The contract of a store, by each of its implementations: one table of laws.
//!
//! SQLite is there always. PostgreSQL, by itself and behind a pooler in transaction mode, is when `make replicas` starts it.
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

use countersign::{Run, RunId};
use countersign_issuer::{
    BoxFuture, Liveness, PostgresStore, Registered, RegisteredRun, RunQuery, SecretHash,
    SqliteStore, Store, StoreFailure,
};
use postgres::{PASSWORD, Pooler, Server, url};
use postgres_config::{config, open};
use support::{ISSUER, OTHER_RUNNER, RUN, SHARED_RUNNER, START, folder, run};

type Law = (&'static str, fn(Arc<dyn Store>) -> BoxFuture<'static, ()>);

/// Each with a store of its own kind that may have the runs of those before, by other ids.
const LAWS: [Law; 8] = [
    ("a run is as it was registered until it is finished", |store| Box::pin(registers(store))),
    ("one of many registrations of a run is the first", |store| Box::pin(registers_once(store))),
    ("a finish is seen by whoever reads after it", |store| Box::pin(finishes(store))),
    ("one of many uses of a token is the first", |store| Box::pin(uses_once(store))),
    ("tokens are told apart, whatever their ids", |store| Box::pin(tells_tokens_apart(store))),
    ("pages have each run once, in the order of ids", |store| Box::pin(pages(store))),
    ("what ended long ago is forgotten, and nothing else", |store| Box::pin(forgets(store))),
    ("changes never become fewer", |store| Box::pin(counts(store))),
];

fn registered(id: &str) -> RegisteredRun {
    let mut object = run();
    object["metadata"]["uuid"] = id.into();
    RegisteredRun {
        run: Run::parse(object.to_string().as_bytes()).unwrap(),
        runner: SHARED_RUNNER.parse().unwrap(),
        facts: countersign::Facts::new([("cost-centre", "4711"), ("a/b", "ü \"x\" ' \\ $1")])
            .unwrap(),
        run_token: Some(SecretHash::of(b"a-run-token-with-many-bits")),
        registered_at: START,
        expires_at: START + 100,
        finished_at: None,
    }
}

fn id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn parsed(id: &str) -> RunId {
    id.parse().unwrap()
}

async fn registers(store: Arc<dyn Store>) {
    let id = parsed(RUN);
    assert!(store.run(&id).await.unwrap().is_none());
    assert!(!store.finish(&id, START).await.unwrap());
    assert_eq!(store.register(&registered(RUN)).await.unwrap(), Registered::New);
    assert_eq!(*store.run(&id).await.unwrap().unwrap(), registered(RUN));
    let other = RegisteredRun { runner: OTHER_RUNNER.parse().unwrap(), ..registered(RUN) };
    let before = store.register(&other).await.unwrap();
    assert_eq!(before, Registered::Before(Box::new(registered(RUN))));
    assert!(store.finish(&id, START + 7).await.unwrap());
    assert!(store.finish(&id, START + 9).await.unwrap());
    let finished = store.run(&id).await.unwrap().unwrap();
    assert_eq!(finished.finished_at, Some(START + 7));
    assert_eq!(finished.liveness(START + 8), Liveness::Finished);
    let without = RegisteredRun { run_token: None, ..registered(&self::id(9)) };
    store.register(&without).await.unwrap();
    assert_eq!(*store.run(&parsed(&self::id(9))).await.unwrap().unwrap(), without);
}

async fn registers_once(store: Arc<dyn Store>) {
    let id = id(1);
    let runners = [SHARED_RUNNER, OTHER_RUNNER];
    let each = (0..16).map(|number| {
        let runner = runners[number % 2].parse().unwrap();
        let (store, run) = (Arc::clone(&store), RegisteredRun { runner, ..registered(&id) });
        tokio::spawn(async move { (run.clone(), store.register(&run).await.unwrap()) })
    });
    let (mut first, mut before) = (Vec::new(), Vec::new());
    for one in each.collect::<Vec<_>>() {
        match one.await.unwrap() {
            (run, Registered::New) => first.push(run),
            (_, Registered::Before(run)) => before.push(*run),
        }
    }
    assert_eq!(first.len(), 1);
    assert!(before.iter().all(|run| *run == first[0]), "{before:?}");
}

async fn finishes(store: Arc<dyn Store>) {
    for number in 10..30 {
        store.register(&registered(&id(number))).await.unwrap();
    }
    for number in 10..20 {
        // Known before, so that whatever is kept of it must be given up.
        assert!(store.run(&parsed(&id(number))).await.unwrap().unwrap().finished_at.is_none());
        store.finish(&parsed(&id(number)), START + 1).await.unwrap();
        let read = store.run(&parsed(&id(number))).await.unwrap().unwrap();
        assert_eq!(read.finished_at, Some(START + 1));
    }
    let all: Vec<_> = (10..30).map(|number| parsed(&id(number))).collect();
    assert_eq!(store.finish_all(&all, START + 2).await.unwrap(), 10);
    assert_eq!(store.finish_all(&all, START + 3).await.unwrap(), 0);
    assert_eq!(store.finish_all(&[], START + 3).await.unwrap(), 0);
    let both = (0..8).map(|_| {
        let (store, all) = (Arc::clone(&store), all.clone());
        tokio::spawn(async move { store.finish_all(&all, START + 4).await.unwrap() })
    });
    for one in both.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), 0);
    }
}

async fn uses_once(store: Arc<dyn Store>) {
    for token in ["one", "two", "three"] {
        let each = (0..16).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.use_once(ISSUER, token, START + 60).await.unwrap() })
        });
        let mut first = 0;
        for one in each.collect::<Vec<_>>() {
            first += usize::from(one.await.unwrap());
        }
        assert_eq!(first, 1, "{token}");
        // Taken back, it can be used again: once.
        store.release(ISSUER, token).await.unwrap();
        assert!(store.use_once(ISSUER, token, START + 60).await.unwrap());
        assert!(!store.use_once(ISSUER, token, START + 60).await.unwrap());
    }
    store.release(ISSUER, "never used").await.unwrap();
}

async fn tells_tokens_apart(store: Arc<dyn Store>) {
    let long = "x".repeat(8_000);
    let longer = format!("{long}x");
    let tokens = [
        ("a", "bc"),
        ("ab", "c"),
        ("", "abc"),
        ("abc", ""),
        ("a", "b\0c"),
        ("a\0b", "c"),
        ("a", "B"),
        ("a", "'; DROP TABLE run; --"),
        ("ü", "x"),
        ("u\u{308}", "x"),
        ("a", &long),
        ("a", &longer),
    ];
    for (issuer, token) in tokens {
        assert!(store.use_once(issuer, token, START).await.unwrap(), "{issuer:?} {token:?}");
    }
    for (issuer, token) in tokens {
        assert!(!store.use_once(issuer, token, START).await.unwrap(), "{issuer:?} {token:?}");
    }
}

async fn pages(store: Arc<dyn Store>) {
    let runner: countersign::RunnerId = "22222222-2222-4222-8222-222222222222".parse().unwrap();
    for number in (100..125).rev() {
        let run = RegisteredRun { runner: runner.clone(), ..registered(&id(number)) };
        store.register(&run).await.unwrap();
    }
    store.finish(&parsed(&id(103)), START).await.unwrap();
    let ask = async |live, now, limit| {
        let mut query = RunQuery { runner: Some(runner.clone()), live, now, after: None, limit };
        let mut found = Vec::new();
        loop {
            let page = store.runs(&query).await.unwrap();
            assert!(page.runs.len() <= limit);
            found.extend(page.runs.into_iter().map(|run| run.run.id.to_string()));
            match page.next {
                Some(after) => query.after = Some(after),
                None => return found,
            }
        }
    };
    let all: Vec<_> = (100..125).map(id).collect();
    assert_eq!(ask(None, START, 7).await, all);
    assert_eq!(ask(None, START, 25).await, all);
    let live: Vec<_> = all.iter().filter(|one| **one != id(103)).cloned().collect();
    assert_eq!(ask(Some(true), START, 10).await, live);
    assert_eq!(ask(Some(false), START, 10).await, [id(103)]);
    assert_eq!(ask(Some(true), START + 100, 10).await, [] as [String; 0]);
    // Of every runner, there are at least these.
    let query = RunQuery { runner: None, live: None, now: START, after: None, limit: 1000 };
    let ids: Vec<_> = store.runs(&query).await.unwrap().runs;
    assert!(ids.len() >= 25 && ids.is_sorted_by_key(|run| run.run.id.as_str().to_owned()));
}

async fn forgets(store: Arc<dyn Store>) {
    let (old, kept) = (parsed(&id(200)), parsed(&id(201)));
    let at = |id: &RunId, expires_at| RegisteredRun { expires_at, ..registered(id.as_str()) };
    store.register(&at(&old, 100)).await.unwrap();
    store.register(&at(&kept, 100)).await.unwrap();
    // Finished early, it is remembered until it would have expired; and for as long after its finish.
    store.finish(&old, 50).await.unwrap();
    store.finish(&kept, 101).await.unwrap();
    assert_eq!(store.forget(100, 0).await.unwrap(), 0);
    assert_eq!(store.forget(101, 0).await.unwrap(), 1);
    assert!(store.run(&old).await.unwrap().is_none());
    assert!(store.run(&kept).await.unwrap().is_some());
    assert_eq!(store.register(&at(&old, 100)).await.unwrap(), Registered::New);

    let day = 86_400;
    assert!(store.use_once("forget", "id", START).await.unwrap());
    for (now, first) in [(START + day, false), (START + day + 1, true)] {
        store.forget(0, now).await.unwrap();
        assert_eq!(store.use_once("forget", "id", START).await.unwrap(), first, "{now}");
    }
}

async fn counts(store: Arc<dyn Store>) {
    let mut before = store.changes();
    for number in 300..310 {
        store.register(&registered(&id(number))).await.unwrap();
        store.finish(&parsed(&id(number)), START).await.unwrap();
        assert!(store.changes() >= before);
        before = store.changes();
    }
    store.ready().await.unwrap();
    store.check_place().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let folder = folder();
    for (number, (law, check)) in LAWS.iter().enumerate() {
        let path = folder.path().join(format!("{number}.db"));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.unwrap());
        println!("{law}");
        check(Arc::clone(&store)).await;
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn postgresql_keeps_the_contract() {
    let server = Server::start();
    PostgresStore::migrate(&config(&server.url()), ISSUER, None).await.unwrap();
    let pooler = Pooler::start(server.port, 4);
    for port in [server.port, pooler.port] {
        for (law, check) in LAWS {
            server.sql("countersign", "TRUNCATE countersign.run, countersign.used_token");
            println!("{law}");
            let store: Arc<dyn Store> = Arc::new(open(&url(port)).await.unwrap());
            check(Arc::clone(&store)).await;
            store.close().await;
        }
    }
}

/// The rights of the role of a service are those that it needs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: `make replicas`"]
async fn a_service_needs_no_right_to_change_tables() {
    let server = Server::start();
    server.sql("postgres", &format!("CREATE ROLE \"issuer-1\" LOGIN PASSWORD '{PASSWORD}'"));
    let migrated = PostgresStore::migrate(&config(&server.url()), ISSUER, Some("issuer-1")).await;
    migrated.unwrap();
    let url = server.url().replace("//countersign@", "//issuer-1@");
    let store: Arc<dyn Store> = Arc::new(open(&url).await.unwrap());
    for (law, check) in LAWS {
        println!("{law}");
        server.sql("countersign", "TRUNCATE countersign.run, countersign.used_token");
        check(Arc::clone(&store)).await;
    }
    let migrate = PostgresStore::migrate(&config(&url), ISSUER, None).await;
    assert_eq!(migrate.unwrap_err().failure(), StoreFailure::Schema);
    // A role's name is a name, whatever is in it.
    let hostile = "x\"; DROP TABLE countersign.run; --";
    let refused = PostgresStore::migrate(&config(&server.url()), ISSUER, Some(hostile)).await;
    assert!(refused.unwrap_err().to_string().contains("the database failed"));
    store.ready().await.unwrap();
    assert!(store.run(&parsed(RUN)).await.unwrap().is_none());
}
