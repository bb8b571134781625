//! The processes that are measured.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{Engine, Outcome};
use countersign_benches::{claims, same_workspace_on, ten_thousand_workspaces};
use serde_json::{Value, json};

use crate::Case;
use crate::counters::Thread;

const WARM: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(800);

/// The work of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `same-workspace` on the published run.
    Decisions,
    /// `allowed-consumers` of 10,000 workspaces on the published run, on one engine.
    Entries,
    /// Multiplications without memory accesses, for about as long as a decision.
    Arithmetic,
}

impl Kind {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "decisions" => Self::Decisions,
            "entries" => Self::Entries,
            "arithmetic" => Self::Arithmetic,
            _ => panic!("no such work: {name}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Entries => "entries",
            Self::Arithmetic => "arithmetic",
        }
    }
}

/// The work of all threads of a case in [`MEASURED`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Measured {
    /// Decisions before that.
    pub(crate) warm: f64,
    pub(crate) decisions: f64,
    pub(crate) seconds: f64,
    pub(crate) used: Thread,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        self.decisions / self.seconds
    }

    /// Nanoseconds of processor time for a decision.
    pub(crate) fn nanoseconds(&self) -> f64 {
        self.used.nanoseconds / self.decisions
    }
}

/// Says when it is ready, measures when it is told to, prints what it measured, and ends when it is told to.
pub(crate) fn work(kind: Kind, engines: usize, threads: usize) {
    let set = || match kind {
        Kind::Entries => ten_thousand_workspaces(),
        Kind::Decisions | Kind::Arithmetic => same_workspace_on(&Engine::new().expect("an engine")),
    };
    let sets: Vec<_> = (0..engines).map(|_| set()).collect();
    let (stop, measuring) = (AtomicBool::new(false), AtomicBool::new(false));
    let (ready, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let work = |thread: usize| {
        let set = sets.iter().cycle().nth(thread).expect("an engine");
        let claims = claims();
        let mut number = thread as u64;
        let mut once = || match kind {
            Kind::Decisions | Kind::Entries => drop(black_box(set.evaluate(claims.clone()))),
            Kind::Arithmetic => number = black_box(arithmetic(number)),
        };
        assert!(matches!(set.evaluate(claims.clone()).outcome(), Outcome::Approved(_)));
        ready.wait();
        go.wait();
        let (mut warm, mut done) = (0_u32, 0_u32);
        while !measuring.load(Ordering::Relaxed) {
            once();
            warm += 1;
        }
        let before = Thread::now();
        while !stop.load(Ordering::Relaxed) {
            once();
            done += 1;
        }
        (warm, done, Thread::now().since(before))
    };
    let read = || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("a line");
    };
    let measured = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        ready.wait();
        println!("ready");
        read();
        go.wait();
        thread::sleep(WARM);
        measuring.store(true, Ordering::Relaxed);
        let started = Instant::now();
        thread::sleep(MEASURED);
        stop.store(true, Ordering::Relaxed);
        let mut all = Measured { seconds: started.elapsed().as_secs_f64(), ..Measured::default() };
        for worker in workers {
            let (warm, done, used) = worker.join().expect("a worker");
            all.warm += f64::from(warm);
            all.decisions += f64::from(done);
            all.used = all.used.and(used);
        }
        all
    });
    let Measured { warm, decisions, seconds, used } = measured;
    let used = used.to_json();
    println!("{}", json!({"warm": warm, "decisions": decisions, "seconds": seconds, "used": used}));
    read();
}

fn arithmetic(mut number: u64) -> u64 {
    for _ in 0..4_000 {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number ^= number >> 29;
    }
    number
}

/// The processes of a case, ready to measure.
pub(crate) struct Processes(Vec<Process>);

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Processes {
    pub(crate) fn start(case: Case) -> Self {
        Self((0..case.processes).map(|_| Process::start(case)).collect())
    }

    /// The processes' ids.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.iter().map(|process| process.child.id().to_string()).collect()
    }

    pub(crate) fn measure(mut self) -> Measured {
        self.0.iter_mut().for_each(|process| process.tell());
        let mut all = Measured::default();
        for process in &mut self.0 {
            let read: Value = serde_json::from_str(&process.line()).expect("JSON");
            let number = |name: &str| read.get(name).and_then(Value::as_f64).expect("a number");
            all.warm += number("warm");
            all.decisions += number("decisions");
            all.seconds = number("seconds").max(all.seconds);
            all.used = all.used.and(Thread::from_json(read.get("used").expect("counters")));
        }
        for process in &mut self.0 {
            process.tell();
            assert!(process.child.wait().expect("its end").success());
        }
        all
    }
}

impl Process {
    fn start(case: Case) -> Self {
        let (engines, threads) = (case.engines.to_string(), case.threads.to_string());
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["work", case.kind.name(), &engines, &threads])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut process = Self { child, input, output };
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    fn tell(&mut self) {
        self.input.write_all(b"\n").expect("a process that listens");
    }
}
