//! The impact of a candidate policy set on decisions that were made.

use countersign::{
    Claims, DecisionReader, Digest, Outcome, PolicySet, Projection, RecordedDecision,
};

use crate::compare::{Class, Comparison, compare};
use crate::filter::Filter;
use crate::not_replayable::NotReplayable;
use crate::pipeline;
use crate::record::{Place, RecordHead};
use crate::source::{Item, ItemBatch, Question, Source, SourceError, batches};
use crate::summary::Summary;

/// Items at the beginning of a source that are all in a sample.
const ALWAYS_SAMPLED: u64 = 1000;

/// Decisions of the sample with another verdict that are named.
const MAX_MISMATCHES: usize = 16;

/// The way that the impact is worked out.
#[derive(Debug, Clone)]
pub struct ImpactOptions {
    /// The decisions that are looked at.
    pub filter: Filter,
    /// The share of decisions that are evaluated in full as well.
    pub sampling: Sampling,
    /// The number of threads that decide: at least 1.
    pub workers: usize,
    /// Reports decisions with the same outcome and other verdicts as well.
    pub with_verdicts: bool,
}

/// The share of decisions that are evaluated in full, although recorded verdicts could stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// None.
    Off,
    /// One in so many, chosen by the decisions' ids, so that the same decisions are chosen each time, and all of the first
    /// thousand or so, so that a short log is proven as well. One in 0 is all.
    OneIn(u64),
    /// All: recorded verdicts are used for nothing.
    All,
}

/// A decision that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The place that the decision is from.
    pub place: Place,
    /// The time of the decision, in seconds since 1970.
    pub time: u64,
    /// The claims that were decided on.
    pub claims: Claims,
    /// The outcome before.
    pub before: Outcome,
    /// The outcome now.
    pub after: Outcome,
    /// The difference.
    pub comparison: Comparison,
}

/// Is told of results in the order of the source.
pub trait ImpactObserver {
    /// A decision differs. Returns false to stop.
    fn change(&mut self, change: Change) -> bool;

    /// A decision cannot be decided again. Returns false to stop.
    fn not_replayable(&mut self, not: NotReplayable) -> bool;

    /// So many records or questions are done.
    fn progress(&mut self, done: u64);
}

/// The result of [`impact`].
#[derive(Debug)]
pub struct ImpactReport {
    /// The counts.
    pub summary: Summary,
    /// The reason that the source ended early; `None` if all of it was read. The counts are of everything before.
    pub ended: Option<SourceError>,
    /// The decisions of the sample, at most 16, in which an evaluation gave another verdict than the record.
    pub mismatches: Vec<Place>,
    /// Digest over all decisions before, in order, that were compared: of questions, which have no log whose head would
    /// name them.
    pub decisions: Digest,
    /// The observer stopped it.
    pub is_stopped: bool,
}

/// Works out what `candidate` would decide on everything that a source has, and compares it with the decision before: that
/// of the record, or for a question that of `current`.
///
/// Only bindings are evaluated for which the decision before has no verdict. Memory is bounded by what the observer keeps.
pub fn impact(
    source: &mut dyn Source,
    current: Option<&PolicySet>,
    candidate: &PolicySet,
    options: &ImpactOptions,
    observer: &mut dyn ImpactObserver,
) -> ImpactReport {
    let mut report = ImpactReport {
        summary: Summary::default(),
        ended: None,
        mismatches: Vec::new(),
        decisions: Digest::of(b""),
        is_stopped: false,
    };
    let mut ended = None;
    let new_worker = || {
        let reader = DecisionReader::new();
        let mut worker = Worker { reader, current, candidate, options, is_sampled: false };
        move |batch: ItemBatch| worker.batch(batch)
    };
    pipeline::run(options.workers, batches(source, &mut ended), new_worker, |batch| {
        report.take(batch, observer)
    });
    report.ended = ended;
    report
}

impl ImpactReport {
    /// Adds a batch; false to stop.
    fn take(&mut self, batch: Batch, observer: &mut dyn ImpactObserver) -> bool {
        self.summary.merge(batch.summary);
        let room = MAX_MISMATCHES - self.mismatches.len().min(MAX_MISMATCHES);
        self.mismatches.extend(batch.mismatches.into_iter().take(room));
        for id in batch.ids {
            let chained = [*self.decisions.as_bytes(), *id.as_bytes()].concat();
            self.decisions = Digest::of(&chained);
        }
        for event in batch.events {
            let goes_on = match event {
                Event::Change(change) => observer.change(*change),
                Event::NotReplayable(not) => observer.not_replayable(not),
            };
            if !goes_on {
                self.is_stopped = true;
                return false;
            }
        }
        observer.progress(self.summary.read);
        true
    }
}

/// The results of a batch.
#[derive(Default)]
struct Batch {
    summary: Summary,
    events: Vec<Event>,
    mismatches: Vec<Place>,
    ids: Vec<Digest>,
}

enum Event {
    Change(Box<Change>),
    NotReplayable(NotReplayable),
}

struct Worker<'s> {
    reader: DecisionReader,
    current: Option<&'s PolicySet>,
    candidate: &'s PolicySet,
    options: &'s ImpactOptions,
    /// The items are among the first ones, all of which are in the sample.
    is_sampled: bool,
}

impl Worker<'_> {
    fn batch(&mut self, ItemBatch { first, items }: ItemBatch) -> Batch {
        let mut batch = Batch::default();
        self.is_sampled = first < ALWAYS_SAMPLED;
        for item in items {
            batch.summary.read += 1;
            match item {
                Item::Record { sequence, record } => self.record(sequence, &record, &mut batch),
                Item::Question(question) => self.question(*question, &mut batch),
                Item::Unreadable { place, problem } => {
                    batch.not_replayable(NotReplayable::unreadable_item(place, problem));
                }
            }
        }
        batch
    }

    fn record(&mut self, sequence: u64, record: &[u8], batch: &mut Batch) {
        let place = Place::Record(sequence);
        let head = match RecordHead::parse(record) {
            Ok(head) => head,
            Err(error) => {
                return batch.not_replayable(NotReplayable::unreadable(place, None, &error));
            }
        };
        if head.decision().is_none() {
            return batch.summary.add_without_decision(&head.kind);
        }
        if !self.options.filter.has_time(head.time) {
            batch.summary.left_out += 1;
            return;
        }
        match head.read(&mut self.reader) {
            None => {}
            Some(Ok(decision)) if self.options.filter.has_run(&decision.claims) => {
                self.compare(place, head.time, decision, batch);
            }
            Some(Ok(_)) => batch.summary.left_out += 1,
            Some(Err(error)) => {
                batch.not_replayable(NotReplayable::unreadable(place, Some(head.time), &error));
            }
        }
    }

    fn question(&mut self, question: Question, batch: &mut Batch) {
        let Question { name, claims } = question;
        let time = claims.token().issued_at();
        let filter = &self.options.filter;
        if !filter.has_time(time) || !filter.has_run(&claims) {
            batch.summary.left_out += 1;
            return;
        }
        let Some(current) = self.current else {
            let problem = "no policy set was given that decides on it first".to_owned();
            let place = Place::Named(name);
            return batch.not_replayable(NotReplayable::unreadable_item(place, problem));
        };
        let decision = RecordedDecision::from(&current.evaluate(claims));
        batch.ids.push(decision.id);
        self.compare(Place::Named(name), time, decision, batch);
    }

    fn compare(&mut self, place: Place, time: u64, before: RecordedDecision, batch: &mut Batch) {
        let after = self.project(&place, &before, batch);
        let comparison = compare(&before, &after);
        let summary = &mut batch.summary;
        summary.add(&before.claims, time, before.policy_set, &comparison);
        summary.add_traces(&before.trace, &after.trace);
        summary.reused += after.reused as u64;
        summary.evaluated += (after.trace.len() - after.reused) as u64;
        let is_reported = comparison.faults
            || comparison.class.is_visible()
            || (self.options.with_verdicts && comparison.class == Class::Verdicts);
        if is_reported {
            let RecordedDecision { claims, outcome, .. } = before;
            let (before, after) = (outcome, after.outcome);
            let change = Change { place, time, claims, before, after, comparison };
            batch.events.push(Event::Change(Box::new(change)));
        }
    }

    /// The outcome that the candidate would have, and for a sample of decisions the proof of it.
    fn project(&self, place: &Place, before: &RecordedDecision, batch: &mut Batch) -> Projection {
        let all = || self.candidate.project(&before.claims, &[]);
        let is_selected = match self.options.sampling {
            Sampling::Off => false,
            Sampling::All => return all(),
            Sampling::OneIn(share) => self.is_sampled || is_one_in(share, &before.id),
        };
        let projected = self.candidate.project(&before.claims, &before.trace);
        if projected.reused == 0 || !is_selected {
            return projected;
        }
        let evaluated = all();
        let sample = &mut batch.summary.sample;
        sample.decisions += 1;
        let results = |projection: &Projection| {
            projection.trace.iter().map(|entry| entry.result.clone()).collect::<Vec<_>>()
        };
        if results(&projected) != results(&evaluated) {
            sample.differ += 1;
            batch.mismatches.push(place.clone());
            return evaluated;
        }
        sample.usage_differs += u64::from(projected.trace != evaluated.trace);
        projected
    }
}

/// Tells whether an id is one of the chosen ones: an even share of all.
fn is_one_in(share: u64, id: &Digest) -> bool {
    let (number, _) = id.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*number).checked_rem(share).unwrap_or(0) == 0
}

impl Batch {
    fn not_replayable(&mut self, not: NotReplayable) {
        self.summary.add_not_replayable(not.reason);
        self.events.push(Event::NotReplayable(not));
    }
}
