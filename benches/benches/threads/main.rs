//! Decisions on several threads: the gain, and by counters what the threads share.
//!
//! Each case is a process of its own or two, several times in turn. Threads of one engine share its compiled policies, its
//! queue and the process: memory map, allocator, the thread that moves the epoch. Two processes share the machine only,
//! so what two threads gain less than they do is the price of sharing; and what two processes gain less than two of
//! plain arithmetic is the machine's. More processors are simulated by more engines: each adds as many worker slots as
//! the machine has processors, and as many threads, which take turns on the processors. If anything global were contended
//! or grew with the slots, the processor time of a decision would grow.
//!
//! Fails if a ratio is worse than recorded.
#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

mod counters;
mod table;
mod work;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use countersign_benches::{processors, record, runs};

use self::work::{Kind, Measured, Processes};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures/threads.json");

/// Processes at the same time, each with engines of its own and threads that share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Case {
    name: &'static str,
    kind: Kind,
    processes: usize,
    engines: usize,
    threads: usize,
}

const fn case(name: &'static str, kind: Kind, [processes, engines, threads]: [usize; 3]) -> Case {
    Case { name, kind, processes, engines, threads }
}

const ONE: Case = case("one thread", Kind::Decisions, [1, 1, 1]);
const TWO: Case = case("two threads", Kind::Decisions, [1, 1, 2]);
const PROCESSES: Case = case("two processes of one thread", Kind::Decisions, [2, 1, 1]);
const ENTRIES: Case = case("one thread, 10,000 entries", Kind::Entries, [1, 1, 1]);
const PLAIN_ONE: Case = case("plain arithmetic, one thread", Kind::Arithmetic, [1, 1, 1]);
const PLAIN_TWO: Case = case("plain arithmetic, two threads", Kind::Arithmetic, [1, 1, 2]);

/// The engines of one process, each with a thread for each of its worker slots.
const ENGINES: [usize; 4] = [1, 2, 4, 8];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|text| text != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", kind, engines, threads] => {
            let number = |text: &str| text.parse().expect("a number");
            work::work(Kind::named(kind), number(engines), number(threads));
            ExitCode::SUCCESS
        }
        [] => compare(runs()),
        _ => panic!("unexpected arguments: {arguments:?}"),
    }
}

/// The cases, in the order in which each run measures them.
fn cases() -> Vec<Case> {
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let engines = ENGINES.map(|engines| case("", Kind::Decisions, [1, engines, engines * slots]));
    [ONE, TWO, PROCESSES, ENTRIES, PLAIN_ONE, PLAIN_TWO].into_iter().chain(engines).collect()
}

fn compare(runs: usize) -> ExitCode {
    let cases = cases();
    let runs: Vec<Vec<Measured>> = (0..runs)
        .map(|_| cases.iter().map(|case| Processes::start(*case).measure()).collect())
        .collect();
    let counted: Vec<_> = cases
        .iter()
        .map(|case| {
            let processes = Processes::start(*case);
            let counting = counters::Perf::start(&processes.ids());
            let measured = processes.measure();
            counting.map(|perf| perf.stop()).map(|counts| counts.each(&measured))
        })
        .collect();
    let ratios = table::print(&cases, &runs, &counted);
    let holds = record::holds(Path::new(RECORDED), &processors(), &ratios).expect("a record");
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
