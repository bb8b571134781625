//! IAM's patterns: `*` matches any text, `?` any one character. There is no escape character.

use wildmatch::WildMatch;

/// Matches a text against a pattern of IAM's `StringLike`, case-sensitively.
///
/// Takes at most the product of both lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ab", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a**c", "ac", true),
            ("A", "a", false),
            // Nothing escapes, and nothing else is special.
            ("\\*", "*", false),
            ("\\*", "\\a", true),
            ("[ab]", "a", false),
            ("{a,b}", "a", false),
            ("*", "a\nb", true),
            // One character, not one byte.
            ("?", "é", true),
            ("?", "e\u{301}", false),
            ("*?", "", false),
            ("workspace.team*", "workspace.team-b.buildingblockdefinition.x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_the_product() {
        let text = "a".repeat(10_000);
        for pattern in ["*a".repeat(1_000) + "b", "*".repeat(100_000) + "b", "?*".repeat(10_001)] {
            let started = Instant::now();
            assert!(!matches(&pattern, &text), "{pattern:.20}");
            assert!(started.elapsed() < Duration::from_secs(10), "{pattern:.20}");
        }
    }

    /// The definition, followed literally.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                by_definition(rest, text)
                    || text.split_first().is_some_and(|(_, text)| by_definition(pattern, text))
            }
            (Some((b'?', rest)), Some((_, text))) => by_definition(rest, text),
            (Some((one, rest)), Some((other, text))) => one == other && by_definition(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_definition_has_it(pattern in "[ab*?\\\\]{0,8}", text in "[ab*?\\\\]{0,8}") {
            prop_assert_eq!(
                matches(&pattern, &text),
                by_definition(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
