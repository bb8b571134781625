//! One Parquet file, written in memory.

use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use serde_json::Value;

use crate::columns::{COLUMNS, Kind, Member, SCHEMA_VERSION, first, schema_text};

/// The number of rows, and the bytes of their records, after which a row group is written.
const GROUP_ROWS: usize = 20_000;
const GROUP_BYTES: usize = 32 << 20;

/// Writes rows to a file in memory.
pub(crate) struct FileWriter {
    writer: SerializedFileWriter<Vec<u8>>,
    leaves: Vec<Leaf>,
    rows: usize,
    bytes: usize,
}

/// The values of one leaf of the schema in a row group, with their levels.
#[derive(Default)]
struct Leaf {
    texts: Vec<ByteArray>,
    integers: Vec<i64>,
    /// `None` in a leaf that is always there.
    definitions: Vec<i16>,
    /// Of a leaf within a list alone.
    repetitions: Vec<i16>,
    is_text: bool,
    is_optional: bool,
    is_repeated: bool,
}

/// A record, as rows are made of it.
pub(crate) struct Record<'r> {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
    /// `Null` where the record is not JSON.
    pub(crate) value: &'r Value,
    pub(crate) bytes: &'r [u8],
}

/// A cell of a leaf.
enum Cell<'r> {
    Null,
    Text(&'r str),
    Integer(i64),
}

/// The schema and the properties of all files.
#[derive(Clone)]
pub(crate) struct Form {
    schema: TypePtr,
    properties: WriterPropertiesPtr,
}

impl Form {
    pub(crate) fn new() -> Result<Self, ParquetError> {
        let version = KeyValue::new("countersign.schema".to_owned(), SCHEMA_VERSION.to_string());
        let properties = WriterProperties::builder()
            .set_compression(Compression::GZIP(GzipLevel::try_new(4)?))
            .set_created_by(format!("countersign {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![version]))
            .build();
        let schema = Arc::new(parse_message_type(&schema_text())?);
        Ok(Self { schema, properties: Arc::new(properties) })
    }
}

impl FileWriter {
    pub(crate) fn new(form: &Form) -> Result<Self, ParquetError> {
        let (schema, properties) = (Arc::clone(&form.schema), Arc::clone(&form.properties));
        let writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
        Ok(Self { writer, leaves: leaves(), rows: 0, bytes: 0 })
    }

    /// Adds the row of a record.
    pub(crate) fn add(&mut self, record: &Record<'_>) -> Result<(), ParquetError> {
        let mut leaves = self.leaves.iter_mut();
        for column in COLUMNS {
            add(record, column.kind, &mut leaves);
        }
        self.rows += 1;
        self.bytes += record.bytes.len();
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    /// Ends the file, and returns its bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        self.flush()?;
        self.writer.into_inner()
    }

    /// Writes a row group.
    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for leaf in std::mem::replace(&mut self.leaves, leaves()) {
            let Some(column) = group.next_column()? else { break };
            leaf.write(column)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// The leaves of the schema, in its order.
fn leaves() -> Vec<Leaf> {
    let one = |kind: Kind, is_repeated: bool| Leaf {
        is_text: !matches!(kind, Kind::Sequence | Kind::Integer(_) | Kind::Time(_)),
        is_optional: !matches!(kind, Kind::Sequence | Kind::Hash | Kind::Record),
        is_repeated,
        ..Leaf::default()
    };
    let mut leaves = Vec::new();
    for column in COLUMNS {
        match column.kind {
            Kind::Texts(..) => leaves.push(one(column.kind, true)),
            Kind::Rows(_, members) => {
                leaves.extend(members.iter().map(|member| one(member.kind, true)));
            }
            kind => leaves.push(one(kind, false)),
        }
    }
    leaves
}

/// Adds the values of a column to its leaves, which are the next ones.
fn add<'l>(record: &Record<'_>, kind: Kind, leaves: &mut impl Iterator<Item = &'l mut Leaf>) {
    match kind {
        Kind::Sequence => {
            let sequence = i64::try_from(record.sequence).unwrap_or(i64::MAX);
            leaves.next().into_iter().for_each(|leaf| leaf.integers.push(sequence));
        }
        Kind::Hash => {
            let hash = ByteArray::from(record.hash.as_str());
            leaves.next().into_iter().for_each(|leaf| leaf.texts.push(hash.clone()));
        }
        Kind::Record => {
            // A text in Parquet is UTF-8, which JSON is.
            let text = String::from_utf8_lossy(record.bytes).into_owned().into_bytes();
            let text = ByteArray::from(text);
            leaves.next().into_iter().for_each(|leaf| leaf.texts.push(text.clone()));
        }
        Kind::Texts(pointer, name) => {
            let Some(leaf) = leaves.next() else { return };
            let list = record.value.pointer(pointer).and_then(Value::as_array);
            let elements = list.map(|list| {
                let texts = list.iter().map(|element| match name {
                    Some(name) => element.get(name).and_then(Value::as_str),
                    None => element.as_str(),
                });
                texts.map(|text| text.map_or(Cell::Null, Cell::Text)).collect::<Vec<_>>()
            });
            leaf.list(elements);
        }
        Kind::Rows(pointer, members) => {
            let list = record.value.pointer(pointer).and_then(Value::as_array);
            for Member { kind, .. } in members {
                let Some(leaf) = leaves.next() else { return };
                leaf.list(list.map(|list| list.iter().map(|row| cell(row, *kind)).collect()));
            }
        }
        kind => {
            let Some(leaf) = leaves.next() else { return };
            let cell = cell(record.value, kind);
            leaf.definitions.push(i16::from(!matches!(cell, Cell::Null)));
            leaf.push(&cell);
        }
    }
}

/// The value of a leaf.
fn cell(value: &Value, kind: Kind) -> Cell<'_> {
    let integer = |integer: Option<i64>| integer.map_or(Cell::Null, Cell::Integer);
    match kind {
        Kind::Text(pointers) => {
            first(value, pointers).and_then(Value::as_str).map_or(Cell::Null, Cell::Text)
        }
        Kind::TextOf(of) => of(value).map_or(Cell::Null, Cell::Text),
        Kind::Integer(pointers) => integer(first(value, pointers).and_then(Value::as_i64)),
        Kind::Time(pointers) => {
            let seconds = first(value, pointers).and_then(Value::as_i64);
            integer(seconds.and_then(|seconds| seconds.checked_mul(1_000_000)))
        }
        _ => Cell::Null,
    }
}

impl Leaf {
    fn push(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Null => {}
            Cell::Text(text) => self.texts.push(ByteArray::from(*text)),
            Cell::Integer(integer) => self.integers.push(*integer),
        }
    }

    /// Adds a list: none (0), an empty one (1), elements that are null (2) or there (3).
    fn list(&mut self, elements: Option<Vec<Cell<'_>>>) {
        match elements.as_deref() {
            None | Some([]) => {
                self.definitions.push(i16::from(elements.is_some()));
                self.repetitions.push(0);
            }
            Some(elements) => {
                for (place, cell) in elements.iter().enumerate() {
                    self.definitions.push(if matches!(cell, Cell::Null) { 2 } else { 3 });
                    self.repetitions.push(i16::from(place > 0));
                    self.push(cell);
                }
            }
        }
    }

    fn write(self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let definitions = self.is_optional.then_some(self.definitions.as_slice());
        let repetitions = self.is_repeated.then_some(self.repetitions.as_slice());
        if self.is_text {
            let writer = column.typed::<ByteArrayType>();
            writer.write_batch(&self.texts, definitions, repetitions)?;
        } else {
            let writer = column.typed::<Int64Type>();
            writer.write_batch(&self.integers, definitions, repetitions)?;
        }
        column.close()
    }
}
