//! Untrusted texts: runs, manifests, settings.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use countersign::{
    BindingError, Claims, Limits, Policy, Run, Settings, SubjectFormat, SubjectParts,
    SubjectTemplate, TokenRequest,
};
use countersign_deployment::{Manifest, SettingsSource};

use crate::{bind, engine};

/// The subject of any run that parses must parse to its parts again.
pub(crate) fn run(data: &[u8]) {
    let Ok(run) = Run::parse(data) else { return };
    for profile in [SubjectFormat::ByDefinition, SubjectFormat::ByRunner] {
        let form = SubjectTemplate { profile, meshstack_id: "fuzz".parse().unwrap() };
        let runner = "98520496-627d-43e6-82da-ce499179ff3f".parse().unwrap();
        let token = TokenRequest::new(vec!["aws".parse().unwrap()], 900, 1_790_000_000).unwrap();
        let claims =
            Claims::new(run.clone(), Some(runner), countersign::Facts::default(), &form, token)
                .unwrap();
        let parts = SubjectParts::parse(claims.subject().as_str()).unwrap();
        assert_eq!(parts.subject().unwrap(), *claims.subject());
    }
}

/// Any manifest that parses must be within the bounds.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let manifest = match Manifest::parse(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            let misleading = |c: char| c.is_control() && c != '\n';
            assert!(!error.to_string().contains(misleading), "{error}");
            return;
        }
    };
    assert!(!manifest.bindings.is_empty());
    let names: BTreeSet<_> = manifest.bindings.iter().map(|binding| &binding.name).collect();
    assert_eq!(names.len(), manifest.bindings.len(), "a name is one binding's");
    assert_eq!(manifest.ceilings, manifest.ceilings.at_most(&Limits::CEILING));
    for binding in &manifest.bindings {
        assert_eq!(binding.limits, binding.limits.at_most(&manifest.ceilings), "within ceilings");
        if let SettingsSource::Inline(settings) = &binding.settings {
            assert_eq!(Settings::from_json(settings.as_json()).unwrap(), *settings);
        }
    }
}

/// Every policy must accept or reject any settings that parse, without a fault.
pub(crate) fn settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(settings) = Settings::from_json(text) else { return };
    assert_eq!(Settings::from_json(settings.as_json()).unwrap().digest(), settings.digest());
    for policy in policies() {
        let limits = Limits { wall_clock_ms: Limits::CEILING.wall_clock_ms, ..Limits::DEFAULT };
        match bind(policy, settings.clone(), limits) {
            Ok(_) => {}
            Err(BindingError::Settings { problems, .. }) => assert!(!problems.is_empty()),
            Err(other) => panic!("{other}"),
        }
    }
}

fn policies() -> &'static [Arc<Policy>] {
    static POLICIES: OnceLock<Vec<Arc<Policy>>> = OnceLock::new();
    POLICIES.get_or_init(|| {
        let all = countersign_policy_artifacts::POLICIES.iter();
        all.map(|(_, bytes)| Arc::new(Policy::load(engine(), bytes, &Limits::DEFAULT).unwrap()))
            .collect()
    })
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let runs = [
        include_str!("../../../examples/run.json"),
        include_str!("../../../host/evaluator/tests/data/published-get.json"),
    ];
    let small_run = r#"{"a":[1,-0,1e9,"\u0073\ud83d\ude00",true,null,{"b":{}}]}"#;
    let manifests = [
        include_str!("../../../examples/countersign.toml"),
        "[ceilings]\nfuel = 5\n[[binding]]\nname = \"a\"\npolicy = \"p\"\nscope = \"all\"\n\
         limits = { fuel = 5, stack-bytes = 65536 }\nsettings = { a = [1, { b = 1.5 }] }\n",
    ];
    let settings = [
        r#"{"also":["team-a"],"also-max-ttl":900}"#,
        r#"{"workspaces":["a","b"]}"#,
        r#"{"apply":3600,"detect":900}"#,
        r#"{"implementations":{"terraform":["aws"]}}"#,
        r#"{"behaviors":{"destroy":["user"]}}"#,
        r#"{"windows":[{"days":["mon"],"from":"08:00","to":"17:00"}]}"#,
    ];
    let of = |target, texts: &[&str]| -> Vec<_> {
        texts.iter().map(|text| (target, text.as_bytes().to_vec())).collect()
    };
    [
        of("run", &runs),
        of("run", &[small_run]),
        of("manifest", &manifests),
        of("settings", &settings),
        of("settings", &[small_run]),
    ]
    .concat()
}
