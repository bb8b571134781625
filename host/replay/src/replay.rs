//! Recorded decisions decided again by the policy sets that made them.

use std::collections::BTreeMap;

use countersign::{
    BindingTrace, Claims, Decision, DecisionReader, Digest, Fault, PolicySet, RecordedDecision,
};

use crate::compare::{Comparison, compare};
use crate::filter::Filter;
use crate::not_replayable::{KnownBindings, NotReplayable, NotReplayableReason};
use crate::pipeline;
use crate::record::{Place, RecordHead};
use crate::source::{Item, ItemBatch, Source, SourceError, batches};

/// A decision that a policy set does not make again to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The place that the decision is from.
    pub place: Place,
    /// The time of the decision, in seconds since 1970.
    pub time: u64,
    /// The claims that were decided on.
    pub claims: Claims,
    /// The difference. Of class [`Same`](crate::Class::Same) where only other members of the record differ, such as the name
    /// that a policy gives itself.
    pub comparison: Comparison,
    /// The offset of the first byte after the id that differs in the decision's JSON.
    pub at: usize,
}

/// The length of the id at the beginning of a decision's JSON, up to its closing quote.
const ID_BYTES: usize = r#"{"id":"sha256:"#.len() + 64;

/// Is told of results in the order of the source.
pub trait ReplayObserver {
    /// A decision differs. Returns false to stop.
    fn difference(&mut self, difference: Difference) -> bool;

    /// A decision cannot be decided again. Returns false to stop.
    fn not_replayable(&mut self, not: NotReplayable) -> bool;

    /// So many records are done.
    fn progress(&mut self, done: u64);
}

/// The result of [`replay`].
#[derive(Debug, Default)]
pub struct ReplayReport {
    /// The counts.
    pub counts: ReplayCounts,
    /// The reason that the source ended early; `None` if all of it was read. The counts are of everything before.
    pub ended: Option<SourceError>,
    /// The observer stopped it.
    pub is_stopped: bool,
}

/// Counts of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Records that were read.
    pub read: u64,
    /// Records without a decision, by kind.
    pub without_decision: BTreeMap<String, u64>,
    /// Decisions that the filter leaves out.
    pub left_out: u64,
    /// Decisions that were made again with the same bytes, by policy set.
    pub same: BTreeMap<Digest, u64>,
    /// Decisions that were made again with other bytes.
    pub different: u64,
    /// Decisions that cannot be decided again, by reason.
    pub not_replayable: BTreeMap<NotReplayableReason, u64>,
}

impl ReplayCounts {
    /// The number of decisions that were made again with the same bytes.
    pub fn same(&self) -> u64 {
        self.same.values().sum()
    }

    /// The number of decisions that cannot be decided again.
    pub fn not_replayable(&self) -> u64 {
        self.not_replayable.values().sum()
    }

    fn merge(&mut self, other: Self) {
        self.read += other.read;
        self.left_out += other.left_out;
        self.different += other.different;
        for (kind, count) in other.without_decision {
            *self.without_decision.entry(kind).or_default() += count;
        }
        for (set, count) in other.same {
            *self.same.entry(set).or_default() += count;
        }
        for (reason, count) in other.not_replayable {
            *self.not_replayable.entry(reason).or_default() += count;
        }
    }
}

/// Makes every decision of a source again with the one of `sets` that made it, on `workers` threads, and compares the
/// bytes.
///
/// A set made a decision if the record names its digest. Decisions of other sets are not replayable, and so are those with
/// a fault that depends on the machine. Questions have no decision to compare with.
pub fn replay(
    source: &mut dyn Source,
    sets: &[PolicySet],
    filter: &Filter,
    workers: usize,
    observer: &mut dyn ReplayObserver,
) -> ReplayReport {
    let known = KnownBindings::new(sets);
    let mut report = ReplayReport::default();
    let mut ended = None;
    let new_worker = || {
        let mut worker = Worker { reader: DecisionReader::new(), sets, known: &known, filter };
        move |batch: ItemBatch| worker.batch(batch.items)
    };
    pipeline::run(workers, batches(source, &mut ended), new_worker, |batch: Batch| {
        report.counts.merge(batch.counts);
        for event in batch.events {
            let goes_on = match event {
                Event::Difference(difference) => observer.difference(*difference),
                Event::NotReplayable(not) => observer.not_replayable(not),
            };
            if !goes_on {
                report.is_stopped = true;
                return false;
            }
        }
        observer.progress(report.counts.read);
        true
    });
    report.ended = ended;
    report
}

#[derive(Default)]
struct Batch {
    counts: ReplayCounts,
    events: Vec<Event>,
}

enum Event {
    Difference(Box<Difference>),
    NotReplayable(NotReplayable),
}

struct Worker<'s> {
    reader: DecisionReader,
    sets: &'s [PolicySet],
    known: &'s KnownBindings<'s>,
    filter: &'s Filter,
}

impl Worker<'_> {
    fn batch(&mut self, items: Vec<Item>) -> Batch {
        let mut batch = Batch::default();
        for item in items {
            batch.counts.read += 1;
            match item {
                Item::Record { sequence, record } => self.record(sequence, &record, &mut batch),
                Item::Question(question) => {
                    let problem = "a question has no recorded decision".to_owned();
                    let place = Place::Named(question.name);
                    batch.not_replayable(NotReplayable::unreadable_item(place, problem));
                }
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
        let Some(json) = head.decision() else {
            *batch.counts.without_decision.entry(head.kind).or_default() += 1;
            return;
        };
        if !self.filter.has_time(head.time) {
            batch.counts.left_out += 1;
            return;
        }
        match head.read(&mut self.reader) {
            None => {}
            Some(Ok(decision)) => self.decide(place, head.time, json, &decision, batch),
            Some(Err(error)) => {
                batch.not_replayable(NotReplayable::unreadable(place, Some(head.time), &error));
            }
        }
    }

    fn decide(
        &self,
        place: Place,
        time: u64,
        json: &str,
        before: &RecordedDecision,
        batch: &mut Batch,
    ) {
        if !self.filter.has_run(&before.claims) {
            batch.counts.left_out += 1;
            return;
        }
        let Some(set) = self.sets.iter().find(|set| set.digest() == before.policy_set) else {
            let not = NotReplayable::without_set(place, time, before, self.known);
            return batch.not_replayable(not);
        };
        let again = set.evaluate(before.claims.clone());
        if again.json() == json {
            *batch.counts.same.entry(before.policy_set).or_default() += 1;
            return;
        }
        if let Some(detail) = machine_fault(before, &again) {
            let reason = NotReplayableReason::MachineFault;
            return batch.not_replayable(NotReplayable { place, time: Some(time), reason, detail });
        }
        batch.counts.different += 1;
        // The id differs in any case, and says nothing.
        let mut bytes = json.bytes().zip(again.json().bytes()).skip(ID_BYTES);
        let at = bytes.position(|(one, other)| one != other);
        let at = at.map_or(json.len().min(again.json().len()), |at| ID_BYTES + at);
        let comparison = compare(before, &set.project(&before.claims, &[]));
        let claims = before.claims.clone();
        batch.events.push(Event::Difference(Box::new(Difference {
            place,
            time,
            claims,
            comparison,
            at,
        })));
    }
}

impl Batch {
    fn not_replayable(&mut self, not: NotReplayable) {
        *self.counts.not_replayable.entry(not.reason).or_default() += 1;
        self.events.push(Event::NotReplayable(not));
    }
}

/// A fault in either decision that another machine, or a busier one, need not reproduce.
fn machine_fault(before: &RecordedDecision, again: &Decision) -> Option<String> {
    let recorded = before.trace.iter().find_map(|entry| {
        let code = entry.result.as_ref().err()?.code.as_str();
        Fault::MACHINE_CODES.contains(&code).then(|| {
            let name = &entry.binding.name;
            format!("binding `{name}` ended by `{code}`, which depends on the machine")
        })
    });
    recorded.or_else(|| {
        let is_machine = |entry: &&BindingTrace| {
            entry
                .result
                .as_ref()
                .err()
                .map(Fault::code)
                .is_some_and(|c| Fault::MACHINE_CODES.contains(&c))
        };
        let entry = again.trace().iter().find(is_machine)?;
        let (name, code) = (&entry.binding.name, entry.result.as_ref().err()?.code());
        Some(format!("binding `{name}` ends by `{code}` now, which depends on the machine"))
    })
}
