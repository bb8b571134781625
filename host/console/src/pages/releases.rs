//! Releases: the steps on record with their evidence, and the decisions in which candidates differed.

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::facts::Field;
use crate::frame::Frame;
use crate::index::{Direction, Selection};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::record::{Parsed, RecordLine};
use crate::text::{Number, Text, Time};

/// The steps, and the differences, that a page lists: the latest ones.
const MAX_LISTED: usize = 100;

#[derive(Template, Serialize)]
#[template(path = "releases.html")]
struct ReleasesView {
    log: Frame,
    /// The steps, the latest first.
    steps: Vec<StepView>,
    /// The number of all steps.
    total: Option<Number>,
}

#[derive(Template, Serialize)]
#[template(path = "release.html")]
struct ReleaseView {
    log: Frame,
    release: Text,
    steps: Vec<StepView>,
    /// Differences of the release as a candidate, by class.
    classes: Vec<ClassView>,
    /// The latest differences.
    flips: Vec<FlipView>,
    /// The number of decisions that it made.
    decisions: Option<Number>,
}

/// A step in the life of a release, as it is on record.
#[derive(Serialize)]
struct StepView {
    record: u64,
    step: Option<Number>,
    time: Time,
    action: Text,
    release: Text,
    from: Option<Text>,
    reason: Option<Text>,
    automatic: bool,
    evidence: Option<EvidenceView>,
}

/// The evidence of a promotion.
#[derive(Serialize)]
struct EvidenceView {
    digest: Text,
    last: Option<Number>,
    compared: Option<Number>,
    faults: Option<Number>,
    classes: Vec<ClassView>,
}

#[derive(Serialize)]
struct ClassView {
    class: Text,
    decisions: Number,
}

/// A decision in which a candidate differed.
#[derive(Serialize)]
struct FlipView {
    record: u64,
    time: Time,
    run: Option<Text>,
    decision: Option<Text>,
    class: Text,
    before: Option<Text>,
    after: Option<Text>,
    causes: Vec<Text>,
}

impl View for ReleasesView {
    fn lines(&self) -> Vec<Value> {
        self.steps.iter().map(value).collect()
    }
}

impl View for ReleaseView {
    fn lines(&self) -> Vec<Value> {
        self.flips.iter().map(value).collect()
    }
}

pub(crate) async fn releases(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let (steps, total) = of_kind(asked, "release", None).await?;
    let steps = steps.iter().map(StepView::new).collect();
    let view = ReleasesView { log: asked.frame("releases"), steps, total: total.map(Number) };
    respond(asked.format, &view)
}

pub(crate) async fn release(
    asked: &PageRequest<'_>,
    release: &str,
) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let (steps, _) = of_kind(asked, "release", Some(release)).await?;
    let (flips, _) = of_kind(asked, "candidate", Some(release)).await?;
    let index = &asked.log.index;
    let mut classes = Vec::new();
    for class in index.values(Field::Class, 32).await? {
        let terms = vec![
            (Field::Class, class.value.clone()),
            (Field::Release, release.to_owned()),
            (Field::Kind, "candidate".to_owned()),
        ];
        let decisions = count(asked, terms).await?;
        if let Some(decisions) = decisions.filter(|count| *count > 0) {
            classes.push(ClassView { class: class.value.into(), decisions: Number(decisions) });
        }
    }
    let decisions = count(asked, vec![(Field::PolicySet, release.to_owned())]).await?;
    if steps.is_empty() && flips.is_empty() && decisions == Some(0) {
        return Err(Problem::not_found("no release with this digest is on record"));
    }
    let view = ReleaseView {
        log: asked.frame("releases"),
        release: release.into(),
        steps: steps.iter().map(StepView::new).collect(),
        classes,
        flips: flips.iter().map(FlipView::new).collect(),
        decisions: decisions.map(Number),
    };
    respond(asked.format, &view)
}

/// The latest records of a kind, and the number of all of them.
async fn of_kind(
    asked: &PageRequest<'_>,
    kind: &str,
    release: Option<&str>,
) -> Result<(Vec<(RecordLine, Parsed)>, Option<u64>), Problem> {
    let mut terms = vec![(Field::Kind, kind.to_owned())];
    terms.extend(release.map(|release| (Field::Release, release.to_owned())));
    let selection = Selection { terms, ..Selection::default() };
    let (range, latest) = (asked.state.range(), Direction::Before(u64::MAX));
    let found = asked.log.index.page(&selection, range, latest, MAX_LISTED).await?;
    let read = asked.log.read(&asked.state, found.sequences).await?;
    let parsed = read.iter().map(|read| {
        let record = read.record.as_ref().map_or(Parsed(Value::Null), |bytes| Parsed::of(bytes));
        (RecordLine::new(read), record)
    });
    Ok((parsed.collect(), found.total))
}

async fn count(
    asked: &PageRequest<'_>,
    terms: Vec<(Field, String)>,
) -> Result<Option<u64>, Problem> {
    let selection = Selection { terms, ..Selection::default() };
    let (range, latest) = (asked.state.range(), Direction::Before(u64::MAX));
    Ok(asked.log.index.page(&selection, range, latest, 1).await?.total)
}

impl StepView {
    fn new((line, record): &(RecordLine, Parsed)) -> Self {
        let evidence = record.has("/evidence").then(|| EvidenceView {
            digest: record.text("/evidence/digest").unwrap_or_default(),
            last: record.number("/evidence/last").map(Number),
            compared: record.number("/evidence/compared").map(Number),
            faults: record.number("/evidence/faults").map(Number),
            classes: classes(record),
        });
        Self {
            record: line.sequence,
            step: record.number("/step").map(Number),
            time: line.time,
            action: line.action.clone().unwrap_or_default(),
            release: line.release.clone().unwrap_or_default(),
            from: record.text("/from"),
            reason: record.text("/reason"),
            automatic: record.text("/automatic").is_some_and(|text| text.as_str() == "true"),
            evidence,
        }
    }
}

fn classes(record: &Parsed) -> Vec<ClassView> {
    let classes = record.0.pointer("/evidence/classes").and_then(Value::as_object);
    let classes = classes.into_iter().flatten().filter_map(|(class, count)| {
        let decisions = Number(count.as_u64().filter(|count| *count > 0)?);
        Some(ClassView { class: class.as_str().into(), decisions })
    });
    classes.collect()
}

impl FlipView {
    fn new((line, record): &(RecordLine, Parsed)) -> Self {
        let causes = record.0.pointer("/causes").and_then(Value::as_array);
        let cause = |value: &Value| {
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            let words = [text("kind"), text("binding"), text("code")];
            Text::from(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
        };
        Self {
            record: line.sequence,
            time: line.time,
            run: line.run.clone(),
            decision: line.decision.clone(),
            class: line.class.clone().unwrap_or_default(),
            before: record.text("/before"),
            after: record.text("/after"),
            causes: causes.into_iter().flatten().map(cause).collect(),
        }
    }
}
