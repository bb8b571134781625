//! IAM's patterns: `*` stands for any text, `?` for any one character.

/// Whether a pattern of IAM's `StringLike` matches a text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where to go on when what follows the last `*` does not match: it takes one character more.
    let (mut at, mut seen, mut star) = (0, 0, None);
    while let Some(found) = text.get(seen) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(expected) if *expected == '?' || expected == found => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((of_star, from)) => {
                    star = Some((of_star, from + 1));
                    at = of_star + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
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
            ("workspace.team*", "workspace.team-b.buildingblockdefinition.x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// As the definition has it.
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
        fn as_the_definition_has_it(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(
                matches(&pattern, &text),
                by_definition(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
