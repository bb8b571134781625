//! Writes an index, a batch of records at a time.

use std::collections::{BTreeMap, HashMap};

use countersign_decision_log::{ChainHash, FramePlace, Placed};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{QueryBuilder, Row, query};

use super::sequences::{Sequences, block_of, place_of};
use super::{Index, IndexError, Indexed, IndexedFrame, integer, natural, schema};
use crate::facts::{Facts, Field};

/// The rows of one statement.
const ROWS: usize = 2000;

/// The length of a zone, in records.
pub(super) const ZONE: u64 = 4096;

/// The seconds of an hour, by which refusals are counted.
pub(super) const HOUR: u64 = 3600;

/// Adds records to an index in their order. What was added is found when it was flushed.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The part of the log that was added; `None` before the first record.
    indexed: Option<Indexed>,
    entries: Vec<Entry>,
    keys: Vec<(i64, i64)>,
    /// The records of the block that is being added, by value.
    postings: HashMap<(Field, String), Posting>,
    refusals: BTreeMap<(u64, String), u64>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    time: u64,
    frame: IndexedFrame,
}

#[derive(Debug, Default)]
struct Posting {
    places: Sequences,
    /// The records that were added since the last flush.
    added: u64,
}

impl IndexedFrame {
    fn to_bytes(self) -> Vec<u8> {
        let FramePlace { segment, offset, length } = self.place;
        let mut bytes = Vec::with_capacity(52);
        bytes.extend(segment.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.hash.as_bytes());
        bytes
    }

    /// Reads what was kept; `None` if it is something else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (segment, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, hash) = rest.split_first_chunk()?;
        let place = FramePlace {
            segment: u64::from_be_bytes(*segment),
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        };
        Some(Self { place, hash: ChainHash::from_bytes(hash.try_into().ok()?) })
    }
}

impl Writer {
    /// Goes on where the index ends.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn open(index: &Index) -> Result<Self, IndexError> {
        let indexed = index.indexed().await?;
        let mut postings = HashMap::new();
        if let Some(indexed) = indexed {
            let block = block_of(indexed.last + 1);
            for field in Field::ALL {
                let rows = query("SELECT value, places FROM posting WHERE field = ? AND block = ?");
                let rows = rows.bind(field.number()).bind(integer(block));
                for row in rows.fetch_all(&index.readers).await? {
                    let places = Sequences::from_bytes(row.try_get("places")?);
                    postings.insert((field, row.try_get("value")?), Posting { places, added: 0 });
                }
            }
        }
        Ok(Self { indexed, entries: vec![], keys: vec![], postings, refusals: BTreeMap::new() })
    }

    /// The part of the log that was added.
    pub(crate) fn indexed(&self) -> Option<Indexed> {
        self.indexed
    }

    /// Tells whether what was added is to be flushed before the record `next` is.
    pub(crate) fn is_full(&self, next: u64) -> bool {
        self.indexed.is_some_and(|indexed| block_of(indexed.last) != block_of(next))
    }

    /// Tells whether everything that was added was flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the record after the last one. `before` is the hash of the record before it.
    pub(crate) fn add(&mut self, placed: &Placed, facts: Facts, before: ChainHash) {
        let (sequence, hash) = (placed.entry.sequence, placed.entry.hash);
        let indexed =
            self.indexed.get_or_insert(Indexed { first: sequence, before, last: 0, hash });
        (indexed.last, indexed.hash) = (sequence, hash);
        let frame = IndexedFrame { place: placed.place, hash };
        self.entries.push(Entry { sequence, time: facts.time, frame });
        let keys = facts.keys.iter().map(|(key, value)| (key.number(value), integer(sequence)));
        self.keys.extend(keys);
        if facts.has(Field::Outcome, "refused") {
            let hour = facts.time / HOUR;
            let codes = facts.values(Field::Code).filter(|code| !code.is_empty());
            for code in codes.chain([""]) {
                *self.refusals.entry((hour, code.to_owned())).or_default() += 1;
            }
        }
        for term in facts.terms {
            let posting = self.postings.entry(term).or_default();
            posting.places.push(place_of(sequence));
            posting.added += 1;
        }
    }

    /// Writes what was added, in one transaction.
    ///
    /// # Errors
    /// When it cannot be written. Nothing was then, and the writer is to be opened anew.
    pub(crate) async fn flush(&mut self, index: &Index) -> Result<(), IndexError> {
        let Some(indexed) = self.indexed else { return Ok(()) };
        if self.entries.is_empty() {
            return Ok(());
        }
        let mut transaction = index.writer.begin().await?;
        write_entries(&mut transaction, &self.entries).await?;
        write_zones(&mut transaction, &self.entries).await?;
        // In the order of the table, so that each of its pages is written once.
        self.keys.sort_unstable();
        write_keys(&mut transaction, &self.keys).await?;
        write_postings(&mut transaction, &self.postings, indexed.last).await?;
        for ((hour, code), decisions) in &self.refusals {
            query(
                "INSERT INTO refusal VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET decisions = decisions + excluded.decisions",
            )
            .bind(integer(*hour))
            .bind(code)
            .bind(integer(*decisions))
            .execute(&mut *transaction)
            .await?;
        }
        query(
            "INSERT INTO head VALUES (1, ?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last",
        )
        .bind(integer(indexed.first))
        .bind(indexed.before.as_bytes().as_slice())
        .bind(integer(indexed.last))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.entries.clear();
        self.keys.clear();
        self.refusals.clear();
        if block_of(indexed.last + 1) == block_of(indexed.last) {
            self.postings.values_mut().for_each(|posting| posting.added = 0);
        } else {
            self.postings.clear();
        }
        Ok(())
    }
}

impl Index {
    /// The part of the log that the index has; `None` while it is empty.
    pub(crate) async fn indexed(&self) -> Result<Option<Indexed>, IndexError> {
        let row = query(
            "SELECT first, before, last, frame FROM head JOIN entry ON sequence = last WHERE id = 1",
        );
        let Some(row) = row.fetch_optional(&self.writer).await? else { return Ok(None) };
        let before: &[u8] = row.try_get("before")?;
        let frame = IndexedFrame::from_bytes(row.try_get("frame")?);
        Ok(frame.zip(before.try_into().ok()).map_or_else(
            || None,
            |(frame, before)| {
                Some(Indexed {
                    first: natural(row.try_get("first").unwrap_or_default()),
                    before: ChainHash::from_bytes(before),
                    last: natural(row.try_get("last").unwrap_or_default()),
                    hash: frame.hash,
                })
            },
        ))
    }

    /// Removes everything, to begin anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn clear(&self) -> Result<(), IndexError> {
        let mut transaction = self.writer.begin().await?;
        for statement in schema::CLEAR {
            query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn write_entries(to: &mut SqliteConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    for rows in entries.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO entry ");
        insert.push_values(rows, |mut row, entry| {
            row.push_bind(integer(entry.sequence));
            row.push_bind(integer(entry.time)).push_bind(entry.frame.to_bytes());
        });
        insert.build().execute(&mut *to).await?;
    }
    Ok(())
}

async fn write_zones(to: &mut SqliteConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let mut zones: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for entry in entries {
        let zone = zones.entry(entry.sequence / ZONE).or_insert((entry.time, entry.time));
        *zone = (zone.0.min(entry.time), zone.1.max(entry.time));
    }
    for (zone, (earliest, latest)) in zones {
        query(
            "INSERT INTO zone VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET \
             earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)",
        )
        .bind(integer(zone))
        .bind(integer(earliest))
        .bind(integer(latest))
        .execute(&mut *to)
        .await?;
    }
    Ok(())
}

async fn write_keys(to: &mut SqliteConnection, keys: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    for rows in keys.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO key ");
        insert.push_values(rows, |mut row, (hash, sequence)| {
            row.push_bind(*hash).push_bind(*sequence);
        });
        insert.build().execute(&mut *to).await?;
    }
    Ok(())
}

async fn write_postings(
    to: &mut SqliteConnection,
    postings: &HashMap<(Field, String), Posting>,
    last: u64,
) -> Result<(), sqlx::Error> {
    let block = integer(block_of(last));
    let mut changed: Vec<_> = postings.iter().filter(|(_, posting)| posting.added > 0).collect();
    changed.sort_unstable_by_key(|(one, _)| *one);
    for ((field, value), posting) in changed {
        let last = posting
            .places
            .last()
            .map_or(last, |place| block_of(last) * super::sequences::BLOCK + u64::from(place));
        query("INSERT OR REPLACE INTO posting VALUES (?, ?, ?, ?)")
            .bind(field.number())
            .bind(value)
            .bind(block)
            .bind(posting.places.to_bytes())
            .execute(&mut *to)
            .await?;
        query(
            "INSERT INTO term VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
             records = records + excluded.records, last = excluded.last",
        )
        .bind(field.number())
        .bind(value)
        .bind(integer(posting.added))
        .bind(integer(last))
        .execute(&mut *to)
        .await?;
    }
    Ok(())
}
