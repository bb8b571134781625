//! Tokens per second of one and of two replicas on one PostgreSQL, beside one process on SQLite.
//!
//! Services, database and clients share the processors: what counts is the processor time of a token, the database's share
//! of it included. `COUNTERSIGN` is the program, or the release build. PostgreSQL is Debian's (`.ci/postgres`).
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

#[path = "../../host/issuer/tests/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the bench of custody alone looks into folders")]
mod served;
#[path = "tokens/usage.rs"]
#[expect(dead_code, reason = "only processor time is compared here")]
mod usage;

use std::process::{Command, Stdio};

use countersign_benches::machine;
use tempfile::TempDir;

use self::postgres::{PASSWORD, Server, url};
use self::served::{ApiKey, CONNECTIONS, Load, Served, program, secret};
use self::usage::Usage;

fn main() {
    println!(
        "{} Six policies decide on each token (ES256, {CONNECTIONS} connections); services, database and clients share the \
         processors.\n",
        machine()
    );
    println!(
        "| what | a second | CPU µs of a token: services | database | p50 ms | p99 ms |\n|---|---|---|---|---|---|"
    );
    let api_key = ApiKey::new();
    let sqlite = [Served::run(Served::configure(&api_key, "", ""))];
    measure("one process, SQLite", &sqlite, None, &api_key);
    drop(sqlite);
    let server = Server::start();
    for replicas in [1, 2] {
        server.reset();
        let first = configure(&api_key, server.port, 0);
        let migrate = Command::new(program())
            .args(["migrate", "--config", "issuer.toml"])
            .current_dir(first.path())
            .stdout(Stdio::null())
            .status();
        assert!(migrate.expect("a migration").success(), "no migration");
        let mut served = vec![Served::run(first)];
        let others = 1..replicas;
        served.extend(others.map(|index| Served::run(configure(&api_key, server.port, index))));
        let name = format!("{replicas} on PostgreSQL");
        measure(&name, &served, Some(&server), &api_key);
    }
}

/// The folder of a replica.
fn configure(api_key: &ApiKey, port: u16, index: usize) -> TempDir {
    let folder = Served::configure(
        api_key,
        &format!("store = \"{}\"\n", url(port)),
        &format!(
            "[database]\npassword-file = \"database-password\"\n[replica]\nname = \"issuer-{index}\"\n\
             [keys]\nsealing-key-file = \"sealing-key\"\n"
        ),
    );
    secret(&folder.path().join("database-password"), PASSWORD);
    let sealing_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    secret(&folder.path().join("sealing-key"), sealing_key);
    folder
}

/// Loads the services alike, and prints a row.
fn measure(what: &str, served: &[Served], server: Option<&Server>, api_key: &ApiKey) {
    let load = Load::on(served, api_key, || {
        let services = served.iter().map(|served| Usage::of(&served.id().to_string()).cpu_seconds);
        let database = server.map_or(0.0, |server| {
            server.processes().iter().map(|pid| Usage::of(pid).cpu_seconds).sum()
        });
        vec![services.sum(), database]
    });
    let micros: Vec<f64> = load.micros().collect();
    println!(
        "| {what} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
        load.per_second(),
        micros[0],
        micros[1],
        load.percentile(0.5),
        load.percentile(0.99)
    );
}
