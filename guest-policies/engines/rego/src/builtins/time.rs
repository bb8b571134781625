//! Times that are given: there is no clock. Zones are those of the database that is part of the engine.

use anyhow::{Result, anyhow, bail};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use regorus::Value;

use super::Function;
use super::arguments::{take, text, whole, wrong};
use super::durations::parse_duration;
use super::layout::{self, Moment, RFC3339, RFC3339_NANO};
use super::layout_parse;

pub(super) const FUNCTIONS: &[Function] = &[
    ("time.add_date", 4, add_date),
    ("time.clock", 1, clock),
    ("time.date", 1, date),
    ("time.diff", 2, diff),
    ("time.format", 1, format),
    ("time.parse_duration_ns", 1, duration),
    ("time.parse_ns", 2, parse),
    ("time.parse_rfc3339_ns", 1, parse_rfc3339),
    ("time.weekday", 1, weekday),
];

/// The reason that a name is none of a zone, if it is none.
pub fn zone_problem(name: &str) -> Option<String> {
    zone(name).err().map(|error| error.to_string().trim_start_matches("time: ").to_owned())
}

fn zone(name: &str) -> Result<TimeZone> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        // A decision does not depend on where it is made.
        "Local" => bail!("time: the zone `Local` is not known; name one, such as `Europe/Berlin`"),
        _ => engine_shared::find_zone(name).map_err(|message| anyhow!("time: {message}")),
    }
}

/// A time, or an array of a time, its zone and perhaps a layout.
fn zoned(function: &str, value: &Value) -> Result<(ZonedDateTime, Option<String>)> {
    let (nanoseconds, zone_name, layout) = match value {
        Value::Number(_) => (whole(function, value)?, String::new(), None),
        Value::Array(items) => match items.as_slice() {
            [time, zone] => (whole(function, time)?, text(function, zone)?.to_string(), None),
            [time, zone, layout] => (
                whole(function, time)?,
                text(function, zone)?.to_string(),
                Some(text(function, layout)?.to_string()),
            ),
            _ => return Err(wrong(function, "a time, or an array of a time and a zone", value)),
        },
        other => {
            return Err(wrong(
                function,
                "a time in nanoseconds, or an array of a time and a zone",
                other,
            ));
        }
    };
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds));
    let time = time
        .map_err(|_| anyhow!("{function}: {nanoseconds} is outside of the times that are known"))?;
    Ok((time.to_zoned_datetime(zone(&zone_name)?), layout))
}

fn clock(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let (time, _) = zoned("time.clock", &value)?;
    Ok(numbers([time.hour(), time.minute(), time.second()].map(i64::from)))
}

fn date(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let (time, _) = zoned("time.date", &value)?;
    Ok(numbers([i64::from(time.year()), i64::from(time.month()), i64::from(time.day())]))
}

fn weekday(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let (time, _) = zoned("time.weekday", &value)?;
    let day = usize::try_from(time.weekday().to_sunday_zero_offset())?;
    Ok(Value::from(layout::DAYS.get(day).copied().unwrap_or_default()))
}

fn format(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let (time, wanted) = zoned("time.format", &value)?;
    let info = time.time_zone().to_offset_info(time.timestamp());
    let is_utc = info.offset().is_zero() && *time.time_zone() == TimeZone::UTC;
    let moment = Moment {
        year: i64::from(time.year()),
        month: u32::try_from(time.month())?,
        day: u32::try_from(time.day())?,
        hour: u32::try_from(time.hour())?,
        minute: u32::try_from(time.minute())?,
        second: u32::try_from(time.second())?,
        nanosecond: u32::try_from(time.subsec_nanosecond())?,
        weekday: usize::try_from(time.weekday().to_sunday_zero_offset())?,
        day_of_year: u32::try_from(time.day_of_year())?,
        offset: info.offset().seconds(),
        zone: if is_utc { "UTC".to_owned() } else { info.abbreviation().to_owned() },
    };
    let wanted = wanted.filter(|layout| !layout.is_empty());
    Ok(Value::from(layout::format(
        &moment,
        layout::named(wanted.as_deref().unwrap_or(RFC3339_NANO)),
    )))
}

/// Adds years, months and days to a date; those beyond the end of a month go on in the next one, as in Go.
fn add_date(arguments: Vec<Value>) -> Result<Value> {
    let name = "time.add_date";
    let [value, years, months, days] = take(arguments)?;
    let (time, _) = zoned(name, &value)?;
    let [years, months, days] = [whole(name, &years)?, whole(name, &months)?, whole(name, &days)?];
    let outside = || anyhow!("{name}: the result is outside of the times that are known");
    let month = i64::from(time.month()) - 1;
    let month = month.checked_add(months).ok_or_else(outside)?;
    let year = i64::from(time.year())
        .checked_add(years)
        .and_then(|year| year.checked_add(month.div_euclid(12)));
    let first = Date::new(
        year.and_then(|year| i16::try_from(year).ok()).ok_or_else(outside)?,
        i8::try_from(month.rem_euclid(12) + 1)?,
        1,
    );
    let first = first.map_err(|_| outside())?;
    let more = days.checked_add(i64::from(time.day()) - 1).ok_or_else(outside)?;
    let more = jiff::Span::new().try_days(more).map_err(|_| outside())?;
    let date = first.checked_add(more).map_err(|_| outside())?;
    let moved = DateTime::from_parts(date, time.time()).to_zoned_datetime(time.time_zone().clone());
    let moved = moved.map_err(|_| outside())?.timestamp().as_nanosecond();
    Ok(Value::from(i64::try_from(moved).map_err(|_| outside())?))
}

/// Years, months, days, hours, minutes and seconds between two times, in the zone of the first.
fn diff(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    let (first, _) = zoned("time.diff", &one)?;
    let (second, _) = zoned("time.diff", &other)?;
    let second = second.timestamp().to_zoned_datetime(first.time_zone().clone());
    let (from, to) =
        if first.timestamp() > second.timestamp() { (second, first) } else { (first, second) };
    let date_of = |time: &ZonedDateTime| {
        [i64::from(time.year()), i64::from(time.month()), i64::from(time.day())]
    };
    let clock_of =
        |time: &ZonedDateTime| [time.hour(), time.minute(), time.second()].map(i64::from);
    let [y1, mo1, d1] = date_of(&from);
    let [y2, mo2, d2] = date_of(&to);
    let [h1, mi1, s1] = clock_of(&from);
    let [h2, mi2, s2] = clock_of(&to);
    let (mut year, mut month, mut day) = (y2 - y1, mo2 - mo1, d2 - d1);
    let (mut hour, mut minute, mut second) = (h2 - h1, mi2 - mi1, s2 - s1);
    if second < 0 {
        second += 60;
        minute -= 1;
    }
    if minute < 0 {
        minute += 60;
        hour -= 1;
    }
    if hour < 0 {
        hour += 24;
        day -= 1;
    }
    if day < 0 {
        day += i64::from(from.days_in_month());
        month -= 1;
    }
    if month < 0 {
        month += 12;
        year -= 1;
    }
    Ok(numbers([year, month, day, hour, minute, second]))
}

fn duration(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let value = text("time.parse_duration_ns", &value)?;
    let duration = parse_duration(value);
    Ok(Value::from(
        duration.ok_or_else(|| anyhow!("time.parse_duration_ns: `{value}` is no duration"))?,
    ))
}

fn parse(arguments: Vec<Value>) -> Result<Value> {
    let [wanted, value] = take(arguments)?;
    parsed("time.parse_ns", layout::named(text("time.parse_ns", &wanted)?), &value)
}

fn parse_rfc3339(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    parsed("time.parse_rfc3339_ns", RFC3339, &value)
}

fn parsed(function: &str, layout: &str, value: &Value) -> Result<Value> {
    let value = text(function, value)?;
    let nanoseconds = layout_parse::parse(layout, value);
    let nanoseconds = nanoseconds.and_then(|nanoseconds| i64::try_from(nanoseconds).ok());
    Ok(Value::from(
        nanoseconds
            .ok_or_else(|| anyhow!("{function}: `{value}` is no time of the layout `{layout}`"))?,
    ))
}

fn numbers<const N: usize>(numbers: [i64; N]) -> Value {
    Value::from(numbers.into_iter().map(Value::from).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use jiff::civil::Time;

    use super::super::layout_parse::days_since_1970;
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (year, month, day, expected) in
            [(1970, 1, 1, 0), (2000, 3, 1, 11_017), (1969, 12, 31, -1), (2026, 11, 30, 20_787)]
        {
            let date = Date::new(year, month, day).expect("a date");
            assert_eq!(days_since_1970(date), expected, "{date}");
            let midnight = DateTime::from_parts(date, Time::midnight())
                .to_zoned_datetime(TimeZone::UTC)
                .expect("a time");
            assert_eq!(midnight.timestamp().as_second(), expected * 86_400);
        }
    }
}
