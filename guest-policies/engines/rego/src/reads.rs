//! The claims that a policy reads. The input has no others.

use engine_shared::claims::Paths;

/// The name of the input document.
const INPUT: &str = "input";

/// The names of a path that are told apart, as in `run.building_block.workspace`.
const MAX_NAMES: usize = 3;

/// Finds what texts read of `input`.
///
/// They read it by that name alone, and by names after it as long as each is written down: `input.run.id`. Anything else, such
/// as `input.run[name]`, `walk(input)` or `with input as`, may read all below. The word in a comment or in a text counts too.
pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Paths {
    let mut paths = Paths::default();
    for text in texts {
        for (at, _) in text.match_indices(INPUT) {
            let (before, from) = text.split_at_checked(at).unwrap_or_default();
            let after = from.get(INPUT.len()..).unwrap_or_default();
            if before.ends_with(is_of_name) || after.starts_with(is_of_name) {
                continue;
            }
            paths.add(names(after));
        }
    }
    paths
}

/// The names that follow, each after a dot.
fn names(mut rest: &str) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < MAX_NAMES
        && let Some(after) = rest.strip_prefix('.')
    {
        let end = after.find(|c| !is_of_name(c)).unwrap_or(after.len());
        let (name, next) = after.split_at_checked(end).unwrap_or_default();
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
        rest = next;
    }
    names
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_found() {
        for (text, read, not_read) in [
            (
                "permit if input.run.building_block.workspace == input.run.definition.workspace",
                &["run.building_block.workspace", "run.definition.workspace"][..],
                &["run.id", "run.building_block.parents", "token.subject"][..],
            ),
            (
                "import input.run.building_block as block",
                &["run.building_block.parents"],
                &["run.facts"],
            ),
            (
                "import input.run as run\npermit if run[name]",
                &["run.id", "run.trigger"],
                &["token.subject"],
            ),
            ("x := input.run[name]", &["run.facts", "run.building_block.id"], &["token.subject"]),
            ("walk(input, [path, value])", &["run.id", "token.audiences"], &[]),
            ("permit if input[\"run\"].id", &["token.audiences"], &[]),
            ("permit if true with input as {}", &["run.id"], &[]),
            ("permit if input.run.facts[\"a\"]", &["run.facts"], &["run.id"]),
            ("permit if inputs.run.id; my_input", &[], &["run.id"]),
            ("permit if input.\nrun.id", &["token.subject"], &[]),
            ("permit if input.run.trigger.author", &["run.trigger"], &["run.runner"]),
        ] {
            let reads = of([text]);
            let has = |path: &&str| reads.read(&path.split('.').collect::<Vec<_>>());
            assert!(read.iter().all(&has), "{text}");
            assert!(!not_read.iter().any(has), "{text}");
        }
    }
}
