//! Selects records: exact filters, a page at a time, and how many there are.

use std::collections::HashMap;

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{QueryBuilder, Row, query, query_scalar};

use super::sequences::{BLOCK, Sequences, block_of, place_of};
use super::write::ZONE;
use super::{Index, IndexError, IndexedFrame, integer, natural};
use crate::facts::{Field, Key};

/// The blocks that are looked at together: a million records.
const BLOCKS: u64 = 16;

/// The blocks in which records are counted: four million records. A page beyond them is found, and not counted.
const MAX_COUNTED_BLOCKS: u64 = 64;

/// The records that are selected: those that have all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Values of fields.
    pub(crate) terms: Vec<(Field, String)>,
    /// Values of keys.
    pub(crate) keys: Vec<(Key, String)>,
    /// Only from this time on, in seconds since 1970.
    pub(crate) since: Option<u64>,
    /// Only before this time, in seconds since 1970.
    pub(crate) until: Option<u64>,
}

/// The place where a page begins, and the way that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The records before this sequence, the latest first.
    Before(u64),
    /// The records after this sequence, the earliest of them, which are shown the latest first as well.
    After(u64),
}

/// A page of what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The sequences, the latest first.
    pub(crate) sequences: Vec<u64>,
    /// Records that are selected and earlier than the page.
    pub(crate) has_earlier: bool,
    /// Records that are selected and later than the page.
    pub(crate) has_later: bool,
    /// The number of all that are selected; `None` where that was not counted.
    pub(crate) total: Option<u64>,
}

impl Index {
    /// Finds a page of at most `limit` records among those from `first` to `last`.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn page(
        &self,
        selection: &Selection,
        (first, last): (u64, u64),
        direction: Direction,
        limit: usize,
    ) -> Result<Found, IndexError> {
        let mut found = Found::default();
        if first == 0 || last < first {
            found.total = Some(0);
            return Ok(found);
        }
        let mut reader = self.readers.acquire().await?;
        let blocks = block_of(first)..=block_of(last);
        let is_counted = blocks.end() - blocks.start() < MAX_COUNTED_BLOCKS;
        let is_forward = matches!(direction, Direction::After(_));
        let (mut total, mut page) = (0, Vec::new());
        let (mut has_before, mut has_after) = (false, false);
        let mut chunks: Vec<_> = blocks.clone().step_by(BLOCKS as usize).collect();
        if !is_forward {
            chunks.reverse();
        }
        for start in chunks {
            let end = (start + BLOCKS - 1).min(*blocks.end());
            let mut selected =
                selected(&mut reader, selection, (start, end), (first, last)).await?;
            if !is_forward {
                selected.reverse();
            }
            for (block, sequences) in selected {
                total += sequences.len();
                // INVARIANT: one more than the page has tells that there is more.
                if page.len() > limit && is_counted {
                    continue;
                }
                let mut places = sequences.places();
                if !is_forward {
                    places.reverse();
                }
                for place in places {
                    let sequence = block * BLOCK + u64::from(place);
                    let is_wanted = match direction {
                        Direction::Before(before) => sequence < before,
                        Direction::After(after) => sequence > after,
                    };
                    if !is_wanted {
                        has_before = true;
                    } else if page.len() <= limit {
                        page.push(sequence);
                    }
                }
            }
            if !is_counted && page.len() > limit {
                break;
            }
        }
        if page.len() > limit {
            page.truncate(limit);
            has_after = true;
        }
        found.total = is_counted.then_some(total);
        if is_forward {
            page.reverse();
            (found.has_earlier, found.has_later) = (has_before, has_after);
        } else {
            (found.has_earlier, found.has_later) = (has_after, has_before);
        }
        found.sequences = page;
        Ok(found)
    }

    /// The places and hashes of records, and of those before them.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn frames(
        &self,
        sequences: &[u64],
    ) -> Result<HashMap<u64, IndexedFrame>, IndexError> {
        let mut frames = HashMap::new();
        if sequences.is_empty() {
            return Ok(frames);
        }
        let mut select =
            QueryBuilder::<Sqlite>::new("SELECT sequence, frame FROM entry WHERE sequence IN (");
        let mut values = select.separated(", ");
        for sequence in sequences {
            values.push_bind(integer(*sequence)).push_bind(integer(sequence.saturating_sub(1)));
        }
        select.push(")");
        for row in select.build().fetch_all(&self.readers).await? {
            let frame = IndexedFrame::from_bytes(row.try_get("frame")?);
            frames
                .extend(frame.map(|frame| (natural(row.try_get("sequence").unwrap_or(0)), frame)));
        }
        Ok(frames)
    }
}

/// The selected records of blocks, in the order of blocks.
async fn selected(
    reader: &mut SqliteConnection,
    selection: &Selection,
    (start, end): (u64, u64),
    (first, last): (u64, u64),
) -> Result<Vec<(u64, Sequences)>, IndexError> {
    let mut blocks: Vec<_> = (start..=end)
        .map(|block| {
            let from = if block == block_of(first) { place_of(first) } else { 0 };
            let to = if block == block_of(last) { place_of(last) } else { u16::MAX };
            (block, Sequences::range(from, to))
        })
        .collect();
    for (field, value) in &selection.terms {
        let rows = query(
            "SELECT block, places FROM posting WHERE field = ? AND value = ? AND block BETWEEN ? AND ?",
        )
        .bind(field.number())
        .bind(value)
        .bind(integer(start))
        .bind(integer(end))
        .fetch_all(&mut *reader)
        .await?;
        let mut having: HashMap<u64, Sequences> = HashMap::new();
        for row in rows {
            let places = Sequences::from_bytes(row.try_get("places")?);
            having.insert(natural(row.try_get("block")?), places);
        }
        keep(&mut blocks, &having);
    }
    for (key, value) in &selection.keys {
        let (from, to) = (start * BLOCK, (end + 1) * BLOCK - 1);
        let sequences: Vec<i64> =
            query_scalar("SELECT sequence FROM key WHERE hash = ? AND sequence BETWEEN ? AND ?")
                .bind(key.number(value))
                .bind(integer(from))
                .bind(integer(to))
                .fetch_all(&mut *reader)
                .await?;
        let mut having: HashMap<u64, Sequences> = HashMap::new();
        for sequence in sequences.into_iter().map(natural) {
            having.entry(block_of(sequence)).or_default().push(place_of(sequence));
        }
        keep(&mut blocks, &having);
    }
    if selection.since.is_some() || selection.until.is_some() {
        let since = selection.since.unwrap_or(0);
        let until = selection.until.unwrap_or(u64::MAX);
        within(reader, &mut blocks, (start, end), (since, until)).await?;
    }
    Ok(blocks)
}

fn keep(blocks: &mut [(u64, Sequences)], having: &HashMap<u64, Sequences>) {
    for (block, sequences) in blocks {
        match having.get(block) {
            Some(other) => sequences.intersect(other),
            None => *sequences = Sequences::default(),
        }
    }
}

/// Keeps the records of a time. Records are nearly in the order of their times, so most zones are within or outside.
async fn within(
    reader: &mut SqliteConnection,
    blocks: &mut [(u64, Sequences)],
    (start, end): (u64, u64),
    (since, until): (u64, u64),
) -> Result<(), IndexError> {
    let zones = query("SELECT zone, earliest, latest FROM zone WHERE zone BETWEEN ? AND ?")
        .bind(integer(start * BLOCK / ZONE))
        .bind(integer((end + 1) * BLOCK / ZONE - 1))
        .fetch_all(&mut *reader)
        .await?;
    let mut having: HashMap<u64, Sequences> = HashMap::new();
    for zone in zones {
        let (number, earliest, latest): (i64, i64, i64) =
            (zone.try_get("zone")?, zone.try_get("earliest")?, zone.try_get("latest")?);
        let (from, to) = (natural(number) * ZONE, natural(number) * ZONE + ZONE - 1);
        if natural(latest) < since || natural(earliest) >= until {
            continue;
        }
        let places = having.entry(block_of(from)).or_default();
        if since <= natural(earliest) && natural(latest) < until {
            places.add(place_of(from)..=place_of(to));
            continue;
        }
        // A zone in which nothing is selected otherwise needs no look.
        let Some((_, others)) = blocks.iter().find(|(block, _)| *block == block_of(from)) else {
            continue;
        };
        let mut here = Sequences::range(place_of(from), place_of(to));
        here.intersect(others);
        if here.is_empty() {
            continue;
        }
        let sequences: Vec<i64> = query_scalar(
            "SELECT sequence FROM entry WHERE sequence BETWEEN ? AND ? AND time >= ? AND time < ?",
        )
        .bind(integer(from))
        .bind(integer(to))
        .bind(integer(since))
        .bind(integer(until))
        .fetch_all(&mut *reader)
        .await?;
        places.add(sequences.into_iter().map(|sequence| place_of(natural(sequence))));
    }
    keep(blocks, &having);
    Ok(())
}
