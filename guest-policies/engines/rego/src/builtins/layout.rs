//! Layouts of times, as Go has them: a text that shows how the time `Mon Jan 2 15:04:05 -0700 MST 2006` is written.

use std::fmt::Write as _;

/// The layouts that OPA knows by a name.
const NAMED: [(&str, &str); 10] = [
    ("ANSIC", "Mon Jan _2 15:04:05 2006"),
    ("RFC1123", "Mon, 02 Jan 2006 15:04:05 MST"),
    ("RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700"),
    ("RFC3339", RFC3339),
    ("RFC3339Nano", RFC3339_NANO),
    ("RFC822", "02 Jan 06 15:04 MST"),
    ("RFC822Z", "02 Jan 06 15:04 -0700"),
    ("RFC850", "Monday, 02-Jan-06 15:04:05 MST"),
    ("RubyDate", "Mon Jan 02 15:04:05 -0700 2006"),
    ("UnixDate", "Mon Jan _2 15:04:05 MST 2006"),
];

/// The layout of RFC 3339.
pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// The layout of RFC 3339 with the fraction of the second, as far as it is not zero.
pub(super) const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A part of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'l> {
    Literal(&'l str),
    LongYear,
    Year,
    LongMonth,
    Month,
    ZeroMonth,
    NumberMonth,
    LongWeekday,
    Weekday,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    /// A fraction of so many digits, with its point; zeros at its end are left out where it is so written.
    Fraction {
        digits: usize,
        point: char,
        trims: bool,
    },
    HalfDay {
        is_lower: bool,
    },
    Zone,
    /// An offset: `Z` for none, a colon between hours and minutes, minutes, and seconds.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
}

/// The forms of tokens, the longer ones first where one begins as another does.
const FORMS: [(&str, Token<'static>); 33] = [
    ("January", Token::LongMonth),
    ("Jan", Token::Month),
    ("Monday", Token::LongWeekday),
    ("Mon", Token::Weekday),
    ("MST", Token::Zone),
    ("2006", Token::LongYear),
    ("002", Token::ZeroYearDay),
    ("__2", Token::SpaceYearDay),
    ("_2", Token::SpaceDay),
    ("01", Token::ZeroMonth),
    ("02", Token::ZeroDay),
    ("03", Token::ZeroHour12),
    ("04", Token::ZeroMinute),
    ("05", Token::ZeroSecond),
    ("06", Token::Year),
    ("15", Token::Hour),
    ("1", Token::NumberMonth),
    ("2", Token::Day),
    ("3", Token::Hour12),
    ("4", Token::Minute),
    ("5", Token::Second),
    ("PM", Token::HalfDay { is_lower: false }),
    ("pm", Token::HalfDay { is_lower: true }),
    ("Z07:00:00", Token::Offset { z: true, colon: true, minutes: true, seconds: true }),
    ("Z070000", Token::Offset { z: true, colon: false, minutes: true, seconds: true }),
    ("Z07:00", Token::Offset { z: true, colon: true, minutes: true, seconds: false }),
    ("Z0700", Token::Offset { z: true, colon: false, minutes: true, seconds: false }),
    ("Z07", Token::Offset { z: true, colon: false, minutes: false, seconds: false }),
    ("-07:00:00", Token::Offset { z: false, colon: true, minutes: true, seconds: true }),
    ("-070000", Token::Offset { z: false, colon: false, minutes: true, seconds: true }),
    ("-07:00", Token::Offset { z: false, colon: true, minutes: true, seconds: false }),
    ("-0700", Token::Offset { z: false, colon: false, minutes: true, seconds: false }),
    ("-07", Token::Offset { z: false, colon: false, minutes: false, seconds: false }),
];

/// A time, taken apart in its zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanosecond: u32,
    /// From Sunday on, which is 0.
    pub weekday: usize,
    pub day_of_year: u32,
    /// Seconds east of UTC.
    pub offset: i32,
    /// The abbreviation of the zone.
    pub zone: String,
}

/// The layout of this name, or the text itself.
pub(super) fn named(layout: &str) -> &str {
    NAMED.iter().find(|(name, _)| *name == layout).map_or(layout, |(_, layout)| layout)
}

/// The tokens of a layout.
pub(super) fn tokens(layout: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut literal_start, mut at) = (Vec::new(), 0, 0);
    while at < layout.len() {
        let rest = layout.get(at..).unwrap_or_default();
        let found = token(rest);
        let Some((length, token)) = found else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        if literal_start < at {
            tokens.push(Token::Literal(layout.get(literal_start..at).unwrap_or_default()));
        }
        tokens.push(token);
        at += length;
        literal_start = at;
    }
    if literal_start < layout.len() {
        tokens.push(Token::Literal(layout.get(literal_start..).unwrap_or_default()));
    }
    tokens
}

fn token(rest: &str) -> Option<(usize, Token<'static>)> {
    // A fraction follows the seconds, and ends where the digits do.
    if let Some(point @ ('.' | ',')) = rest.chars().next()
        && let Some(digit @ ('0' | '9')) = rest.chars().nth(1)
    {
        let digits = rest.chars().skip(1).take_while(|c| *c == digit).count();
        let is_end = !rest.chars().nth(digits + 1).is_some_and(|c| c.is_ascii_digit());
        if is_end {
            return Some((digits + 1, Token::Fraction { digits, point, trims: digit == '9' }));
        }
    }
    let (form, token) = FORMS.iter().find(|(form, _)| rest.starts_with(form))?;
    let next = rest.get(form.len()..)?.chars().next();
    let is_word = match token {
        // `Month` and `Monty` are no abbreviations.
        Token::Month | Token::Weekday => !next.is_some_and(|c| c.is_ascii_lowercase()),
        // `_2006` is a dash and the year.
        Token::SpaceDay => !rest.starts_with("_2006"),
        _ => true,
    };
    is_word.then_some((form.len(), *token))
}

/// Writes a time by a layout.
pub(super) fn format(moment: &Moment, layout: &str) -> String {
    tokens(layout).into_iter().fold(String::new(), |mut out, token| {
        let _ = write_token(moment, token, &mut out);
        out
    })
}

fn write_token(moment: &Moment, token: Token<'_>, out: &mut String) -> std::fmt::Result {
    let month = MONTHS
        .get(usize::try_from(moment.month).unwrap_or(0).saturating_sub(1))
        .copied()
        .unwrap_or_default();
    let weekday = DAYS.get(moment.weekday).copied().unwrap_or_default();
    let hour12 = match moment.hour % 12 {
        0 => 12,
        hour => hour,
    };
    match token {
        Token::Literal(text) => out.push_str(text),
        Token::LongYear => write!(out, "{:04}", moment.year)?,
        Token::Year => write!(out, "{:02}", moment.year.rem_euclid(100))?,
        Token::LongMonth => out.push_str(month),
        Token::Month => out.push_str(month.get(..3).unwrap_or_default()),
        Token::ZeroMonth => write!(out, "{:02}", moment.month)?,
        Token::NumberMonth => write!(out, "{}", moment.month)?,
        Token::LongWeekday => out.push_str(weekday),
        Token::Weekday => out.push_str(weekday.get(..3).unwrap_or_default()),
        Token::Day => write!(out, "{}", moment.day)?,
        Token::SpaceDay => write!(out, "{:>2}", moment.day)?,
        Token::ZeroDay => write!(out, "{:02}", moment.day)?,
        Token::SpaceYearDay => write!(out, "{:>3}", moment.day_of_year)?,
        Token::ZeroYearDay => write!(out, "{:03}", moment.day_of_year)?,
        Token::Hour => write!(out, "{:02}", moment.hour)?,
        Token::Hour12 => write!(out, "{hour12}")?,
        Token::ZeroHour12 => write!(out, "{hour12:02}")?,
        Token::Minute => write!(out, "{}", moment.minute)?,
        Token::ZeroMinute => write!(out, "{:02}", moment.minute)?,
        Token::Second => write!(out, "{}", moment.second)?,
        Token::ZeroSecond => write!(out, "{:02}", moment.second)?,
        Token::Fraction { digits, point, trims } => {
            let all = format!("{:09}", moment.nanosecond);
            let text = all.get(..digits.min(9)).unwrap_or_default();
            let text = if trims { text.trim_end_matches('0') } else { text };
            if !text.is_empty() {
                write!(out, "{point}{text}")?;
            }
        }
        Token::HalfDay { is_lower } => {
            let text = if moment.hour < 12 { "AM" } else { "PM" };
            out.push_str(&if is_lower { text.to_lowercase() } else { text.to_owned() });
        }
        Token::Zone => out.push_str(&moment.zone),
        Token::Offset { z: true, .. } if moment.offset == 0 => out.push('Z'),
        Token::Offset { colon, minutes, seconds, .. } => {
            let offset = moment.offset.unsigned_abs();
            let between = if colon { ":" } else { "" };
            write!(out, "{}{:02}", if moment.offset < 0 { '-' } else { '+' }, offset / 3600)?;
            if minutes {
                write!(out, "{between}{:02}", offset / 60 % 60)?;
            }
            if seconds {
                write!(out, "{between}{:02}", offset % 60)?;
            }
        }
    }
    Ok(())
}
