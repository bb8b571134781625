//! The same decision and the same fuel, however a policy was compiled.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use countersign::{Engine, EngineConfig, Optimization};
use countersign_deployment::{Manifest, ManifestFiles, prepare_policies};
use support::claims;

const EXAMPLE: &str = include_str!("../../../examples/countersign.toml");

#[test]
fn optimised_and_unoptimised_code_decide_alike() {
    let manifest = Manifest::parse(EXAMPLE).unwrap();
    let all = countersign_policy_artifacts::POLICIES;
    let files: ManifestFiles = manifest
        .files()
        .map(|path| {
            let (_, bytes) =
                all.iter().find(|(name, _)| path.ends_with(&format!("/{name}.wasm"))).unwrap();
            (path.to_owned(), bytes.to_vec())
        })
        .collect();
    let [fast, slow] = [Optimization::Speed, Optimization::None].map(|optimization| {
        let engine =
            Engine::with(EngineConfig { optimization, ..EngineConfig::default() }).unwrap();
        let decision = prepare_policies(&engine, &manifest, &files).unwrap().evaluate(claims());
        assert!(decision.trace().iter().all(|entry| entry.used.fuel.is_some()));
        serde_json::to_string(&decision.record()).unwrap()
    });
    assert_eq!(fast, slow);
}
