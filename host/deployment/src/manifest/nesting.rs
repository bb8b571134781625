//! The nesting of a TOML text, measured without recursion.
//!
//! `toml` bounds the brackets and the parts of a dotted key, but not their product, and what it
//! makes of them is read, written and dropped by recursion: a few kilobytes would overflow the
//! stack, which aborts the process.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// The maximum depth of brackets.
pub(super) const MAX_BRACKETS: usize = 32;

/// The maximum of dots in one key.
pub(super) const MAX_DOTS: usize = 8;

/// The line of the first place that is nested too deep.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let (mut brackets, mut dots) = (0_usize, 0_usize);
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                brackets += 1;
                dots = 0;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                brackets = brackets.saturating_sub(1);
                dots = 0;
            }
            TokenKind::Equals | TokenKind::Comma | TokenKind::Newline => dots = 0,
            TokenKind::Dot => dots += 1,
            _ => {}
        }
        if brackets > MAX_BRACKETS || dots > MAX_DOTS {
            let before = text.get(..token.span().start()).unwrap_or(text);
            return Some(before.matches('\n').count() + 1);
        }
    }
    None
}
