//! Honest exchanges and probes while somebody who has proved nothing floods the service, beside the same alone.
//!
//! The service is a process of its own (`COUNTERSIGN`, or the release build) with limits by default, on half of the
//! processors (`taskset`): a flood comes from other machines, and must not take the service's processors by sending. The
//! flood is a process of its own on the other half, at the lowest priority (`nice`), so that it does not delay the honest
//! clients there by sending either. All have one address. An honest client opens a connection for each exchange, as a job
//! does; a probe opens one to the listener for probes. Fails if fewer than 99 of 100 exchanges or probes succeed under any
//! flood, or if exchanges take more than twice their p99 without one, or probes more than 100 ms. `-- NAME` measures the
//! floods with that in their name alone, and what there is without one.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

mod clients;
mod floods;
mod served;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use countersign_benches::{machine, runs};

use self::clients::Responses;
use self::floods::{FLOODS, Flood};
use self::served::{Requests, Served};

/// The time before anything counts, in which a flood fills what it fills.
const WARM: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);

/// The honest clients, each with a pause between two exchanges.
const HONEST: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// The share of exchanges and of probes that must succeed.
const LEAST: f64 = 0.99;
/// The most that a flood may lengthen the p99 of exchanges.
const MOST: f64 = 2.0;
/// The most that a probe may take under a flood, in milliseconds, in the p99.
const PROBE: f64 = 100.0;

/// The first argument of the process that floods; the second is the flood's name.
const FLOOD: &str = "--flood";

/// The requests under a flood, and their answers.
#[derive(Default)]
struct Measured {
    exchanges: Responses,
    probes: Responses,
    /// Connections and requests of the flood, each second.
    flood: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [first, name] = arguments.as_slice()
        && first == FLOOD
    {
        flood(FLOODS.iter().find(|flood| flood.name == name).expect("a flood"));
        return ExitCode::SUCCESS;
    }
    println!(
        "{} Limits by default, one address. The service has {} of the processors, the flood and the honest clients the \
         others, the flood at the lowest priority. {HONEST} honest clients exchange a token each {} ms and more, a probe \
         asks as often; runs: {}.\n",
        machine(),
        halves().0.len(),
        PAUSE.as_millis(),
        runs()
    );
    println!(
        "| flood | of it a second | exchanges | succeed | p50 ms | p99 ms | ÷ none | probes | succeed | p99 ms |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    let is_chosen = |flood: &&Flood| {
        arguments.is_empty()
            || flood.threads == 0
            || arguments.iter().any(|part| flood.name.contains(part.as_str()))
    };
    let (mut holds, mut alone) = (true, f64::NAN);
    for flood in FLOODS.iter().filter(is_chosen) {
        let mut all = Measured::default();
        for _ in 0..runs() {
            all.add(measure(flood));
        }
        let Measured { mut exchanges, mut probes, flood: pressure } = all;
        let (late, probe) = (exchanges.percentile(0.99), probes.percentile(0.99));
        if flood.threads == 0 {
            alone = late;
        }
        let good = exchanges.share() >= LEAST
            && probes.share() >= LEAST
            && late / alone <= MOST
            && probe <= PROBE;
        holds &= good;
        println!(
            "| {} | {:.0} | {} | {:.2}% | {:.2} | {late:.2} | {:.1} | {} | {:.2}% | {probe:.2} |{}",
            flood.name,
            pressure / f64::from(u32::try_from(runs()).expect("a number")),
            exchanges.number(),
            exchanges.share() * 100.0,
            exchanges.percentile(0.5),
            late / alone,
            probes.number(),
            probes.share() * 100.0,
            if good { "" } else { " **missed**" }
        );
    }
    println!(
        "\nOf each flood, at least {:.0}% of exchanges and of probes must succeed, the p99 of exchanges may be {MOST} \
         times what it is without one, and that of probes {PROBE} ms.",
        LEAST * 100.0
    );
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(flood: &Flood) -> Measured {
    let served = Served::start(&halves().0);
    let mut flooding = Flooding::start(flood, &served);
    let (measuring, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let measured = thread::scope(|scope| {
        thread::sleep(WARM);
        let asking = |ask: fn(&Served) -> Option<u16>| {
            let (measuring, stop, served) = (&measuring, &stop, &served);
            scope.spawn(move || Responses::ask(|| ask(served), measuring, stop, PAUSE))
        };
        let honest: Vec<_> = (0..HONEST).map(|_| asking(clients::exchange)).collect();
        let probes = asking(clients::probe);
        measuring.store(true, Ordering::Relaxed);
        let before = flooding.sent();
        thread::sleep(MEASURED);
        let during = flooding.sent() - before;
        stop.store(true, Ordering::Relaxed);
        let mut measured = Measured {
            flood: f64::from(u32::try_from(during).expect("a number")) / MEASURED.as_secs_f64(),
            ..Measured::default()
        };
        for one in honest {
            measured.exchanges.add(one.join().expect("an honest client"));
        }
        measured.probes.add(probes.join().expect("a probe"));
        measured
    });
    flooding.stop();
    served.stop();
    measured
}

/// The processors of the service, and those of everybody else, as `taskset` takes them.
fn halves() -> (Vec<String>, Vec<String>) {
    let number = thread::available_parallelism().expect("a number").get();
    assert!(number >= 2, "a processor for the service and one for its clients");
    let names: Vec<_> = (0..number).map(|one| one.to_string()).collect();
    let (service, others) = names.split_at(number / 2);
    (service.to_vec(), others.to_vec())
}

/// A process that floods.
struct Flooding {
    child: Child,
    /// It tells what it has sent for each line that it gets, and ends after the last.
    asks: Option<ChildStdin>,
    tells: BufReader<ChildStdout>,
}

impl Flooding {
    fn start(flood: &Flood, served: &Served) -> Self {
        let mut child = Command::new("nice")
            .args(["-n", "19", "taskset", "-c", &halves().1.join(",")])
            .arg(std::env::current_exe().expect("this program"))
            .args([FLOOD, flood.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`nice` and `taskset`");
        let mut asks = child.stdin.take().expect("its input");
        let requests = serde_json::to_string(&served.requests).expect("requests");
        writeln!(asks, "{requests}").expect("its input");
        let tells = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, asks: Some(asks), tells }
    }

    /// The number of connections or requests that it has begun.
    fn sent(&mut self) -> u64 {
        writeln!(self.asks.as_mut().expect("its input")).expect("its input");
        let mut line = String::new();
        self.tells.read_line(&mut line).expect("its output");
        line.trim().parse().expect("a number")
    }

    fn stop(mut self) {
        self.asks = None;
        assert!(self.child.wait().expect("it ends").success(), "the flood failed");
    }
}

/// Floods the service that is described on standard input, until that ends.
fn flood(flood: &Flood) {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("standard input"));
    let requests: Requests =
        serde_json::from_str(&lines.next().expect("requests")).expect("requests");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..flood.threads {
            scope.spawn(|| (flood.run)(&requests, &stop, &sent));
        }
        for _ in lines {
            println!("{}", sent.load(Ordering::Relaxed));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.exchanges.add(other.exchanges);
        self.probes.add(other.probes);
        self.flood += other.flood;
    }
}
