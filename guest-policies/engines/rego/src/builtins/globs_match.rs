//! `regex.globs_match`: says that two patterns have a text in common.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use regorus::Value;

use super::Function;
use super::arguments::{take, text};

pub(super) const FUNCTIONS: &[Function] = &[("regex.globs_match", 2, globs_match)];

/// The characters of a token, and whether it may be repeated any number of times.
struct Token {
    /// Ranges; none where it is any character.
    ranges: Vec<(char, char)>,
    is_repeated: bool,
}

fn globs_match(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.globs_match";
    let [one, other] = take(arguments)?;
    let (one, other) = (tokens(text(name, &one)?)?, tokens(text(name, &other)?)?);
    let mut seen = BTreeSet::new();
    let mut left = vec![(0, 0)];
    while let Some((i, j)) = left.pop() {
        if !seen.insert((i, j)) {
            continue;
        }
        let (a, b) = (one.get(i), other.get(j));
        if a.is_none() && b.is_none() {
            return Ok(Value::from(true));
        }
        let is_repeated = |token: Option<&Token>| token.is_some_and(|token| token.is_repeated);
        if is_repeated(a) {
            left.push((i + 1, j));
        }
        if is_repeated(b) {
            left.push((i, j + 1));
        }
        if let (Some(a), Some(b)) = (a, b)
            && a.overlaps(b)
        {
            left.push((
                if a.is_repeated { i } else { i + 1 },
                if b.is_repeated { j } else { j + 1 },
            ));
        }
    }
    Ok(Value::from(false))
}

impl Token {
    fn overlaps(&self, other: &Self) -> bool {
        let of = |ranges: &[(char, char)]| match ranges {
            [] => vec![('\0', char::MAX)],
            ranges => ranges.to_vec(),
        };
        let others = of(&other.ranges);
        of(&self.ranges).iter().any(|(from, to)| others.iter().any(|(a, b)| from <= b && a <= to))
    }
}

/// The tokens of a pattern; `+` is a token and its repetition.
fn tokens(pattern: &str) -> Result<Vec<Token>> {
    let invalid = || anyhow!("regex.globs_match: invalid pattern `{pattern}`");
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => tokens.last_mut().ok_or_else(invalid)?.is_repeated = true,
            '+' => {
                let last = tokens.last().ok_or_else(invalid)?;
                let repeated = Token { ranges: last.ranges.clone(), is_repeated: true };
                tokens.push(repeated);
            }
            '.' => tokens.push(Token { ranges: Vec::new(), is_repeated: false }),
            '[' => {
                let mut ranges: Vec<(char, char)> = Vec::new();
                loop {
                    match chars.next().ok_or_else(invalid)? {
                        ']' => break,
                        '-' => {
                            let to = chars.next().ok_or_else(invalid)?;
                            let range = ranges.last_mut().ok_or_else(invalid)?;
                            range.1 = to;
                        }
                        '\\' => {
                            let escaped = chars.next().ok_or_else(invalid)?;
                            ranges.push((escaped, escaped));
                        }
                        other => ranges.push((other, other)),
                    }
                }
                if ranges.is_empty() {
                    return Err(invalid());
                }
                tokens.push(Token { ranges, is_repeated: false });
            }
            other => {
                let own = if other == '\\' { chars.next().ok_or_else(invalid)? } else { other };
                tokens.push(Token { ranges: vec![(own, own)], is_repeated: false });
            }
        }
    }
    Ok(tokens)
}
