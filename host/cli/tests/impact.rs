//! `countersign impact`: a changed policy set is known by what it would have decided, before it decides.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/decided.rs"]
mod decided;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeSet;
use std::fs;

use decided::{DATABASE, decided, ids_where, manifest, requests, run_of};
use roxmltree::Document;
use serde_json::{Value, json};
use service::AWS;
use support::Ran;

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Writes the manifest with changes, and returns the impact of it on the log as JSON.
#[track_caller]
fn impact(name: &str, changes: &[(&str, &str)], options: &str) -> (i32, Value) {
    let mut changed = manifest();
    for (from, to) in changes {
        assert!(changed.contains(from), "{from}");
        changed = changed.replace(from, to);
    }
    let decided = decided();
    decided.write(name, &changed);
    let line = format!("impact state/log --candidate {name} --format json {options}");
    let ran = decided.countersign(&line);
    assert!(!ran.stdout.is_empty(), "{ran:?}");
    (ran.status, json_of(&ran))
}

/// The runs of the changes of a class.
fn runs(report: &Value, class: &str) -> BTreeSet<String> {
    let changes = report["changes"].as_array().unwrap().iter();
    let of = changes.filter(|change| change["class"] == class);
    of.map(|change| change["run"].as_str().unwrap().to_owned()).collect()
}

fn decisions() -> u64 {
    requests().count() as u64 + 1
}

#[test]
fn the_same_policies_change_nothing_and_evaluate_nothing() {
    let (status, report) = impact("same.toml", &[], "--sample none");
    assert_eq!(status, 0, "{report}");
    assert_eq!(report["classes"]["same"], decisions());
    assert_eq!((&report["verdicts_evaluated"], &report["changes"]), (&json!(0), &json!([])));
    // A new name, a scope or a mode is none of what a verdict follows from.
    let renamed = [("name = \"consumers\"", "name = \"renamed\"")];
    let (status, report) = impact("renamed.toml", &renamed, "--sample none");
    assert_eq!((status, &report["verdicts_evaluated"]), (0, &json!(0)));
    let reasons = ids_where(|owner, _, _| owner == "team-c");
    assert_eq!(runs(&report, "reasons"), reasons, "reasons name the binding");
    let (status, report) = impact("same.toml", &[], "--sample 1");
    assert_eq!((status, &report["sample"]["decisions"]), (0, &json!(decisions())));
    assert_eq!(
        (&report["sample"]["differ"], &report["sample"]["usage_differs"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn a_list_that_loses_a_workspace_loses_exactly_its_runs() {
    let change = [("[\"team-a\", \"team-b\"]", "[\"team-a\"]")];
    let (status, report) = impact("lost.toml", &change, "--fail-on lost,gained");
    assert_eq!(status, 2, "{report}");
    let lost = ids_where(|owner, _, _| owner == "team-b");
    assert_eq!(runs(&report, "lost"), lost);
    assert_eq!(report["classes"]["lost"], lost.len());
    assert_eq!((&report["classes"]["gained"], &report["classes"]["wider"]), (&json!(0), &json!(0)));
    assert_eq!(report["failed_on"], json!(["lost"]));
    let cause = json!({"class": "lost", "binding": "consumers", "code": "foreign-workspace", "decisions": 4});
    assert_eq!(report["causes"][0], cause);
    assert_eq!(report["workspaces"][0]["owning_workspace"], "team-b");
    let change = &report["changes"][0];
    assert_eq!(change["before"]["approved"]["audiences"], json!([AWS]));
    assert_eq!(change["after"]["refused"]["reasons"][0]["code"], "foreign-workspace");
    // The smallest changes that would let it in again.
    let explained =
        report["changes"].as_array().unwrap().iter().find(|c| !c["explanation"].is_null());
    let explanation = &explained.unwrap()["explanation"];
    let counterfactuals = explanation["counterfactuals"].as_array().unwrap();
    let owner =
        |to: &str| json!([{"claim": "run.building-block.workspace", "from": "team-b", "to": to}]);
    assert!(counterfactuals.contains(&owner("team-a")), "{explanation}");
    // The same change the other way round.
    let (status, report) =
        impact("gained.toml", &[("\"team-b\"]", "\"team-b\", \"team-c\"]")], "--fail-on gained");
    assert_eq!((status, runs(&report, "gained")), (2, ids_where(|owner, _, _| owner == "team-c")));
}

#[test]
fn a_ttl_that_grows_is_wider_exactly_where_it_was_the_bound() {
    let change = [("detect = 900", "detect = 1200")];
    let (status, report) = impact("wider.toml", &change, "--fail-on wider");
    assert_eq!(status, 2);
    let wider = ids_where(|owner, _, behavior| behavior == "DETECT" && owner != "team-c");
    assert_eq!(runs(&report, "wider"), wider);
    assert_eq!(report["causes"][0]["code"], "ttl");
    assert_eq!(report["causes"][0]["binding"], "shorter-dry-runs");
    // Only the binding that changed was evaluated, and it was evaluated for each decision.
    let sampled = report["sample"]["decisions"].as_u64().unwrap();
    assert!(sampled <= decisions());
    assert_eq!(report["verdicts_evaluated"], decisions());
    assert_eq!(report["verdicts_reused"], 2 * decisions());
    let (status, report) =
        impact("narrower.toml", &[("detect = 900", "detect = 600")], "--fail-on wider");
    assert_eq!((status, runs(&report, "narrower")), (0, wider));
}

#[test]
fn a_policy_that_faults_for_one_definition_is_found_there_and_only_there() {
    let decided = decided();
    fs::write(decided.path().join("scripted.wasm"), countersign_test_artifacts::SCRIPTED).unwrap();
    let faulty = |mode: &str| {
        let binding = format!(
            "\n[[binding]]\nname = \"faulty\"\npolicy = \"scripted.wasm\"\nmode = \"{mode}\"\n\
             scope = {{ definition = \"{DATABASE}\" }}\nsettings = {{ answer = {{ panic = \"boom\" }} }}\n"
        );
        manifest() + &binding
    };
    let database = ids_where(|_, definition, _| definition == DATABASE);
    decided.write("faulty.toml", &faulty("enforce"));
    let line = "impact state/log --candidate faulty.toml --format json --fail-on fault";
    let ran = decided.countersign(line);
    assert_eq!(ran.status, 2, "{ran:?}");
    let report = json_of(&ran);
    assert_eq!(report["faults"], database.len());
    let faults: BTreeSet<String> = report["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["faults"] == true)
        .map(|change| change["run"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(faults, database);
    let lost = ids_where(|owner, definition, _| definition == DATABASE && owner != "team-c");
    assert_eq!(runs(&report, "lost"), lost);
    assert_eq!(report["definitions"][0]["definition"], DATABASE);
    assert_eq!(report["definitions"].as_array().unwrap().len(), 1);
    // In shadow it changes nothing but is found all the same.
    decided.write("faulty.toml", &faulty("shadow"));
    let ran = decided.countersign(line);
    let report = json_of(&ran);
    assert_eq!((ran.status, &report["faults"]), (2, &json!(database.len())));
    assert_eq!(
        (&report["classes"]["lost"], &report["classes"]["verdicts"]),
        (&json!(0), &json!(database.len()))
    );
}

#[test]
fn shadow_bindings_are_listed_on_request() {
    let change = [(
        "mode = \"shadow\"\nsettings = { behaviors = { destroy = [\"user\"] } }",
        "mode = \"shadow\"\nsettings = { behaviors = { apply = [\"user\"], destroy = [\"user\"] } }",
    )];
    let (status, report) = impact("shadow.toml", &change, "");
    assert_eq!((status, &report["changes"]), (0, &json!([])));
    let (_, report) = impact("shadow.toml", &change, "--verdicts");
    let listed = report["changes"].as_array().unwrap().len() as u64;
    assert_eq!(report["classes"]["verdicts"], listed);
}

#[test]
fn the_decisions_can_be_chosen() {
    let change = [("[\"team-a\", \"team-b\"]", "[\"team-x\"]")];
    let of = |options: &str| impact("chosen.toml", &change, options).1;
    let report = of("--workspace team-a");
    assert_eq!(runs(&report, "lost"), ids_where(|owner, _, _| owner == "team-a"));
    assert_eq!(report["compared"], 4);
    let report = of(&format!("--definition {DATABASE}"));
    assert_eq!(report["compared"], 8);
    assert_eq!(report["left_out"], decisions() - 8);
    let (status, report) = impact("chosen.toml", &change, "--until 1000");
    assert_eq!((status, &report["compared"]), (1, &json!(0)));
}

#[test]
fn the_forms_of_the_report_agree() {
    let decided = decided();
    let changed = manifest().replace("[\"team-a\", \"team-b\"]", "[\"team-a\"]");
    decided.write("forms.toml", &changed);
    let line = "impact state/log --candidate forms.toml --fail-on lost,gained";
    let human = decided.countersign(line);
    assert_eq!((human.status, human.stderr.as_str()), (2, ""), "{human:?}");
    for text in [
        "approved → refused",
        "consumers: foreign-workspace",
        "fails on lost",
        "it would be approved if",
    ] {
        assert!(human.stdout.contains(text), "{text}: {}", human.stdout);
    }
    let json = json_of(&decided.countersign(&format!("{line} --format json")));
    let digest = json["evidence"]["digest"].as_str().unwrap();
    assert!(human.stdout.contains(digest), "{}", human.stdout);
    let ndjson = decided.countersign(&format!(
        "{line} --format ndjson --report forms.html --report forms.xml --report forms.md"
    ));
    let lines: Vec<Value> =
        ndjson.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[..4].iter().all(|line| line["change"]["class"] == "lost"));
    assert_eq!(lines[4]["summary"]["evidence"]["digest"], digest);
    let xml = fs::read_to_string(decided.path().join("forms.xml")).unwrap();
    let document = Document::parse(&xml).unwrap();
    let failures = document.descendants().filter(|node| node.has_tag_name("failure")).count();
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase")).count();
    assert_eq!((failures, cases), (1, 3), "{xml}");
    let page = fs::read_to_string(decided.path().join("forms.html")).unwrap();
    assert!(page.contains("Fails on lost") && page.contains(digest), "{page}");
    assert_eq!(page.matches("<details>").count(), 4);
    let comment = fs::read_to_string(decided.path().join("forms.md")).unwrap();
    assert!(comment.contains("**fails on lost**"), "{comment}");
    assert!(comment.contains(human.stdout.trim_end()), "{comment}");
}

/// A text that a policy gives is in a block of code that ends behind it, so it is no Markdown.
#[test]
fn a_comment_is_one_block_whatever_a_policy_says() {
    let decided = decided();
    fs::write(decided.path().join("scripted.wasm"), countersign_test_artifacts::SCRIPTED).unwrap();
    let markup = "```` @everybody [here](https://example.com)";
    let binding = format!(
        "\n[[binding]]\nname = \"hostile\"\npolicy = \"scripted.wasm\"\nscope = \"all\"\nclaims = [\"team\"]\n\
         settings = {{ answer = {{ permit = {{ claims = [[\"team\", '{markup}']] }} }} }}\n"
    );
    decided.write("mention.toml", &(manifest() + &binding));
    let ran = decided.countersign("impact state/log --candidate mention.toml --format markdown");
    assert_eq!(ran.status, 0, "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    let fences = (0..lines.len()).filter(|line| lines[*line].starts_with("`````"));
    let [first, last] = fences.collect::<Vec<_>>()[..] else { panic!("{ran:?}") };
    let hostile = (0..lines.len()).filter(|line| lines[*line].contains("@everybody"));
    let hostile: Vec<_> = hostile.collect();
    assert!(!hostile.is_empty() && hostile.iter().all(|line| (first..last).contains(line)));
}

/// The digest is of everything else in the evidence, so that whoever has that can check it.
#[test]
fn the_evidence_is_the_same_each_time_and_its_digest_can_be_checked() {
    let change = [("detect = 900", "detect = 1200")];
    let evidence = |options: &str| impact("evidence.toml", &change, options).1["evidence"].take();
    let mut first = evidence("");
    assert_eq!(first, evidence(""));
    let digest = first.as_object_mut().unwrap().remove("digest").unwrap();
    assert_ne!(digest, evidence("--workspace team-a")["digest"]);
    assert_eq!(first["source"]["log"]["covered"], first["source"]["log"]["last"]);
    assert_eq!(first["classes"]["wider"], 6);
    assert_eq!(first["damaged"], false);
}

/// Everything that a policy says is escaped in the page, which has no script and names no other file.
#[test]
fn the_page_stands_alone_whatever_a_policy_says() {
    let decided = decided();
    fs::write(decided.path().join("scripted.wasm"), countersign_test_artifacts::SCRIPTED).unwrap();
    let markup = "</td><script>alert(1)</script><img src=x onerror=alert(1)>";
    let binding = format!(
        "\n[[binding]]\nname = \"hostile\"\npolicy = \"scripted.wasm\"\nscope = \"all\"\nclaims = [\"team\"]\n\
         settings = {{ answer = {{ permit = {{ claims = [[\"team\", '{markup}']] }} }} }}\n"
    );
    decided.write("hostile.toml", &(manifest() + &binding));
    let ran = decided.countersign("impact state/log --candidate hostile.toml --format html");
    assert_eq!(ran.status, 0, "{ran:?}");
    let page = &ran.stdout;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    for text in ["<script", "<img", "<link", "<iframe", "src=\"", "href=", "url("] {
        assert!(!page.contains(text), "{text}: {page}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn damage_is_named_and_everything_before_it_counts() {
    let decided = decided();
    let log = decided.copy("damaged-impact");
    let segment = decided.path().join(&log).join("00000000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    decided.write("damage.toml", &manifest().replace("detect = 900", "detect = 1200"));
    let line = format!("impact {log} --candidate damage.toml --fail-on wider");
    let ran = decided.countersign(&format!("{line} --format json"));
    assert_eq!(ran.status, 1, "{ran:?}");
    let report = json_of(&ran);
    let compared = report["compared"].as_u64().unwrap();
    assert!((3..decisions()).contains(&compared), "{compared}");
    assert!(report["damage"].as_str().unwrap().contains("are intact and counted"), "{report}");
    assert_eq!(report["evidence"]["damaged"], true);
    assert!(ran.stderr.contains("the log is damaged"), "{}", ran.stderr);
    let human = decided.countersign(&line);
    assert!(human.stdout.contains("not proven: the log is damaged"), "{}", human.stdout);
}

#[test]
fn a_candidate_that_does_not_load_is_refused_before_anything_is_read() {
    let decided = decided();
    for (manifest, says) in [
        ("nonsense".to_owned(), "broken.toml"),
        (manifest().replace("also-max-ttl = 1800", "also-max-ttl = \"long\""), "consumers"),
        (manifest().replace("same-workspace.wasm", "missing.wasm"), "missing.wasm"),
    ] {
        decided.write("broken.toml", &manifest);
        let ran = decided.countersign("impact state/log --candidate broken.toml");
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    for (line, says) in [
        ("impact --candidate countersign.toml", "required"),
        ("impact state/log --candidate countersign.toml --runs x", "cannot be used with"),
        ("impact --runs x --candidate countersign.toml", "required"),
        ("impact state/log --candidate countersign.toml --now 5", "a log has the claims"),
        ("impact state/log --candidate countersign.toml --ttl 5", "cannot be used with"),
        ("impact state/log --candidate countersign.toml --report x.pdf", "`.html`"),
        ("impact state/log --candidate countersign.toml --fail-on lots", "possible values"),
        ("impact state/log --candidate countersign.toml --sample 0", "a number from 1 on"),
    ] {
        let ran = decided.countersign(line);
        assert_eq!(ran.status, 1, "{line}: {ran:?}");
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
}

#[test]
fn two_manifests_are_compared_on_a_folder_of_runs() {
    let decided = decided();
    let folder = decided.path().join("runs");
    fs::create_dir_all(&folder).unwrap();
    for (number, (owner, definition, behavior)) in requests().enumerate() {
        let run = run_of(number, owner, definition, behavior).to_string();
        fs::write(folder.join(format!("{number:02}.json")), run).unwrap();
    }
    fs::write(folder.join("README.md"), "no run").unwrap();
    decided.write("new.toml", &manifest().replace("[\"team-a\", \"team-b\"]", "[\"team-a\"]"));
    let line = format!(
        "impact --runs runs --current countersign.toml --candidate new.toml --audience {AWS} --ttl 3600 \
         --now 1790000000 --fail-on gained --format json"
    );
    let ran = decided.countersign(&line);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = json_of(&ran);
    assert_eq!(runs(&report, "lost"), ids_where(|owner, _, _| owner == "team-b"));
    assert_eq!(report["changes"][0]["name"], "runs/08.json");
    let digest = report["evidence"]["digest"].clone();
    assert_eq!(json_of(&decided.countersign(&line))["evidence"]["digest"], digest);
    // One that is none is named, and the others are compared.
    fs::write(folder.join("05.json"), "{}").unwrap();
    let ran = decided.countersign(&line);
    assert_eq!(ran.status, 1);
    let report = json_of(&ran);
    assert_eq!(
        (&report["compared"], &report["not_replayable"]),
        (&json!(15), &json!({"unreadable": 1}))
    );
    assert_eq!(report["unreplayed"][0]["name"], "runs/05.json");
    fs::remove_file(folder.join("05.json")).unwrap();
    assert_eq!(decided.countersign(&line).status, 0);
}

#[test]
fn runs_are_made_up_where_there_are_none() {
    let decided = decided();
    decided
        .write("new-rules.toml", &manifest().replace("[\"team-a\", \"team-b\"]", "[\"team-a\"]"));
    fs::write(
        decided.path().join("cases.toml"),
        "[[case]]\nname = \"a night in winter\"\ntoken = { now = 1_800_000_000 }\nexpect = \"abstain\"\n",
    )
    .unwrap();
    let line = "impact --generate 1500 --current countersign.toml --candidate new-rules.toml --now 1790000000 \
                --cases cases.toml --format json";
    let ran = decided.countersign(line);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report = json_of(&ran);
    assert_eq!((&report["source"], &report["compared"]), (&json!("generated"), &json!(1500)));
    assert!(report["classes"]["lost"].as_u64().unwrap() > 0, "{report}");
    let changes = report["changes"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["owning_workspace"] == "team-b"), "{report}");
    let coverage = &report["coverage"];
    assert_eq!((&coverage["generated"], &coverage["never_applied"]), (&json!(1500), &json!([])));
    assert!(coverage["literals"]["workspaces"][0].as_u64().unwrap() >= 3, "{coverage}");
    let words = coverage["claims"].as_array().unwrap().iter();
    assert!(words.clone().all(|claim| claim["missing"].is_null()), "every word: {coverage}");
    // The same seed makes the same runs, and another one others.
    let digest = report["evidence"]["digest"].clone();
    assert_eq!(json_of(&decided.countersign(line))["evidence"]["digest"], digest);
    let other = json_of(&decided.countersign(&format!("{line} --seed 7")));
    assert_ne!(other["evidence"]["digest"], digest);
}
