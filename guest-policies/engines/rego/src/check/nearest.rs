//! The right word that is nearest to a wrong one.

/// The longest word that is compared, in characters: the cost grows with the square.
const MAX_LENGTH: usize = 64;

/// The nearest of the words, if one is near enough to be what was meant.
pub fn nearest<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let length = wrong.chars().count();
    if length > MAX_LENGTH {
        return None;
    }
    let near = words.into_iter().filter_map(|word| {
        // Another case, or dashes for underscores, is as near as can be.
        if plain(word) == plain(wrong) {
            return Some((0, word));
        }
        let longer = length.max(word.chars().count());
        let distance = distance(wrong, word);
        (longer <= MAX_LENGTH && distance <= allowed(longer)).then_some((distance, word))
    });
    near.min().map(|(_, word)| word)
}

/// The end of a message that proposes a word: empty where none is near.
pub fn proposal<'w>(wrong: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    nearest(wrong, words).map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// The distance at which a word of this length still counts as near.
fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        6..=10 => 2,
        _ => 3,
    }
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// The number of characters to insert, remove, replace or swap with the next.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let width = other.len() + 1;
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..width).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let at =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, j) + usize::from(a != b);
            let mut least = replaced.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swapped =
                i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if is_swapped {
                least = least.min(at(&before_last, j - 1) + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_by_its_length() {
        let words = ["startswith", "deny", "permit", "building_block", "apply"];
        for (wrong, expected) in [
            ("startwith", Some("startswith")),
            ("denny", Some("deny")),
            ("dney", Some("deny")),
            ("premit", Some("permit")),
            ("buildingBlock", Some("building_block")),
            ("APPLY", Some("apply")),
            ("violation", None),
            ("dig", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, words), expected, "{wrong}");
        }
    }
}
