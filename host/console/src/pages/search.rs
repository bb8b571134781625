//! Search: the records that have all that is asked for, the latest first.

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::facts::{Facts, Field};
use crate::frame::Frame;
use crate::index::Direction;
use crate::problem::Problem;
use crate::query::Search;
use crate::record::RecordLine;
use crate::text::{Number, Text};

/// The values that a field of the form suggests.
const MAX_SUGGESTED: u32 = 100;

#[derive(Template, Serialize)]
#[template(path = "search.html")]
struct SearchView {
    log: Frame,
    records: Vec<RecordLine>,
    /// The number of all records that were found; absent where that was not counted.
    total: Option<Number>,
    /// `before` of the page with earlier records.
    earlier: Option<u64>,
    /// `after` of the page with later ones.
    later: Option<u64>,
    #[serde(skip)]
    search: Search,
    #[serde(skip)]
    suggested: Suggested,
}

/// Known values, for the form.
#[derive(Default)]
struct Suggested {
    workspaces: Vec<Text>,
    definitions: Vec<Text>,
    codes: Vec<Text>,
    bindings: Vec<Text>,
    kinds: Vec<Text>,
}

impl View for SearchView {
    fn lines(&self) -> Vec<Value> {
        self.records.iter().map(value).collect()
    }
}

pub(crate) async fn search(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    let search = Search::parse(asked.query)?;
    let (index, state) = (&asked.log.index, &asked.state);
    let direction = search.direction.unwrap_or(Direction::Before(u64::MAX));
    let found = index.page(&search.selection, state.range(), direction, search.limit).await?;
    let earlier = found.sequences.last().copied().filter(|_| found.has_earlier);
    let later = found.sequences.first().copied().filter(|_| found.has_later);
    let read = asked.log.read(state, found.sequences).await?;
    let is_found = |record: &[u8]| {
        let facts = Facts::of(record);
        let selection = &search.selection;
        selection.terms.iter().all(|(field, value)| facts.has(*field, value))
            && selection.keys.iter().all(|(key, value)| facts.has_key(*key, value))
    };
    // The records say what is found, and not the index.
    let read =
        read.iter().filter(|read| read.record.as_ref().map_or(true, |bytes| is_found(bytes)));
    let records = read.map(RecordLine::new).collect();
    let view = SearchView {
        log: asked.frame("records"),
        records,
        total: found.total.map(Number),
        earlier,
        later,
        suggested: suggested(asked).await?,
        search,
    };
    respond(asked.format, &view)
}

async fn suggested(asked: &PageRequest<'_>) -> Result<Suggested, Problem> {
    if asked.format != crate::answer::Format::Html {
        return Ok(Suggested::default());
    }
    let index = &asked.log.index;
    let mut lists = Vec::new();
    for field in [Field::Workspace, Field::Definition, Field::Code, Field::Binding, Field::Kind] {
        let values = index.values(field, MAX_SUGGESTED).await?;
        // One that would be shown otherwise than it is searched for is no suggestion.
        let texts = values.into_iter().map(|value| Text::from(value.value));
        lists.push(texts.filter(|text| text.to_string() == text.as_str()).collect::<Vec<_>>());
    }
    let mut lists = lists.into_iter();
    let mut next = || lists.next().unwrap_or_default();
    Ok(Suggested {
        workspaces: next(),
        definitions: next(),
        codes: next(),
        bindings: next(),
        kinds: next(),
    })
}

impl SearchView {
    /// A filter as it was asked.
    fn asked(&self, name: &str) -> Text {
        self.search.value(name).into()
    }

    /// The query with one filter set, or without it where the value is empty; from the first page on.
    fn with(&self, name: &str, value: &str) -> String {
        let filters = self.search.filters.iter().filter(|(known, _)| *known != name);
        let mut query = form_urlencoded::Serializer::new(String::new());
        filters.for_each(|(name, value)| {
            query.append_pair(name, value);
        });
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        if self.search.limit != crate::query::USUAL_PAGE {
            query.append_pair("limit", &self.search.limit.to_string());
        }
        let query = query.finish();
        if query.is_empty() {
            self.log.to("records")
        } else {
            self.log.to(&format!("records?{query}"))
        }
    }

    /// The query of another page.
    fn page(&self, name: &str, sequence: &u64) -> String {
        self.with(name, &sequence.to_string())
    }

    /// Filters that the form shows only where they are set.
    fn has_rare(&self) -> bool {
        let rare =
            ["kind", "token", "decision", "request", "policy-set", "release", "class", "kid"];
        rare.iter().any(|name| !self.search.value(name).is_empty())
    }

    fn is_asked(&self, name: &str, value: &str) -> bool {
        self.search.value(name) == value
    }

    fn has_filters(&self) -> bool {
        !self.search.filters.is_empty()
    }
}
