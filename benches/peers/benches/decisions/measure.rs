//! One run: nanoseconds by group, subject and round.
//!
//! Before an engine is timed, its decisions must equal the others'.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use countersign::{
    Claims, Facts, Outcome, PolicySet, Run, SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_benches::{AUDIENCE, RUN, claims, five_policies, set_of};
use countersign_clouds::AudienceClouds;
use countersign_peers::{
    Answer, Cedar, CedarRequestMade, Cel, Countersign, Peer, Plain, Rego, RegoFromClaims, Request,
    Rules, Subject, many, rounds, stack, timed,
};
use countersign_signing::{Algorithm, Issuer, SigningKey, TokenId};
use serde_json::{Value, json};

use crate::runs::{ALONE, US};

pub(crate) fn measure() -> Value {
    let mut groups = BTreeMap::new();
    for (name, rules) in [
        ("own workspace, yes or no", Rules::OwnWorkspace),
        ("same-workspace", Rules::same_workspace()),
        ("allowed-consumers of 10,000", Rules::ten_thousand()),
        ("five policies", Rules::five()),
    ] {
        groups.insert(name, engines(name, &rules));
    }
    groups.insert(ALONE, alone());
    let groups = groups.into_iter().map(|(group, subjects)| {
        (group.to_owned(), subjects.into_iter().map(|(name, ns)| (name, json!(ns))).collect())
    });
    Value::Object(groups.collect())
}

/// The figures of the subjects of a group.
type Figures = Vec<(String, Vec<f64>)>;

/// The same rules in every engine.
fn engines(name: &str, rules: &Rules) -> Figures {
    let requests: Vec<_> = Request::all().iter().map(Request::claims).collect();
    let expected: Vec<Answer> = {
        let mut plain = Plain::new(rules);
        requests.iter().map(|claims| plain.decide(claims.clone())).collect()
    };
    let admitted = expected.iter().filter(|answer| matches!(answer, Answer::Admitted(_))).count();
    assert!((1..expected.len()).contains(&admitted), "{name}: both answers");
    for code in rules.codes() {
        let given = |answer: &Answer| matches!(answer, Answer::Refused(c) if c.contains(&(*code).to_owned()));
        assert!(expected.iter().any(given), "{name}: `{code}` is tried");
    }
    let check = Check { requests: &requests, expected: &expected };
    rounds(&mut [
        check.subject(US, Countersign::new(rules)),
        check.subject("regorus", Rego::new(rules)),
        check.subject("regorus, input made of the claims", RegoFromClaims::new(rules)),
        check.subject("cedar-policy", Cedar::new(rules)),
        check.subject("cedar-policy, request made before", CedarRequestMade::new(rules)),
        check.subject("cel", Cel::new(rules)),
        check.subject("plain Rust", Plain::new(rules)),
    ])
}

struct Check<'c> {
    requests: &'c [Claims],
    expected: &'c [Answer],
}

impl Check<'_> {
    fn subject<P: Peer + 'static>(&self, name: &'static str, mut peer: P) -> Subject<'static> {
        for (claims, expected) in self.requests.iter().zip(self.expected) {
            let input = peer.input(claims);
            assert_eq!(peer.decide(input), *expected, "{name}: {claims:?}");
        }
        let claims = Request::TIMED.claims();
        let input = peer.input(&claims);
        assert_eq!(peer.decide(input), Answer::Admitted(900), "{name}: what is timed");
        let peer = Rc::new(RefCell::new(peer));
        let other = Rc::clone(&peer);
        let input = move || other.borrow().input(&claims);
        timed(name, input, move |input| peer.borrow_mut().decide(input))
    }
}

/// Countersign's decisions compared with each other, and with signatures.
fn alone() -> Figures {
    assert_eq!(stack(&Rules::five()), five_policies(), "as `make bench-check` counts them");
    let one = set_of(&stack(&Rules::same_workspace()));
    let approval = || one.evaluate(claims()).into_approval().expect("an approval");
    let (rs256, es256) = (issuer(Algorithm::Rs256), issuer(Algorithm::Es256));
    let id = TokenId::random().expect("randomness");
    let clouds = AudienceClouds::default();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().expect("a meshStack id"),
    };
    let audiences = || vec![AUDIENCE.parse().expect("an audience")];
    let decided = one.evaluate(claims());
    rounds(&mut [
        decisions("same-workspace", set_of(&stack(&Rules::same_workspace()))),
        decisions("allowed-consumers of three", set_of(&stack(&Rules::three_workspaces()))),
        decisions("allowed-consumers of 10,000", set_of(&stack(&Rules::ten_thousand()))),
        decisions("five policies", set_of(&five_policies())),
        decisions("three bindings", many(3)),
        decisions("three of 100,000 bindings", many(100_000)),
        timed("RS256", approval, |approval| rs256.sign(approval, &id, &clouds)),
        timed("ES256", approval, |approval| es256.sign(approval, &id, &clouds)),
        timed("run parsed", || (), |()| Run::parse(black_box(RUN.as_bytes()))),
        timed("run parsed and decided on", audiences, |audiences| {
            let run = Run::parse(black_box(RUN.as_bytes())).expect("a run");
            let token = TokenRequest::new(audiences, 900, 1_790_000_000).expect("a request");
            let claims = Claims::new(run, None, Facts::default(), &subject, token);
            one.evaluate(claims.expect("a subject"))
        }),
        timed("record written", || (), |()| serde_json::to_vec(&decided.record()).expect("JSON")),
    ])
}

/// Decisions of a set on the timed request, which it approves.
fn decisions(name: &'static str, policies: PolicySet) -> Subject<'static> {
    let claims = Request::TIMED.claims();
    assert!(matches!(policies.evaluate(claims.clone()).outcome(), Outcome::Approved(_)), "{name}");
    timed(name, move || claims.clone(), move |claims| policies.evaluate(claims))
}

fn issuer(algorithm: Algorithm) -> Issuer {
    let (key, _) = SigningKey::generate(algorithm).expect("a key");
    Issuer::new("https://oidc.example.com".parse().expect("a URL"), Arc::new(key))
}
