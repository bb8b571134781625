//! Text that somebody else wrote, made safe to show.

/// Escapes what could change how a terminal, a log or a reader takes the text, and cuts it to at
/// most `limit` bytes.
///
/// Control characters, line and paragraph separators, and characters that are invisible or turn
/// the direction of writing become `\u{…}`; a backslash is doubled, so that the escape cannot be
/// forged. A cut is marked by `…`, which counts towards the limit.
pub(crate) fn escape(text: &str, limit: usize) -> String {
    const MARK: char = '…';
    let mut escaped = String::with_capacity(text.len().min(limit));
    // Where to cut back to, so that the mark still fits.
    let mut cut = 0;
    for character in text.chars() {
        if escaped.len() + MARK.len_utf8() <= limit {
            cut = escaped.len();
        }
        if is_misleading(character) {
            escaped.extend(character.escape_unicode());
        } else if character == '\\' {
            escaped.push_str("\\\\");
        } else {
            escaped.push(character);
        }
        if escaped.len() > limit {
            escaped.truncate(cut);
            if MARK.len_utf8() <= limit {
                escaped.push(MARK);
            }
            break;
        }
    }
    escaped
}

/// Makes a text of several lines safe to show: what could mislead a terminal or a reader becomes
/// `\u{…}`, and its lines stay. For messages that quote paths or lines of a file.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && is_misleading(character) {
            visible.extend(character.escape_unicode());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Tells whether a character must not reach a terminal, a log or a reader as it is: control characters,
/// line and paragraph separators, and what is invisible or turns the direction of writing.
pub(crate) fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_misleads() {
        for (text, expected) in [
            ("plain – text", "plain – text"),
            ("red\u{1b}[31m", "red\\u{1b}[31m"),
            ("two\nlines\0", "two\\u{a}lines\\u{0}"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("\\u{a}", "\\\\u{a}"),
        ] {
            assert_eq!(escape(text, 100), expected);
        }
    }

    #[test]
    fn cuts_at_the_limit_and_says_so() {
        assert_eq!(escape("abcdefgh", 8), "abcdefgh");
        assert_eq!(escape("abcdefghi", 8), "abcde…");
        assert_eq!(escape("ääääääää", 8), "ää…");
        assert_eq!(escape("\u{1b}\u{1b}\u{1b}", 8), "…");
        assert_eq!(escape("abc", 2), "");
        for limit in 0..40 {
            assert!(escape("a\u{1b}ä…\u{202e}bcdefghij\n\n", limit).len() <= limit);
        }
    }
}
