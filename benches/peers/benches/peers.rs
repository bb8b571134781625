//! The cost of a decision, compared with other engines and with a signature.
//!
//! Before an engine is timed, its decision must equal the others'.

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign::{Claims, Outcome, PolicySet, Run, SubjectTemplate, SubjectFormat, TokenRequest};
use countersign_clouds::AudienceClouds;
use countersign_benches::{RUN, claims};
use countersign_signing::{Algorithm, Issuer, SigningKey, TokenId};
use countersign_peers::{
    Answer, Cedar, CedarRequestMade, Cel, Countersign, Peer, Plain, Rego, RegoFromClaims, Request,
    Rules, many, set_of, stack,
};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};

const AUDIENCE: &str = "aws-workload-identity-provider:demo";

/// The same rules in every engine.
fn rules(c: &mut Criterion) {
    for (name, rules) in [
        ("own workspace, yes or no", Rules::OwnWorkspace),
        ("same-workspace", Rules::same_workspace()),
        ("allowed-consumers of 10,000", Rules::ten_thousand()),
        ("five policies", Rules::five()),
    ] {
        let mut group = c.benchmark_group(name);
        let requests: Vec<_> = Request::all().iter().map(Request::claims).collect();
        let expected: Vec<Answer> = {
            let mut plain = Plain::new(&rules);
            requests.iter().map(|claims| plain.decide(claims.clone())).collect()
        };
        let admitted =
            expected.iter().filter(|answer| matches!(answer, Answer::Admitted(_))).count();
        assert!((1..expected.len()).contains(&admitted), "{name}: both answers");
        for code in rules.codes() {
            let given = |answer: &Answer| matches!(answer, Answer::Refused(c) if c.contains(&(*code).to_owned()));
            assert!(expected.iter().any(given), "{name}: `{code}` is tried");
        }
        let mut check = Check { group: &mut group, requests: &requests, expected: &expected };
        check.time("Countersign", Countersign::new(&rules));
        check.time("regorus", Rego::new(&rules));
        check.time("regorus, input made of the claims", RegoFromClaims::new(&rules));
        check.time("cedar-policy", Cedar::new(&rules));
        check.time("cedar-policy, request made before", CedarRequestMade::new(&rules));
        check.time("cel", Cel::new(&rules));
        check.time("plain Rust", Plain::new(&rules));
        group.finish();
    }
}

struct Check<'c, 'g> {
    group: &'c mut BenchmarkGroup<'g, WallTime>,
    requests: &'c [Claims],
    expected: &'c [Answer],
}

impl Check<'_, '_> {
    fn time<P: Peer>(&mut self, name: &str, mut peer: P) {
        for (claims, expected) in self.requests.iter().zip(self.expected) {
            let input = peer.input(claims);
            assert_eq!(peer.decide(input), *expected, "{name}: {claims:?}");
        }
        let claims = Request::TIMED.claims();
        let input = peer.input(&claims);
        assert_eq!(peer.decide(input), Answer::Admitted(900), "{name}: what is timed");
        let peer = std::cell::RefCell::new(peer);
        self.group.bench_function(name, |b| {
            b.iter_batched(
                || peer.borrow().input(&claims),
                |input| peer.borrow_mut().decide(input),
                BatchSize::SmallInput,
            );
        });
    }
}

/// The cost of bindings that do not apply.
fn scopes(c: &mut Criterion) {
    let mut group = c.benchmark_group("scopes");
    for (name, policies) in
        [("three bindings", many(3)), ("three of 100,000 bindings", many(100_000))]
    {
        assert_eq!(policies.evaluate(claims()).trace().len(), 3);
        assert_approved(&policies);
        let claims = claims();
        group.bench_function(name, |b| {
            b.iter_batched(
                || claims.clone(),
                |claims| policies.evaluate(claims),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The gain of a second thread: each figure is the time of one thread's share.
fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads");
    let policies = set_of(&stack(&Rules::same_workspace()));
    let claims = claims();
    for (name, threads) in [("one thread", 1), ("two threads", 2)] {
        group.bench_function(format!("same-workspace, {name}"), |b| {
            b.iter_custom(|iterations| {
                at_once(threads, || {
                    for _ in 0..iterations {
                        black_box(policies.evaluate(claims.clone()));
                    }
                })
            });
        });
        group.bench_function(format!("plain computation, {name}"), |b| {
            b.iter_custom(|iterations| {
                at_once(threads, || {
                    for n in 0..iterations {
                        black_box(computation(n));
                    }
                })
            });
        });
    }
    group.finish();
}

/// Arithmetic without memory accesses, of about the duration of a decision.
fn computation(mut n: u64) -> u64 {
    for _ in 0..4_000 {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        n ^= n >> 29;
    }
    n
}

/// The time until the last of that many threads has finished.
fn at_once(threads: usize, work: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(&work);
        }
    });
    start.elapsed()
}

fn signatures(c: &mut Criterion) {
    let policies = set_of(&stack(&Rules::same_workspace()));
    let mut group = c.benchmark_group("signature");
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (key, _) = SigningKey::generate(algorithm).expect("a key");
        let issuer = Issuer::new("https://oidc.example.com".parse().expect("a URL"), std::sync::Arc::new(key));
        let id = TokenId::random().expect("randomness");
        group.bench_function(algorithm.as_str(), |b| {
            b.iter_batched(
                || policies.evaluate(claims()).into_approval().expect("an approval"),
                |approval| issuer.sign(approval, &id, &AudienceClouds::default()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The way from a run's JSON to a decision's record.
fn end_to_end(c: &mut Criterion) {
    let policies = set_of(&stack(&Rules::same_workspace()));
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().expect("a meshStack id"),
    };
    let audience = AUDIENCE.parse().expect("an audience");
    let mut group = c.benchmark_group("end to end");
    group.bench_function("run parsed", |b| b.iter(|| Run::parse(black_box(RUN.as_bytes()))));
    group.bench_function("run parsed and decided on", |b| {
        b.iter(|| {
            let run = Run::parse(black_box(RUN.as_bytes())).expect("a run");
            let token = TokenRequest::new(vec![Clone::clone(&audience)], 900, 1_790_000_000);
            let token = token.expect("a request");
            let claims = Claims::new(run, None, countersign::Facts::default(), &subject, token).expect("a subject");
            policies.evaluate(claims)
        });
    });
    let decision = policies.evaluate(claims());
    group.bench_function("record written", |b| {
        b.iter(|| serde_json::to_vec(&decision.record()).expect("JSON"));
    });
    group.finish();
}

/// Asserts that a timed decision is correct.
fn assert_approved(policies: &PolicySet) {
    assert!(matches!(policies.evaluate(claims()).outcome(), Outcome::Approved(_)));
}

criterion_group!(benches, rules, scopes, threads, signatures, end_to_end);
criterion_main!(benches);
