//! Honest exchanges and probes while somebody who has proved nothing floods the service, beside the same alone.
//!
//! The service is a process of its own (`COUNTERSIGN`, or the release build) with limits by default. All clients are in
//! this one and share the processors with it, and all have one address. An honest client opens a connection for each
//! exchange, as a job does; a probe opens one to the listener for probes. Fails if fewer than 99 of 100 exchanges or
//! probes succeed under any flood. `-- NAME` measures the floods with that in their name alone.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

mod clients;
mod floods;
mod served;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use countersign_benches::{machine, runs};

use self::clients::Responses;
use self::floods::{FLOODS, Flood};
use self::served::Served;

/// The time before anything counts, in which a flood fills what it fills.
const WARM: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

/// The honest clients, each with a pause between two exchanges.
const HONEST: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// The share of exchanges and of probes that must succeed.
const LEAST: f64 = 0.99;

/// The requests under a flood, and their answers.
#[derive(Default)]
struct Measured {
    exchanges: Responses,
    probes: Responses,
    /// Connections and requests of the flood, each second.
    flood: f64,
}

fn main() -> ExitCode {
    println!(
        "{} Limits by default; the service and all clients share the processors and one address. {HONEST} honest \
         clients exchange a token each {} ms and more, a probe asks as often; runs: {}.\n",
        machine(),
        PAUSE.as_millis(),
        runs()
    );
    println!(
        "| flood | of it a second | exchanges | succeed | p50 ms | p99 ms | probes | succeed | p99 ms |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let mut holds = true;
    let chosen: Vec<_> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_chosen = |flood: &&Flood| {
        chosen.is_empty() || chosen.iter().any(|part| flood.name.contains(part.as_str()))
    };
    for flood in FLOODS.iter().filter(is_chosen) {
        let mut all = Measured::default();
        for _ in 0..runs() {
            all.add(measure(flood));
        }
        let Measured { mut exchanges, mut probes, flood: pressure } = all;
        let good = exchanges.share() >= LEAST && probes.share() >= LEAST;
        holds &= good;
        println!(
            "| {} | {:.0} | {} | {:.2}% | {:.2} | {:.2} | {} | {:.2}% | {:.2} |{}",
            flood.name,
            pressure / f64::from(u32::try_from(runs()).expect("a number")),
            exchanges.number(),
            exchanges.share() * 100.0,
            exchanges.percentile(0.5),
            exchanges.percentile(0.99),
            probes.number(),
            probes.share() * 100.0,
            probes.percentile(0.99),
            if good { "" } else { " **missed**" }
        );
    }
    println!(
        "\nOf each flood, at least {:.0}% of exchanges and of probes must succeed.",
        LEAST * 100.0
    );
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(flood: &Flood) -> Measured {
    let served = Served::start();
    let (measuring, stop, sent) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let measured = thread::scope(|scope| {
        let of_flood = (0..flood.threads)
            .map(|_| scope.spawn(|| (flood.run)(&served, &stop, &sent)))
            .collect::<Vec<_>>();
        thread::sleep(WARM);
        let asking = |ask: fn(&Served) -> Option<u16>| {
            let (measuring, stop, served) = (&measuring, &stop, &served);
            scope.spawn(move || Responses::ask(|| ask(served), measuring, stop, PAUSE))
        };
        let honest: Vec<_> = (0..HONEST).map(|_| asking(clients::exchange)).collect();
        let probes = asking(clients::probe);
        measuring.store(true, Ordering::Relaxed);
        let before = sent.load(Ordering::Relaxed);
        thread::sleep(MEASURED);
        let during = sent.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        let mut measured = Measured {
            flood: f64::from(u32::try_from(during).expect("a number")) / MEASURED.as_secs_f64(),
            ..Measured::default()
        };
        for one in honest {
            measured.exchanges.add(one.join().expect("an honest client"));
        }
        measured.probes.add(probes.join().expect("a probe"));
        for one in of_flood {
            one.join().expect("a client of the flood");
        }
        measured
    });
    served.stop();
    measured
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.exchanges.add(other.exchanges);
        self.probes.add(other.probes);
        self.flood += other.flood;
    }
}
