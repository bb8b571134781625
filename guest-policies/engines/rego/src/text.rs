//! Reads texts before the parser does: bounds their nesting, and writes `$"… {x} …"` as a call, which the parser has no form
//! for.

use crate::tree::Place;

/// The most brackets and braces that are open at once: the time to parse doubles with each.
const MAX_OPEN: usize = 14;

/// The most parentheses that are open at once.
const MAX_PARENTHESES: usize = 30;

/// The most operators of one expression: each nests what is before it.
const MAX_OPERATORS: usize = 100;

/// The function that puts the parts of a text together.
pub const JOIN: &str = "__text";

/// A text as the parser gets it.
pub struct Prepared {
    /// The text.
    pub text: String,
    /// The parts that were written otherwise, in the order of the text. None goes over the end of a line.
    replaced: Vec<Replaced>,
}

/// A part of a line, by columns from 0 on.
struct Replaced {
    line: usize,
    new: (usize, usize),
    old: (usize, usize),
}

impl Prepared {
    /// The place in the author's text of one in the parser's.
    pub fn original(&self, mut place: Place) -> Place {
        let column = place.column - 1;
        for part in self.replaced.iter().rev().filter(|part| part.line == place.line) {
            if column >= part.new.1 {
                place.column = column - part.new.1 + part.old.1 + 1;
                return place;
            }
            if column >= part.new.0 {
                place.column = part.old.0 + 1;
                return place;
            }
        }
        place
    }
}

/// An error, with its line and column.
pub type Problem = (usize, usize, String);

/// Prepares a text.
///
/// # Errors
/// When it nests too deep, or has a text in which an expression is not closed.
pub fn prepare(text: &str) -> Result<Prepared, Problem> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, line: 1, column: 0 };
    let mut prepared = Prepared { text: String::with_capacity(text.len()), replaced: Vec::new() };
    let (mut open, mut operators, mut new_column) = (Vec::new(), 0_usize, 0_usize);
    let mut is_operator_last = false;
    while let Some(c) = reader.peek(0) {
        let (line, column) = (reader.line, reader.column);
        let wrong = |message: String| (line, column + 1, message);
        let mut piece = String::new();
        match c {
            '#' => {
                while reader.peek(0).is_some_and(|c| c != '\n') {
                    piece.extend(reader.next());
                }
            }
            '"' | '`' => {
                is_operator_last = false;
                piece = reader.literal(c);
            }
            '$' if matches!(reader.peek(1), Some('"' | '`')) => {
                is_operator_last = false;
                piece = reader.template()?;
                if reader.line == line {
                    let new = (new_column, new_column + piece.chars().count());
                    prepared.replaced.push(Replaced { line, new, old: (column, reader.column) });
                }
            }
            _ => {
                reader.next();
                piece.push(c);
                match c {
                    '[' | '{' | '(' => {
                        open.push(c);
                        let parentheses = open.iter().filter(|c| **c == '(').count();
                        if open.len() - parentheses > MAX_OPEN || parentheses > MAX_PARENTHESES {
                            let message = format!(
                                "more than {MAX_OPEN} brackets and braces, or {MAX_PARENTHESES} parentheses, are open at once; make rules of what is inside"
                            );
                            return Err(wrong(message));
                        }
                        (operators, is_operator_last) = (0, false);
                    }
                    ']' | '}' | ')' => {
                        open.pop();
                        (operators, is_operator_last) = (0, false);
                    }
                    ';' | ',' => (operators, is_operator_last) = (0, false),
                    '\n' if !is_operator_last => operators = 0,
                    '+' | '-' | '*' | '/' | '%' | '&' | '|' | '<' | '>' | '=' | '!' => {
                        operators += usize::from(!is_operator_last);
                        is_operator_last = true;
                        if operators > MAX_OPERATORS {
                            let message = format!(
                                "more than {MAX_OPERATORS} operators in one expression; make rules of parts of it"
                            );
                            return Err(wrong(message));
                        }
                    }
                    c if c.is_whitespace() => {}
                    _ => is_operator_last = false,
                }
            }
        }
        match piece.rfind('\n') {
            Some(end) => new_column = piece.get(end + 1..).unwrap_or_default().chars().count(),
            None => new_column += piece.chars().count(),
        }
        prepared.text.push_str(&piece);
    }
    Ok(prepared)
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    column: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        if next == '\n' {
            self.line += 1;
            self.column = 0;
        } else {
            self.column += 1;
        }
        Some(next)
    }

    /// A literal text with its quotation marks, or as far as it goes.
    fn literal(&mut self, mark: char) -> String {
        let mut literal: String = self.next().into_iter().collect();
        while let Some(c) = self.peek(0) {
            if c == '\n' && mark == '"' {
                break;
            }
            literal.extend(self.next());
            if c == '\\' && mark == '"' {
                literal.extend(self.next());
            } else if c == mark {
                break;
            }
        }
        literal
    }

    /// A text with expressions in braces, as the call of [`JOIN`]: each expression is the set of its values, which is empty
    /// where it is undefined.
    fn template(&mut self) -> Result<String, Problem> {
        let start = (self.line, self.column + 1);
        let unclosed = |what: &str| (start.0, start.1, format!("{what} is not closed"));
        self.next();
        let mark = self.next().unwrap_or('"');
        let (mut call, mut literal) = (format!("{JOIN}(["), String::new());
        loop {
            match self.peek(0) {
                None => return Err(unclosed("the text")),
                Some('\n') if mark == '"' => return Err(unclosed("the text")),
                Some(c) if c == mark => {
                    self.next();
                    break;
                }
                Some('\\') => {
                    self.next();
                    match self.next() {
                        Some('{') => literal.push('{'),
                        Some(other) => literal.extend(['\\', other]),
                        None => return Err(unclosed("the text")),
                    }
                }
                Some('{') => {
                    self.next();
                    call.push_str(&format!("{mark}{literal}{mark}, {{__value | __value := "));
                    literal.clear();
                    call.push_str(
                        &self
                            .expression()
                            .ok_or_else(|| unclosed("an expression in the text"))??,
                    );
                    call.push_str("}, ");
                }
                Some(_) => literal.extend(self.next()),
            }
        }
        call.push_str(&format!("{mark}{literal}{mark}])"));
        Ok(call)
    }

    /// An expression up to the brace that closes it.
    fn expression(&mut self) -> Option<Result<String, Problem>> {
        let (mut expression, mut open) = (String::new(), 0_usize);
        loop {
            match self.peek(0)? {
                '"' => expression.push_str(&self.literal('"')),
                '`' => expression.push_str(&self.literal('`')),
                '$' if matches!(self.peek(1), Some('"' | '`')) => match self.template() {
                    Ok(inner) => expression.push_str(&inner),
                    Err(problem) => return Some(Err(problem)),
                },
                '}' if open == 0 => {
                    self.next();
                    return Some(Ok(expression));
                }
                c => {
                    match c {
                        '{' | '[' | '(' => open += 1,
                        '}' | ']' | ')' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    expression.extend(self.next());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_expressions_become_calls() {
        for (text, expected) in [
            ("x := \"$\" # $\"{a}\"", "x := \"$\" # $\"{a}\""),
            ("x := $\"a {b} c\"", "x := __text([\"a \", {__value | __value := b}, \" c\"])"),
            (
                "x := $\"\\{{f({\"a\": 1})}\"",
                "x := __text([\"{\", {__value | __value := f({\"a\": 1})}, \"\"])",
            ),
            ("x := $`a {b}`", "x := __text([`a `, {__value | __value := b}, ``])"),
        ] {
            assert_eq!(prepare(text).expect(text).text, expected);
        }
        assert!(prepare("x := $\"a {b\"").is_err());
        let place = |column| Place { file: String::new(), line: 1, column };
        let prepared = prepare("x := $\"{b}\"; y").expect("a text");
        let column = prepared.text.find("; y").expect("the end") + 3;
        assert_eq!(prepared.original(place(column)).column, 14);
        assert_eq!(prepared.original(place(3)).column, 3);
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(prepare(&format!("x := {}", "[".repeat(50))).is_err());
        assert!(prepare(&format!("x := {}", "(".repeat(50))).is_err());
        assert!(prepare(&format!("x := 1{}", " + 1".repeat(200))).is_err());
        assert!(prepare(&"x := 1 + 1\n".repeat(200)).is_ok());
        assert!(prepare(&format!("x := [{}]", "1 + 1, ".repeat(200))).is_ok());
    }
}
