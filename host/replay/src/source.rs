//! The sources of decisions: records of a log, or questions that are asked of two policy sets.

use countersign::Claims;
use countersign_decision_log::{ReadError, VerifiedReader};

use crate::record::Place;

/// One thing to be decided on, in the order of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record of a log.
    Record {
        /// Its sequence.
        sequence: u64,
        /// Its bytes.
        record: Vec<u8>,
    },
    /// Claims without a record, on which the current policy set decides first.
    Question(Box<Question>),
    /// Something that should have been a question and cannot be read.
    Unreadable {
        /// The place that it is from.
        place: Place,
        /// The problem, safe to show.
        problem: String,
    },
}

/// Claims without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A name for output, such as the file of the run.
    pub name: String,
    /// The claims.
    pub claims: Claims,
}

/// The end of a source before its last item.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The log is damaged at the next record, or cannot be read on. Everything before that is intact.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// Gives items one by one. Called from one thread, which may be another than the caller's.
pub trait Source: Send {
    /// The next item; `None` at the end. Not called again after the end or an error.
    ///
    /// # Errors
    /// When there is no next item although it is not the end. All items before it count.
    fn next(&mut self) -> Result<Option<Item>, SourceError>;
}

/// The records of a log, of which each is verified.
impl Source for VerifiedReader<'_> {
    fn next(&mut self) -> Result<Option<Item>, SourceError> {
        let entry = self.read()?;
        Ok(entry.map(|entry| Item::Record { sequence: entry.sequence, record: entry.record }))
    }
}

/// Items that are made one by one, such as the runs of a folder.
#[derive(Debug)]
pub struct Items<I>(pub I);

impl<I: Iterator<Item = Item> + Send> Source for Items<I> {
    fn next(&mut self) -> Result<Option<Item>, SourceError> {
        Ok(self.0.next())
    }
}

/// Items that a source gives to a worker at once: handing over takes less than deciding on one.
const BATCH_ITEMS: usize = 64;

/// Items, the first of which has this place among all of the source.
pub(crate) struct ItemBatch {
    pub(crate) first: u64,
    pub(crate) items: Vec<Item>,
}

/// Takes items as batches, and notes the error that ended them.
pub(crate) fn batches<'s>(
    source: &'s mut dyn Source,
    error: &'s mut Option<SourceError>,
) -> impl FnMut() -> Option<ItemBatch> + Send + 's {
    let mut is_over = false;
    let mut next = 0;
    move || {
        let mut items = Vec::with_capacity(BATCH_ITEMS);
        while !is_over && items.len() < BATCH_ITEMS {
            match source.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => is_over = true,
                Err(ended) => {
                    is_over = true;
                    *error = Some(ended);
                }
            }
        }
        let first = next;
        next += items.len() as u64;
        (!items.is_empty()).then_some(ItemBatch { first, items })
    }
}
