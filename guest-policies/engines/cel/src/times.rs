//! Timestamps, by the functions of CEL's standard library: `timestamp(token.issued_at).getHours("Europe/Berlin")`.
//!
//! The library's own need its clock's crate with a database of its own; these take the zones of all engines.

use std::any::Any;
use std::cmp::Ordering;

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::common::traits::Comparer;
use cel::common::types::{CelInt, CelString, Type};
use cel::common::value::{StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError, Value};
use engine_shared::{LocalTime, find_zone, local_time, rfc3339};

static TIMESTAMP: Type = Type::new_unspecified_type("timestamp");

/// A time in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(i64);

impl Val for Timestamp {
    fn get_type(&self) -> &Type {
        &TIMESTAMP
    }

    fn cel_type() -> &'static Type {
        &TIMESTAMP
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Timestamp {}

impl Comparer for Timestamp {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        match other.downcast_ref::<Self>() {
            Some(other) => Ok(self.0.cmp(&other.0)),
            // The library names the operator and the types.
            None => Err(ExecutionError::ValuesNotComparable(Value::Null, Value::Null)),
        }
    }
}

/// Declares a part of a local time: in UTC, and in a zone.
macro_rules! part {
    ($env:ident, $name:literal, $zoned:ident, $plain:ident) => {
        cel::add_member_overload!(
            $env, fn $zoned: (Timestamp, CelString) -> Result<CelInt>, name = $name)?;
        cel::add_member_overload!($env, fn $plain: (Timestamp) -> Result<CelInt>, name = $name)?;
    };
}

/// Defines the functions of a part of a local time.
macro_rules! parts {
    ($($name:literal $zoned:ident $plain:ident: $part:expr;)*) => {
        /// The functions that take a zone.
        pub const ZONED: &[&str] = &[$($name),*];

        $(fn $zoned(time: &Timestamp, zone: &CelString<'_>) -> Result<CelInt, ExecutionError> {
            of_zone($name, time, zone.inner(), $part)
        }

        fn $plain(time: &Timestamp) -> Result<CelInt, ExecutionError> {
            of_zone($name, time, "UTC", $part)
        })*

        /// Declares the functions.
        pub fn declare(env: &mut Env) -> Result<(), DeclarationError> {
            cel::add_overload!(env, fn of_number: (CelInt) -> Timestamp, name = "timestamp")?;
            cel::add_overload!(env, fn of_text: (CelString) -> Result<Timestamp>, name = "timestamp")?;
            $(part!(env, $name, $zoned, $plain);)*
            Ok(())
        }
    };
}

// Months, days of the month by the one name, and days of the year begin at 0, and weeks on Sunday, as in CEL.
parts! {
    "getFullYear" year_in year: |local| local.year;
    "getMonth" month_in month: |local| local.month - 1;
    "getDate" date_in date: |local| local.day;
    "getDayOfMonth" day_in day: |local| local.day - 1;
    "getDayOfWeek" weekday_in weekday: |local| local.weekday % 7;
    "getDayOfYear" day_of_year_in day_of_year: |local| local.day_of_year - 1;
    "getHours" hours_in hours: |local| local.hour;
    "getMinutes" minutes_in minutes: |local| local.minute;
    "getSeconds" seconds_in seconds: |local| local.second;
}

fn of_zone(
    function: &str,
    time: &Timestamp,
    zone: &str,
    part: fn(LocalTime) -> i64,
) -> Result<CelInt, ExecutionError> {
    let local = local_time(zone, time.0);
    local
        .map(|local| CelInt::from(part(local)))
        .map_err(|error| ExecutionError::function_error(function, error))
}

fn of_number(seconds: &CelInt) -> Timestamp {
    Timestamp(*seconds.inner())
}

fn of_text(text: &CelString<'_>) -> Result<Timestamp, ExecutionError> {
    rfc3339(text.inner())
        .map(Timestamp)
        .map_err(|error| ExecutionError::function_error("timestamp", error))
}

/// The problem of a call with a literal that is no zone, or no time: found now, and not by the first run that gets there.
pub fn problem(function: &str, arguments: &[IdedExpr]) -> Option<(u64, String)> {
    let [argument] = arguments else { return None };
    let Expr::Literal(LiteralValue::String(text)) = &argument.expr else { return None };
    let problem = match function {
        "timestamp" => rfc3339(text.inner()).err(),
        _ if ZONED.contains(&function) => find_zone(text.inner()).err(),
        _ => None,
    };
    problem.map(|problem| (argument.id, problem))
}
