//! Manifests: what is wrong is named, with its place.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::path::Path;

use countersign::{BindingError, Digest, Limits, Mode, Scope, SubjectFormat};
use countersign_deployment::{
    Manifest, ManifestFiles, PreparationEntry, PreparationTiming, SettingsSource, prepare_policies,
};
use support::engine;

const WHOLE: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "prod"
subject-profile = "by-runner"
subject-profiles = { b23cfb9a-6974-444f-9d33-62134a632373 = "by-definition" }

[[binding]]
name = "one"
policy = "policies/scripted.wasm"
digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
scope = { owning-workspace = "team-a" }
mode = "shadow"
may-permit = false
claims = ["team"]
limits = { component-bytes = 1, fuel = 2, configure-fuel = 3, memory-bytes = 4, stack-bytes = 65536, output-bytes = 5, wall-clock-ms = 6, prepare-ms = 7, prepare-memory-bytes = 33554432 }
settings = { b = [1, 1.5, true], a = { "x/y" = "z" } }

[[binding]]
name = "two"
policy = "policies/scripted.wasm"
scope = "all"
settings-file = "two.json"
"#;

#[test]
fn a_manifest_says_everything() {
    let manifest = Manifest::parse(WHOLE).unwrap();
    let subjects = &manifest.issuer.as_ref().unwrap().subjects;
    let run =
        countersign::Run::parse(include_bytes!("../../evaluator/tests/data/published-get.json"))
            .unwrap();
    assert_eq!(subjects.of(&run).profile, SubjectFormat::ByDefinition);
    let other = run.clone();
    let other = countersign::Run {
        definition: countersign::Definition {
            id: "11111111-1111-4111-8111-111111111111".parse().unwrap(),
            ..other.definition
        },
        ..other
    };
    assert_eq!(subjects.of(&other).profile, SubjectFormat::ByRunner);
    let [one, two] = manifest.bindings.as_slice() else { panic!() };
    assert_eq!(one.scope, Scope::OwningWorkspace("team-a".parse().unwrap()));
    assert_eq!((one.mode, two.mode), (Mode::Shadow, Mode::Enforce));
    assert_eq!((one.may_permit, two.may_permit), (false, true));
    assert_eq!(one.digest, Some(Digest::of(b"")));
    let limits = Limits {
        component_bytes: 1,
        fuel: 2,
        configure_fuel: 3,
        memory_bytes: 4,
        stack_bytes: 64 << 10,
        output_bytes: 5,
        wall_clock_ms: 6,
        prepare_ms: 7,
        prepare_memory_bytes: 32 << 20,
    };
    assert_eq!((one.limits, two.limits), (limits, Limits::DEFAULT));
    let SettingsSource::Inline(settings) = &one.settings else { panic!() };
    assert_eq!(settings.as_json(), r#"{"a":{"x/y":"z"},"b":[1,1.5,true]}"#);
    assert_eq!(two.settings, SettingsSource::File("two.json".to_owned()));
    assert_eq!(manifest.files().collect::<Vec<_>>(), ["policies/scripted.wasm", "two.json"]);
}

#[track_caller]
fn refuses(from: &str, to: &str, expected: &str) {
    let text = WHOLE.replacen(from, to, 1);
    assert_ne!(text, WHOLE);
    let error = Manifest::parse(&text).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    refuses("[issuer]", "[isuer]", "unknown field `isuer`");
    refuses("mode =", "mod =", "unknown field `mod`");
    refuses("b23cfb9a-", "B23cfb9a-", "expected a UUID in canonical lower case");
    let (good, bad) = ("= \"by-definition\" }", "= \"by-block\" }");
    refuses(good, bad, "TOML parse error at line 6, column 61");
    refuses(good, bad, "expected `by-runner` or `by-definition`");
    refuses("mode =", "mod =", "TOML parse error at line 13, column 1");
    refuses(
        "\"shadow\"",
        "\"observe\"",
        "unknown variant `observe`, expected `enforce` or `shadow`",
    );
    refuses("may-permit = false", "may-permit = \"no\"", "expected a boolean");
    refuses("may-permit", "may_permit", "unknown field `may_permit`");
    refuses("fuel = 2", "gas = 2", "unknown field `gas`");
    refuses("name = \"one\"\n", "", "missing field `name`");
    refuses("scope = \"all\"\n", "", "missing field `scope`");
    refuses("\"one\"", "\"One\"", "expected a binding name (1 to 63 lower-case");
    refuses("\"one\"", "\"One\"", "line 9, column 8");
    refuses("\"one\"", "\"two\"", "two bindings have the name `two`");
    refuses("\"team-a\"", "\"team_a\"", "expected a workspace identifier");
    refuses("\"all\"", "\"some\"", "expected `\"all\"`, or a table with one of");
    refuses("\"all\"", "{}", "expected `\"all\"`, or a table with one of");
    refuses("\"all\"", "{ all = 1 }", "expected `\"all\"`, or a table with one of");
    refuses("\"all\"", "7", "expected `\"all\"`, or a table with one of");
    refuses(
        "\"all\"",
        "{ definition-workspace = \"a\", owning-workspace = \"b\" }",
        "expected `\"all\"`, or a table with one of",
    );
    refuses("fuel = 2", "fuel = -1", "expected a whole number from 0 to 2^63 - 1");
    refuses("fuel = 2", "fuel = \"2\"", "expected a whole number from 0 to 2^63 - 1");
    refuses("\"all\"", "{ definition = \"1\" }", "expected a UUID in canonical lower case");
    refuses("sha256:e3", "sha256:E3", "expected `sha256:` and 64 lower-case hexadecimal digits");
    refuses("\"team\"]", "\"te am\"]", "expected a claim name");
    refuses("fuel = 2", "fuel = 0", "binding `one`: limits.fuel: 0 is not in 1 to 10000000000");
    refuses(
        "stack-bytes = 65536",
        "stack-bytes = 65537",
        "binding `one`: limits.stack-bytes: 65537 is not a power of two from 65536 to 1048576",
    );
    refuses(
        "33554432",
        "33554431",
        "binding `one`: limits.prepare-memory-bytes: 33554431 is less than 33554432",
    );
    refuses("memory-bytes = 4", "memory-bytes = 268435457", "binding `one`: limits.memory-bytes");
    refuses(
        "settings-file",
        "settings = {}\nsettings-file",
        "has both `settings` and `settings-file`",
    );
    refuses("1.5", "1979-05-27", "binding `one`: settings/b/1: JSON has no dates");
    refuses("1.5", "inf", "binding `one`: settings/b/1: JSON has no infinity and no NaN");
    refuses("\"prod\"", "\"Prod\"", "expected a meshStack id");
    let error = Manifest::parse("").unwrap_err().to_string();
    assert_eq!(error, "no `[[binding]]`: nothing could ever be approved");
}

#[test]
fn an_operator_sets_ceilings() {
    let with = |ceilings: &str| {
        let text = format!("[ceilings]\n{ceilings}\n{WHOLE}");
        Manifest::parse(&text).map_err(|error| error.to_string())
    };
    // A default above a ceiling is lowered to it.
    let manifest = with("fuel = 5_000_000\nstack-bytes = 131_072").unwrap();
    let [one, two] = manifest.bindings.as_slice() else { panic!() };
    assert_eq!((one.limits.fuel, two.limits.fuel), (2, 5_000_000));
    assert_eq!((one.limits.stack_bytes, two.limits.stack_bytes), (64 << 10, 128 << 10));
    assert_eq!(manifest.ceilings.fuel, 5_000_000);
    assert_eq!(manifest.ceilings.memory_bytes, Limits::CEILING.memory_bytes);
    // What a binding asks for above it is an error, and no ceiling is above this crate's.
    let error = with("fuel = 1").unwrap_err();
    assert_eq!(error, "binding `one`: limits.fuel: 2 is not in 1 to 1");
    let error = with("fuel = 10_000_000_001").unwrap_err();
    assert_eq!(error, "ceilings.fuel: 10000000001 is not in 1 to 10000000000");
    let error = with("stack-bytes = 100_000").unwrap_err();
    assert_eq!(error, "ceilings.stack-bytes: 100000 is not a power of two from 65536 to 1048576");
    assert!(with("gas = 1").unwrap_err().contains("unknown field `gas`"));
}

#[test]
fn an_operator_says_when_bindings_are_prepared() {
    let with = |preparation: &str| {
        Manifest::parse(&format!("[preparation]\n{preparation}\n{WHOLE}"))
            .map(|manifest| manifest.preparation)
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        with("").unwrap(),
        PreparationEntry { bindings: PreparationTiming::AtStart, resident_bytes: None }
    );
    assert_eq!(
        with("bindings = \"on-demand\"\nresident-bytes = 1_048_576").unwrap(),
        PreparationEntry { bindings: PreparationTiming::Lazy, resident_bytes: Some(1 << 20) }
    );
    assert_eq!(
        with("resident-bytes = 1_048_575").unwrap_err(),
        "preparation.resident-bytes: 1048575 is less than 1048576, which is needed for any policy"
    );
    let error = with("bindings = \"lazy\"").unwrap_err();
    assert!(
        error.contains("unknown variant `lazy`, expected `at-start` or `on-demand`"),
        "{error}"
    );

    // What is wrong with settings is then found when a run needs them.
    let mut manifest = manifest("settings = { allow = 1 }");
    assert!(prepare_policies(engine(), &manifest, &files()).is_err());
    manifest.preparation.bindings = PreparationTiming::Lazy;
    let set = prepare_policies(engine(), &manifest, &files()).unwrap();
    let [binding] = set.bindings() else { panic!() };
    assert_eq!(binding.prepared(), None);
    assert!(matches!(binding.ensure_prepared(), Err(BindingError::Settings { .. })));
}

#[test]
fn the_example_knows_the_defaults() {
    const EXAMPLE: &str = include_str!("../../../examples/countersign.toml");
    let (_, from) = EXAMPLE.split_once("\n# limits = {").unwrap();
    let lines = from.lines().map(|line| line.trim_start_matches("# "));
    let mut limits = "limits = {".to_owned();
    for line in lines {
        limits.push_str(line);
        limits.push('\n');
        if line.contains('}') {
            break;
        }
    }
    let binding = "[[binding]]\nname = \"a\"\npolicy = \"a.wasm\"\nscope = \"all\"\n";
    let manifest = Manifest::parse(&format!("{binding}{limits}")).unwrap();
    assert_eq!(manifest.bindings[0].limits, Limits::DEFAULT);
    // And it gives all of them.
    assert_eq!(limits.matches(" = ").count(), 10, "{limits}");
}

#[test]
fn nesting_is_bounded_before_anything_recurses() {
    let dotted = ["a"; 79].join(".");
    let bomb = (0..20).fold("1".to_owned(), |inner, _| format!("{{ {dotted} = {inner} }}"));
    for (text, line) in [
        (format!("\nsettings = {bomb}"), 2),
        (format!("x = {}", "[".repeat(100_000)), 1),
        (format!("{dotted} = 1"), 1),
        (format!("# ..........\n[{dotted}]"), 2),
    ] {
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line}: nested too deep")), "{error}");
    }
    // The deepest that is let through is read without harm.
    let dotted = ["a"; 9].join(".");
    let deepest = (0..32).fold("1".to_owned(), |inner, _| format!("{{ {dotted} = {inner} }}"));
    let text = WHOLE.replacen("{ b = [1, 1.5, true], a = { \"x/y\" = \"z\" } }", &deepest, 1);
    let error = Manifest::parse(&text).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 32 levels"), "{error}");
}

#[test]
fn an_error_shows_nothing_that_misleads_a_terminal() {
    let error = Manifest::parse("\"\\u001b[31mx\" = \"\u{202e}\"").unwrap_err().to_string();
    assert!(!error.contains(['\u{1b}', '\u{202e}']), "{error}");
    assert!(error.contains("\\u{1b}[31mx"), "{error}");
}

fn manifest(binding: &str) -> Manifest {
    Manifest::parse(&format!(
        "[[binding]]\nname = \"one\"\npolicy = \"p.wasm\"\nscope = \"all\"\n{binding}"
    ))
    .unwrap()
}

fn files() -> ManifestFiles {
    let component = countersign_test_artifacts::SCRIPTED.to_vec();
    [("p.wasm".to_owned(), component), ("s.json".to_owned(), b"{}".to_vec())].into()
}

#[track_caller]
fn does_not_prepare(binding: &str, files: &ManifestFiles, expected: &str) {
    let error = prepare_policies(engine(), &manifest(binding), files).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

const ABSTAIN: &str = r#"settings = { answer = "abstain" }"#;

#[test]
fn a_set_is_made_whole_or_not_at_all() {
    let set = prepare_policies(engine(), &manifest(ABSTAIN), &files()).unwrap();
    assert_eq!(set.bindings().len(), 1);

    does_not_prepare(
        ABSTAIN,
        &ManifestFiles::new(),
        "binding `one`: the file `p.wasm` was not provided",
    );
    let not_wasm = [("p.wasm".to_owned(), b"x".to_vec())].into();
    does_not_prepare(
        ABSTAIN,
        &not_wasm,
        "binding `one`: p.wasm: not a WebAssembly component: the file does not begin with `\\0asm` (not-wasm)",
    );
    does_not_prepare(
        "",
        &files(),
        "binding `one`: the settings do not fit the policy `scripted`:\n  /answer: missing",
    );
    does_not_prepare(
        r#"settings = { answer = { deny = [["a", "b"], ["c"]] } }"#,
        &files(),
        "binding `one`: the settings do not fit the policy `scripted`:\n  /answer/deny/1: expected \
         an array of 2 items, found 1 items",
    );
    does_not_prepare(
        &format!("{ABSTAIN}\nclaims = [\"team\", \"exp\"]"),
        &files(),
        "binding `one`: `claims` lists `exp`, which only the host sets",
    );
    does_not_prepare(
        &format!("{ABSTAIN}\nlimits = {{ configure-fuel = 100 }}"),
        &files(),
        "binding `one`: p.wasm: could not say what it is: it used more than 100 units of fuel (out-of-fuel)",
    );
    let digest = Digest::of(countersign_test_artifacts::SCRIPTED);
    does_not_prepare(
        &format!("{ABSTAIN}\ndigest = \"{}\"", Digest::of(b"")),
        &files(),
        &format!(
            "binding `one`: p.wasm: the digest is {digest}, but the manifest pins {}",
            Digest::of(b"")
        ),
    );
    prepare_policies(engine(), &manifest(&format!("{ABSTAIN}\ndigest = \"{digest}\"")), &files())
        .unwrap();
}

#[test]
fn a_pin_keeps_other_bytes_from_the_compiler() {
    let foreign = [("p.wasm".to_owned(), b"x".to_vec())].into();
    let (found, pinned) = (Digest::of(b"x"), Digest::of(b""));
    does_not_prepare(
        &format!("{ABSTAIN}\ndigest = \"{pinned}\""),
        &foreign,
        &format!("binding `one`: p.wasm: the digest is {found}, but the manifest pins {pinned}"),
    );
}

#[test]
fn a_settings_file_is_strict_json() {
    let with = |json: &[u8]| {
        let mut files = files();
        files.insert("s.json".to_owned(), json.to_vec());
        prepare_policies(engine(), &manifest("settings-file = \"s.json\""), &files)
            .map(|set| set.digest())
            .map_err(|error| error.to_string())
    };
    assert!(with(br#"{"answer": "abstain"}"#).is_ok());
    for (json, expected) in [
        (&b"{"[..], "line 1, column 1: not JSON: EOF while parsing an object"),
        (b"[]", "expected a JSON object, found an array"),
        (
            br#"{"answer": "abstain", "answer": "abstain"}"#,
            "line 1, column 30: the key `answer` appears twice in one object",
        ),
        (b"{\n  \"\xff\"}", "line 2, column 4: not JSON: invalid UTF-8"),
    ] {
        assert_eq!(with(json).unwrap_err(), format!("binding `one`: s.json: {expected}"));
    }
}

#[test]
fn everything_that_decides_is_in_the_digest() {
    let digest =
        |binding: &str| prepare_policies(engine(), &manifest(binding), &files()).unwrap().digest();
    let same = digest(ABSTAIN);
    assert_eq!(digest(ABSTAIN), same);
    for other in [
        r#"settings = { answer = "count" }"#.to_owned(),
        format!("{ABSTAIN}\nmode = \"shadow\""),
        format!("{ABSTAIN}\nmay-permit = false"),
        format!("{ABSTAIN}\nclaims = [\"team\"]"),
        format!("{ABSTAIN}\nlimits = {{ fuel = 5 }}"),
        format!("{ABSTAIN}\nlimits = {{ wall-clock-ms = 9999 }}"),
    ] {
        assert_ne!(digest(&other), same, "{other}");
    }

    let prepare = |name: &str, scope: &str, component: &[u8]| {
        let text = format!("[[binding]]\nname = \"{name}\"\npolicy = \"p\"\nscope = {scope}");
        let files = [("p".to_owned(), component.to_vec())].into();
        let set = prepare_policies(engine(), &Manifest::parse(&text).unwrap(), &files);
        set.unwrap().digest()
    };
    let (ttl, same_workspace) =
        (countersign_policy_artifacts::TTL_CEILING, countersign_policy_artifacts::SAME_WORKSPACE);
    let same = prepare("one", "\"all\"", ttl);
    assert_ne!(prepare("one", "\"all\"", same_workspace), same, "another component");
    assert_ne!(prepare("two", "\"all\"", ttl), same, "another name");
    assert_ne!(prepare("one", "{ owning-workspace = \"a\" }", ttl), same, "another scope");
    assert_ne!(
        prepare("one", "{ owning-workspace = \"a\" }", ttl),
        prepare("one", "{ definition-workspace = \"a\" }", ttl),
        "another kind of scope"
    );
}

#[test]
fn the_example_prepares() {
    let text = include_str!("../../../examples/countersign.toml");
    let manifest = Manifest::parse(text).unwrap();
    let files = manifest
        .files()
        .map(|path| {
            let name = Path::new(path).file_stem().unwrap();
            let all = countersign_policy_artifacts::POLICIES;
            let (_, bytes) = all.iter().find(|(policy, _)| *policy == name).unwrap();
            (path.to_owned(), bytes.to_vec())
        })
        .collect();
    assert_eq!(prepare_policies(engine(), &manifest, &files).unwrap().bindings().len(), 4);
}
