//! The cost of compiling beside what the check before it counts.
//!
//! Each component is compiled in a process of its own, as the library does it in one process: without a bound. Of each kind
//! of part, the most that passes the check is measured; then candidates are searched, random ones and variants of the worst,
//! for one that passes and takes more time or memory than a component may.
//!
//! `-- rates` prints what one of each operator costs, from which the weights are made.
//!
//! Fails if there is one. `SECONDS` is the time of the search, `SEED` where it begins.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

mod candidate;

use std::env;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use countersign::{CompileError, CompiledCode, Form, Limits, LoadError, Optimization};
use countersign_benches::machine;

use self::candidate::{Candidate, OPERATORS, Random};

const MAX_MS: f64 = 250.0;
const MAX_MIB: f64 = 64.0;

/// The largest component that must keep within both: larger ones may cost more, in proportion.
const MAX_BYTES: usize = 40 << 10;

/// The worst candidates that the search goes on from.
const WORST: usize = 24;

/// The part of what a candidate may cost from which it is measured again, and how often.
const DOUBTFUL: f64 = 0.8;
const AGAIN: usize = 5;

/// The cost of one component.
#[derive(Debug, Clone, Copy)]
struct Cost {
    milliseconds: f64,
    mebibytes: f64,
    bytes: usize,
}

impl Cost {
    /// The part of what it may cost: more than 1 is too much.
    fn share(&self) -> f64 {
        let more = (self.bytes as f64 / MAX_BYTES as f64).max(1.0);
        (self.milliseconds / MAX_MS).max(self.mebibytes / MAX_MIB) / more
    }
}

/// A component that is always the same, by which a busy machine is told from a costly component: a processor that works for
/// others too, on its other thread, takes more of its own time for the same.
struct Reference {
    candidate: Candidate,
    /// The least that it took.
    milliseconds: f64,
}

impl Reference {
    fn new() -> Self {
        let candidate = Candidate::of_operator(OPERATORS[0], 20_000);
        let mut reference = Self { candidate, milliseconds: f64::INFINITY };
        for _ in 0..AGAIN {
            reference.busy();
        }
        reference
    }

    /// The time that it takes now, as a multiple of the least.
    fn busy(&mut self) -> f64 {
        let now = measure(&self.candidate).expect("it passes").milliseconds;
        self.milliseconds = self.milliseconds.min(now);
        now / self.milliseconds
    }

    /// The cost of a candidate: where that is doubtful, the least of several, as it is where nothing else runs.
    fn cost(&mut self, candidate: &Candidate) -> Option<Cost> {
        let cost = measure(candidate)?;
        if cost.share() < DOUBTFUL {
            return Some(cost);
        }
        let (mut busy, mut milliseconds) = (f64::INFINITY, cost.milliseconds);
        for _ in 0..AGAIN {
            busy = busy.min(self.busy());
            milliseconds = milliseconds.min(measure(candidate)?.milliseconds);
        }
        Some(Cost { milliseconds: milliseconds / busy, ..cost })
    }
}

fn main() -> ExitCode {
    if env::args().any(|argument| argument == "one") {
        return one();
    }
    if env::args().any(|argument| argument == "rates") {
        rates();
        return ExitCode::SUCCESS;
    }
    let mut reference = Reference::new();
    println!("{}\n", machine());
    println!("| so many as pass the check | bytes | ms of a processor | MiB |\n|---|---|---|---|");
    let mut worst: f64 = 0.0;
    for operator in OPERATORS {
        let (count, _) = most(|count| Candidate::of_operator(operator, count));
        let cost = reference.cost(&Candidate::of_operator(operator, count)).expect("it passed");
        worst = worst.max(cost.share());
        println!(
            "| {count} × `{operator}` | {} | {:.0} | {:.1} |",
            cost.bytes, cost.milliseconds, cost.mebibytes
        );
    }
    let seconds = env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed = env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let found = search(Duration::from_secs(seconds), Random(seed), reference);
    println!("\n{found}");
    if worst > 1.0 || found.worst > 1.0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints what one of each operator costs, of a few thousand.
fn rates() {
    println!("| operator | µs | kB | µs of many |\n|---|---|---|---|");
    for operator in OPERATORS {
        let rate = |count: u64| {
            measure(&Candidate::of_operator(operator, count)).map_or((f64::NAN, f64::NAN), |cost| {
                let count = count as f64;
                (cost.milliseconds * 1e3 / count, cost.mebibytes * 1024.0 / count)
            })
        };
        let ((few, memory), (many, _)) = (rate(1_000), rate(4_000));
        println!("| `{operator}` | {few:.1} | {memory:.2} | {many:.1} |");
    }
}

/// The most of something that passes the check, and what it costs.
fn most(of: impl Fn(u64) -> Candidate) -> (u64, Cost) {
    let (mut passes, mut fails) = (1_u64, 400_000);
    let mut cost = measure(&of(1)).expect("one passes");
    while fails - passes > passes / 20 + 1 {
        let middle = passes.midpoint(fails);
        match measure(&of(middle)) {
            Some(measured) => (passes, cost) = (middle, measured),
            None => fails = middle,
        }
    }
    (passes, cost)
}

/// The result of a search.
struct Found {
    candidates: usize,
    passed: usize,
    worst: f64,
    description: String,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { candidates, passed, worst, description } = self;
        write!(
            f,
            "{candidates} candidates, of which {passed} passed the check; the worst costs {worst:.2} of what it may: \
             {description}"
        )
    }
}

fn search(time: Duration, mut random: Random, mut reference: Reference) -> Found {
    let began = Instant::now();
    let mut found = Found { candidates: 0, passed: 0, worst: 0.0, description: String::new() };
    let mut worst: Vec<(f64, Candidate)> = Vec::new();
    while began.elapsed() < time {
        found.candidates += 1;
        let candidate = match random.below(worst.len() as u64 + 4) {
            place if (place as usize) < worst.len() => worst[place as usize].1.mutated(&mut random),
            _ => Candidate::random(&mut random),
        };
        let Some(cost) = reference.cost(&candidate) else { continue };
        found.passed += 1;
        let share = cost.share();
        if share > found.worst {
            found.worst = share;
            found.description = format!("{cost:?}: {candidate:?}");
            eprintln(&format!("{share:.2} {cost:?} {candidate:?}"));
        }
        worst.push((share, candidate));
        worst.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        worst.truncate(WORST);
    }
    found
}

#[expect(clippy::print_stderr, reason = "progress")]
fn eprintln(line: &str) {
    eprintln!("{line}");
}

/// The cost of a candidate in a process of its own, or nothing where the check refuses it.
fn measure(candidate: &Candidate) -> Option<Cost> {
    let component = wat::parse_str(candidate.text()?).expect("a component");
    let mut child = Command::new(env::current_exe().expect("this program"))
        .arg("one")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    child.stdin.take().expect("a pipe").write_all(&component).expect("a component that is read");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{candidate:?}");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    let (milliseconds, mebibytes) = numbers.next().zip(numbers.next())?;
    Some(Cost { milliseconds, mebibytes, bytes: component.len() })
}

/// Compiles the component on standard input, and prints milliseconds and mebibytes; nothing if it is too complex.
fn one() -> ExitCode {
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).expect("a component");
    let component = wat::parse_bytes(&component).expect("a component, or the text of one");
    let limits = Limits::CEILING;
    let compile =
        |bytes: &[u8]| CompiledCode::compile(bytes, Form::Original, Optimization::Speed, &limits);
    compile(&wat::parse_str("(component (core module (func) (func)))").expect("a component"))
        .expect("what is compiled first");
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
    let (before, began) = (peak(), processor_milliseconds());
    match compile(&component) {
        Ok(_) => {
            let milliseconds = processor_milliseconds() - began;
            println!("{milliseconds} {}", (peak() - before).max(0.0));
            ExitCode::SUCCESS
        }
        // One that does not validate costs no compiling.
        Err(CompileError::Load(
            LoadError::TooComplex { .. } | LoadError::TooLarge { .. } | LoadError::Invalid { .. },
        )) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The processor time of this process and of all its threads, in steps of ten milliseconds: it changes less than the time
/// on a clock with what else the machine does in the hour of a search.
fn processor_milliseconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    // `utime` and `stime`, in hundredths of a second.
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number") * 10.0).sum()
}

/// The peak of this process' resident memory, in mebibytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes / 1024.0
}
