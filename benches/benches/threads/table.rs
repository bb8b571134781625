//! The table: no figure in it is typed.

use countersign_benches::machine;
use countersign_benches::record::Ratio;
use countersign_benches::spread::Spread;

use crate::counters::{Counts, EVENTS};
use crate::work::{Kind, Measured};
use crate::{Case, ONE, PLAIN_ONE, PLAIN_TWO, PROCESSES, TWO};

/// The event that is shown; the others are of the hardware.
const SYSTEM_CALLS: &str = EVENTS[0];

/// The minimum of what a second thread gains, in parts of the gain of plain arithmetic.
const MIN_GAIN: f64 = 0.9;

/// Prints the table, and gives the ratios to compare with the record.
pub(crate) fn print(
    cases: &[Case],
    runs: &[Vec<Measured>],
    counted: &[Option<Counts>],
) -> Vec<Ratio> {
    println!("{} Medians of {} runs; of ratios also the extremes.\n", machine(), runs.len());
    println!(
        "| threads of | slots | a second | processor time each | waits | preemptions | page faults | system calls | kernel's part |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    for (place, (case, counts)) in cases.iter().zip(counted).enumerate() {
        let of = |figure: &dyn Fn(&Measured) -> f64| {
            Spread::of(runs.iter().filter_map(|run| run.get(place)).map(figure)).median
        };
        let each = |figure: &dyn Fn(&Measured) -> f64| of(&|m| 1e3 * figure(m) / m.decisions);
        let calls = counts.as_ref().and_then(|counts| counts.0.get(SYSTEM_CALLS));
        println!(
            "| {} | {} | {:.0} | {:.2} µs | {:.2} | {:.2} | {:.2} | {} | {:.0}% |",
            name(case),
            if case.kind == Kind::Arithmetic {
                String::new()
            } else {
                (case.engines * slots).to_string()
            },
            of(&Measured::rate),
            of(&Measured::nanoseconds) / 1e3,
            each(&|m| m.used.waits),
            each(&|m| m.used.preemptions),
            each(&|m| m.used.page_faults),
            calls.map_or("not counted".to_owned(), |calls| format!("{:.2}", calls * 1e3)),
            100.0 * of(&|m| m.used.kernel_share()),
        );
    }
    println!();
    println!(
        "Waits, preemptions, page faults and system calls are of a thousand decisions. {}",
        hardware(counted)
    );
    println!("\n| ratio | | target |\n|---|---|---|");
    ratios(cases, runs)
}

/// A figure of one run, from what each case measured in it.
type Figure<'f> = &'f dyn Fn(&dyn Fn(Case) -> Measured) -> f64;

fn ratios(cases: &[Case], runs: &[Vec<Measured>]) -> Vec<Ratio> {
    let of = |figure: Figure<'_>| {
        Spread::of(runs.iter().map(|run| {
            figure(&|wanted: Case| {
                let place = cases.iter().position(|case| *case == wanted);
                place.and_then(|place| run.get(place)).expect("a case").clone()
            })
        }))
    };
    let gain = |two: Case, one: Case| of(&|run| run(two).rate() / run(one).rate());
    let threads = of(&|run| {
        let plain = run(PLAIN_TWO).rate() / run(PLAIN_ONE).rate();
        run(TWO).rate() / run(ONE).rate() / plain
    });
    println!("| two threads ÷ one | {} | |", gain(TWO, ONE));
    println!("| two processes ÷ one thread | {} | |", gain(PROCESSES, ONE));
    println!("| plain arithmetic, two threads ÷ one | {} | |", gain(PLAIN_TWO, PLAIN_ONE));
    let met = if threads.median >= MIN_GAIN { "met" } else { "**missed**" };
    println!("| gain of two threads ÷ the plain gain | {threads} | ≥ {MIN_GAIN}: {met} |");
    let sharing = gain(TWO, PROCESSES);
    println!("| two threads ÷ two processes | {sharing} | |");
    let mut ratios = vec![
        Ratio::higher("gain of two threads ÷ the plain gain", threads),
        Ratio::higher("two threads ÷ two processes", sharing),
    ];
    let simulated: Vec<_> = cases.iter().filter(|case| case.name.is_empty()).copied().collect();
    if let [first, .., last] = simulated[..] {
        let growth = of(&|run| run(last).nanoseconds() / run(first).nanoseconds());
        let name =
            format!("processor time of a decision, {} engines ÷ {}", last.engines, first.engines);
        println!("| {name} | {growth} | |");
        ratios.push(Ratio::lower(name, growth));
    }
    ratios
}

fn name(case: &Case) -> String {
    match case {
        Case { name: "", engines: 1, threads, .. } => format!("one engine, {threads} threads"),
        Case { name: "", engines, threads, .. } => format!("{engines} engines, {threads} threads"),
        Case { name, .. } => (*name).to_owned(),
    }
}

/// The counters of the hardware, or that there are none.
fn hardware(counted: &[Option<Counts>]) -> String {
    let Some(counts) = counted.iter().flatten().next() else {
        return "`perf` cannot be run here, so system calls and the hardware's counters are missing.".to_owned();
    };
    let (there, missing): (Vec<&str>, Vec<&str>) =
        EVENTS.into_iter().skip(1).partition(|event| counts.0.contains_key(*event));
    if there.is_empty() {
        return format!("This machine's `perf` counts no {}.", missing.join(", no "));
    }
    let lines = counted.iter().flatten().map(|counts| {
        let events = there.iter().filter_map(|event| Some((event, counts.0.get(*event)?)));
        events.map(|(event, each)| format!("{each:.0} {event}")).collect::<Vec<_>>().join(", ")
    });
    let lines: Vec<_> = lines.collect();
    format!(
        "The hardware's counters of a decision, in the order of the rows: {}.",
        lines.join("; ")
    )
}
