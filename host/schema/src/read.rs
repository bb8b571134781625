//! Parses a schema and bounds its cost before it is used.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::keywords::{Holds, holds};
use crate::patterns::translate;
use crate::settings::{MAX_DEPTH, MAX_NODES, MAX_PATTERNS};
use crate::unusable::Unusable;
use crate::words::cut;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The prefix of references to definitions.
pub(crate) const DEFINITIONS: &str = "#/$defs/";

/// The weight of `uniqueItems`: comparing the items of an array costs more than most keywords do.
const UNIQUE_ITEMS: u64 = 8;

/// A schema with known keywords only. The targets of its references are in `definitions` under plain names, and its
/// references are to `#/$defs/NAME`.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) root: Value,
    pub(crate) definitions: BTreeMap<String, Value>,
    /// The original patterns, by their translation.
    pub(crate) patterns: BTreeMap<String, String>,
    pub(crate) cost: Cost,
}

/// The cost of applying a schema to one value, with references followed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// The keywords, and the values to compare with.
    pub(crate) nodes: u64,
    /// The KiB of compiled patterns.
    pub(crate) pattern_kib: u64,
    /// The depth of nested schemas.
    depth: usize,
}

impl Cost {
    fn add(&mut self, inner: Self) {
        self.nodes = self.nodes.saturating_add(inner.nodes);
        self.pattern_kib = self.pattern_kib.saturating_add(inner.pattern_kib);
        self.depth = self.depth.max(inner.depth);
    }
}

/// Parses a schema of draft 2020-12.
pub(crate) fn read(document: &Value) -> Result<Read, Unusable> {
    if let Some(draft) = document.get("$schema")
        && draft.as_str().is_none_or(|draft| draft.trim_end_matches('#') != DRAFT)
    {
        let found = draft.as_str().map_or_else(|| draft.to_string(), str::to_owned);
        return Err(Unusable::Draft { found });
    }
    let mut reader = Reader {
        document,
        of_pointers: BTreeMap::new(),
        names: BTreeSet::new(),
        patterns: BTreeMap::new(),
        count: 0,
    };
    let (root, cost) = reader.schema(document, "#", 0)?;
    if cost.nodes > MAX_NODES {
        return Err(Unusable::TooWide);
    }
    let definitions = reader.of_pointers.into_values().filter_map(|definition| match definition {
        Definition::BeingRead => None,
        Definition::Read { name, schema, .. } => Some((name, schema)),
    });
    Ok(Read { root, definitions: definitions.collect(), patterns: reader.patterns, cost })
}

struct Reader<'d> {
    document: &'d Value,
    /// The targets of references, by their pointer.
    of_pointers: BTreeMap<String, Definition>,
    names: BTreeSet<String>,
    patterns: BTreeMap<String, String>,
    /// The number of patterns.
    count: usize,
}

enum Definition {
    BeingRead,
    Read { name: String, schema: Value, cost: Cost },
}

impl Reader<'_> {
    /// Parses the schema at `place`, `depth` schemas below the root.
    fn schema(
        &mut self,
        schema: &Value,
        place: &str,
        depth: usize,
    ) -> Result<(Value, Cost), Unusable> {
        let object = match schema {
            Value::Bool(_) => {
                return Ok((schema.clone(), Cost { nodes: 1, depth: 1, ..Cost::default() }));
            }
            Value::Object(object) => object,
            _ => return Err(malformed(place, "expected a schema: an object, true or false")),
        };
        if depth >= MAX_DEPTH {
            return Err(Unusable::TooDeep { place: place.to_owned() });
        }
        let mut read = Map::new();
        let mut cost = Cost { nodes: 1, ..Cost::default() };
        for (keyword, value) in object {
            let unknown =
                || Unusable::Keyword { place: place.to_owned(), keyword: cut(keyword).to_owned() };
            let holds = holds(keyword).ok_or_else(unknown)?;
            let at = |step: &str| format!("{place}/{}", escaped(step));
            let wrong = |expected| malformed(place, &format!("`{keyword}`: expected {expected}"));
            cost.nodes = cost.nodes.saturating_add(1);
            let value = match holds {
                Holds::Nothing => continue,
                Holds::OfRoot if place == "#" => continue,
                Holds::OfRoot => return Err(unknown()),
                Holds::Note => value.clone(),
                Holds::Values => {
                    let weight = if keyword == "uniqueItems" { UNIQUE_ITEMS } else { size(value) };
                    cost.nodes = cost.nodes.saturating_add(weight);
                    value.clone()
                }
                Holds::Pattern => {
                    let pattern = value.as_str().ok_or_else(|| wrong("a string"))?;
                    self.pattern(pattern, place, &mut cost)?.into()
                }
                Holds::Reference => {
                    let reference = value.as_str().ok_or_else(|| wrong("a string"))?;
                    let (name, inner) = self.reference(reference, place, depth)?;
                    cost.add(inner);
                    format!("{DEFINITIONS}{name}").into()
                }
                Holds::Schema => {
                    let (inner, inner_cost) = self.schema(value, &at(keyword), depth + 1)?;
                    cost.add(inner_cost);
                    inner
                }
                Holds::Schemas => {
                    let items = value.as_array().ok_or_else(|| wrong("an array of schemas"))?;
                    let mut inner = Vec::with_capacity(items.len());
                    for (index, item) in items.iter().enumerate() {
                        let place = format!("{}/{index}", at(keyword));
                        let (item, item_cost) = self.schema(item, &place, depth + 1)?;
                        cost.add(item_cost);
                        inner.push(item);
                    }
                    Value::Array(inner)
                }
                Holds::Named | Holds::ByPattern => {
                    let items = value.as_object().ok_or_else(|| wrong("an object of schemas"))?;
                    let mut inner = Map::new();
                    for (name, item) in items {
                        let place = format!("{}/{}", at(keyword), escaped(name));
                        let (item, item_cost) = self.schema(item, &place, depth + 1)?;
                        cost.add(item_cost);
                        let name = match holds {
                            Holds::ByPattern => self.pattern(name, &place, &mut cost)?,
                            _ => name.clone(),
                        };
                        if inner.insert(name, item).is_some() {
                            return Err(malformed(&place, "the same pattern twice"));
                        }
                    }
                    Value::Object(inner)
                }
            };
            read.insert(keyword.clone(), value);
        }
        cost.depth += 1;
        if depth + cost.depth > MAX_DEPTH {
            return Err(Unusable::TooDeep { place: place.to_owned() });
        }
        Ok((Value::Object(read), cost))
    }

    fn pattern(&mut self, pattern: &str, place: &str, cost: &mut Cost) -> Result<String, Unusable> {
        self.count += 1;
        if self.count > MAX_PATTERNS {
            return Err(Unusable::TooManyPatterns);
        }
        let (translated, kib) = translate(pattern).ok_or_else(|| Unusable::Pattern {
            place: place.to_owned(),
            pattern: cut(pattern).to_owned(),
        })?;
        cost.pattern_kib = cost.pattern_kib.saturating_add(kib);
        self.patterns.insert(translated.clone(), pattern.to_owned());
        Ok(translated)
    }

    /// Parses the target of a reference once, and returns its name.
    fn reference(
        &mut self,
        reference: &str,
        place: &str,
        depth: usize,
    ) -> Result<(String, Cost), Unusable> {
        let place = || place.to_owned();
        let cut_reference = || cut(reference).to_owned();
        let remote = || Unusable::Remote { place: place(), reference: cut_reference() };
        let missing = || Unusable::Missing { place: place(), reference: cut_reference() };
        let pointer = reference.strip_prefix('#').ok_or_else(remote)?;
        let pointer = percent_decode_str(pointer).decode_utf8().map_err(|_| missing())?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            // Anchors are not supported.
            return Err(missing());
        }
        match self.of_pointers.get(pointer.as_ref()) {
            Some(Definition::BeingRead) => {
                return Err(Unusable::Recursive { place: place(), reference: cut_reference() });
            }
            Some(Definition::Read { name, cost, .. }) => {
                if depth + 1 + cost.depth > MAX_DEPTH {
                    return Err(Unusable::TooDeep { place: place() });
                }
                return Ok((name.clone(), *cost));
            }
            None => {}
        }
        let document = self.document;
        let target = document.pointer(&pointer).ok_or_else(missing)?;
        self.of_pointers.insert(pointer.clone().into_owned(), Definition::BeingRead);
        let (schema, cost) = self.schema(target, &format!("#{pointer}"), depth + 1)?;
        let name = self.name(&pointer);
        let read = Definition::Read { name: name.clone(), schema, cost };
        self.of_pointers.insert(pointer.into_owned(), read);
        Ok((name, cost))
    }

    /// Makes a unique plain name for the schema at a pointer.
    fn name(&mut self, pointer: &str) -> String {
        let last = pointer.rsplit('/').next().unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
        let stem: String = last.chars().filter(plain).take(40).collect();
        let stem = if stem.is_empty() { "definition".to_owned() } else { stem };
        let mut name = stem.clone();
        let mut number = 2_usize;
        while !self.names.insert(name.clone()) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        name
    }
}

fn malformed(place: &str, problem: &str) -> Unusable {
    Unusable::Malformed { place: place.to_owned(), problem: problem.to_owned() }
}

/// Escapes a step of a JSON pointer.
pub(crate) fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// Counts a value with the values and keys in it.
pub(crate) fn size(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(size).sum::<u64>() + 1,
        Value::Object(members) => members.values().map(|member| size(member) + 1).sum::<u64>() + 1,
        _ => 1,
    }
}
