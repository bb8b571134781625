//! A decision, and what stands around it.
#![expect(clippy::expect_used, reason = "a bench")]

use std::hint::black_box;

use countersign::{Outcome, PolicySet, Run};
use countersign_benches::{RUN, claims, example, same_workspace};
use countersign_issuer::{Algorithm, Issuer, SigningKey, TokenId};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    for (name, policies) in [("same-workspace", same_workspace()), ("example", example())] {
        assert_approved(&policies);
        group.bench_function(name, |b| {
            b.iter_batched(claims, |claims| policies.evaluate(claims), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn parse(c: &mut Criterion) {
    c.bench_function("parse run", |b| b.iter(|| Run::parse(black_box(RUN.as_bytes()))));
}

fn sign(c: &mut Criterion) {
    let policies = same_workspace();
    let mut group = c.benchmark_group("sign");
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (key, _) = SigningKey::generate(algorithm).expect("a key");
        let issuer = Issuer::new("https://oidc.example.com".parse().expect("a URL"), key);
        let id = TokenId::random().expect("randomness");
        group.bench_function(algorithm.as_str(), |b| {
            b.iter_batched(
                || policies.evaluate(claims()).into_approval().expect("an approval"),
                |approval| issuer.sign(approval, &id),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// What is timed must be the right answer.
fn assert_approved(policies: &PolicySet) {
    assert!(matches!(policies.evaluate(claims()).outcome(), Outcome::Approved(_)));
}

criterion_group!(benches, decide, parse, sign);
criterion_main!(benches);
