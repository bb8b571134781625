//! The nesting of a text, which a parser that recurses needs stack for.

/// The brackets that may be open at once. The parser takes 18 KB of the stack for each, and overflows the 512 KB of the
/// component at 26; a trap would say neither that nor where.
const MAX_NESTING: usize = 22;

/// The offset of the first bracket that is nested too deep.
pub fn too_deep(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut rest = text.char_indices();
    while let Some((at, character)) = rest.next() {
        match character {
            '(' | '[' | '{' if open.len() == MAX_NESTING => return Some(at),
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' => {
                // What a regular expression has open is closed with what is around it.
                if let Some(index) = open.iter().rposition(|close| *close == character) {
                    open.truncate(index);
                }
            }
            '\'' | '"' => skip_text(&mut rest, character),
            '/' => skip_comment(text, at, &mut rest),
            _ => {}
        }
    }
    None
}

type Characters<'t> = std::str::CharIndices<'t>;

/// Skips to the end of a text, or of its line. Texts with expressions in them are read as code.
fn skip_text(rest: &mut Characters<'_>, quote: char) {
    while let Some((_, character)) = rest.next() {
        match character {
            '\\' => drop(rest.next()),
            '\n' => return,
            _ if character == quote => return,
            _ => {}
        }
    }
}

fn skip_comment(text: &str, at: usize, rest: &mut Characters<'_>) {
    let from = text.get(at..).unwrap_or_default();
    let end = match from {
        _ if from.starts_with("//") => from.find('\n'),
        _ if from.starts_with("/*") => from.find("*/").map(|end| end + 1),
        _ => return,
    };
    let end = at + end.unwrap_or(from.len());
    while rest.clone().next().is_some_and(|(next, _)| next <= end) {
        rest.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_of_code_nest() {
        let deep = |open: &str, close: &str| open.repeat(40) + &close.repeat(40);
        for text in [
            "()[]{}".repeat(100),
            format!("'{}'", "(".repeat(100)),
            format!("\"\\\"{}\"", "[".repeat(100)),
            format!("// {}\n", "{".repeat(100)),
            format!("/* {} */ a", "{".repeat(100)),
            "f(/[(]/);\n".repeat(100),
            "a / b / c".repeat(10),
            // The text of an author who forgot the end of one has an error of syntax.
            "'(((((((((((((((((((((((((((((((\n".to_owned(),
        ] {
            assert_eq!(too_deep(&text), None, "{text}");
        }
        assert_eq!(too_deep(&deep("(", ")")), Some(MAX_NESTING));
        assert_eq!(too_deep(&format!("a;{}", deep("[", "]"))), Some(MAX_NESTING + 2));
        assert_eq!(too_deep(&deep("${", "}")), Some(2 * MAX_NESTING + 1));
    }
}
