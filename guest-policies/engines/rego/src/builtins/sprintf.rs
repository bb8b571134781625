//! `sprintf`, as Go's package `fmt` formats: flags, width and precision, indices of arguments, and what it writes in place of
//! a value that a verb does not fit.

use anyhow::{Result, bail};
use regorus::Value;

use super::Function;
use super::arguments::{take, text, written, wrong};
use super::sprintf_number::{float, integer};

pub(super) const FUNCTIONS: &[Function] = &[("sprintf", 2, sprintf)];

/// The greatest width and precision: more would be a way to use memory up.
const MAX_WIDTH: usize = 10_000;

/// Flags, width and precision of a verb.
#[derive(Default, Clone)]
pub(super) struct Form {
    pub minus: bool,
    pub plus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
}

impl Form {
    /// Adds spaces, or zeros in front where that flag is set, up to the width.
    pub fn pad(&self, text: &str, out: &mut String) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.minus {
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else {
            let fill = if self.zero { '0' } else { ' ' };
            out.extend(std::iter::repeat_n(fill, missing));
            out.push_str(text);
        }
    }
}

/// An argument, as OPA hands it to Go.
enum Argument {
    Text(String),
    /// A whole number, in decimal digits.
    Integer(String),
    Float(f64),
}

impl Argument {
    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.to_string()),
            Value::Number(number) if number.is_integer() => Self::Integer(number.format_decimal()),
            Value::Number(number) => match number.as_f64() {
                Some(float) => Self::Float(float),
                None => Self::Text(number.format_decimal()),
            },
            other => Self::Text(written(other)),
        }
    }

    /// The name of its type in Go.
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(digits) if digits.parse::<i64>().is_ok() => "int",
            Self::Integer(_) => "*big.Int",
            Self::Float(_) => "float64",
        }
    }
}

fn sprintf(arguments: Vec<Value>) -> Result<Value> {
    let [format, values] = take(arguments)?;
    let Value::Array(items) = &values else {
        return Err(wrong("sprintf", "an array of values", &values));
    };
    let arguments: Vec<_> = items.iter().map(Argument::of).collect();
    let mut writer =
        Writer { arguments: &arguments, next: 0, reordered: false, out: String::new() };
    writer.format(text("sprintf", &format)?)?;
    Ok(Value::from(writer.out))
}

/// The number of values that a format takes; `None` where it names them by indices or takes a width from them.
pub fn verbs(format: &str) -> Option<usize> {
    let (mut count, mut chars) = (0, format.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        let verb = chars.find(|c| !matches!(c, '+' | '-' | '#' | ' ' | '0'..='9' | '.'))?;
        match verb {
            '%' => {}
            '[' | '*' => return None,
            _ => count += 1,
        }
    }
    Some(count)
}

struct Writer<'a> {
    arguments: &'a [Argument],
    next: usize,
    /// Set once an index was given: then unused arguments are no mistake.
    reordered: bool,
    out: String,
}

impl Writer<'_> {
    fn format(&mut self, format: &str) -> Result<()> {
        let chars: Vec<char> = format.chars().collect();
        let mut at = 0;
        while let Some(c) = chars.get(at).copied() {
            at += 1;
            if c == '%' {
                at = self.directive(&chars, at)?;
            } else {
                self.out.push(c);
            }
        }
        if !self.reordered && self.next < self.arguments.len() {
            self.out.push_str("%!(EXTRA ");
            let rest = self.arguments.get(self.next..).unwrap_or_default();
            for (number, argument) in rest.iter().enumerate() {
                if number > 0 {
                    self.out.push_str(", ");
                }
                self.out.push_str(argument.kind());
                self.out.push('=');
                plain(argument, &Form::default(), &mut self.out);
            }
            self.out.push(')');
        }
        Ok(())
    }

    /// Formats what follows a percent sign, and gives the place behind it.
    fn directive(&mut self, chars: &[char], start: usize) -> Result<usize> {
        let (mut at, mut form) = (start, Form::default());
        let mut is_index_bad = false;
        while let Some(flag) = chars.get(at) {
            match flag {
                '#' => form.sharp = true,
                '0' => form.zero = true,
                '+' => form.plus = true,
                '-' => form.minus = true,
                ' ' => form.space = true,
                _ => break,
            }
            at += 1;
        }
        self.index(chars, &mut at, &mut is_index_bad);
        if chars.get(at) == Some(&'*') {
            at += 1;
            match self.star() {
                Some(width) => {
                    form.minus |= width < 0;
                    form.width = Some(bounded(width.unsigned_abs())?);
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
        } else if let Some(width) = number(chars, &mut at) {
            form.width = Some(bounded(width)?);
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            self.index(chars, &mut at, &mut is_index_bad);
            if chars.get(at) == Some(&'*') {
                at += 1;
                match self.star().and_then(|precision| u64::try_from(precision).ok()) {
                    Some(precision) => form.precision = Some(bounded(precision)?),
                    None => self.out.push_str("%!(BADPREC)"),
                }
            } else {
                form.precision = Some(bounded(number(chars, &mut at).unwrap_or(0))?);
            }
        }
        self.index(chars, &mut at, &mut is_index_bad);
        // Zeros in front are for text that is aligned to the right.
        form.zero &= !form.minus;
        let Some(verb) = chars.get(at).copied() else {
            self.out.push_str("%!(NOVERB)");
            return Ok(at);
        };
        at += 1;
        if verb == '%' {
            self.out.push('%');
        } else if is_index_bad {
            self.out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(argument) = self.arguments.get(self.next) {
            self.next += 1;
            write(argument, verb, &form, &mut self.out);
        } else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
        }
        Ok(at)
    }

    /// An index such as `[2]`, if there is one.
    fn index(&mut self, chars: &[char], at: &mut usize, is_bad: &mut bool) {
        if chars.get(*at) != Some(&'[') {
            return;
        }
        self.reordered = true;
        let rest = chars.get(*at + 1..).unwrap_or_default();
        let Some(end) = rest.iter().position(|c| *c == ']') else {
            *is_bad = true;
            *at += 1;
            return;
        };
        let digits: String = rest.iter().take(end).collect();
        *at += end + 2;
        match digits.parse::<usize>() {
            Ok(index) if (1..=self.arguments.len()).contains(&index) => self.next = index - 1,
            _ => *is_bad = true,
        }
    }

    /// A width or precision that is the next argument.
    fn star(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        match argument {
            Argument::Integer(digits) => digits.parse().ok(),
            Argument::Text(_) | Argument::Float(_) => None,
        }
    }
}

fn number(chars: &[char], at: &mut usize) -> Option<u64> {
    let mut number = None;
    while let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(10)) {
        number = Some(number.unwrap_or(0_u64).saturating_mul(10).saturating_add(u64::from(digit)));
        *at += 1;
    }
    number
}

fn bounded(number: u64) -> Result<usize> {
    match usize::try_from(number) {
        Ok(number) if number <= MAX_WIDTH => Ok(number),
        _ => bail!("sprintf: expected a width of at most {MAX_WIDTH}, found {number}"),
    }
}

fn write(argument: &Argument, verb: char, form: &Form, out: &mut String) {
    if verb == 'T' {
        return form.pad(argument.kind(), out);
    }
    let is_written = match argument {
        Argument::Text(value) => string(value, verb, form, out),
        Argument::Integer(digits) => integer(digits, verb, form, out),
        Argument::Float(number) => float(*number, verb, form, out),
    };
    if !is_written {
        out.push_str(&format!("%!{verb}({}=", argument.kind()));
        plain(argument, form, out);
        out.push(')');
    }
}

/// As `%v`.
fn plain(argument: &Argument, form: &Form, out: &mut String) {
    match argument {
        Argument::Text(value) => drop(string(value, 'v', form, out)),
        Argument::Integer(digits) => drop(integer(digits, 'v', form, out)),
        Argument::Float(number) => drop(float(*number, 'v', form, out)),
    }
}

/// Writes a text, unless the verb is not for texts.
fn string(value: &str, verb: char, form: &Form, out: &mut String) -> bool {
    let cut = |text: &str| match form.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    match verb {
        'v' if form.sharp => form.pad(&quoted(value, false), out),
        's' | 'v' => form.pad(&cut(value), out),
        'q' => form.pad(&quoted(&cut(value), form.plus), out),
        'x' | 'X' => {
            let bytes = value.bytes().take(form.precision.unwrap_or(usize::MAX));
            let digits =
                bytes.map(
                    |byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") },
                );
            let digits: Vec<_> = digits.collect();
            let prefix =
                if form.sharp && !digits.is_empty() { format!("0{verb}") } else { String::new() };
            let between = if form.space { format!(" {prefix}") } else { String::new() };
            form.pad(&format!("{prefix}{}", digits.join(&between)), out);
        }
        _ => return false,
    }
    true
}

/// A text in quotation marks, as Go's `strconv.Quote` writes it.
fn quoted(value: &str, is_ascii: bool) -> String {
    let mut text = "\"".to_owned();
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\x07' => text.push_str("\\a"),
            '\x08' => text.push_str("\\b"),
            '\x0b' => text.push_str("\\v"),
            '\x0c' => text.push_str("\\f"),
            c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || (is_ascii && !c.is_ascii()) => match u32::from(c) {
                code @ 0..=0xffff => text.push_str(&format!("\\u{code:04x}")),
                code => text.push_str(&format!("\\U{code:08x}")),
            },
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
