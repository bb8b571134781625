//! Plain loops of other engines over the claims of recorded decisions, beside `countersign impact` on the same records.
//!
//! The log is that of the bench `impact` of `benches`, in the folder `IMPACT_LOG`. Rows continue its table. On each processor a
//! loop reads the log and decides on every so many of its records, by the same five rules.

use std::env;
use std::path::Path;
use std::thread;
use std::time::Instant;

use countersign::Claims;
use countersign_decision_log::Reader;
use countersign_peers::{Cedar, Peer, RegoFromClaims, Rules};
use countersign_replay::RecordHead;

fn main() {
    let folder =
        env::var("IMPACT_LOG").expect("`IMPACT_LOG`: the log that the bench `impact` made");
    let folder = Path::new(&folder);
    row("regorus", measure(folder, &RegoFromClaims::new));
    row("cedar-policy", measure(folder, &Cedar::new));
}

fn row(engine: &str, (seconds, decisions): (f64, u64)) {
    let each = seconds * 1e6 / decisions as f64;
    println!("| plain loop, {engine} | {seconds:.2} s | {each:.2} µs |  |  |  |");
}

/// Times the loops of an engine, and counts the decisions.
fn measure<P: Peer>(folder: &Path, new: &(dyn Fn(&Rules) -> P + Sync)) -> (f64, u64) {
    let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
    let begin = Instant::now();
    let decisions = thread::scope(|scope| {
        let loops: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || decide(folder, &mut new(&Rules::five()), worker, workers))
            })
            .collect();
        loops.into_iter().map(|one| one.join().expect("a loop")).sum()
    });
    (begin.elapsed().as_secs_f64(), decisions)
}

/// Decides on every `workers`th record.
fn decide<P: Peer>(folder: &Path, engine: &mut P, worker: u64, workers: u64) -> u64 {
    let mut reader = Reader::new(folder, 1);
    let mut decisions = 0;
    while let Some(entry) = reader.read().expect("a record") {
        if entry.sequence % workers != worker {
            continue;
        }
        let head = RecordHead::parse(&entry.record).expect("a record");
        let claims = claims(head.decision().expect("a decision"));
        let claims = Claims::from_record(claims.as_bytes()).expect("claims");
        let input = engine.input(&claims);
        std::hint::black_box(engine.decide(input));
        decisions += 1;
    }
    decisions
}

/// The claims in the JSON of a decision, which the trace follows.
fn claims(decision: &str) -> &str {
    let begin = decision.find(r#","claims":{"run""#).expect("claims") + r#","claims":"#.len();
    let end = decision.find(r#","trace":["#).expect("a trace");
    &decision[begin..end]
}
