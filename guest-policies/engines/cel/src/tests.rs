//! Verdicts of policies, and what is said of texts that are none.

use countersign_policy::{Grant, Verdict, parse_settings, sample};

use super::*;

/// A text as JSON.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn prepared(policy: &str, data: &str) -> Result<Prepared, Vec<String>> {
    let settings = format!("{{\"policy\": {}, \"data\": {data}}}", quoted(policy));
    prepare(parse_settings(&settings).expect("settings"))
        .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

const DATA: &str = r#"{"also": ["my-workspace", "b"], "ceiling": 900, "big": 18446744073709551615, "exact": 9007199254740993}"#;

#[track_caller]
fn decided(policy: &str) -> Result<Verdict, String> {
    let prepared =
        prepared(policy, DATA).unwrap_or_else(|problems| panic!("{policy}: {problems:?}"));
    decide(&prepared, &sample::run(), &sample::token()).map_err(|wrong| placed(&wrong))
}

#[test]
fn rules_combine_as_bindings_do() {
    let grant = |max_ttl| Grant { max_ttl: Some(max_ttl), ..Grant::new() };
    let permit =
        "permit:\n- when: run.building_block.workspace in data.also\n  max_ttl: data.ceiling\n";
    let restrict = "restrict:\n- when: 'true'\n  max_ttl: 600\n";
    let deny = "deny:\n- {code: no, message: not so, when: token.ttl_seconds > 60}\n";
    for (policy, expected) in [
        (permit.to_owned(), Verdict::Permit(grant(900))),
        (restrict.to_owned(), Verdict::Restrict(grant(600))),
        (format!("{permit}{restrict}"), Verdict::Permit(grant(600))),
        (format!("{permit}{restrict}{deny}"), Verdict::deny("no", "not so")),
        ("permit:\n- when: run.number < 0\n".to_owned(), Verdict::Abstain),
        ("deny: []\n".to_owned(), Verdict::Abstain),
        (
            "deny:\n- code: a\n  message_expression: '\"of \" + run.behavior'\n  when: true\n- code: b\n  message: c\n  when: true\n"
                .to_owned(),
            Verdict::Deny(vec![
                countersign_policy::Reason::new("a", "of apply"),
                countersign_policy::Reason::new("b", "c"),
            ]),
        ),
        (
            "variables:\n- name: owner\n  expression: run.building_block.workspace\n- name: own\n  expression: variables.owner == run.definition.workspace\npermit:\n- when: variables.own\n  claims: {team: variables.owner}\n  audiences: 'token.audiences.filter(a, a.startsWith(\"api:\"))'\n"
                .to_owned(),
            Verdict::Permit(Grant {
                max_ttl: None,
                audiences: Some(vec!["api://AzureADTokenExchange".to_owned()]),
                claims: vec![countersign_policy::Fact {
                    name: "team".to_owned(),
                    value: "my-workspace".to_owned(),
                }],
            }),
        ),
    ] {
        assert_eq!(decided(&policy), Ok(expected), "{policy}");
    }
}

#[test]
fn claims_are_what_the_contract_says() {
    for (when, expected) in [
        ("run.behavior == 'apply'", true),
        ("has(run.trigger)", false),
        ("has(run.trigger) && run.trigger.author == 'a'", false),
        ("has(run.building_block.project)", true),
        ("run.definition.implementation in ['terraform', 'manual']", true),
        ("size(run.facts) == 0 && size(run.building_block.parents) == 0", true),
        ("'ticket' in run.facts", false),
        ("run.building_block.parents.all(p, p.definition == run.definition.id)", true),
        ("token.audiences.exists(a, a.matches('^aws-[a-z-]+:demo$'))", true),
        ("run.number + 1 == 2 && type(run.number) == int", true),
        ("run.definition['workspace'] == \"my-workspace\"", true),
        ("data.big == 18446744073709551615u && data.exact == 9007199254740993", true),
        ("data.exact == 9007199254740992", false),
        ("has(data.absent) && data.absent", false),
        ("run.?trigger.author.orValue('') == ''", true),
        // 1,790,000,000 is a Monday, 14:13:20 UTC.
        ("timestamp(token.issued_at).getHours() == 14", true),
        ("timestamp(token.issued_at).getHours('Europe/Berlin') == 16", true),
        ("timestamp(token.issued_at).getDayOfWeek('Pacific/Kiritimati') == 2", true),
        ("timestamp(token.issued_at).getFullYear('Asia/Kolkata') == 2026", true),
        ("timestamp(token.issued_at).getMonth() == 8", true),
        ("timestamp(token.issued_at).getDate() == 21", true),
        ("timestamp(token.issued_at).getDayOfMonth() == 20", true),
        ("timestamp(token.issued_at).getDayOfYear() == 263", true),
        ("timestamp(token.issued_at).getMinutes('Asia/Kolkata') == 43", true),
        ("timestamp(token.issued_at).getSeconds() == 20", true),
        ("timestamp(token.issued_at) < timestamp('2026-12-24T00:00:00+01:00')", true),
        ("timestamp(token.issued_at) == timestamp('2026-09-21T14:13:20Z')", true),
        // The two nights of a year.
        ("timestamp(1806195599).getHours('Europe/Berlin') == 1", true),
        ("timestamp(1806195600).getHours('Europe/Berlin') == 3", true),
        ("timestamp(1824944399).getHours('Europe/Berlin') == 2", true),
        ("timestamp(1824944400).getHours('Europe/Berlin') == 2", true),
        ("timestamp(1824948000).getHours('Europe/Berlin') == 3", true),
    ] {
        let found = decided(&format!("permit:\n- when: {}\n", quoted(when)));
        let expected = if expected { Verdict::permit() } else { Verdict::Abstain };
        assert_eq!(found, Ok(expected), "{when}");
    }
}

#[test]
fn an_expression_that_fails_is_an_error_with_its_place() {
    for (policy, says) in [
        (
            "permit:\n- when: run.trigger.author == 'a'\n",
            "policy.cel.yaml:2:12: there is no `trigger`; test what may be absent by has() or `in`",
        ),
        ("permit:\n- when: data.also[7] == 'a'\n", "policy.cel.yaml:2:18: the list is shorter"),
        (
            "permit:\n- when: true\n  max_ttl: run.number - 1\n",
            "policy.cel.yaml:3:12: max_ttl: expected at least one second",
        ),
        (
            "restrict:\n- when: data.ceiling\n",
            "policy.cel.yaml:2:9: when: expected bool, found int",
        ),
        (
            "permit:\n- {when: true, claims: {a: '\"b\"'}}\n- {when: true, claims: {a: '\"c\"'}}\n",
            "policy.cel.yaml:3:28: the claim `a` is `b` and `c`",
        ),
        // A variable that fails is an error where it is read, and not before.
        (
            "variables:\n- name: author\n  expression: run.trigger.author\npermit:\n- when: variables.author == 'a'\n",
            "policy.cel.yaml:3:18: there is no `trigger`; test what may be absent by has() or `in`",
        ),
    ] {
        assert_eq!(decided(policy), Err(says.to_owned()), "{policy}");
    }
    let unread = "variables:\n- name: author\n  expression: run.trigger.author\npermit:\n- when: true || variables.author == 'a'\n";
    assert_eq!(decided(unread), Ok(Verdict::permit()));
}

#[test]
fn what_is_wrong_is_found_before_it_decides() {
    let when = |text: &str| format!("permit:\n- when: |\n    true &&\n      {text}\n");
    for (policy, says) in [
        (String::new(), "policy.cel.yaml:1:1: the file is empty"),
        ("permit: [".to_owned(), "not YAML"),
        ("{}".to_owned(), "1:1: expected at least one of `permit`, `restrict` and `deny`"),
        ("- a".to_owned(), "1:1: the policy: expected a mapping, found a list"),
        ("alow: []".to_owned(), "1:1: `alow`: unknown key, expected one of `variables`, `permit`"),
        ("permit: []\npermit: []".to_owned(), "2:1: `permit` is here twice"),
        ("permit: &a []".to_owned(), "anchors are not read"),
        ("permit: !x []".to_owned(), "tags are not read"),
        ("permit: []\n---\npermit: []".to_owned(), "expected one document, found another"),
        ("permit:\n- max_ttl: 900".to_owned(), "2:3: `when` is missing"),
        (
            "permit:\n- when: true\n  max-ttl: 900".to_owned(),
            "3:3: `max-ttl`: unknown key, expected one of `when`, `max_ttl`",
        ),
        (
            "permit:\n- when: true\n  audiences: [a]".to_owned(),
            "3:14: audiences: expected a text, found a list",
        ),
        ("deny:\n- when: true\n  message: a".to_owned(), "2:3: `code` is missing"),
        (
            "deny:\n- when: true\n  code: Not Here\n  message: a".to_owned(),
            "3:9: code: expected 1 to 64 of a-z, 0-9 and -, found `Not Here`",
        ),
        (
            "deny:\n- when: true\n  code: a".to_owned(),
            "2:3: expected `message` or `message_expression`",
        ),
        ("permit:\n- when: ''".to_owned(), "2:9: expected an expression, found nothing"),
        (when("run.behavior =="), "policy.cel.yaml:4:22: "),
        (when("runn.id == ''"), "policy.cel.yaml:4:7: `runn` is not declared"),
        (
            when("run.building_block.worksapce == 'a'"),
            "`building_block` has no `worksapce`, expected one of `id`, `workspace`",
        ),
        (when("has(run.triger)"), "`run` has no `triger`"),
        (
            when("run.building_block.parents.exists(p, p.definiton == '')"),
            "`parent` has no `definiton`",
        ),
        (when("startwith(run.id, 'a')"), "`startwith` is not declared"),
        (when("data.also.startwith('a')"), "`startwith` is not declared"),
        (when("run.number.startsWith('a')"), "`startsWith` does not take (int, string)"),
        (when("run.number < 'a'"), "`<` does not take (int, string)"),
        (when("run.number == 'a'"), "int is never equal to string"),
        (when("run.number + 'a' == 1"), "`+` does not take (int, string)"),
        (
            when("run.behavior == 'DESTROY'"),
            "`run.behavior` is never `DESTROY`, expected one of `apply`, `detect`, `destroy`",
        ),
        (
            when("run.trigger.author_kind in ['user', 'ApiKey']"),
            "`run.trigger.author_kind` is never `ApiKey`",
        ),
        (when("run.trigger == null"), "trigger is never equal to null_type"),
        (when("run.behavior"), "expected bool, found string"),
        (when("data.alos == 1"), "`data` has no `alos`; test what may be absent by has()"),
        (when("run.id.matches('(a')"), "`(a` is no regular expression: unclosed group"),
        (when("[1].all(run, true)"), "`run` is taken"),
        (
            when("timestamp(token.issued_at).getHours('Europe/Berlim') == 1"),
            "policy.cel.yaml:4:43: there is no time zone `Europe/Berlim`, expected one like `Europe/Berlin`; did you mean \
             `Europe/Berlin`?",
        ),
        (
            when("timestamp('tomorrow').getHours() == 1"),
            "policy.cel.yaml:4:17: expected a time like `2026-12-24T18:00:00Z`, found `tomorrow`",
        ),
        (when("token.issued_at.getHours() == 1"), "`getHours` does not take (int)"),
        (when("timestamp(token.issued_at) < 7"), "`<` does not take (timestamp, int)"),
        (when("variables.a"), "`a` is no variable above"),
        (when("Thing{a: 1} == 1"), "there is no message type `Thing`"),
        ("permit:\n- when: token.ttl_seconds\n".to_owned(), "2:9: when: expected bool, found int"),
        (
            "permit:\n- when: true\n  max_ttl: '\"a\"'\n".to_owned(),
            "3:12: max_ttl: expected int or uint, found string",
        ),
        (
            "permit:\n- when: true\n  claims: {a: run.number}\n".to_owned(),
            "a: expected string, found int",
        ),
        (
            "variables:\n- {name: a-b, expression: '1'}\npermit: []".to_owned(),
            "expected letters, digits and `_`",
        ),
    ] {
        let problems = prepared(&policy, DATA).err().unwrap_or_default();
        assert!(
            problems.iter().any(|problem| problem.contains(says)),
            "{policy}: {problems:?}, expected {says}"
        );
    }
    let error = parse_settings::<Settings>("{\"policy\": \"permit: []\", \"data\": []}");
    let says = error.err().map(|error| error.to_string());
    assert_eq!(says.as_deref(), Some("/data: expected an object, found an array"));
    // All of them at once.
    let two = "permit:\n- when: run.a\n- when: run.b\n";
    assert_eq!(prepared(two, DATA).err().map(|problems| problems.len()), Some(2));
}

#[test]
fn a_claim_that_runs_may_lack_and_that_is_not_tested_is_warned_of() {
    let warnings = |when: &str| {
        let policy = format!("permit:\n- when: {}\n", quoted(when));
        let settings = format!("{{\"policy\": {}, \"warnings\": true}}", quoted(&policy));
        let problems = prepare(parse_settings(&settings).expect("settings")).err();
        problems.into_iter().flatten().map(|problem| problem.message).collect::<Vec<_>>()
    };
    for (when, claim, test) in [
        ("run.trigger.author == 'a'", "run.trigger", "has(run.trigger)"),
        ("run.trigger['author'] == 'a'", "run.trigger", "has(run.trigger)"),
        ("has(run.trigger.reason)", "run.trigger", "has(run.trigger)"),
        ("run.runner == 'a'", "run.runner", "has(run.runner)"),
        (
            "run.building_block.project.startsWith('a')",
            "run.building_block.project",
            "has(run.building_block.project)",
        ),
        ("run.facts.ticket == 'a'", "run.facts[\"ticket\"]", "\"ticket\" in run.facts"),
        ("run.facts['ticket'] == 'a'", "run.facts[\"ticket\"]", "\"ticket\" in run.facts"),
    ] {
        let said = format!(
            "`{claim}` is not there for a run that lacks it, which is an error; test it before: `{test} && …`"
        );
        let found = warnings(when);
        assert!(found.len() == 1 && found[0].ends_with(&said), "{when}: {found:?}");
        assert!(found[0].starts_with("policy.cel.yaml:2:"), "{when}: {found:?}");
    }
    for when in [
        "has(run.trigger) && run.trigger.author == 'a'",
        "!has(run.trigger) || run.trigger.author != 'a'",
        "run.?trigger.author.orValue('') == ''",
        "has(run.trigger) && has(run.trigger.reason) && run.trigger.reason == 'a'",
        "run.?trigger.?reason.orValue('') != '' && run.trigger.reason.startsWith('a')",
        "'ticket' in run.facts && run.facts.ticket == 'a'",
        "has(run.facts.ticket) && run.facts['ticket'] == 'a'",
        "run.facts.exists(name, run.facts[name] == 'a')",
        "run.building_block.workspace == 'a' && size(run.facts) == 0",
    ] {
        assert_eq!(warnings(when), [""; 0], "{when}");
    }
}
