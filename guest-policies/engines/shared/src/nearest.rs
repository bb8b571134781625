//! The nearest right word to one that is wrong.

/// The least characters of a word that one which begins with them is suggested for: `ttl` for `ttlSeconds`.
const MIN_BEGINNING: usize = 3;

/// Finds the known word that is nearest to a wrong one; `None` where none is near.
///
/// Case, dashes and underscores do not count: run objects and the contract write one word each in a way of its own.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wrong = folded(word);
    let known: Vec<_> = known.into_iter().collect();
    let begins = |known: &&&str| wrong.len() >= MIN_BEGINNING && folded(known).starts_with(&wrong);
    if let Some(longer) = known.iter().find(begins) {
        return Some(longer);
    }
    let distances = known.into_iter().map(|known| (distance(&wrong, &folded(known)), known));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    // More than two of five characters wrong, and a suggestion is a guess.
    let longer = wrong.len().max(folded(known).len());
    (distance * 5 <= longer * 2).then_some(known)
}

/// Asks for the nearest word, to follow a message: ``; did you mean `word`?``, or nothing where none is near.
#[must_use]
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

fn folded(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// The number of characters that are added, dropped or changed, or swapped with the next.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last_a = None;
    for (at, one) in a.iter().enumerate() {
        let mut next = vec![at + 1];
        let mut last_b = None;
        for (to, other) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let changed = cell(&row, to) + usize::from(one != other);
            let mut least = changed.min(cell(&row, to + 1) + 1).min(cell(&next, to) + 1);
            if to > 0 && last_a == Some(other) && last_b == Some(one) {
                least = least.min(cell(&before, to - 1) + 1);
            }
            next.push(least);
            last_b = Some(other);
        }
        before = std::mem::replace(&mut row, next);
        last_a = Some(one);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["api-key", "api-user", "user", "system"];
        for (word, expected) in [
            ("ApiKey", Some("api-key")),
            ("API_USER", Some("api-user")),
            ("usr", Some("user")),
            ("suer", Some("user")),
            ("sistem", Some("system")),
            ("robot", None),
            ("sys", Some("system")),
            ("api", Some("api-key")),
            ("ap", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(did_you_mean("usr", known), "; did you mean `user`?");
        assert_eq!(did_you_mean("robot", known), "");
    }
}
