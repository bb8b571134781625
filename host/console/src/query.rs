//! The query of a page: strict, so that a link that is not understood shows nothing in its place.

use std::time::UNIX_EPOCH;

use crate::facts::{Field, Key, cause};
use crate::index::{Direction, Selection};
use crate::problem::Problem;

/// The maximum length of a query, in bytes.
const MAX_QUERY: usize = 4096;

/// The maximum length of a value, in bytes.
const MAX_VALUE: usize = 512;

/// The records of a page, unless asked for otherwise, and their maximum.
pub(crate) const USUAL_PAGE: usize = 50;
pub(crate) const MAX_PAGE: usize = 200;

/// The parameters of a query, each once, without those that are empty: a form sends all of its fields.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

/// A search, as it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Search {
    /// The filters by name, in the order of [`FILTERS`].
    pub(crate) filters: Vec<(&'static str, String)>,
    pub(crate) selection: Selection,
    /// The place where the page begins; `None` at the end of the log.
    pub(crate) direction: Option<Direction>,
    /// The records of a page.
    pub(crate) limit: usize,
}

/// A filter of a search.
#[derive(Debug, Clone, Copy)]
enum Filter {
    Of(Field),
    ByKey(Key),
    Kind,
    Outcome,
    Since,
    Until,
}

/// The filters, in the order of the form.
const FILTERS: [(&str, Filter); 16] = [
    ("outcome", Filter::Outcome),
    ("workspace", Filter::Of(Field::Workspace)),
    ("definition", Filter::Of(Field::Definition)),
    ("code", Filter::Of(Field::Code)),
    ("binding", Filter::Of(Field::Binding)),
    ("run", Filter::ByKey(Key::Run)),
    ("since", Filter::Since),
    ("until", Filter::Until),
    ("token", Filter::ByKey(Key::Token)),
    ("decision", Filter::ByKey(Key::Decision)),
    ("request", Filter::ByKey(Key::Request)),
    ("kind", Filter::Kind),
    ("policy-set", Filter::Of(Field::PolicySet)),
    ("release", Filter::Of(Field::Release)),
    ("class", Filter::Of(Field::Class)),
    ("kid", Filter::Of(Field::Kid)),
];

impl Parameters {
    /// Parses a query.
    ///
    /// # Errors
    /// When it is too long, has a parameter twice, or a value that is too long.
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        if query.len() > MAX_QUERY {
            return Err(Problem::invalid(format!("a query of more than {MAX_QUERY} bytes")));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.len() > MAX_VALUE {
                let problem = format!("`{name}`: longer than {MAX_VALUE} bytes");
                return Err(Problem::invalid(problem));
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Problem::invalid(format!("`{name}` is there twice")));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self(parameters))
    }

    /// Takes a parameter.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn take_number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        // No sign and no zero in front: one number has one link.
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit())
            && (value.len() == 1 || !value.starts_with('0'));
        let number = value.parse().ok().filter(|_| is_number);
        number.map(Some).ok_or_else(|| {
            Problem::invalid(format!("`{name}`: expected a whole number, found `{value}`"))
        })
    }

    /// Takes the number of items of a page.
    ///
    /// # Errors
    /// When it is none, or out of bounds.
    pub(crate) fn take_limit(&mut self) -> Result<usize, Problem> {
        let Some(limit) = self.take_number("limit")? else { return Ok(USUAL_PAGE) };
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| Problem::invalid(format!("`limit`: expected 1 to {MAX_PAGE}")))
    }

    /// Takes a time.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn take_time(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        time(&value).map(Some).ok_or_else(|| {
            Problem::invalid(format!(
                "`{name}`: expected a time such as 2026-11-01, 2026-11-01T14:02 or 2026-11-01T14:02:00Z (UTC), or \
                 seconds since 1970, found `{value}`"
            ))
        })
    }

    /// Ends the query.
    ///
    /// # Errors
    /// When there is a parameter that nothing took.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::invalid(format!("`{name}` is no parameter of this page")))
            }
        }
    }
}

impl Search {
    /// Parses the query of a search.
    ///
    /// # Errors
    /// When a parameter is not one of a search, or has no value that it may have.
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let mut search = Self { limit: parameters.take_limit()?, ..Self::default() };
        let before = parameters.take_number("before")?.map(Direction::Before);
        let after = parameters.take_number("after")?.map(Direction::After);
        search.direction = match (before, after) {
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("`before` and `after`: expected one of the two"));
            }
            (before, after) => before.or(after),
        };
        let mut kind = None;
        for (name, filter) in FILTERS {
            let selection = &mut search.selection;
            if let Filter::Since | Filter::Until = filter {
                let Some(seconds) = parameters.take_time(name)? else { continue };
                match filter {
                    Filter::Since => selection.since = Some(seconds),
                    _ => selection.until = Some(seconds),
                }
                search.filters.push((name, crate::text::Time(seconds).rfc3339()));
                continue;
            }
            let Some(value) = parameters.take(name) else { continue };
            match filter {
                Filter::Of(field) => selection.terms.push((field, value.clone())),
                Filter::ByKey(key) => selection.keys.push((key, value.clone())),
                Filter::Kind => kind = Some(value.clone()),
                Filter::Outcome if ["approved", "refused"].contains(&value.as_str()) => {
                    selection.terms.push((Field::Outcome, value.clone()));
                }
                Filter::Outcome => {
                    return Err(Problem::invalid("`outcome`: expected `approved` or `refused`"));
                }
                Filter::Since | Filter::Until => {}
            }
            search.filters.push((name, value));
        }
        parameters.end()?;
        search.select_kind(kind);
        search.select_cause();
        Ok(search)
    }

    /// The value of a filter, as it was asked.
    pub(crate) fn value(&self, name: &str) -> &str {
        let filter = self.filters.iter().find(|(known, _)| *known == name);
        filter.map_or("", |(_, value)| value.as_str())
    }

    /// Without a kind, answers to requests are found; and whatever else a filter is about.
    fn select_kind(&mut self, kind: Option<String>) {
        let is_other =
            |(field, _): &(Field, String)| matches!(field, Field::Release | Field::Class);
        match kind.as_deref() {
            Some("any") => {}
            Some(kind) => self.selection.terms.push((Field::Kind, kind.to_owned())),
            None if self.selection.terms.iter().any(is_other) => {}
            None => self.selection.terms.push((Field::Answer, String::new())),
        }
    }

    /// A code and a binding together are a reason that the binding gave.
    fn select_cause(&mut self) {
        let value = |field| {
            let of = self.selection.terms.iter().find(|(known, _)| *known == field);
            of.map(|(_, value)| value.clone())
        };
        if let (Some(code), Some(binding)) = (value(Field::Code), value(Field::Binding)) {
            self.selection.terms.push((Field::Cause, cause(&binding, &code)));
        }
    }
}

/// Parses a time: a date, a date and a time of day in UTC, or seconds since 1970.
fn time(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    let time = humantime::parse_rfc3339(&whole).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn times_have_several_forms() {
        let midnight = 1_793_491_200;
        for (text, expected) in [
            ("2026-11-01", Some(midnight)),
            ("2026-11-01T00:01", Some(midnight + 60)),
            ("2026-11-01T00:01:02", Some(midnight + 62)),
            ("2026-11-01T00:01:02Z", Some(midnight + 62)),
            ("1793491200", Some(midnight)),
            ("0", Some(0)),
            ("2026-13-01", None),
            ("yesterday", None),
            ("-1", None),
            ("2026-11-01T00:01:02+01:00", None),
            ("1969-12-31", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn queries_are_strict() {
        let problem = |query: &str| Search::parse(query).unwrap_err().text;
        assert_eq!(problem("worksapce=a"), "`worksapce` is no parameter of this page");
        assert_eq!(problem("run=a&run=b"), "`run` is there twice");
        assert_eq!(problem("outcome=maybe"), "`outcome`: expected `approved` or `refused`");
        assert_eq!(problem("limit=0"), "`limit`: expected 1 to 200");
        assert_eq!(problem("limit=201"), "`limit`: expected 1 to 200");
        assert_eq!(problem("before=1&after=2"), "`before` and `after`: expected one of the two");
        for number in ["-1", "+1", "01", "1e3", "x", "18446744073709551616", " 1"] {
            let encoded: String = form_urlencoded::byte_serialize(number.as_bytes()).collect();
            let expected = format!("`before`: expected a whole number, found `{number}`");
            assert_eq!(problem(&format!("before={encoded}")), expected);
        }
        assert_eq!(problem(&format!("run={}", "a".repeat(513))), "`run`: longer than 512 bytes");
        assert_eq!(problem(&"a".repeat(5000)), "a query of more than 4096 bytes");
    }

    #[test]
    fn a_search_is_for_answers_unless_asked_otherwise() {
        let terms = |query: &str| Search::parse(query).unwrap().selection.terms;
        let answer = (Field::Answer, String::new());
        assert_eq!(terms(""), std::slice::from_ref(&answer));
        assert_eq!(terms("run=&workspace=&outcome="), std::slice::from_ref(&answer));
        assert_eq!(terms("kind=any"), []);
        assert_eq!(terms("kind=release"), [(Field::Kind, "release".to_owned())]);
        assert_eq!(terms("class=gained"), [(Field::Class, "gained".to_owned())]);
        let both = terms("code=c&binding=b");
        assert!(both.contains(&(Field::Cause, "b\nc".to_owned())), "{both:?}");
    }
}
