//! The file of subject migrations: its shapes, and the steps that follow.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use countersign::{DefinitionId, SubjectFormat};
use countersign_deployment::{
    Manifest, ManifestFiles, MigrationRecord, MigrationState, MigrationStep, SubjectMigrations,
    SubjectMigrationsError,
};
use proptest::prelude::*;

const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";

fn definition() -> DefinitionId {
    DefinitionId::parse(DEFINITION).unwrap()
}

fn record(step: MigrationStep) -> MigrationRecord {
    MigrationRecord { step, time: 1, by: "tester".to_owned(), evidence: "a test".to_owned() }
}

fn begun() -> SubjectMigrations {
    let mut migrations = SubjectMigrations::default();
    let runners = [RUNNER.parse().unwrap()].into();
    let (workspace, by) = ("my-workspace".parse().unwrap(), (1, "tester".to_owned()));
    migrations.begin(definition(), workspace, runners, by).unwrap();
    migrations
}

#[test]
fn trust_has_both_subjects_while_it_lasts() {
    let mut migrations = begun();
    let meshstack = "demo".parse().unwrap();
    for (step, state, profile, subjects) in [
        (None, MigrationState::Begun, SubjectFormat::ByRunner, 2),
        (Some(MigrationStep::CutOver), MigrationState::CutOver, SubjectFormat::ByDefinition, 2),
        (Some(MigrationStep::RollBack), MigrationState::Begun, SubjectFormat::ByRunner, 2),
        (Some(MigrationStep::CutOver), MigrationState::CutOver, SubjectFormat::ByDefinition, 2),
        (Some(MigrationStep::Finish), MigrationState::Finished, SubjectFormat::ByDefinition, 1),
    ] {
        if let Some(step) = step {
            assert_eq!(migrations.step(&definition(), record(step)), Ok(state));
        }
        let of = migrations.get(&definition()).unwrap();
        assert_eq!((of.state, of.state.profile()), (state, profile));
        assert_eq!(of.subjects(&meshstack, &definition()).len(), subjects);
    }
    let error = migrations.step(&definition(), record(MigrationStep::RollBack)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("definition {DEFINITION} is finished; `roll-back` cannot follow")
    );
    // What was begun can be left, and begun again.
    let mut left = begun();
    assert_eq!(
        left.step(&definition(), record(MigrationStep::Abandon)),
        Ok(MigrationState::Abandoned)
    );
    let of = left.get(&definition()).unwrap();
    assert_eq!(of.state.profile(), SubjectFormat::ByRunner);
    assert_eq!(of.subjects(&meshstack, &definition()).len(), 1);
    let runners = [RUNNER.parse().unwrap()].into();
    let (workspace, by) = ("other-workspace".parse().unwrap(), (2, "tester".to_owned()));
    left.begin(definition(), workspace, runners, by).unwrap();
    assert_eq!(left.get(&definition()).unwrap().history.len(), 3);

    let mut nothing = SubjectMigrations::default();
    let error = nothing.step(&definition(), record(MigrationStep::CutOver)).unwrap_err();
    assert!(error.to_string().contains("is not being migrated"));
    let (workspace, by) = ("my-workspace".parse().unwrap(), (1, String::new()));
    let error = nothing.begin(definition(), workspace, Default::default(), by).unwrap_err();
    assert!(matches!(error, SubjectMigrationsError::NoRunner(_)));
}

#[test]
fn a_file_that_contradicts_itself_says_nothing() {
    let good = begun().to_json().unwrap();
    assert_eq!(SubjectMigrations::parse(good.as_bytes()).unwrap(), begun());
    for (from, to, says) in [
        ("\"version\": 1", "\"version\": 2", "version 2"),
        ("\"begun\"", "\"cut-over\"", "do not lead to the state"),
        ("\"begun\"", "\"gone\"", "unknown variant"),
        (&format!("\"{RUNNER}\""), "", "do not lead to the state"),
        ("my-workspace", "My-Workspace", "a workspace identifier"),
        (DEFINITION, "x", "a UUID"),
        ("\"by\"", "\"of\"", "unknown field"),
        ("\"migrations\"", "\"migrated\"", "unknown field"),
        // The names of before say which have taken their place.
        ("\"migrations\"", "\"moves\"", "`moves` is now `migrations`"),
        ("\"evidence\"", "\"on\"", "`on` is now `evidence`"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = SubjectMigrations::parse(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let one = good.split_once('[').unwrap().1.rsplit_once(']').unwrap().0;
    let twice = good.replacen(one, &format!("{one},{one}"), 1);
    let error = SubjectMigrations::parse(twice.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("is listed twice"), "{error}");
}

const MANIFEST: &str = r#"
[issuer]
meshstack-id = "demo"
subject-profile = "by-runner"
subject-migrations = "moves.json"
audiences = { "https://vault.example.com" = "other" }

[[binding]]
name = "a"
policy = "a.wasm"
scope = "all"
"#;

#[test]
fn a_manifest_takes_the_moves_of_its_file() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    assert_eq!(manifest.files().collect::<Vec<_>>(), ["a.wasm", "moves.json"]);
    let issuer = manifest.issuer.unwrap();
    assert_eq!(issuer.subjects_with(&ManifestFiles::new()), Err(SubjectMigrationsError::Missing));
    let mut migrations = begun();
    let profile = |migrations: &SubjectMigrations| {
        let files = [("moves.json".to_owned(), migrations.to_json().unwrap().into_bytes())].into();
        issuer.subjects_with(&files).unwrap().profile_of(&definition())
    };
    assert_eq!(profile(&migrations), SubjectFormat::ByRunner);
    migrations.step(&definition(), record(MigrationStep::CutOver)).unwrap();
    assert_eq!(profile(&migrations), SubjectFormat::ByDefinition);
    // Said in two places, it is not guessed which counts.
    let both = MANIFEST.replace(
        "subject-migrations",
        &format!("subject-profiles = {{ {DEFINITION} = \"by-runner\" }}\nsubject-migrations"),
    );
    let issuer = Manifest::parse(&both).unwrap().issuer.unwrap();
    let files = [("moves.json".to_owned(), migrations.to_json().unwrap().into_bytes())].into();
    assert!(matches!(issuer.subjects_with(&files), Err(SubjectMigrationsError::TwoPlaces(_))));
}

#[test]
fn an_audience_is_of_a_cloud_that_there_is() {
    for (cloud, says) in [("\"oracle\"", "expected `aws`, `azure`"), ("1", "invalid type")] {
        let bad = MANIFEST.replace("\"other\"", cloud);
        let error = Manifest::parse(&bad).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let bad = MANIFEST.replace("https://vault.example.com", "api://AzureADTokenExchange");
    let error = Manifest::parse(&bad).unwrap_err().to_string();
    assert!(
        error.contains("belongs to azure") && error.contains("give other one of its own"),
        "{error}"
    );
    let bad = MANIFEST.replace("https://vault.example.com", "a b");
    assert!(Manifest::parse(&bad).unwrap_err().to_string().contains("an audience"));
}

proptest! {
    /// Whatever steps are tried: those that are refused change nothing, and what is written is what is read.
    #[test]
    fn steps_lead_where_they_say(steps in proptest::collection::vec(0..5usize, 0..12)) {
        let all = [
            MigrationStep::Begin,
            MigrationStep::CutOver,
            MigrationStep::RollBack,
            MigrationStep::Finish,
            MigrationStep::Abandon,
        ];
        let mut migrations = begun();
        for step in steps {
            let before = migrations.clone();
            match migrations.step(&definition(), record(all[step])) {
                Ok(state) => prop_assert_eq!(migrations.get(&definition()).unwrap().state, state),
                Err(_) => prop_assert_eq!(&migrations, &before),
            }
            let again = SubjectMigrations::parse(migrations.to_json().unwrap().as_bytes());
            prop_assert_eq!(again.as_ref(), Ok(&migrations));
        }
    }
}
