//! Texts that would take all time, memory or stack: each ends in a fault, and in no verdict.

use std::sync::Arc;

use countersign::{Fault, Policy};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::verdicts::decide;
use crate::{bind, component, unoptimised};

#[track_caller]
fn check(engine: &Arc<Policy>, settings: &Value, codes: &[&str]) {
    let (result, approved) = match bind(engine, settings) {
        Ok(_) => decide(engine, settings),
        Err(error) => panic!("{settings}: {error}"),
    };
    let code = result.as_ref().err().map(Fault::code);
    assert!(code.is_some_and(|code| codes.contains(&code)), "{settings}: {result:?}");
    assert!(!approved);
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn python() {
    let engine = unoptimised(&component(EngineName::Python));
    // Only what `evaluate` does for the real run: what it does for the samples is bounded by itself.
    let real = "run.building_block.id != '68ce5455-2a4a-4a4b-a324-6a6c18cab85a' or token.ttl_seconds == 3600";
    let policy = |body: &str| {
        let body = body.replace('\n', "\n        ");
        let text = format!(
            "import re\n\nfrom countersign import permit\n\n\ndef deeper(n):\n    return deeper(n + 1)\n\n\n\
                            def evaluate(run, token):\n    if {real}:\n        {body}\n    return permit()\n"
        );
        json!({"files": {"policy.py": text}})
    };
    for (body, codes) in [
        ("while True:\n    pass", &["out-of-fuel"][..]),
        ("x = 0\nfor n in range(10**12):\n    x += n", &["out-of-fuel"]),
        ("deeper(0)", &["panic"]),
        (
            "text = 'a' * 1000\nwhile True:\n    text += text",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
        ("'a' * 10**12", &["memory", "trap", "panic"]),
        ("list(range(10**9))", &["memory", "out-of-fuel", "trap", "panic"]),
        (
            "items = []\nwhile True:\n    items.append(items)",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
        ("10 ** 10 ** 10", &["memory", "out-of-fuel", "trap", "panic"]),
        (
            "re.match('(a+)+$', 'a' * 64 + 'b')\nre.match(r'(a+)\\1+$', 'a' * 64 + 'b')\nwhile True:\n    pass",
            &["out-of-fuel", "panic"],
        ),
        (
            "x = []\nfor n in range(100000):\n    x = [x]\nrepr(x)",
            &["memory", "out-of-fuel", "trap", "panic", "stack"],
        ),
        ("sorted(range(10**7), key=lambda n: -n)", &["memory", "out-of-fuel", "trap", "panic"]),
    ] {
        check(&engine, &policy(body), codes);
    }
    // Nesting that would take the parser's stack is found before it decides.
    for text in [
        format!("X = {}1{}\n", "(".repeat(20_000), ")".repeat(20_000)),
        format!("X = {}1\n", "-".repeat(20_000)),
        format!("X = {}\n", "1 + ".repeat(20_000) + "1"),
    ] {
        let text = format!("def evaluate():\n    return None\n{text}");
        assert!(bind(&engine, &json!({"files": {"policy.py": text}})).is_err());
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn cel() {
    let engine = unoptimised(&component(EngineName::Cel));
    let real = "run.building_block.id == '' || token.ttl_seconds == 3600";
    let policy = |when: &str| {
        let when = format!("({real}) && ({when})");
        let data = json!({"many": (0..400).collect::<Vec<_>>(), "text": "a".repeat(10_000)});
        json!({"policy": format!("permit:\n- when: {}\n", json!(when)), "data": data})
    };
    for (when, codes) in [
        (
            "data.many.all(a, data.many.all(b, data.many.all(c, a + b + c >= 0)))",
            &["out-of-fuel"][..],
        ),
        (
            "data.many.map(a, data.many.map(b, data.text + data.text)).size() > 0",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
    ] {
        check(&engine, &policy(when), codes);
    }
    // A regular expression takes time that grows with the text alone.
    let regular = policy("!('a' + data.text).matches('^(a+)+$') || true");
    assert!(decide(&engine, &regular).0.is_ok());
    for when in [
        format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}1 == 1", "-(".repeat(5_000)),
        "'a'.matches('a{1000}{1000}')".to_owned(),
    ] {
        let settings = json!({"policy": format!("permit:\n- when: {}\n", json!(when))});
        assert!(bind(&engine, &settings).is_err(), "{}", &when[..20]);
    }
    // YAML that grows when it is read.
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\npermit: [*b]\n";
    assert!(bind(&engine, &json!({"policy": bomb})).is_err());
    let deep = format!("permit: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    assert!(bind(&engine, &json!({"policy": deep})).is_err());
}
