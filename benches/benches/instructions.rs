//! The instructions of decisions and of a token, counted by callgrind: nearly the same on a busy machine and an idle one.
//!
//! A token is the work of one exchange beyond its transport: claims made of a registered run, the decision of five
//! policies, the checks of the audience's cloud, an ES256 signature, and the bytes of the record. HTTP, the subject token,
//! rates, the store, and the writing of the record are not in it: they wait for the kernel, which is not counted.
//!
//! Fails if a count exceeds the recorded one by more than five per cent, since two runs differ by up to two; records with
//! `UPDATE=1`. The kernel's instructions are not counted, and the counts depend on the compiler.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;

use countersign::{
    Audience, Claims, Engine, Facts, Outcome, PolicySet, SubjectFormat, SubjectFormats,
};
use countersign_benches::{
    AUDIENCE, claims, claims_of, compiler, five_policies, same_workspace_on, set_of, triggered_run,
};
use countersign_clouds::AudienceClouds;
use countersign_issuer::{
    Decider, DecisionContext, IssueRequest, RecordHead, RecordKind, RequestOrigin, Requester,
};
use countersign_signing::{Algorithm, Issuer, SigningKey};
use serde_json::{Value, json};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures/instructions.json");

/// The number of times that the work is counted, and of uncounted ones before: everything that happens once has happened by then.
const EVALUATIONS: u64 = 200;

/// The maximum excess over the recorded count.
const MAX_RATIO: f64 = 1.05;

/// The counted function; callgrind starts and stops with it.
const COUNTED: &str = "countersign_instructions_counted";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    match arguments.iter().position(|argument| argument == "--evaluate") {
        Some(place) => {
            evaluate(arguments.get(place + 1).expect("a case"));
            ExitCode::SUCCESS
        }
        None => check(),
    }
}

/// Work that is counted.
type Work = Box<dyn FnOnce()>;

/// A name, and the preparation of what makes the work again and again: what it makes is not counted, only the work.
type Case = (&'static str, fn() -> Box<dyn FnMut() -> Work>);

fn cases() -> [Case; 3] {
    [
        ("same-workspace", || {
            decisions(same_workspace_on(&Engine::new().expect("an engine")), claims)
        }),
        ("five policies", || decisions(set_of(&five_policies()), || claims_of(triggered_run()))),
        ("a token", tokens),
    ]
}

fn decisions(set: PolicySet, claims: fn() -> Claims) -> Box<dyn FnMut() -> Work> {
    let set = Rc::new(set);
    Box::new(move || {
        let (set, claims) = (Rc::clone(&set), claims());
        Box::new(move || assert!(matches!(set.evaluate(claims).outcome(), Outcome::Approved(_))))
    })
}

fn tokens() -> Box<dyn FnMut() -> Work> {
    let context = Rc::new(DecisionContext {
        policies: Arc::new(set_of(&five_policies())),
        subjects: SubjectFormats {
            meshstack_id: "demo".parse().expect("a meshStack id"),
            profile: SubjectFormat::ByDefinition,
            overrides: BTreeMap::new(),
        },
        clouds: AudienceClouds::default(),
    });
    let (key, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
    let url = "https://oidc.example.com".parse().expect("a URL");
    let issuer = Rc::new(Issuer::new(url, Arc::new(key)));
    let runner = "98520496-627d-43e6-82da-ce499179ff3f";
    let requester = Rc::new(Requester::RunToken { runner: runner.to_owned() });
    let request = IssueRequest {
        run: triggered_run(),
        runner: Some(runner.parse().expect("a runner")),
        facts: Facts::default(),
        audiences: vec![AUDIENCE.parse::<Audience>().expect("an audience")],
        ttl_seconds: 900,
        now: 1_790_000_000,
    };
    Box::new(move || {
        let (context, issuer, requester) =
            (Rc::clone(&context), Rc::clone(&issuer), Rc::clone(&requester));
        let request = request.clone();
        Box::new(move || {
            let kind = RecordKind::Token;
            let origin = RequestOrigin { id: "a-request".to_owned(), client: None, trace: None };
            let (used, changes) = (None, Some(1));
            let head = RecordHead {
                kind,
                origin: &origin,
                requester: &requester,
                used,
                changes,
                service_account: None,
            };
            let pending = Decider::new(&context, &*issuer).decide_and_sign(request, head);
            let committed = pending.expect("a decision").without_record();
            assert!(committed.issued.is_some(), "a token");
        })
    })
}

/// Runs in a process of its own, under callgrind.
fn evaluate(name: &str) {
    let (_, prepare) = cases().into_iter().find(|(case, _)| *case == name).expect("a case");
    let mut work = prepare();
    for _ in 0..EVALUATIONS {
        work()();
    }
    for _ in 0..EVALUATIONS {
        countersign_instructions_counted(work());
    }
}

/// A function of its own, so that callgrind finds it by name.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(unsafe_code, reason = "a name that nothing else has")]
extern "Rust" fn countersign_instructions_counted(work: Work) {
    work();
}

fn check() -> ExitCode {
    let counts: BTreeMap<_, _> = cases().map(|(name, _)| (name, count(name))).into();
    let compiler = compiler();
    if env::var_os("UPDATE").is_some() {
        let recorded = json!({"compiler": compiler, "instructions": counts});
        let text = serde_json::to_string_pretty(&recorded).expect("JSON");
        fs::write(RECORDED, text + "\n").expect("written");
    }
    let recorded = fs::read_to_string(RECORDED).expect("record it first: UPDATE=1");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let by = recorded.pointer("/compiler").and_then(Value::as_str).unwrap_or_default();
    let mut fine = true;
    for (name, count) in counts {
        let before = recorded.pointer("/instructions").and_then(|counts| counts.get(name));
        let before = before.and_then(Value::as_u64).expect("a count of this case");
        let ratio = count as f64 / before as f64;
        let verdict = match ratio {
            ratio if ratio > MAX_RATIO => "SLOWER",
            ratio if ratio < 1.0 / MAX_RATIO => "faster; record it with UPDATE=1",
            _ => "the same",
        };
        fine &= ratio <= MAX_RATIO;
        println!("{name}: {count} instructions, recorded {before} ({ratio:.3}): {verdict}");
    }
    if by != compiler {
        println!("recorded with {by}, counted with {compiler}: they need not agree");
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts the instructions of one piece of work.
fn count(name: &str) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("callgrind");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
        // Callgrind must know that code is generated at run time.
        .arg("--smc-check=all-non-file")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("a path"))
        .args(["--evaluate", name])
        .status()
        .expect("valgrind; it is a package of that name");
    assert!(status.success(), "{name}: {status}");
    total(&out) / EVALUATIONS
}

/// The sum that callgrind writes.
fn total(out: &Path) -> u64 {
    let text = fs::read_to_string(out).expect("callgrind's file");
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a sum");
    line.trim().parse().expect("a number")
}
