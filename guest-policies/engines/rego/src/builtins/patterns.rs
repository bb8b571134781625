//! Translates regular expressions from Go's syntax, which OPA has, to that of the crate `regex`.
//!
//! Both are RE2's, but for a few forms: in Go `\d`, `\w`, `\s` and `\b` are of ASCII, `{` may stand for itself, `\Q…\E` quotes,
//! and a class has no operators.

/// The expression in the syntax of the crate.
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    let mut class = None;
    while let Some(c) = chars.get(at).copied() {
        let next = chars.get(at + 1).copied();
        at += 1;
        match (c, class) {
            ('\\', _) => {
                at += 1;
                match next {
                    Some('Q') => {
                        at = quote(&chars, at, &mut out);
                        continue;
                    }
                    // The name of a class of Unicode is in braces.
                    Some('p' | 'P' | 'x') if chars.get(at) == Some(&'{') => {
                        let rest = chars.get(at - 2..).unwrap_or_default();
                        let length =
                            rest.iter().position(|c| *c == '}').map_or(rest.len(), |end| end + 1);
                        out.extend(rest.iter().take(length));
                        at += length.saturating_sub(2);
                    }
                    Some(letter) => escape(letter, class.is_some(), &mut out),
                    None => out.push('\\'),
                }
            }
            ('[', None) => {
                class = Some(at);
                out.push('[');
                if next == Some('^') {
                    out.push('^');
                    at += 1;
                    class = Some(at);
                }
            }
            (']', Some(start)) => {
                // As the first member it stands for itself.
                if at - 1 == start {
                    out.push_str("\\]");
                } else {
                    out.push(']');
                    class = None;
                }
            }
            ('[', Some(_)) => match named_class(&chars, at - 1) {
                Some(end) => {
                    out.extend(chars.get(at - 1..end).unwrap_or_default());
                    at = end;
                }
                None => out.push_str("\\["),
            },
            ('&' | '~', Some(_)) => {
                out.push('\\');
                out.push(c);
            }
            // Two dashes would be an operator; the second ends a range, or stands for itself.
            ('-', Some(start)) if next == Some('-') || at - 1 == start => out.push_str("\\-"),
            ('{', None) if !is_repetition(&chars, at) => out.push_str("\\{"),
            ('}', None) if !ends_repetition(&out) => out.push_str("\\}"),
            (other, _) => out.push(other),
        }
    }
    out
}

fn escape(letter: char, is_in_class: bool, out: &mut String) {
    out.push_str(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        'b' if !is_in_class => "(?-u:\\b)",
        'B' if !is_in_class => "(?-u:\\B)",
        // Words begin and end with these elsewhere; in Go they are themselves.
        '<' => "<",
        '>' => ">",
        other => {
            out.push('\\');
            out.push(other);
            return;
        }
    });
}

/// Copies what `\Q` quotes, and gives the place behind `\E`.
fn quote(chars: &[char], start: usize, out: &mut String) -> usize {
    let mut at = start;
    while let Some(c) = chars.get(at) {
        if *c == '\\' && chars.get(at + 1) == Some(&'E') {
            return at + 2;
        }
        out.push_str(&regex::escape(&c.to_string()));
        at += 1;
    }
    at
}

/// The end of `[:name:]` within a class.
fn named_class(chars: &[char], start: usize) -> Option<usize> {
    let rest = chars.get(start..)?;
    if rest.get(1) != Some(&':') {
        return None;
    }
    let end = rest.windows(2).position(|pair| pair == [':', ']'])?;
    Some(start + end + 2)
}

/// Says that behind a brace are the numbers of a repetition.
fn is_repetition(chars: &[char], start: usize) -> bool {
    let rest = chars.get(start..).unwrap_or_default();
    let Some(end) = rest.iter().position(|c| *c == '}') else { return false };
    let text: String = rest.iter().take(end).collect();
    let (least, most) = text.split_once(',').unwrap_or((&text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

/// Says that a closing brace ends the repetition or the name of a class that was opened last.
fn ends_repetition(out: &str) -> bool {
    let Some(open) = out.rfind('{') else { return false };
    !out.get(open..).unwrap_or_default().contains('}')
        && !out.get(..open).unwrap_or_default().ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_means_the_same() {
        for (go, rust) in [
            (r"^team-\d+$", r"^team-[0-9]+$"),
            (r"[\w.]+@x", r"[[0-9A-Za-z_].]+@x"),
            (r"a{2,3}b{", r"a{2,3}b\{"),
            (r"\Qa.b\E.", r"a\.b."),
            (r"[[:alpha:]&&x]", r"[[:alpha:]\&\&x]"),
            (r"[]a]", r"[\]a]"),
            (r"\p{Greek}{", r"\p{Greek}\{"),
            (r"{x}", r"\{x\}"),
            (r"[a--]", r"[a\--]"),
        ] {
            assert_eq!(translate(go), rust, "{go}");
            assert!(regex::Regex::new(rust).is_ok(), "{rust}");
        }
    }
}
