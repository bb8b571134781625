//! The nearest right word to one that is wrong.

/// Finds the known word that is nearest to a wrong one; `None` where none is near.
///
/// Case, dashes and underscores do not count: run objects, the contract and languages each write one word in a way of
/// their own.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// The share of two words that must be alike. Below it a suggestion is a guess.
    const MIN_ALIKE: f64 = 0.6;
    let folded = fold(word);
    let alike = known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&folded, &fold(known)), known));
    let best = alike.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(alike, _)| *alike >= MIN_ALIKE).map(|(_, known)| known)
}

/// Asks for the nearest word, to follow a message: ``; did you mean `word`?``, or nothing where none is near.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
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
            ("sistem", Some("system")),
            ("robot", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(did_you_mean("usr", known), "; did you mean `user`?");
        assert_eq!(did_you_mean("robot", known), "");
    }
}
