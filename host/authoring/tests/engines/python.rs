//! Policies in Python: their verdicts, and what is said of texts that are none.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use countersign::{Fault, Policy, Verdict};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::verdicts::decide;
use crate::{bind, check_refused, component, unoptimised};

const RULES: &str = "\
from countersign import deny, permit, restrict


def evaluate(settings, run, token):
    owner = run.building_block.workspace
    if token.ttl_seconds > 3600:
        return deny('ttl-above-ceiling', 'at most an hour')
    if owner == run.definition.workspace:
        return permit()
    if owner in settings['also']:
        return permit(max_ttl=900)
    return restrict(max_ttl=600)
";

pub(crate) fn settings() -> Value {
    json!({"files": {"policy.py": RULES}, "settings": {"also": ["team-a", "team-b"]}})
}

fn engine() -> Arc<Policy> {
    unoptimised(&component(EngineName::Python))
}

/// A policy whose `evaluate` is one line, the third.
fn line(line: &str) -> Value {
    let text = format!(
        "from countersign import abstain, deny, permit, restrict\ndef evaluate(settings, run, token):\n    {line}\n"
    );
    json!({"files": {"policy.py": text}, "settings": {"exact": 9_007_199_254_740_993_u64, "big": u64::MAX}})
}

/// A verdict in few words.
fn words(result: &Result<Verdict, Fault>) -> String {
    match result {
        Ok(Verdict::Permit(grant)) => format!("permit {:?} {:?}", grant.max_ttl, grant.audiences),
        Ok(Verdict::Restrict(grant)) => {
            format!("restrict {:?} {:?}", grant.max_ttl, grant.audiences)
        }
        Ok(Verdict::Deny(reasons)) => {
            let reasons: Vec<_> = reasons
                .iter()
                .map(|reason| format!("{} {}", reason.code, reason.message))
                .collect();
            format!("deny {}", reasons.join(", "))
        }
        Ok(Verdict::Abstain) => "abstain".to_owned(),
        Err(fault) => format!("{}: {fault}", fault.code()),
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn verdicts_are_made_by_functions() {
    let engine = engine();
    for (text, expected) in [
        ("return permit()", "permit None None"),
        ("return permit(max_ttl=900)", "permit Some(900) None"),
        // Never wider than what was asked for.
        ("return permit(max_ttl=10**30, audiences=['a'])", "permit None Some([])"),
        ("return restrict(max_ttl=600)", "restrict Some(600) None"),
        ("return deny('a', f'of {run.behavior}')", "deny a of apply"),
        ("return abstain()", "abstain"),
        ("return permit() if run.behavior == 'apply' else deny('a', 'b')", "permit None None"),
        (
            "return permit() if run.trigger is None and run.facts.get('a') is None else abstain()",
            "permit None None",
        ),
        (
            "return permit() if settings['big'] == 2**64 - 1 and settings['exact'] % 10 == 3 else abstain()",
            "permit None None",
        ),
    ] {
        let (result, approved) = decide(&engine, &line(text));
        assert_eq!(words(&result), expected, "{text}");
        assert_eq!(approved, expected.starts_with("permit") && !expected.contains("[]"), "{text}");
    }
}

/// Nothing that the language orders by a hash or an address differs from one evaluation to the next, and nothing of one is
/// left for another.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn evaluations_are_alike() {
    let engine = engine();
    let text = "import json\nfrom countersign import deny\nSEEN = []\n\ndef evaluate(run):\n    SEEN.append(run.id)\n    \
                words = list({'zebra', 'apple', 'mango', 'kiwi'})\n    return deny('a', f'{len(SEEN)} {words} {hash(\"abc\")} \
                {json.dumps({\"b\": 1, \"a\": 2})} {id(words) == id(words)}')\n";
    let settings = json!({"files": {"policy.py": text}});
    let (first, _) = decide(&engine, &settings);
    assert!(words(&first).contains("{\"b\": 1, \"a\": 2} True"), "{first:?}");
    for _ in 0..3 {
        assert_eq!(decide(&engine, &settings).0, first);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn what_fails_is_a_fault_with_its_line() {
    let engine = engine();
    for (text, says) in [
        (
            "return permit(max_ttl='60')",
            "policy.py:3: TypeError: permit: max_ttl: expected seconds, found '60'",
        ),
        (
            "return restrict(max_ttl=0)",
            "policy.py:3: TypeError: restrict: max_ttl: expected seconds, found 0",
        ),
        (
            "return permit(audiences='a')",
            "policy.py:3: TypeError: permit: audiences: expected a list of texts, found 'a'",
        ),
        (
            "return permit(claims={'a': 1})",
            "policy.py:3: TypeError: permit: claims: expected texts, found 'a': 1",
        ),
        ("return deny('a')", "policy.py:3: TypeError: deny: expected two texts"),
        (
            "return True",
            "policy.py: `evaluate` returned bool, expected permit(…), restrict(…), deny(…) or abstain()",
        ),
        ("pass", "policy.py: `evaluate` returned NoneType"),
        ("return permit", "policy.py: `evaluate` returned function"),
        ("raise ValueError('of ' + run.behavior)", "policy.py:3: ValueError: of apply"),
        (
            "return run.trigger.author",
            "policy.py:3: AttributeError: 'NoneType' object has no attribute 'author'",
        ),
        ("return {}['a']", "policy.py:3: KeyError: a"),
        (
            "import datetime; at = datetime.datetime; return at.now()",
            "policy.py:3: a policy has no clock, no files and no environment",
        ),
    ] {
        let (result, approved) = decide(&engine, &line(text));
        match &result {
            Err(Fault::Panic { message }) => assert!(message.contains(says), "{text}: {message}"),
            other => panic!("{text}: {other:?}"),
        }
        assert!(!approved);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let engine = engine();
    let policy = |text: &str| json!({"files": {"policy.py": text}});
    let after = |text: &str| policy(&format!("def evaluate():\n    return None\n{text}\n"));
    for (settings, says) in [
        (json!({}), "/files: missing"),
        (json!({"files": {}}), "/files: policy.py:1:1: expected a file `policy.py`"),
        (policy(""), "/files: policy.py: expected `def evaluate(settings, run, token)`"),
        (policy("def evaluate("), "/files: policy.py:1:14: SyntaxError: "),
        (policy("def evaluate(claims):\n    pass\n"), "found `claims`"),
        (
            after("import requests"),
            "/files: policy.py:3:1: ModuleNotFoundError: no module `requests` here",
        ),
        (
            policy("from countersign import permit\ndef evaluate():\n    return permit(60)\n"),
            "/files: policy.py:3:19: TypeError: permit: expected max_ttl, audiences and claims, by their names",
        ),
        (
            policy(
                "from countersign import permit\ndef evaluate():\n    return permit(max_tll=60)\n",
            ),
            "/files: policy.py:3:19: TypeError: permit: unknown `max_tll`, expected max_ttl",
        ),
        (after("import random"), "no module `random` here"),
        (after("X = open('/etc/passwd')"), "/files: policy.py:3:5: a policy has no files"),
        (after("import time"), "no module `time` here"),
        (
            after("def f():\n    return nothing"),
            "/files: policy.py:4:12: NameError: name 'nothing' is not defined",
        ),
        (after("eval('1')"), "/files: policy.py:3:1: a policy cannot compile text"),
        (
            after("class A(dict):\n    pass"),
            "/files: policy.py:3: NotImplementedError: the interpreter does not have class inheritance",
        ),
        (after("X = [][1]"), "/files: policy.py:3: IndexError"),
        (
            after("def f(run):\n    return run.building_block.worksapce"),
            "AttributeError: `run.building_block` has no `worksapce`",
        ),
        (
            after("def f(run):\n    return run.behavior == 'DESTROY'"),
            "`run.behavior` is never \"DESTROY\"",
        ),
        (
            after("def check(settings):\n    return 'wrong'"),
            "`check` returned str, expected a list of Problem",
        ),
        (
            after(
                "from countersign import Problem\ndef check(settings):\n    return [Problem('/also', 'expected a list')]",
            ),
            "/settings/also: expected a list",
        ),
    ] {
        check_refused(&engine, &settings, says);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_of_several_files_is_one() {
    let engine = engine();
    let files = json!({
        "policy.py": "from countersign import permit, abstain\nfrom .rules import owns as mine\n\ndef evaluate(run):\n    return permit() if mine(run) else abstain()\n",
        "rules.py": "def owns(run):\n    if run.number < 0:\n        raise ValueError('negative')\n    return run.building_block.workspace == run.definition.workspace\n",
    });
    let (result, _) = decide(&engine, &json!({"files": files}));
    assert!(matches!(result, Ok(Verdict::Permit(_))), "{result:?}");
}

/// Policies that authors wrote for CPython, each with the verdict or the fault that came of it.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn policies_for_cpython_that_use_what_is_here_decide_alike() {
    let engine = engine();
    let exported = "from countersign import deny, exported, permit\n\n\ndef evaluate(settings, run, token):\n    if run.behavior == 'apply':\n        return deny('no-apply', 'nothing')\n    return permit()\n\n\nPolicy = exported(name='a', version='0.1.0', summary='b', evaluate=evaluate)\n";
    let until = "import datetime\n\nfrom countersign import deny, exported, permit\n\n\ndef evaluate(settings, run, token):\n    end = datetime.datetime.strptime('2027-01-01', '%Y-%m-%d').replace(tzinfo=datetime.timezone.utc)\n    return permit() if token.issued_at < end.timestamp() else deny('over', 'the year is over')\n\n\nPolicy = exported(name='until', version='0.1.0', summary='c', evaluate=evaluate)\n";
    for (text, expected) in [(exported, "deny no-apply nothing"), (until, "permit None None")] {
        let (result, _) = decide(&engine, &json!({"files": {"policy.py": text}}));
        assert_eq!(words(&result), expected, "{text}");
    }
}

/// The template is what an author begins with, and has to say what it says of itself.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn the_template_decides() {
    let engine = engine();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/templates/python");
    let text = fs::read_to_string(templates.join("policy.py")).unwrap();
    let with = |own: Value| json!({"files": {"policy.py": text}, "settings": own});
    let (result, _) = decide(&engine, &with(json!({})));
    assert_eq!(words(&result), "permit None None");
    for (own, says) in [
        (json!({"also": "a"}), "/settings/also: expected a list of workspaces"),
        (json!({"alos": []}), "/settings/alos: unknown key, expected `also`"),
    ] {
        let text = bind(&engine, &with(own)).unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
}
