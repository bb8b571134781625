//! Reads a time by a layout, as Go's `time.Parse`.

use jiff::civil;

use super::layout::{DAYS, MONTHS, Token, tokens};

/// The parts of a time, as far as a text has them.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanosecond: i64,
    is_afternoon: Option<bool>,
    offset: i64,
}

/// The nanoseconds since 1970 of a text; `None` where it does not fit the layout or is no time.
pub(super) fn parse(layout: &str, text: &str) -> Option<i128> {
    let mut parts = Parts {
        year: 0,
        month: 1,
        day: 1,
        day_of_year: None,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        is_afternoon: None,
        offset: 0,
    };
    let mut rest = text;
    let tokens = tokens(layout);
    for (number, token) in tokens.iter().enumerate() {
        let is_before_fraction = matches!(tokens.get(number + 1), Some(Token::Fraction { .. }));
        rest = part(*token, rest, is_before_fraction, &mut parts)?;
    }
    rest.is_empty().then(|| parts.nanoseconds())?
}

impl Parts {
    fn nanoseconds(&self) -> Option<i128> {
        let hour = match self.is_afternoon {
            Some(true) if self.hour < 12 => self.hour + 12,
            Some(false) if self.hour == 12 => 0,
            _ => self.hour,
        };
        let in_range = hour < 24 && self.minute < 60 && self.second < 60;
        let year = i16::try_from(self.year).ok().filter(|_| in_range)?;
        let date = match self.day_of_year {
            Some(day) => {
                let first = civil::Date::new(year, 1, 1).ok()?;
                let day = i16::try_from(day)
                    .ok()
                    .filter(|day| (1..=first.days_in_year()).contains(day))?;
                first.checked_add(jiff::Span::new().try_days(i64::from(day) - 1).ok()?).ok()?
            }
            None => {
                civil::Date::new(year, i8::try_from(self.month).ok()?, i8::try_from(self.day).ok()?)
                    .ok()?
            }
        };
        let days = i128::from(days_since_1970(date));
        let seconds =
            days * 86_400 + i128::from(hour * 3600 + self.minute * 60 + self.second - self.offset);
        Some(seconds * 1_000_000_000 + i128::from(self.nanosecond))
    }
}

/// The days from 1970 to a date.
pub(super) fn days_since_1970(date: civil::Date) -> i64 {
    // Years begin in March here, so that the leap day is the last.
    let (year, month) = (i64::from(date.year()), i64::from(date.month()));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day()) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Reads what a token stands for, and gives what follows.
fn part<'t>(
    token: Token<'_>,
    text: &'t str,
    is_before_fraction: bool,
    parts: &mut Parts,
) -> Option<&'t str> {
    let (value, rest) = match token {
        Token::Literal(literal) => return literal_at(literal, text),
        Token::LongYear => digits(text, 4, 4)?,
        Token::Year => {
            let (year, rest) = digits(text, 2, 2)?;
            (if year >= 69 { year + 1900 } else { year + 2000 }, rest)
        }
        Token::LongMonth => {
            let (month, rest) = name(text, &MONTHS, usize::MAX)?;
            (month + 1, rest)
        }
        Token::Month => {
            let (month, rest) = name(text, &MONTHS, 3)?;
            (month + 1, rest)
        }
        Token::LongWeekday => return name(text, &DAYS, usize::MAX).map(|(_, rest)| rest),
        Token::Weekday => return name(text, &DAYS, 3).map(|(_, rest)| rest),
        Token::ZeroMonth
        | Token::ZeroDay
        | Token::ZeroHour12
        | Token::ZeroMinute
        | Token::ZeroSecond => digits(text, 2, 2)?,
        Token::NumberMonth
        | Token::Day
        | Token::Hour12
        | Token::Minute
        | Token::Second
        | Token::Hour => {
            let least = if token == Token::Hour { 2 } else { 1 };
            digits(text, least, 2)?
        }
        Token::SpaceDay => digits(text.strip_prefix(' ').unwrap_or(text), 1, 2)?,
        Token::SpaceYearDay => digits(text.trim_start_matches(' '), 1, 3)?,
        Token::ZeroYearDay => digits(text, 3, 3)?,
        Token::Fraction { digits, trims, .. } => {
            if trims {
                return fraction(text, None, parts);
            }
            return fraction(text, Some(digits), parts);
        }
        Token::HalfDay { .. } => {
            let half = text.get(..2)?.to_ascii_uppercase();
            parts.is_afternoon = Some(match half.as_str() {
                "AM" => false,
                "PM" => true,
                _ => return None,
            });
            return text.get(2..);
        }
        Token::Zone => return zone(text, parts),
        Token::Offset { z, colon, minutes, seconds } => {
            if z && let Some(rest) = text.strip_prefix('Z') {
                return Some(rest);
            }
            return offset(text, colon, minutes, seconds, parts);
        }
    };
    match token {
        Token::LongYear | Token::Year => parts.year = value,
        Token::LongMonth | Token::Month | Token::ZeroMonth | Token::NumberMonth => {
            parts.month = value
        }
        Token::Day | Token::SpaceDay | Token::ZeroDay => parts.day = value,
        Token::SpaceYearDay | Token::ZeroYearDay => parts.day_of_year = Some(value),
        Token::Hour | Token::Hour12 | Token::ZeroHour12 => {
            let most = if token == Token::Hour { 23 } else { 12 };
            parts.hour = Some(value).filter(|hour| *hour <= most)?;
        }
        Token::Minute | Token::ZeroMinute => parts.minute = value,
        _ => {
            parts.second = value;
            // A fraction is read even if the layout has none.
            if !is_before_fraction
                && rest.starts_with(['.', ','])
                && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
            {
                return fraction(rest, None, parts);
            }
        }
    }
    Some(rest)
}

/// Any number of spaces stands for any other.
fn literal_at<'t>(literal: &str, text: &'t str) -> Option<&'t str> {
    let mut rest = text;
    for c in literal.chars() {
        if c == ' ' {
            if !rest.is_empty() && !rest.starts_with(' ') {
                return None;
            }
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        } else {
            rest = rest.strip_prefix(c)?;
        }
    }
    Some(rest)
}

fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let digits = text.get(..count).filter(|_| count >= least)?;
    Some((digits.parse().ok()?, text.get(count..)?))
}

/// The number of a name of which so many letters are written.
fn name<'t>(text: &'t str, names: &[&str], letters: usize) -> Option<(i64, &'t str)> {
    names.iter().enumerate().find_map(|(number, name)| {
        let written = name.get(..letters.min(name.len()))?;
        let found = text.get(..written.len())?;
        let is_it = found.eq_ignore_ascii_case(written);
        is_it.then_some((i64::try_from(number).ok()?, text.get(written.len()..)?))
    })
}

fn fraction<'t>(text: &'t str, exactly: Option<usize>, parts: &mut Parts) -> Option<&'t str> {
    let Some(after) = text.strip_prefix(['.', ',']) else {
        return exactly.is_none().then_some(text);
    };
    let count = after.bytes().take_while(u8::is_ascii_digit).count();
    let count = match exactly {
        Some(exactly) if count < exactly => return None,
        Some(exactly) => exactly,
        None => count,
    };
    let digits: String = after.chars().take(count.min(9)).collect();
    parts.nanosecond = format!("{digits:0<9}").parse().ok()?;
    after.get(count..)
}

/// An abbreviation such as `CET`: only `UTC` and an offset of `GMT` say which time it is, and Go takes any other for UTC.
fn zone<'t>(text: &'t str, parts: &mut Parts) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("GMT")
        && rest.starts_with(['+', '-'])
    {
        let count = rest.bytes().skip(1).take(2).take_while(u8::is_ascii_digit).count();
        let hours: i64 = rest.get(..=count)?.parse().ok()?;
        parts.offset = hours * 3600;
        return rest.get(count + 1..);
    }
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    (3..=5).contains(&letters).then(|| text.get(letters..))?
}

fn offset<'t>(
    text: &'t str,
    colon: bool,
    minutes: bool,
    seconds: bool,
    parts: &mut Parts,
) -> Option<&'t str> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, mut rest) = digits(text.get(1..)?, 2, 2)?;
    let mut total = hours * 3600;
    for (is_written, unit) in [(minutes, 60), (seconds, 1)] {
        if is_written {
            rest = if colon { rest.strip_prefix(':')? } else { rest };
            let (value, after) = digits(rest, 2, 2)?;
            total += Some(value).filter(|value| *value < 60)? * unit;
            rest = after;
        }
    }
    parts.offset = sign * total;
    Some(rest)
}
