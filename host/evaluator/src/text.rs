//! Text that somebody else wrote, made safe to show.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

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

/// Tells whether a character must not reach a terminal, a log or a reader as it is: control and format characters, line
/// and paragraph separators, what is invisible, and what Unicode has not assigned or leaves to private use. XML 1.0 can
/// hold every other character (section 2.2).
pub(crate) fn is_misleading(character: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    matches!(
        character.general_category(),
        Control
            | Format
            | LineSeparator
            | ParagraphSeparator
            | PrivateUse
            | Surrogate
            // Noncharacters too.
            | Unassigned
    ) || is_blank(character)
}

/// Tells whether a letter, mark or symbol is shown as nothing: those of Unicode's `Default_Ignorable_Code_Point` that its
/// general category does not tell, and two symbols.
fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\u{034f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{1d159}'
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
            // Format characters of every plane, noncharacters, private use, unassigned, blank.
            ("\u{1d173}\u{1bca0}", "\\u{1d173}\\u{1bca0}"),
            ("\u{fffe}\u{ffff}\u{10ffff}\u{fdd0}", "\\u{fffe}\\u{ffff}\\u{10ffff}\\u{fdd0}"),
            ("\u{e000}\u{f0000}\u{0378}\u{2800}", "\\u{e000}\\u{f0000}\\u{378}\\u{2800}"),
            ("naïve 工作区 ελ עב 🦀 ½", "naïve 工作区 ελ עב 🦀 ½"),
        ] {
            assert_eq!(escape(text, 100), expected);
        }
    }

    #[test]
    fn what_is_shown_is_what_xml_can_hold() {
        // XML 1.0, section 2.2, without the three control characters.
        let is_xml = |character: char| matches!(character, '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        for character in ('\0'..=char::MAX).filter(|character| !is_misleading(*character)) {
            assert!(is_xml(character), "{character:?}");
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
