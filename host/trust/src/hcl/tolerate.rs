//! Makes text that OpenTofu takes digestible for the parser, line by line: no line moves.

use std::ops::Range;

/// The mark of a key that stands a second time in one object. The parser refuses such an object; OpenTofu takes the
/// last one.
const MARK: &str = "key_again_";

/// The maximum number of repeated keys of a file.
pub(super) const MAX_REPEATED: usize = 64;

/// The maximum number of bytes that are parsed again because of repeated keys.
pub(super) const MAX_PARSED_AGAIN: usize = 8 << 20;

/// The maximum length of the name of a heredoc, in bytes.
const MAX_NAME: usize = 128;

/// Removes the byte order mark.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Marks the key at an offset; `None` if there is no plain key.
pub(super) fn mark_key(text: &str, at: usize) -> Option<String> {
    let quoted = text.get(at..)?.starts_with('"');
    let (before, after) = text.split_at_checked(at + usize::from(quoted))?;
    let plain = after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
    (quoted || plain).then(|| format!("{before}{MARK}{after}"))
}

/// Splits a key into its name, and true if it stands again.
pub(super) fn unmarked(key: &str) -> (&str, bool) {
    let name = key.trim_start_matches(MARK);
    (name, name.len() < key.len())
}

/// Replaces the newlines that are white space to OpenTofu and not to the parser: those within the braces of a `for`.
pub(super) fn join_lines_of_for(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ignored(text) {
        for byte in bytes.get_mut(range).unwrap_or_default() {
            *byte = b' ';
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A bracket, or a text, that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `{`, in which newlines count.
    Braces,
    /// `{ for`, `(`, `[`.
    Loose,
    /// `"`.
    Quotes,
    /// `${` within a text.
    Interpolation,
}

/// The newlines and comments that are to be blank.
fn ignored(text: &str) -> Vec<Range<usize>> {
    let (mut ignored, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    let mut for_braces = 0_usize;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.chars().next().map_or(1, char::len_utf8);
        let mut step = length;
        if open.last() == Some(&Open::Quotes) {
            match rest.as_bytes() {
                [b'\\', _, ..] => step = 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
                [b'$' | b'%', b'{', ..] => {
                    open.push(Open::Interpolation);
                    step = 2;
                }
                [b'$', b'$', b'{', ..] | [b'%', b'%', b'{', ..] => step = 3,
                [b'"', ..] => {
                    open.pop();
                }
                _ => {}
            }
            at += step;
            continue;
        }
        let in_for = for_braces > 0 && open.last() == Some(&Open::Loose);
        match rest.as_bytes() {
            [b'"', ..] => open.push(Open::Quotes),
            [b'{', ..] => {
                let inner = rest.get(1..).unwrap_or_default().trim_start();
                let is_for = inner.strip_prefix("for").is_some_and(|r| r.starts_with([' ', '\t']));
                for_braces += usize::from(is_for);
                open.push(if is_for { Open::Loose } else { Open::Braces });
            }
            [b'(' | b'[', ..] => open.push(Open::Loose),
            [b'}' | b')' | b']', ..] => {
                open.pop();
            }
            [b'#', ..] | [b'/', b'/', ..] => {
                step = rest.find('\n').unwrap_or(rest.len());
                if in_for {
                    ignored.push(at..at + step);
                }
            }
            [b'/', b'*', ..] => {
                step = rest.find("*/").map_or(rest.len(), |end| end + 2);
                if in_for {
                    ignored.push(at..at + step);
                }
            }
            [b'<', b'<', ..] => step = heredoc(rest).unwrap_or(length),
            [b'\n' | b'\r', ..] if in_for => ignored.push(at..at + 1),
            _ => {}
        }
        at += step.max(1);
    }
    ignored
}

/// The length of a heredoc with its end.
fn heredoc(rest: &str) -> Option<usize> {
    let opening = rest.strip_prefix("<<")?;
    let opening = opening.strip_prefix('-').unwrap_or(opening);
    // Most of what looks like the beginning of one is seen here not to be.
    if !opening.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c.is_whitespace()) {
        return None;
    }
    let end = opening.bytes().take(MAX_NAME).position(|byte| byte == b'\n')?;
    let name = opening.get(..end)?.trim();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return None;
    }
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        length += line.len();
        if length > line.len() && line.trim() == name {
            return Some(length - (line.len() - line.trim_end().len()));
        }
    }
    // Without an end, all of it is text.
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::join_lines_of_for;

    #[test]
    fn only_the_newlines_of_a_for_are_joined() {
        for (text, joined) in [
            ("a = {\n b = 1\n}\n", "a = {\n b = 1\n}\n"),
            ("a = {\n for k in x : k =>\n k\n}\n", "a = {  for k in x : k =>  k }\n"),
            ("a = { for k in x : k => # c\n k }\n", "a = { for k in x : k =>      k }\n"),
            (
                "a = { for k in x : k => {\n b = 1\n} }\n",
                "a = { for k in x : k => {\n b = 1\n} }\n",
            ),
            ("a = \"{ for \n}\"\n", "a = \"{ for \n}\"\n"),
            ("a = <<E\n{ for \n}\nE\n", "a = <<E\n{ for \n}\nE\n"),
            ("# { for \n}\n", "# { for \n}\n"),
        ] {
            assert_eq!(join_lines_of_for(text), joined);
        }
    }
}
