//! Honest requests beside 200 hostile evaluations in flight.
//!
//! One thread sends honest requests one after the other, first alone and then while 200 others evaluate a hostile policy
//! without a pause. Fails if an honest request is refused.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Engine, Limits, Outcome, PolicySet};
use countersign_benches::{alone, claims, machine, same_workspace_on};
use countersign_hostile_policies::cases;

const HOSTILE: usize = 200;
const REQUESTS: usize = 50_000;

/// Cases that attack by different means, by name.
const ATTACKS: [&str; 4] = [
    "loops in evaluate",
    "grows page by page",
    "100,000 reasons of one MiB",
    "recurses with 1,000 locals a frame",
];

fn main() {
    let engine = Engine::new().expect("an engine");
    let honest = same_workspace_on(&engine);
    println!("{} {REQUESTS} honest requests in each row.\n", machine());
    println!(
        "| beside | p50 µs | p99 µs | p99.9 µs | p99 against alone | hostile evaluations a second |\n\
         |---|---|---|---|---|---|"
    );
    drop(measure(&honest));
    let alone = measure(&honest);
    print("nobody", &alone, &alone, 0.0);
    for attack in ATTACKS {
        let hostile = hostile(&engine, attack);
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let (beside, rate) = thread::scope(|scope| {
            let _stop = StopWhenDropped(&stop);
            for _ in 0..HOSTILE {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        assert_refused(&hostile);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // Waits until all threads evaluate.
            thread::sleep(Duration::from_millis(500));
            let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
            let beside = measure(&honest);
            let more = count.load(Ordering::Relaxed) - before;
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let rate = more as f64 / begun.elapsed().as_secs_f64();
            (beside, rate)
        });
        print(&format!("{HOSTILE} that did: {attack}"), &beside, &alone, rate);
    }
}

/// Stops the hostile threads, even if the bench fails.
struct StopWhenDropped<'s>(&'s AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The times of honest requests, sorted.
fn measure(honest: &PolicySet) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let claims = claims();
            let begun = Instant::now();
            let decision = honest.evaluate(claims);
            let taken = begun.elapsed();
            assert!(matches!(decision.outcome(), Outcome::Approved(_)), "no honest refusal");
            taken
        })
        .collect();
    times.sort_unstable();
    times
}

fn assert_refused(hostile: &PolicySet) {
    assert!(matches!(hostile.evaluate(claims()).outcome(), Outcome::Refused(_)));
}

fn hostile(engine: &Engine, name: &str) -> PolicySet {
    let case = cases().into_iter().find(|case| case.name == name).expect("the case");
    alone(engine, &case.component, &Limits::DEFAULT).expect("it loads and takes its settings")
}

fn print(beside: &str, times: &[Duration], alone: &[Duration], rate: f64) {
    let at = |times: &[Duration], permille: usize| {
        let index = (times.len() * permille / 1000).min(times.len() - 1);
        times.get(index).expect("a time").as_secs_f64() * 1e6
    };
    println!(
        "| {beside} | {:.1} | {:.1} | {:.1} | {:.2} | {rate:.0} |",
        at(times, 500),
        at(times, 990),
        at(times, 999),
        at(times, 990) / at(alone, 990),
    );
}
