use countersign_policy::{Grant, parse_settings};

use super::*;

#[track_caller]
fn check(rules: &str, expected: Result<Verdict, &str>) {
    let policy = Value::from(format!("package countersign\n{rules}"));
    let settings = format!("{{\"policy\": {policy}}}");
    let prepared = prepare(parse_settings(&settings).expect("settings")).expect("a policy");
    let found = decide(&prepared, &sample::run(), &sample::token());
    assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
}

#[test]
fn a_policy_gives_a_permit_or_a_restriction() {
    let grant = || Grant { max_ttl: Some(900), ..Grant::new() };
    let denial = "deny contains {\"code\": \"a\", \"message\": \"b\"}";
    let both = "`permit` and `restrict` both have a value; expected one";
    check("permit := {\"max_ttl\": 900}", Ok(Verdict::Permit(grant())));
    check("restrict := {\"max_ttl\": 900}", Ok(Verdict::Restrict(grant())));
    check("restrict := true", Ok(Verdict::Restrict(Grant::new())));
    check("permit := false\nrestrict := {\"max_ttl\": 900}", Ok(Verdict::Restrict(grant())));
    check("permit := {\"max_ttl\": 900}\nrestrict := false", Ok(Verdict::Permit(grant())));
    check("restrict if false", Ok(Verdict::Abstain));
    check(&format!("restrict := true\n{denial}"), Ok(Verdict::deny("a", "b")));
    check("permit := true\nrestrict := true", Err(both));
    check(&format!("permit := true\nrestrict := true\n{denial}"), Err(both));
    check("restrict := 7", Err("restrict: expected true or an object, found 7"));
}

/// The answer to a policy: its errors, or where it has none, its warnings.
fn said(policy: &str, files: &BTreeMap<String, String>, data: Option<&str>) -> Vec<String> {
    let asked = |ask: Option<Question>| Settings {
        policy: policy.to_owned(),
        data: data.map(|data| Data(Value::from_json_str(data).expect("data"))),
        files: files.clone(),
        ask,
        measure: None,
    };
    let line =
        |kind: &str, problem: Problem| format!("{kind} {}: {}", problem.pointer, problem.message);
    match prepare(asked(None)) {
        Err(problems) => problems.into_iter().map(|problem| line("error", problem)).collect(),
        Ok(_) => {
            let ask = Question { warnings: Some(0), tests: None, rules: None };
            let warnings = prepare(asked(Some(ask))).err().unwrap_or_default();
            let warnings = warnings.into_iter().filter(|problem| problem.pointer != "/ask");
            warnings.map(|problem| line("warning", problem)).collect()
        }
    }
}

#[test]
fn each_mistake_is_found_with_its_place() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mistakes.txt");
    let text = std::fs::read_to_string(path).expect("the table");
    let (head, cases) = text.split_once("\n=== ").expect("a case");
    let (mut written, mut count) = (head.to_owned(), 0);
    for case in cases.split("\n=== ") {
        let mut parts = case.split("\n--- ");
        let name = parts.next().expect("a name");
        let (mut files, mut data, mut rules) = (BTreeMap::new(), None, "");
        written.push_str(&format!("\n=== {name}"));
        for part in parts {
            let (title, body) = part.split_once('\n').unwrap_or((part, ""));
            match title {
                "policy" => rules = body,
                "data" => data = Some(body),
                "said" => continue,
                file => {
                    let path = file.strip_prefix("file ").expect("a file");
                    files.insert(path.to_owned(), format!("{body}\n"));
                }
            }
            written.push_str(&format!("\n--- {part}"));
        }
        let policy = format!("package countersign\n\n{rules}\n");
        let said = said(&policy, &files, data);
        assert!(!said.is_empty(), "{name}: nothing is said");
        let has_place = said.iter().all(|line| {
            line.contains(".rego:")
                || line.contains("/files/")
                || line.contains(" /policy: expected ")
        });
        assert!(has_place, "{name}: {said:?}");
        written.push_str(&format!("\n--- said\n{}\n", said.join("\n")));
        count += 1;
    }
    assert!(count >= 100, "{count}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, written).expect("written");
    } else {
        assert_eq!(text, written, "another answer; see what `UPDATE=1` changes");
    }
}

#[test]
fn valid_policies_stay_valid() {
    for (rules, data) in [
        (
            include_str!("../../../../cookbook/a-forgotten-claim/policy.rego"),
            r#"{"may_check": []}"#,
        ),
        (
            include_str!("../../../../cookbook/audiences-of-a-definition/policy.rego"),
            r#"{"audiences": {}}"#,
        ),
        (
            include_str!("../../../../cookbook/consumers-and-dry-runs/policy.rego"),
            r#"{"consumers": {}}"#,
        ),
        (include_str!("../../../../cookbook/cost-centre/policy.rego"), r#"{"cost_centres": {}}"#),
        (include_str!("../../../../cookbook/destroyed-by-people/policy.rego"), "{}"),
        (include_str!("../../../../host/cli/templates/rego/policy.rego"), r#"{"also": []}"#),
        (
            include_str!("../../../../host/authoring/tests/engines/rules.rego"),
            r#"{"also": {}, "also_max_ttl": 1, "ceilings": {}, "triggers": {}}"#,
        ),
        (
            include_str!("../tests/valid.rego"),
            r#"{"list": ["a"], "map": {"a": ["b"]}, "patterns": ["^a$"]}"#,
        ),
    ] {
        let said = said(rules, &BTreeMap::new(), Some(data));
        assert!(said.is_empty(), "{rules}\n{said:#?}");
    }
}

/// The value of an expression, as JSON, or the error of the engine.
fn value(expression: &str) -> Result<String, String> {
    let policy = format!("package countersign\n\npermit if value\n\nvalue := {expression}\n");
    let sources = sources::read(policy, &BTreeMap::new()).expect("a text");
    let modules = sources::parse(&sources).map_err(|problems| format!("{problems:?}"))?;
    let heads = Heads::of(&modules).expect("heads");
    let findings = check::check(&modules, &Value::new_object(), PACKAGE);
    let findings: Vec<_> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(findings.is_empty(), "{expression}: {findings:?}");
    let rewritten = unchanged(&sources);
    let mut engine = engine(&sources, &rewritten, Value::new_object(), heads).expect("an engine");
    let value = engine.eval_rule("data.countersign.value".to_owned());
    value
        .map(|value| builtins::written(&value))
        .map_err(|error| one_line(&error.to_string(), &sources))
}

/// A line of the table is an expression and its value, or what its error contains.
#[test]
fn functions_are_those_of_opa() {
    let table = include_str!("../tests/functions.txt");
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (expression, expected) = line.split_once(" ⇒ ").expect(line);
        let is_right = match (value(expression), expected.strip_prefix("error: ")) {
            (Ok(value), None) => value == expected,
            (Err(error), Some(part)) => error.contains(part),
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{expression}\n  expected {expected}\n  found    {:?}",
                value(expression)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules that look for a member, and what they are written as for the interpreter.
#[test]
fn loops_for_a_member_become_calls() {
    let data: Vec<Value> = (0..20).map(|number| Value::from(format!("team-{number}"))).collect();
    let data = Value::from(BTreeMap::from([(Value::from("list"), Value::from(data))]));
    for (rule, expected) in [
        (
            "permit if {\n\tsome p in data.list\n\tglob.match(p, [\"-\"], input.run.id)\n}",
            "permit if {\n\t                   \n\t__any_glob_0(data.list, [\"-\"], input.run.id)\n}",
        ),
        (
            "permit if { some p in data.list; p == input.run.id }",
            "permit if {                      __any_equal(data.list, input.run.id) }",
        ),
        (
            "permit if startswith(input.run.id, data.list[_])",
            "permit if __any_startswith_1(input.run.id, data.list)",
        ),
        ("permit if input.run.id in data.list", "permit if __in_0(input.run.id)"),
        ("permit if not input.run.id in data.list", "permit if not __in_0(input.run.id)"),
        (
            "permit if data.list[_] == input.run.id",
            "permit if __any_equal(data.list, input.run.id)",
        ),
        (
            "permit if { some p in data.list; \"x\" == p }",
            "permit if {                      __any_equal(data.list, \"x\") }",
        ),
        ("permit if data.a[\"b\"][_] == \"x\"", "permit if __any_equal(data.a[\"b\"], \"x\")"),
        ("permit if \"x\" in data.list", "permit if __in_0(\"x\")"),
        ("permit if (\"x\") in data.list", ""),
        ("permit if (data.list[_]) == \"x\"", ""),
        // The member is read again, or several could be: these stay.
        ("permit if {\n\tsome p in data.list\n\tstartswith(p, \"a\")\n\tp != \"b\"\n}", ""),
        ("permit if count([1 | some p in data.list; startswith(p, \"a\")]) > 1", ""),
        ("permit if startswith(data.list[_], input.token.audiences[_])", ""),
        ("permit if \"a\" in input.token.audiences", ""),
        ("permit if helper with data.list as [\"a\"]\n\nhelper if input.run.id in data.list", ""),
        ("permit if not startswith(data.list[0], \"a\")", ""),
    ] {
        let sources = sources::read(format!("package countersign\n{rule}"), &BTreeMap::new())
            .expect("a text");
        let modules = sources::parse(&sources).expect(rule);
        let rewritten = rewrite::rewrite(&modules, &data);
        let text = rewritten.texts[0].strip_prefix("package countersign\n").expect("the package");
        assert_eq!(text, if expected.is_empty() { rule } else { expected });
        assert_eq!(rewritten.is_changed, !expected.is_empty());
    }
}

/// The rewritten policy decides as the written one does.
#[test]
fn a_member_is_found_as_in_a_loop() {
    let decide_with = |rules: &str, data: &str| {
        let settings = Settings {
            policy: format!("package countersign\n{rules}"),
            data: Some(Data(Value::from_json_str(data).expect("data"))),
            files: BTreeMap::new(),
            ask: None,
            measure: None,
        };
        let prepared = prepare(settings).map_err(|problems| format!("{problems:?}")).expect(rules);
        decide(&prepared, &sample::run(), &sample::token())
    };
    let own = sample::run().building_block.workspace;
    let many = (0..300).map(|number| format!("\"team-{number}-*\"")).collect::<Vec<_>>().join(",");
    for (rules, member) in [
        ("permit if {\n\tsome p in data.list\n\tglob.match(p, [\"-\"], owner)\n}", own.clone()),
        ("permit if {\n\tsome p in data.list\n\tregex.match(p, owner)\n}", format!("^{own}$")),
        ("permit if owner in data.list", own.clone()),
        ("permit if {\n\tsome p in data.list\n\tstartswith(owner, p)\n}", own.clone()),
        ("permit if data.list[_] == owner", own.clone()),
    ] {
        let rules = format!("{rules}\nowner := input.run.building_block.workspace");
        let with = format!("{{\"list\": [{many}, \"{member}\"]}}");
        assert_eq!(decide_with(&rules, &with), Ok(Verdict::permit()), "{rules}");
        let without = format!("{{\"list\": [{many}]}}");
        assert_eq!(decide_with(&rules, &without), Ok(Verdict::Abstain), "{rules}");
    }
}

/// A function that a rule replaces is replaced in loops as well.
#[test]
fn a_loop_calls_what_a_rule_puts_in_the_place_of_a_function() {
    let policy = "package countersign\n\nhelper if {\n\tsome p in data.also\n\tstartswith(\"x\", p)\n}\n\n\
                  mine(_, _) := true\n\npermit if helper with startswith as mine\n";
    let settings = Settings {
        policy: policy.to_owned(),
        data: Some(Data(Value::from_json_str("{\"also\": [\"other\"]}").expect("data"))),
        files: BTreeMap::new(),
        ask: None,
        measure: None,
    };
    let prepared = prepare(settings).map_err(|problems| format!("{problems:?}")).expect("a policy");
    let verdict = decide(&prepared, &sample::run(), &sample::token());
    assert_eq!(verdict, Ok(Verdict::permit()));
}

/// Policies in Rust have a table of their own, since the database is too large for them: it must say the same.
#[test]
fn the_zones_of_the_sdk_are_those_of_the_database() {
    let (mut compared, mut differ) = (0, Vec::new());
    for name in jiff::tz::db().available() {
        let Ok(of_sdk) = countersign_policy::TimeZone::parse(name.as_str()) else { continue };
        let zone = jiff::tz::TimeZone::get(name.as_str()).expect("a zone of the database");
        compared += 1;
        // Two years from December 2026, of which every change of clocks is a full hour or half of one.
        let wrong =
            (0..2 * 365 * 48).map(|half_hour| 1_796_083_200 + half_hour * 1_800).find(|at| {
                let time = jiff::Timestamp::from_second(*at).expect("a time");
                let expected = zone.to_datetime(time);
                let found = of_sdk.local(u64::try_from(*at).expect("a time"));
                let seconds =
                    i64::from(expected.hour()) * 3_600 + i64::from(expected.minute()) * 60;
                (found.year, i64::from(found.day), i64::from(found.seconds))
                    != (i64::from(expected.year()), i64::from(expected.day()), seconds)
            });
        if let Some(at) = wrong {
            let time = jiff::Timestamp::from_second(at).expect("a time");
            differ.push(format!("{name} at {time}: {}", zone.to_offset(time)));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(compared > 400, "{compared} zones");
}

#[test]
fn rules_that_test_are_run() {
    let policy = "package countersign\n\nimport data.lib\n\npermit if not lib.blocked\n";
    let lib = "package lib\n\nblocked if input.run.behavior == \"destroy\"\n";
    let test = "package countersign_test\n\nimport data.countersign\n\ntest_apply if countersign.permit with input.run.behavior as \
                \"apply\"\n\ntest_destroy if {\n\tprint(\"destroy\", 7)\n\tcountersign.permit with input.run.behavior as \"destroy\"\n}\n\n\
                todo_test_more if false\n\ntest_fails if to_number(\"x\") == 1\n";
    let files = [("lib.rego", lib), ("policy_test.rego", test)];
    let settings = Settings {
        policy: policy.to_owned(),
        data: None,
        files: files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect(),
        ask: Some(Question { warnings: None, tests: Some(0), rules: None }),
        measure: None,
    };
    let answers = prepare(settings).err().expect("answers");
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| format!("{} {}", answer.pointer, answer.message))
        .collect();
    assert_eq!(
        answers,
        [
            "/tests/countersign_test.test_apply passed",
            "/prints/countersign_test.test_destroy policy_test.rego:8: destroy 7",
            "/tests/countersign_test.test_destroy failed: policy_test.rego:7:1: the rule is not true",
            "/tests/countersign_test.todo_test_more skipped",
            "/tests/countersign_test.test_fails error: policy_test.rego:14:26: could not parse string as number",
            "/ask end",
        ]
    );
}

#[test]
fn lines_and_rules_are_measured() {
    let policy = "package countersign\n\nimport data.lib\n\npermit if {\n\tlib.owns\n\tinput.run.behavior == \"destroy\"\n\t\
                  input.run.number > 7\n}\n\ndeny contains {\"code\": \"a\", \"message\": \"b\"} if not lib.owns\n";
    let lib = "package lib\n\nowns if own(input.run)\n\nown(run) if run.building_block.workspace != \"\"\n";
    let files = BTreeMap::from([("lib.rego".to_owned(), lib.to_owned())]);
    let settings = |ask, measure| Settings {
        policy: policy.to_owned(),
        data: None,
        files: files.clone(),
        ask,
        measure,
    };
    let measured = |measure| {
        let prepared = prepare(settings(None, Some(measure)));
        let prepared = prepared.map_err(|problems| format!("{problems:?}")).expect("a policy");
        decide(&prepared, &sample::run(), &sample::token())
    };
    let Ok(Verdict::Deny(reasons)) = measured(Measure { coverage: true, rule: None }) else {
        panic!("no lines");
    };
    let text: String = reasons.iter().map(|reason| reason.message.as_str()).collect();
    assert_eq!(text, r#"{"lib.rego": [[3,5],[]],"policy.rego": [[6,7,11],[8]]}"#);
    let ask = Question { warnings: None, tests: None, rules: Some(0) };
    let rules = prepare(settings(Some(ask), None)).err().expect("answers");
    let rules: Vec<_> = rules.iter().map(|rule| rule.message.as_str()).collect();
    assert_eq!(rules, ["data.countersign.permit", "data.countersign.deny", "data.lib.owns", "end"]);
    let rule = Some("data.lib.owns".to_owned());
    let evaluated = measured(Measure { coverage: false, rule });
    assert_eq!(evaluated, Ok(Verdict::deny("measured", "the rule was evaluated")));
}

#[test]
fn documents_of_folders_are_part_of_data() {
    let files = [
        ("data.yaml", "a: 1\n"),
        ("lib/data.json", "{\"list\": [1]}"),
        ("lib/deep/data.yml", "b: [x]\n"),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    let data = Value::from_json_str("{\"c\": true, \"lib\": {\"d\": 1}}").expect("data");
    let merged = sources::merge_documents(data, &files)
        .map_err(|problem| problem.message)
        .expect("documents");
    let expected = "{\"a\":1,\"c\":true,\"lib\":{\"d\":1,\"deep\":{\"b\":[\"x\"]},\"list\":[1]}}";
    assert_eq!(merged, Value::from_json_str(expected).expect("data"));
}
