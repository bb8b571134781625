//! Durations, as Go writes them: `1h30m`, `1.5s`, `-2us`.

/// The units, in nanoseconds. The longer of two that begin alike comes first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of a duration; `None` where the text is none, or does not fit 64 bits.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let whole_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(whole_end);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                after.split_at(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()))
            }
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| {
            after.split(|c: char| c.is_ascii_digit() || c == '.').next() == Some(*unit)
        })?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(i128::from(*nanoseconds))?)?;
        let mut scale = i128::from(*nanoseconds);
        for digit in fraction.chars().take(18).filter_map(|c| c.to_digit(10)) {
            total = total.checked_add(i128::from(digit).checked_mul(scale)? / 10)?;
            scale /= 10;
        }
        rest = after.strip_prefix(unit)?;
    }
    i64::try_from(if is_negative { -total } else { total }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("-2us", Some(-2_000)),
            ("10ms", Some(10_000_000)),
            ("1h1m1s", Some(3_661_000_000_000)),
            ("0", Some(0)),
            (".5m", Some(30_000_000_000)),
            ("", None),
            ("1", None),
            ("1d", None),
            ("s", None),
            ("9223372036854775808ns", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
