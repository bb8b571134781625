use super::parse;
use crate::node::{Node, Place, Value};

/// The node as JSON.
fn json(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.clone(),
        Value::Text(text) => format!("{:?}", text.text),
        Value::List(elements) => {
            format!("[{}]", elements.iter().map(json).collect::<Vec<_>>().join(","))
        }
        Value::Map(members) => {
            let members = members.iter().map(|(key, node)| format!("{key:?}:{}", json(node)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Unknown(_) => "?".to_owned(),
    }
}

#[test]
fn templates_are_read() {
    for (text, expected) in [
        (
            "a: 1\nb:\n  - x\n  - y: z # c\n    w: 'it''s'\n",
            r#"{"a":1,"b":["x",{"y":"z","w":"it's"}]}"#,
        ),
        ("a:\n- x\n- - y\nb: ~\n", r#"{"a":["x",["y"]],"b":null}"#),
        (
            "a: {Federated: !Ref Provider, b: [1, \"two\"]}\n",
            r#"{"a":{"Federated":{"Ref":"Provider"},"b":[1,"two"]}}"#,
        ),
        ("a: !Sub \"x:${Y}#z\"\n", r#"{"a":{"Fn::Sub":"x:${Y}#z"}}"#),
        (
            "a: !Join\n  - ':'\n  - [x, !GetAtt P.Arn]\n",
            r#"{"a":{"Fn::Join":[":",["x",{"Fn::GetAtt":["P","Arn"]}]]}}"#,
        ),
        ("a: |\n  {\n    \"b\": 1\n  }\nc: d\n", r#"{"a":"{\n  \"b\": 1\n}","c":"d"}"#),
        (
            "a:\n  \"x:sub\": y\n  oidc.example.com:sub: z:*\n",
            r#"{"a":{"x:sub":"y","oidc.example.com:sub":"z:*"}}"#,
        ),
        ("---\na: one\n  two\nb: [1,\n  2]\n", r#"{"a":"one two","b":[1,2]}"#),
        ("", "null"),
        ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
        (
            "a: &x\n  k: 1\n  l: 2\nb:\n  <<: *x\n  l: 3\nc:\n- &y m: 4\n  n: 5\n- *y\n",
            r#"{"a":{"k":1,"l":2},"b":{"l":3,"k":1},"c":[{"m":4,"n":5},{"m":4,"n":5}]}"#,
        ),
        ("a: &x\n- 1\nb: *x\n---\na: 2\n...\n", r#"[{"a":[1],"b":[1]},{"a":2}]"#),
    ] {
        assert_eq!(parse(text).as_ref().map(json), Ok(expected.to_owned()), "{text}");
    }
}

/// Aliases that copy a long list again and again.
fn bomb() -> String {
    format!("a: &a [{}]\nb: &b\n- *a\nc: *b\nd: *b\ne: *b\n", "x, ".repeat(30_000))
}

#[test]
fn bombs_and_depth_are_bounded() {
    for (text, line, says) in [
        ("a: &x [1]\nb: [*x]\n".to_owned(), 2, "aliases within"),
        ("a: 1\nb: *x\n".to_owned(), 2, "no anchor"),
        ("a: 1\n<<: 2\n".to_owned(), 2, "merge"),
        (bomb(), 6, "copy more"),
        ("a: 1\na: 2\n".to_owned(), 2, "twice"),
        (format!("a: {}", "[".repeat(1000) + &"]".repeat(1000)), 1, "deeper"),
        ("- ".repeat(1000) + "x", 1, "deeper"),
        ("a: \"x\n".to_owned(), 1, "quoted"),
        (" ".repeat((4 << 20) + 1), 1, "longer"),
    ] {
        let (place, problem) = parse(&text).unwrap_err();
        assert!(problem.contains(says), "{says}: {problem}");
        assert_eq!(place, Place::Line(line), "{says}");
    }
}
