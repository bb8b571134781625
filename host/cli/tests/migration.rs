//! Ten definitions move from their runner's subject to their own, under load, and no token is refused on the way.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_decision_log::Reader;
use platform::{AWS, ISSUER, MANIFEST, Platform};
use serde_json::{Value, json};
use service::{RUNNER, Served};

const ROLE: &str = "arn:aws:iam::123456789012:role/runs";

/// A run of each definition, and the loop that requests its tokens.
struct Runs {
    url: String,
    sts: String,
    client: reqwest::Client,
    plain: reqwest::Client,
    /// The definition and the run.
    runs: Vec<(String, String)>,
}

impl Runs {
    /// Presents a token of each run to AWS, and returns the subjects.
    async fn all_are_let_in(&self) -> BTreeSet<String> {
        let mut subjects = BTreeSet::new();
        for (definition, run) in &self.runs {
            let form = form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token", &format!("run-token-of-{run}-with-many-bits")),
                ("run", run),
                ("audience", AWS),
                ("ttl_seconds", "900"),
            ]);
            let (status, body) = post(&self.client, &format!("{}/v1/token", self.url), form).await;
            assert_eq!(status, 200, "{definition}: {body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            let token = body["access_token"].as_str().unwrap();
            subjects.insert(subject(token));
            let form = self::form(&[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("RoleArn", ROLE),
                ("RoleSessionName", "s"),
                ("WebIdentityToken", token),
            ]);
            let (status, body) = post(&self.plain, &self.sts, form).await;
            assert_eq!(status, 200, "{definition} {}: {body}", subject(token));
        }
        subjects
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn post(client: &reqwest::Client, url: &str, form: String) -> (u16, String) {
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(form).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn subject(token: &str) -> String {
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
    claims["sub"].as_str().unwrap().to_owned()
}

fn definition(at: usize) -> String {
    format!("{at:08x}-6974-444f-9d33-62134a632373")
}

/// All ten definitions.
fn named() -> String {
    (1..=10).map(|at| format!(" --definition my-workspace/{}", definition(at))).collect()
}

/// Applies the output of `countersign trust aws`, as an operator does with OpenTofu, and writes it to a file.
fn apply(platform: &Platform, more: &str) {
    let role =
        platform.json(&format!("trust aws --policies countersign.toml --format json {more}"));
    fs::write(platform.path("role.json"), role.to_string()).unwrap();
    platform.stand_in.change(|setup| {
        setup.aws_roles.insert(ROLE.to_owned(), role);
    });
}

/// Takes a step, and waits until the service has read it.
fn step(platform: &Platform, line: &str) {
    let seen = platform.served.logged().len();
    let ran = platform.countersign(&format!(
        "subjects {line} --policies countersign.toml --by tester{}",
        named()
    ));
    assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
    platform.served.wait_for("reloaded policies", seen);
}

/// State, profile, and what trust says of the two subjects; the same of all ten.
fn report(platform: &Platform) -> Value {
    let rows = platform.json(
        "subjects report --policies countersign.toml --log state/log --trust role.json --format json",
    );
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 10);
    let of = |row: &Value| {
        json!([
            row["state"],
            row["profile"],
            row["trust"]["aws"]["old"],
            row["trust"]["aws"]["new"]
        ])
    };
    assert!(rows.iter().all(|row| of(row) == of(&rows[0])), "{rows:?}");
    of(&rows[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_definitions_move_and_no_token_is_refused() {
    let manifest =
        MANIFEST.replace("meshstack-id", "subject-profile = \"by-runner\"\nmeshstack-id");
    let limits = "[limits]\nrun-per-second = 1_000_000\nrun-burst = 1_000_000\nrunner-per-second = 1_000_000\n\
                  runner-burst = 1_000_000\n";
    let platform =
        Platform::start(&manifest, "{\"version\": 1, \"migrations\": []}\n", limits).await;
    platform.stand_in.change(|setup| {
        setup.aws_providers = [(ISSUER.to_owned(), vec![AWS.to_owned()])].into();
    });
    let mut runs = Vec::new();
    for at in 1..=10 {
        runs.push((definition(at), platform.register(&definition(at), "team-a").await));
    }
    let runs = Arc::new(Runs {
        url: platform.url(),
        sts: format!("http://{}/", platform.stand_in.http),
        client: platform.client.clone(),
        plain: reqwest::Client::builder().no_proxy().build().unwrap(),
        runs,
    });
    let old: BTreeSet<_> = [format!("system:serviceaccount:demo:{RUNNER}")].into();
    let new: BTreeSet<_> = (1..=10)
        .map(|at| {
            format!(
                "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.{}",
                definition(at)
            )
        })
        .collect();

    // Old: trust has the runner's subject alone, which is every definition's.
    apply(&platform, &format!("--runner {RUNNER}{}", named()));
    assert_eq!(runs.all_are_let_in().await, old);
    assert_eq!(report(&platform), json!([null, "by-runner", "admitted", "not-admitted"]));
    // From here on tokens are requested and presented all the time.
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (runs, stop, rounds) = (Arc::clone(&runs), Arc::clone(&stop), Arc::clone(&rounds));
        async move {
            while !stop.load(Ordering::Relaxed) {
                runs.all_are_let_in().await;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }
    });

    // A cut-over that is too early is an error, and changes nothing.
    let line = |step: &str| format!("subjects {step} --policies countersign.toml{}", named());
    assert_eq!(platform.countersign(&line("cut-over --trust role.json")).status, 1);
    step(&platform, &format!("begin --runner {RUNNER}"));
    let ran = platform.countersign(&line("cut-over --trust role.json"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("the trust of aws does not admit"), "{}", ran.stderr);
    assert_eq!(report(&platform), json!(["begun", "by-runner", "admitted", "not-admitted"]));

    // Both.
    apply(&platform, "");
    assert_eq!(report(&platform), json!(["begun", "by-runner", "admitted", "admitted"]));
    assert_eq!(runs.all_are_let_in().await, old);
    let ran = platform.countersign("trust lint role.json");
    assert!(ran.stdout.contains("old-and-new-subject"), "{}", ran.stdout);

    // New, rolled back once, and new again.
    step(&platform, "cut-over --trust role.json");
    assert_eq!(runs.all_are_let_in().await, new);
    assert_eq!(report(&platform), json!(["cut-over", "by-definition", "admitted", "admitted"]));
    step(&platform, "roll-back --trust role.json");
    assert_eq!(runs.all_are_let_in().await, old);
    step(&platform, "cut-over --trust role.json");
    assert_eq!(runs.all_are_let_in().await, new);

    // Finished, once the last token with the old subject has expired.
    let ran = platform.countersign(&line("finish --log state/log"));
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr.contains("a token with the runner's subject is valid until"),
        "{}",
        ran.stderr
    );
    let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    step(&platform, &format!("finish --log state/log --now {}", later.as_secs()));
    apply(&platform, "");
    assert_eq!(report(&platform), json!(["finished", "by-definition", "not-admitted", "admitted"]));
    assert_eq!(runs.all_are_let_in().await, new);
    assert_eq!(platform.countersign("trust lint role.json").status, 0);
    let ran = platform.countersign(&line("roll-back --trust role.json"));
    assert_eq!(ran.status, 1, "its subject is trusted no more");

    stop.store(true, Ordering::Relaxed);
    load.await.expect("a token was refused on the way");
    assert!(rounds.load(Ordering::Relaxed) >= 5, "{rounds:?}");

    // Each step is recorded, and so is each subject format.
    let moves = fs::read_to_string(platform.path("subject-migrations.json")).unwrap();
    let moves: Value = serde_json::from_str(&moves).unwrap();
    for one in moves["migrations"].as_array().unwrap() {
        let history: Vec<_> =
            one["history"].as_array().unwrap().iter().map(|r| &r["step"]).collect();
        assert_eq!(history, ["begin", "cut-over", "roll-back", "cut-over", "finish"]);
        assert!(one["history"].as_array().unwrap().iter().all(|record| record["by"] == "tester"));
    }
    let mut reader = Reader::new(&platform.path("state/log"), 1);
    let mut forms = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if record["kind"] == "subjects" {
            forms.push(
                record["definitions"][definition(1)].as_str().unwrap_or("not said").to_owned(),
            );
        }
    }
    assert_eq!(forms, ["not said", "by-runner", "by-definition", "by-runner", "by-definition"]);
    assert_eq!(platform.countersign("log verify state/log").status, 0);
}

/// A migration is finished on the evidence of a service's log; a service that was down has left none.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_ends_only_by_a_log_of_a_service_that_took_it() {
    let manifest =
        MANIFEST.replace("meshstack-id", "subject-profile = \"by-runner\"\nmeshstack-id");
    let platform = Platform::start(&manifest, "{\"version\": 1, \"migrations\": []}\n", "").await;
    let line =
        |step: &str| format!("subjects {step} --policies countersign.toml --by tester{}", named());
    step(&platform, &format!("begin --runner {RUNNER}"));
    step(&platform, "cut-over --without-trust");
    let Platform { folder, served, .. } = platform;
    let countersign = |line: &str| support::countersign(folder.path(), line);
    assert_eq!(served.stop(), 0);
    // Seconds are told apart.
    std::thread::sleep(Duration::from_millis(1100));
    for step in ["roll-back --without-trust", "cut-over --without-trust"] {
        assert_eq!(countersign(&line(step)).status, 0);
    }
    let ran = countersign(&line("finish --log state/log"));
    assert_eq!(ran.status, 1);
    let says = "does not say that a service took the cut-over";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);

    assert_eq!(Served::start(folder.path()).stop(), 0);
    let segment = folder.path().join("state/log").join(format!("{:020}.log", 1));
    let whole = fs::read(&segment).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&segment, changed).unwrap();
    let ran = countersign(&line("finish --log state/log"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("proves nothing"), "{}", ran.stderr);
    fs::write(&segment, whole).unwrap();
    let ran = countersign(&line("finish --log state/log"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

/// Ten definitions, and trust that is not known to admit the subject of one of them: each is refused for all ten, and
/// nothing is changed.
#[test]
fn a_cut_over_needs_positive_knowledge_of_each_of_ten() {
    let folder = support::folder();
    let manifest = folder.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let moves = "subject-profile = \"by-runner\"\nsubject-migrations = \"moves.json\"\nmeshstack-id = \"demo\"";
    fs::write(&manifest, text.replacen("meshstack-id = \"demo\"", moves, 1)).unwrap();
    let named = format!("--policies countersign.toml --by tester{}", named());
    let ran = support::countersign(
        folder.path(),
        &format!("subjects begin --create {named} --runner {RUNNER}"),
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let before = fs::read_to_string(folder.path().join("moves.json")).unwrap();
    let old = format!("system:serviceaccount:demo:{RUNNER}");
    let own = |at: usize| {
        format!(
            "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.{}",
            definition(at)
        )
    };
    let (nine, last): (Vec<_>, _) = ((1..=9).map(own).collect(), own(10));
    let subjects = |quote: &str, with_last: bool| {
        let each = [&old].into_iter().chain(&nine).chain(with_last.then_some(&last));
        each.map(|subject| format!("{quote}{subject}{quote}")).collect::<Vec<_>>().join(", ")
    };
    let document = |effect: &str, provider: &str, with_last: bool| {
        format!(
            "data \"aws_iam_policy_document\" \"d\" {{\n statement {{\n  effect = {effect}\n  actions = \
             [\"sts:AssumeRoleWithWebIdentity\"]\n  principals {{\n   type = \"Federated\"\n   identifiers = [{provider}]\n  \
             }}\n  condition {{\n   test = \"StringEquals\"\n   variable = \"${{var.host}}:sub\"\n   values = [{}]\n  }}\n \
             }}\n}}\n",
            subjects("\"", with_last)
        )
        .replace("${var.host}", if provider.starts_with("var") { "${var.host}" } else { "oidc.example.com" })
    };
    let arn = "\"arn:aws:iam::1:oidc-provider/oidc.example.com\"";
    let role = "resource \"aws_iam_role\" \"r\" {\n assume_role_policy = data.aws_iam_policy_document.d.json\n}\n";
    let allowed = document("\"Allow\"", arn, true);
    let pools = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools";
    let provider = format!(
        "resource \"google_iam_workload_identity_pool_provider\" \"a\" {{\n workload_identity_pool_id = \"a\"\n \
         attribute_mapping = {{ \"google.subject\" = \"assertion.sub\" }}\n attribute_condition = \"assertion.sub in [{}]\"\n \
         oidc {{\n  issuer_uri = \"https://oidc.example.com\"\n  allowed_audiences = \
         [\"gcp-workload-identity-provider:demo\"]\n }}\n}}\n",
        subjects("'", true)
    );
    let binding = |name: usize, pool: &str, subject: &str, more: &str| {
        format!(
            "resource \"google_service_account_iam_member\" \"b{name}\" {{\n service_account_id = \"x\"\n role = \
             \"roles/iam.workloadIdentityUser\"\n member = \"principal:{pools}/{pool}/subject/{subject}\"\n {more}\n}}\n"
        )
    };
    let expired = "condition {\n  title = \"t\"\n  expression = \"request.time < timestamp('2020-01-01T00:00:00Z')\"\n }";
    let bound: String = [&old]
        .into_iter()
        .chain(&nine)
        .enumerate()
        .map(|(at, of)| binding(at, "a", of, ""))
        .collect();
    let of_gcp = |more: &str| format!("{provider}{bound}{more}");
    let elsewhere = binding(10, "a", &last, "")
        .replace("google_service_account_iam", "google_storage_bucket_iam")
        .replace("service_account_id", "bucket");
    let off = "resource \"google_iam_workload_identity_pool\" \"a\" {\n workload_identity_pool_id = \"a\"\n disabled = VALUE\n}\n";
    let whole = of_gcp(&binding(10, "a", &last, ""));
    let cut_over = |trust: &str, more: &[(&str, &str)]| {
        let given = folder.path().join("given");
        let _ = fs::remove_dir_all(&given);
        fs::create_dir(&given).unwrap();
        for (name, text) in [("a.tf", trust)].iter().chain(more) {
            fs::write(given.join(name), text).unwrap();
        }
        support::countersign(folder.path(), &format!("subjects cut-over {named} --trust given"))
    };
    let refused = |trust: &str, more: &[(&str, &str)], says: &str| {
        let ran = cut_over(trust, more);
        assert_eq!(ran.status, 1, "{trust}");
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
        let after = fs::read_to_string(folder.path().join("moves.json")).unwrap();
        assert_eq!(after, before, "{trust}");
    };
    for (trust, says) in [
        (document("var.effect", arn, true) + role, "the effect `${var.effect}`"),
        (document("\"Allow\"", arn, false) + role, last.as_str()),
        (allowed.clone(), "no role in the files has this document"),
        (document("\"Allow\"", "var.provider", true) + role, "the issuer is not known"),
        (format!("{allowed}{role}module \"m\" {{\n source = \"x/y\"\n}}\n"), "what the module `m`"),
        (
            allowed.clone() + &role.replace("}\n", " lifecycle {\n  enabled = var.on\n }\n}\n"),
            "how often the role that has this document is repeated",
        ),
        (
            allowed.clone() + &role.replace("}\n", " lifecycle {\n  enabled = false\n }\n}\n"),
            "no role in the files",
        ),
        ("resource {".to_owned(), "nothing was changed"),
        (provider.clone(), "no binding of pool `a` is in the files"),
        (of_gcp(""), "pool `a` has no binding that is known to have the subject"),
        (of_gcp(&binding(10, "b", &last, "")), "the binding that has it is of pool `b`"),
        (of_gcp(&binding(10, "a", &last, expired)), "the binding's condition"),
        (of_gcp(&elsewhere), &format!("admits `{old}`, but not `{last}`")),
        (whole.clone() + &off.replace("VALUE", "true"), "admit nobody"),
        (whole.clone() + &off.replace("VALUE", "var.off"), "may not admit"),
    ] {
        refused(&trust, &[], says);
    }
    let replaced = [("a_override.tf", role)];
    refused(&format!("{allowed}{role}"), &replaced, "an override, which replaces parts");
    let more = ["b.tf.json", "terragrunt.hcl", "c.bicep"]
        .map(|name| (name, "param federatedIdentityCredentials"));
    for (name, text) in more {
        refused(&whole, &[(name, text)], name);
    }
    let ran = cut_over(&(whole + &off.replace("VALUE", "false")), &[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.matches(": cut-over\n").count(), 10, "{}", ran.stdout);
}

/// A definition that had no token for long is cut over without trust; one that had some is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_used_moves_by_itself() {
    let manifest =
        MANIFEST.replace("meshstack-id", "subject-profile = \"by-runner\"\nmeshstack-id");
    let platform = Platform::start(&manifest, "{\"version\": 1, \"migrations\": []}\n", "").await;
    let run = platform.register(&definition(1), "team-a").await;
    step(&platform, &format!("begin --runner {RUNNER}"));
    let form = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", &format!("run-token-of-{run}-with-many-bits")),
        ("run", &run),
        ("audience", AWS),
        ("ttl_seconds", "900"),
    ]);
    let (status, body) =
        post(&platform.client, &format!("{}/v1/token", platform.url()), form).await;
    assert_eq!(status, 200, "{body}");
    let Platform { folder, served, .. } = platform;
    assert_eq!(served.stop(), 0);
    let countersign = |line: &str| {
        let of = "--policies countersign.toml --log state/log --by tester";
        support::countersign(folder.path(), &format!("subjects cut-over {of} {line}"))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = fs::read_to_string(folder.path().join("subject-migrations.json")).unwrap();
    let unchanged = || {
        assert_eq!(
            fs::read_to_string(folder.path().join("subject-migrations.json")).unwrap(),
            before
        );
    };
    // The log does not reach back so far.
    let ran = countersign("--unused-for 30d");
    assert!(ran.status == 1 && ran.stderr.contains("does not reach back"), "{}", ran.stderr);
    // In an hour, none had a token for five seconds.
    let ran = countersign(&format!("--unused-for 5s --dry-run --now {}", now + 3600));
    assert_eq!((ran.status, ran.stdout.lines().count()), (0, 10), "{}", ran.stderr);
    unchanged();
    // The log begins before the token of the one definition, which had it within that time; the others had none.
    let first = first_record(&folder.path().join("state/log"));
    let ran = countersign(&format!(
        "--unused-for {}s --dry-run --now {}",
        now + 3600 - first,
        now + 3600
    ));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 9, "{}", ran.stdout);
    assert!(!ran.stdout.contains(&definition(1)), "{}", ran.stdout);
    unchanged();
    // One whose migration has not begun begins it first.
    let of = format!(
        "--policies countersign.toml --by tester --definition my-workspace/{}",
        definition(1)
    );
    let ran = support::countersign(folder.path(), &format!("subjects abandon {of}"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let ran = countersign(&format!("--unused-for 1s --definition my-workspace/{}", definition(1)));
    assert_eq!(ran.status, 1);
    let ran = countersign(&format!("--unused-for 5s --now {}", now + 3600));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let moves = fs::read_to_string(folder.path().join("subject-migrations.json")).unwrap();
    let moves: Value = serde_json::from_str(&moves).unwrap();
    for one in moves["migrations"].as_array().unwrap() {
        let last = one["history"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["step"], &one["state"]), (&"cut-over".into(), &"cut-over".into()));
        let evidence = last["evidence"].as_str().unwrap();
        assert!(evidence.contains("no token since"), "{evidence}");
    }
    // One whose format the manifest says is not moved, and that is said.
    let file = |name: &str| folder.path().join(name);
    fs::write(file("subject-migrations.json"), "{\"version\": 1, \"migrations\": []}").unwrap();
    let profiles =
        format!("subject-profiles = {{ {} = \"by-runner\" }}\nmeshstack-id", definition(1));
    fs::write(file("countersign.toml"), manifest.replacen("meshstack-id", &profiles, 1)).unwrap();
    let ran = countersign(&format!("--unused-for 5s --now {}", now + 3600));
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("stays: it is under `subject-profiles`"), "{}", ran.stderr);
}

/// The time of the first record of a log.
fn first_record(log: &std::path::Path) -> u64 {
    let entry = Reader::new(log, 1).read().unwrap().unwrap();
    let record: Value = serde_json::from_slice(&entry.record).unwrap();
    record["time"].as_u64().unwrap()
}
