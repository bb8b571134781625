//! Many texts in little memory: sorted, each without the beginning that it shares with the one before.

use std::cmp::Ordering;

/// The number of texts in a group. The first of each is whole, so that a search can begin there.
const GROUP: usize = 16;

/// Sorted texts. Built once, then only asked.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct SortedTexts {
    /// Entry by entry: the length shared with the text before (0 at the beginning of a group), the length of
    /// the rest, the rest.
    bytes: Box<[u8]>,
    /// The beginning that all texts share.
    prefix: Box<[u8]>,
    /// The bytes of each group's first text that follow the prefix, as a number: a search compares these, and
    /// texts only where they are equal.
    keys: Box<[u64]>,
    /// The place of each group.
    groups: Box<[u32]>,
    length: usize,
}

impl SortedTexts {
    /// The texts of a list, each once.
    pub(crate) fn of<T: AsRef<str>>(mut texts: Vec<T>) -> Self {
        texts.sort_unstable_by(|one, other| order(one.as_ref(), other.as_ref()));
        texts.dedup_by(|one, other| order(one.as_ref(), other.as_ref()).is_eq());
        Self::new(&texts)
    }

    /// Texts in ascending [order], each once.
    pub(crate) fn new<T: AsRef<str>>(sorted: &[T]) -> Self {
        let ends = || Some((sorted.first()?.as_ref(), sorted.last()?.as_ref()));
        let prefix = ends().map_or(&[][..], |(first, last)| {
            let (first, last) = (first.as_bytes(), last.as_bytes());
            first.get(..common(first, last)).unwrap_or_default()
        });
        let mut groups = Vec::with_capacity(sorted.len().div_ceil(GROUP));
        let mut keys = Vec::with_capacity(groups.capacity());
        let mut bytes = Vec::new();
        let mut before = "";
        for (index, text) in sorted.iter().map(AsRef::as_ref).enumerate() {
            if index % GROUP == 0 {
                // Settings are bounded far below what 32 bits can count.
                groups.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                keys.push(key(text.as_bytes().get(prefix.len()..).unwrap_or_default()));
                before = "";
            }
            let shared = common(before.as_bytes(), text.as_bytes());
            let rest = text.as_bytes().get(shared..).unwrap_or_default();
            put_number(&mut bytes, shared);
            put_number(&mut bytes, rest.len());
            bytes.extend_from_slice(rest);
            before = text;
        }
        Self {
            bytes: bytes.into(),
            prefix: prefix.into(),
            keys: keys.into(),
            groups: groups.into(),
            length: sorted.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The place of a text in the order.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        let text = text.as_bytes();
        let wanted = key(text.strip_prefix(&*self.prefix)?);
        // The last group whose first text is not behind this one. Where keys are equal, texts decide.
        let mut groups = self.keys.partition_point(|key| *key < wanted);
        while self.keys.get(groups) == Some(&wanted) && self.first(groups) <= Some(text) {
            groups += 1;
        }
        let group = groups.checked_sub(1)?;
        let mut matched = 0;
        let entries = self.entries(*self.groups.get(group)? as usize).take(GROUP);
        for (index, Entry { shared, rest }) in entries.enumerate() {
            // With less in common than the one before, it is behind this text; with more, before it still.
            if shared < matched {
                return None;
            }
            if shared > matched {
                continue;
            }
            let wanted = text.get(matched..)?;
            let more = common(rest, wanted);
            if more == rest.len() && more == wanted.len() {
                return Some(group * GROUP + index);
            }
            if rest.get(more) > wanted.get(more) {
                return None;
            }
            matched += more;
        }
        None
    }

    /// The first text of a group.
    fn first(&self, group: usize) -> Option<&[u8]> {
        Some(self.entries(*self.groups.get(group)? as usize).next()?.rest)
    }

    /// The texts, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = String> {
        let mut text = Vec::new();
        self.entries(0).take(self.length).map(move |entry| {
            text.truncate(entry.shared);
            text.extend_from_slice(entry.rest);
            String::from_utf8_lossy(&text).into_owned()
        })
    }

    fn entries(&self, place: usize) -> Entries<'_> {
        Entries { bytes: self.bytes.get(place..).unwrap_or_default() }
    }
}

struct Entry<'t> {
    shared: usize,
    rest: &'t [u8],
}

struct Entries<'t> {
    bytes: &'t [u8],
}

impl<'t> Iterator for Entries<'t> {
    type Item = Entry<'t>;

    fn next(&mut self) -> Option<Entry<'t>> {
        let shared = take_number(&mut self.bytes)?;
        let length = take_number(&mut self.bytes)?;
        let (rest, bytes) = self.bytes.split_at_checked(length)?;
        self.bytes = bytes;
        Some(Entry { shared, rest })
    }
}

/// The first eight bytes of a text, padded with zeros: in the order of texts, as far as they tell.
fn key(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(text).for_each(|(byte, of_text)| *byte = *of_text);
    u64::from_be_bytes(bytes)
}

/// The order of two texts by their bytes. A guest has no instruction for it, and thousands of long texts that
/// begin alike are compared by the eight bytes.
pub(crate) fn order(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let common = common(one, other);
    one.get(common).cmp(&other.get(common))
}

/// The length that two texts have in common at their beginning.
fn common(one: &[u8], other: &[u8]) -> usize {
    let (ones, _) = one.as_chunks::<8>();
    let (others, _) = other.as_chunks::<8>();
    let mut common = 0;
    for (one, other) in ones.iter().zip(others) {
        let differs = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            return common + differs.trailing_zeros() as usize / 8;
        }
        common += 8;
    }
    let (Some(one), Some(other)) = (one.get(common..), other.get(common..)) else { return common };
    common + one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Writes a number in groups of seven bits, the lowest first; all but the last have the highest bit.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    /// Compares with a set of whole texts: every text in it, its neighbours, its beginnings and what follows it.
    fn check(texts: &BTreeSet<String>) {
        let sorted: Vec<&String> = texts.iter().collect();
        let packed = SortedTexts::new(&sorted);
        assert_eq!(packed.len(), texts.len());
        let twice = sorted.iter().rev().chain(&sorted).copied().collect();
        assert!(SortedTexts::of::<&String>(twice) == packed);
        assert!(packed.iter().eq(texts.iter().cloned()));
        let others = texts.iter().flat_map(|text| {
            let beginnings = text.char_indices().map(|(end, _)| text[..end].to_owned());
            beginnings.chain(["", "-", "0", "~", "\u{0}"].map(|end| format!("{text}{end}")))
        });
        for text in others.chain([String::new(), "zzz".to_owned(), "\u{10ffff}".to_owned()]) {
            assert_eq!(packed.find(&text), sorted.binary_search(&&text).ok(), "{text:?}");
            assert!(texts.iter().all(|other| order(&text, other) == text.cmp(other)), "{text:?}");
        }
    }

    /// The same choices whatever the machine: xorshift64*.
    fn choices(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |below| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
        }
    }

    #[test]
    fn every_text_is_found_and_no_other() {
        check(&BTreeSet::new());
        check(&BTreeSet::from([String::new()]));
        check(&(0..100).map(|length| "a".repeat(length)).collect());
        check(&(0..1_000).map(|number| format!("team-{number}")).collect());
        let long = "x".repeat(300);
        check(&BTreeSet::from([long.clone(), format!("{long}y"), format!("{long}é"), "é".into()]));
        let mut choice = choices(7);
        for alphabet in [2, 3, 26] {
            for size in [1, 15, 16, 17, 33, 500] {
                let text = |choice: &mut dyn FnMut(u64) -> u64| -> String {
                    let length = choice(9);
                    (0..length).map(|_| char::from(b'a' + choice(alphabet) as u8)).collect()
                };
                check(&(0..size).map(|_| text(&mut choice)).collect());
            }
        }
    }

    #[test]
    fn ten_thousand_take_tens_of_kilobytes() {
        let texts: BTreeSet<String> = (0..10_000).map(|number| format!("team-{number}")).collect();
        let packed = SortedTexts::new(&Vec::from_iter(&texts));
        let bytes = packed.bytes.len() + packed.groups.len() * 12;
        assert!(bytes < 50_000, "{bytes}");
    }
}
