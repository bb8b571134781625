//! Verdicts of policies, and what is said of texts that are none.

mod absent;
mod mistakes;

use countersign_policy::{Grant, Verdict, parse_settings, sample};

use super::*;

/// A text as JSON.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn prepared(files: &[(&str, &str)], own: &str) -> Result<Prepared, Vec<String>> {
    let files = files.iter().map(|(path, text)| format!("{}: {}", quoted(path), quoted(text)));
    let settings =
        format!("{{\"files\": {{{}}}, \"settings\": {own}}}", files.collect::<Vec<_>>().join(", "));
    prepare(parse_settings(&settings).expect("settings")).map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.pointer, problem.message))
            .collect()
    })
}

const OWN: &str =
    r#"{"also": ["my-workspace"], "big": 18446744073709551615, "exact": 9007199254740993}"#;

#[track_caller]
fn decided(policy: &str) -> Result<Verdict, String> {
    let prepared = prepared(&[("policy.py", policy)], OWN)
        .unwrap_or_else(|problems| panic!("{policy}: {problems:?}"));
    decide(&prepared, &sample::run(), &sample::token())
}

const IMPORTS: &str = "from countersign import abstain, deny, permit, restrict\n";

/// A policy whose `evaluate` is one line, the third.
fn line(line: &str) -> String {
    format!("{IMPORTS}def evaluate(settings, run, token):\n    {line}\n")
}

#[test]
fn verdicts_are_made_by_functions() {
    let grant = |max_ttl| Grant { max_ttl: Some(max_ttl), ..Grant::new() };
    for (text, expected) in [
        ("return permit()", Verdict::permit()),
        ("return permit(max_ttl=900)", Verdict::Permit(grant(900))),
        ("return permit(max_ttl=90000)", Verdict::permit()),
        ("return restrict(max_ttl=10**30)", Verdict::restrict()),
        ("return restrict(max_ttl=600)", Verdict::Restrict(grant(600))),
        ("return abstain()", Verdict::Abstain),
        ("return deny('no', 'not ' + run.behavior)", Verdict::deny("no", "not apply")),
        (
            "return deny([('a', 'b'), ('c', 'd')])",
            Verdict::Deny(vec![
                countersign_policy::Reason::new("a", "b"),
                countersign_policy::Reason::new("c", "d"),
            ]),
        ),
        (
            "return permit(audiences={'api://AzureADTokenExchange', 'other'}, claims={'team': run.building_block.workspace})",
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
        assert_eq!(decided(&line(text)), Ok(expected), "{text}");
    }
}

#[test]
fn claims_are_what_the_contract_says() {
    for (text, expected) in [
        ("run.behavior == 'apply'", true),
        ("run.behavior in ('detect', 'destroy')", false),
        ("run.trigger is None and run.runner is None", true),
        ("run.building_block.project == 'my-project'", true),
        ("run.definition.implementation == 'terraform'", true),
        ("run.facts == {} and run.building_block.parents == []", true),
        ("run.facts.get('ticket') is None", true),
        ("run.number + 1 == 2 and run.definition.version == 1", true),
        ("token.ttl_seconds == 7200 and len(token.audiences) == 2", true),
        ("settings['big'] == 2**64 - 1 and settings['exact'] == 9007199254740993", true),
        ("settings['exact'] == 9007199254740992", false),
        ("run.building_block.workspace in settings['also']", true),
    ] {
        let expected = if expected { Verdict::permit() } else { Verdict::Abstain };
        let text = line(&format!("return permit() if {text} else abstain()"));
        assert_eq!(decided(&text), Ok(expected), "{text}");
    }
    // Any of the parameters, in any order, and the words of the contract as names.
    for policy in [
        format!("{IMPORTS}def evaluate(settings, run, token):\n    return permit() if settings['also'] and token.ttl_seconds else abstain()\n"),
        format!("{IMPORTS}def evaluate(run):\n    return permit()\n"),
        "from countersign import Behavior, Run, Token, Verdict, permit as yes\ndef evaluate(run: Run, token: Token) -> Verdict:\n    return yes() if run.behavior == Behavior.APPLY else None\n".to_owned(),
        "from countersign import (\n    exported,\n    permit,\n)\nPolicy = exported(name='a', version='1', summary='b', evaluate=lambda settings, run, token: permit())\n".to_owned(),
    ] {
        assert_eq!(decided(&policy), Ok(Verdict::permit()), "{policy}");
    }
}

#[test]
fn what_fails_is_said_with_its_line() {
    for (text, says) in [
        ("return permit(**{'max_tll': 60})", "policy.py:3: TypeError: "),
        (
            "return permit(max_ttl='60')",
            "policy.py:3: TypeError: permit: max_ttl: expected seconds, found '60'",
        ),
        (
            "return permit(max_ttl=0)",
            "policy.py:3: TypeError: permit: max_ttl: expected seconds, found 0",
        ),
        ("return permit(max_ttl=True)", "found True"),
        (
            "return restrict(audiences='a')",
            "policy.py:3: TypeError: restrict: audiences: expected a list of texts, found 'a'",
        ),
        ("return permit(claims={'a': 1})", "claims: expected texts, found 'a': 1"),
        (
            "return deny('code')",
            "policy.py:3: TypeError: deny: expected two texts, a code and a message, found 'code' and None",
        ),
        ("return deny('code', 7)", "expected two texts"),
        ("return deny([])", "policy.py:3: TypeError: deny: expected at least one reason"),
        ("return deny(['a'])", "deny: expected a code and a message in each reason, found 'a'"),
        (
            "from countersign import local_time; return local_time(run.id, token.issued_at)",
            "policy.py:3: ValueError: local_time: there is no time zone `",
        ),
        (
            "from countersign import local_time; return local_time('UTC', 2**70)",
            "policy.py:3: ValueError: local_time: expected a time from 1970 to 9999",
        ),
        (
            "from countersign import local_time; return local_time('UTC', 1.5)",
            "policy.py:3: TypeError: local_time: expected a time zone and whole seconds since 1970",
        ),
        ("return True", "policy.py: `evaluate` returned bool, expected permit(…)"),
        ("pass", "`evaluate` returned NoneType"),
        ("return permit", "`evaluate` returned function"),
        ("raise ValueError('of ' + run.behavior)", "policy.py:3: ValueError: of apply"),
        ("return {}['a']", "policy.py:3: KeyError: a"),
        (
            "return run.trigger.author",
            "policy.py:3: AttributeError: 'NoneType' object has no attribute 'author'",
        ),
        (
            "import datetime; at = datetime.datetime; return at.now()",
            "policy.py:3: a policy has no clock, no files and no environment: ",
        ),
        ("assert run.number == 2, 'two'", "policy.py:3: AssertionError: two"),
        ("return 1 / 0", "policy.py:3: ZeroDivisionError"),
    ] {
        let found = decided(&line(text));
        assert!(
            found.as_ref().is_err_and(|found| found.contains(says)),
            "{text}: {found:?}, expected {says}"
        );
    }
}

#[test]
fn what_is_wrong_is_found_before_it_decides() {
    let after = |text: &str| {
        format!("{IMPORTS}def evaluate(settings, run, token):\n    return permit()\n{text}\n")
    };
    for (policy, says) in [
        (String::new(), "/files: policy.py: expected `def evaluate(settings, run, token)`"),
        ("def evaluate(".to_owned(), "/files: policy.py:1:14: SyntaxError: "),
        ("def evaluate(claims):\n    pass\n".to_owned(), "found `claims`"),
        (
            line("return permitt()"),
            "/files: policy.py:3:12: NameError: name 'permitt' is not defined",
        ),
        (
            line("return permit() if run.building_block.worksapce else deny()"),
            "policy.py:3:24: AttributeError: `run.building_block` has no `worksapce`, expected one of `id`, `workspace`",
        ),
        (line("return permit() if token.ttl else deny()"), "`token` has no `ttl`"),
        (
            line("return permit() if run.behavior == 'DESTROY' else abstain()"),
            "policy.py:3:40: `run.behavior` is never \"DESTROY\", expected one of `apply`, `detect`, `destroy`",
        ),
        (
            line("return permit() if run.trigger.author_kind in ('user', 'ApiKey') else abstain()"),
            "is never \"ApiKey\"",
        ),
        (
            line("return permit(60)"),
            "policy.py:3:19: TypeError: permit: expected max_ttl, audiences and claims, by their names",
        ),
        (
            line("return permit(max_tll=60)"),
            "policy.py:3:19: TypeError: permit: unknown `max_tll`, expected max_ttl, audiences and claims; did you mean \
             `max_ttl`?",
        ),
        (
            line("from countersign import local_time as at; return at('Berlin', token.issued_at)"),
            "policy.py:3:57: ValueError: there is no time zone `Berlin`, expected one like `Europe/Berlin`; did you mean",
        ),
        (after("import requests"), "policy.py:4:1: ModuleNotFoundError: no module `requests` here"),
        (
            after("def f():\n    import random"),
            "policy.py:5:5: ModuleNotFoundError: no module `random` here",
        ),
        (after("from time import time"), "no module `time` here"),
        (
            after("from countersign import grant"),
            "policy.py:4:25: ImportError: `countersign` has no `grant`, expected one of `AuthorKind`",
        ),
        (after("import countersign"), "write `from countersign import …`"),
        (after("from countersign import *"), "hides what is there"),
        (after("from .lib import a"), "ImportError: there is no file `lib.py` beside the policy"),
        (after("from math import nothing"), "policy.py:4: ImportError: "),
        (
            after("import datetime as dt\ndef at(now):\n    return dt.datetime.fromtimestamp(now)"),
            "policy.py:6:12: AttributeError: type object 'datetime.datetime' has no attribute 'fromtimestamp'; the interpreter",
        ),
        (
            after(
                "from datetime import datetime\ndef at(now):\n    return datetime.fromtimestamp(now)",
            ),
            "policy.py:6:12: AttributeError: type object 'datetime.datetime' has no attribute 'fromtimestamp'; the interpreter",
        ),
        (
            after("match 1:\n    case 1:\n        pass"),
            "policy.py:4: NotImplementedError: the interpreter does not have pattern matching",
        ),
        (after("class A(dict):\n    pass"), "class inheritance"),
        (after("X = {}['a']"), "policy.py:4: KeyError: a"),
        (
            after("def check(settings):\n    return 'a problem'"),
            "`check` returned str, expected a list of Problem",
        ),
        (after("def check(settings):\n    return ['a problem']"), "`check` returned list of str"),
        (
            after("def check(settings):\n    return settings['none']"),
            "/files: policy.py:5: KeyError: none",
        ),
        (
            after("async def check(settings):\n    return []"),
            "a policy cannot wait: remove `async`",
        ),
        (
            after(
                "from countersign import Problem\ndef check(settings):\n    return [Problem('/also', 'expected more')]",
            ),
            "/settings/also: expected more",
        ),
    ] {
        let problems = prepared(&[("policy.py", &policy)], OWN).err().unwrap_or_default();
        assert!(
            problems.iter().any(|problem| problem.contains(says)),
            "{policy}: {problems:?}, expected {says}"
        );
    }
}

/// Methods that are there only to be called, a name that a function binds again, and a value without an end.
#[test]
fn what_the_library_has_is_found() {
    for text in [
        "import datetime\ndef evaluate():\n    return permit() if datetime.datetime.strptime('2027-01-02', '%Y-%m-%d').year == 2027 else None\n",
        "import datetime\ndef evaluate(run):\n    datetime = run\n    return permit() if datetime.id else None\n",
        "import math\ndef evaluate():\n    return permit() if math.floor(math.pi) == 3 else None\n",
        "import itertools\ndef evaluate():\n    return permit() if next(itertools.count()) == 0 else None\n",
        "from datetime import timedelta as days\ndef evaluate():\n    return permit() if days(days=1).total_seconds() == 86400 else None\n",
    ] {
        assert_eq!(decided(&format!("{IMPORTS}{text}")), Ok(Verdict::permit()), "{text}");
    }
}

#[test]
fn files_import_each_other() {
    let main = "from countersign import permit\nfrom .lib import is_owner as owner\nfrom words import NAME\n\ndef evaluate(run):\n    return permit(claims={'a': NAME}) if owner(run) else None\n";
    let lib =
        "def is_owner(run):\n    return run.building_block.workspace == run.definition.workspace\n";
    let prepared_all =
        prepared(&[("policy.py", main), ("lib.py", lib), ("words.py", "NAME = 'b'\n")], OWN);
    let prepared_all = prepared_all.unwrap_or_else(|problems| panic!("{problems:?}"));
    let found = decide(&prepared_all, &sample::run(), &sample::token());
    assert_eq!(found, Ok(Grant::new().claim("a", "b").permit()));
    for (lib, says) in [
        (
            "from .policy import evaluate\ndef is_owner(run):\n    return True\n",
            "import each other",
        ),
        ("def evaluate():\n    pass\n", "`evaluate` is defined in lib.py as well"),
        ("def is_owner(run):\n    return run.a\n", "lib.py:2:12: AttributeError"),
        (
            "def owner(run):\n    return True\n",
            "policy.py:2:18: ImportError: lib.py does not define `is_owner`",
        ),
        ("def is_owner(run:\n", "lib.py:2:1: SyntaxError"),
    ] {
        let problems =
            prepared(&[("policy.py", main), ("lib.py", lib), ("words.py", "NAME = 'b'\n")], OWN)
                .err()
                .unwrap_or_default();
        assert!(
            problems.iter().any(|problem| problem.contains(says)),
            "{lib}: {problems:?}, expected {says}"
        );
    }
    // Where an exception was raised, and not where that was called.
    let main = "from countersign import permit\nfrom lib import fails\n\ndef evaluate(run):\n    return fails()\n";
    let failing = prepared(
        &[("policy.py", main), ("lib.py", "def fails():\n    raise ValueError('a')\n")],
        OWN,
    );
    let failing = failing.unwrap_or_else(|problems| panic!("{problems:?}"));
    let found = decide(&failing, &sample::run(), &sample::token());
    assert_eq!(found, Err("lib.py:2: ValueError: a".to_owned()));
}

/// The two nights of a year, and times in an evaluation, in `check` and in a file.
#[test]
fn local_times_are_those_of_the_zone() {
    for (at, expected) in [
        (1_806_195_599, "2027-03-28 1:59:59 7 3600"),
        (1_806_195_600, "2027-03-28 3:0:0 7 7200"),
        (1_824_944_399, "2027-10-31 2:59:59 7 7200"),
        (1_824_944_400, "2027-10-31 2:0:0 7 3600"),
    ] {
        let text = format!(
            "from countersign import local_time\n{IMPORTS}AT = local_time('Europe/Berlin', {at})\n\ndef shown(t):\n    return \
             f'{{t.year}}-{{t.month:02}}-{{t.day}} {{t.hour}}:{{t.minute}}:{{t.second}} {{t.weekday}} {{t.offset}}'\n\ndef \
             check(settings):\n    assert local_time('Europe/Berlin', {at}) == AT\n\ndef evaluate(settings, token):\n    \
             zones = [local_time(zone, {at}) for zone in ['UTC', 'Europe/Berlin']]\n    return deny('at', shown(zones[1])) if \
             zones[1] == AT and token.issued_at else deny('no', shown(AT))\n"
        );
        assert_eq!(decided(&text), Ok(Verdict::deny("at", expected)), "{text}");
    }
}

#[test]
fn a_policy_that_does_not_end_on_the_sample_is_prepared() {
    assert!(prepared(&[("policy.py", &line("while True: pass"))], OWN).is_ok());
}
