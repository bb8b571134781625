//! The engine, and the published run that asks for a token.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::OnceLock;

use countersign::{Audience, Claims, Engine, Run, SubjectFormat, SubjectTemplate, TokenRequest};

/// 2026-09-21T14:13:20Z.
const NOW: u64 = 1_790_000_000;

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap())
}

/// The published run, owned by `team-a`, asking for `aws` and `azure` for an hour.
pub(crate) fn claims() -> Claims {
    let run = include_bytes!("../../../evaluator/tests/data/published-get.json");
    let mut run = Run::parse(run).unwrap();
    run.building_block.workspace = "team-a".parse().unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "test".parse().unwrap(),
    };
    let audiences = ["aws", "azure"].map(|a| Audience::parse(a).unwrap());
    let token = TokenRequest::new(audiences.into(), 3600, NOW).unwrap();
    Claims::new(run, None, countersign::Facts::default(), &subject, token).unwrap()
}
