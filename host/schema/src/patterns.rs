//! Translates patterns from ECMA-262, the syntax of schemas, to an engine that runs in linear time.

use regex::RegexBuilder;

/// The maximum length of a pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// The maximum size of a compiled pattern's states, in KiB.
pub const MAX_PATTERN_KIB: u64 = 256;

/// The bounds that a compiled pattern is tried with, in KiB: the first one that it fits is its cost.
const SIZES: [u64; 5] = [1, 4, 16, 64, MAX_PATTERN_KIB];

/// The white space of ECMA-262.
const SPACE: &str = r"\t\n\x0B\x0C\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// Translates a pattern to the engine's syntax, and returns the KiB that its states take. Returns `None` if the engine
/// does not support the pattern or gives it another meaning, or it is too large.
pub(crate) fn translate(pattern: &str) -> Option<(String, u64)> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return None;
    }
    let translated = syntax(pattern)?;
    // The engine stops at the bound, so a pattern that is too large is cheap to reject.
    let fits = |kib: &u64| {
        let bytes = usize::try_from(kib * 1024).unwrap_or(usize::MAX);
        RegexBuilder::new(&translated).size_limit(bytes).build().is_ok()
    };
    let kib = SIZES.into_iter().find(fits)?;
    Some((translated, kib))
}

/// Translates the syntax: digits and word characters are ASCII only, and brackets have no nested syntax.
fn syntax(pattern: &str) -> Option<String> {
    let mut translated = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                'd' => translated.push_str("[0-9]"),
                'D' => translated.push_str("[^0-9]"),
                'w' => translated.push_str("[0-9A-Za-z_]"),
                'W' => translated.push_str("[^0-9A-Za-z_]"),
                's' => translated.extend(["[", SPACE, "]"]),
                'S' => translated.extend(["[^", SPACE, "]"]),
                // Not in ECMA-262, or with another meaning there.
                'a' | 'A' | 'z' | 'Q' | '<' | '>' => return None,
                other => translated.extend(['\\', other]),
            },
            '[' if in_class => translated.push_str("\\["),
            '[' => {
                in_class = true;
                translated.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                // `[]` and `[^]` match no and every character in ECMA-262; they are rare enough to reject.
                if characters.peek() == Some(&']') {
                    return None;
                }
            }
            ']' => {
                in_class = false;
                translated.push(']');
            }
            // Doubled, these are set operations in the engine's syntax.
            '&' | '~' if in_class => translated.extend(['\\', character]),
            '-' if in_class && characters.peek() == Some(&'-') => return None,
            other => translated.push(other),
        }
    }
    Some(translated)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use regex::Regex;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Regex::new(&translate(pattern).unwrap().0).unwrap().is_match(text)
    }

    #[test]
    fn classes_are_those_of_ecma() {
        assert!(matches(r"^\d+$", "12"));
        assert!(!matches(r"^\d+$", "\u{0661}"));
        assert!(matches(r"^\D$", "\u{0661}"));
        assert!(!matches(r"^\w$", "ä"));
        assert!(matches(r"^[^\w-]$", "ä"));
        assert!(matches(r"^[\w.-]+$", "a.b-c_1"));
        assert!(matches(r"^\s$", "\u{feff}"));
        assert!(!matches(r"^\S$", "\u{feff}"));
        assert!(matches("^[[&&~~a]+$", "[&~a"));
        assert!(matches(r"^[\]a]+$", "]a"));
        assert!(matches("^a$", "a"));
        assert!(!matches("^a$", "a\n"));
    }

    #[test]
    fn what_is_not_linear_or_too_large_is_not_taken() {
        for pattern in ["(?=a)", "(?<!a)b", r"(a)\1", r"\ca", "(", "[]", "[^]", "[+--]", r"\Aa"] {
            assert_eq!(translate(pattern), None, "{pattern}");
        }
        assert_eq!(translate("((a{100}){100}){100}"), None);
        assert_eq!(translate(&"a".repeat(MAX_PATTERN_BYTES + 1)), None);
    }

    #[test]
    fn usual_patterns_are_small() {
        for pattern in ["^[!-~]+$", "^[a-z0-9]+(-[a-z0-9]+)*$"] {
            assert!(translate(pattern).unwrap().1 <= 4, "{pattern}: {:?}", translate(pattern));
        }
        assert!(translate("^([a-z]+)+$").is_some());
    }
}
