//! The modules of a policy in JavaScript or TypeScript.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::sources;

/// The endings of files that a module can import.
const ENDINGS: [&str; 5] = ["js", "mjs", "ts", "mts", "json"];

/// Reads a module and every file of its folder that a text among them names by a quoted relative path, by their paths in
/// the folder.
///
/// That is more than what is imported, at times, and never less: the engine finds imports exactly, and says where one is
/// that leads nowhere or out of the folder.
pub(super) fn read(folder: &Path, main: &str) -> Result<BTreeMap<String, String>> {
    sources::read(folder, main, |path, text| {
        if path.ends_with(".json") {
            return Vec::new();
        }
        let named = quoted(text).filter_map(|specifier| joined(path, specifier));
        named.flat_map(|named| candidates(&named).collect::<Vec<_>>()).collect()
    })
}

/// The texts in quotation marks that begin as a relative path does.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(['\'', '"', '`']).filter_map(|(at, quote)| {
        let rest = text.get(at + quote.len()..)?;
        let is_relative = rest.starts_with("./") || rest.starts_with("../");
        let end = rest.find([quote.chars().next()?, '\n']).filter(|_| is_relative)?;
        // No path goes on in another line.
        rest.get(end..)?.starts_with(quote).then_some(rest.get(..end)?)
    })
}

/// The path in the folder that a path means in a file; `None` where that is outside.
fn joined(referrer: &str, specifier: &str) -> Option<String> {
    let mut parts: Vec<_> = referrer.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The files that an import of a path can mean: the engine has the same.
fn candidates(path: &str) -> impl Iterator<Item = String> {
    let typed = path.strip_suffix(".js").map(|stem| format!("{stem}.ts"));
    let completed = ["js", "ts"].map(|ending| format!("{path}.{ending}"));
    let is_module = |path: &String| {
        let ending = path.rsplit_once('.').map(|(_, ending)| ending);
        // Declarations of types are for editors.
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !path.ends_with(".d.ts")
    };
    std::iter::once(path.to_owned()).chain(typed).chain(completed).filter(is_module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quoted_relative_path_is_found() {
        let text = "import a from './a.js';\nexport * from \"../b\"; const c = await import(`./c.json`);\n\
                    // it's './not\n'done'; 'lodash'; '.x'";
        assert_eq!(quoted(text).collect::<Vec<_>>(), ["./a.js", "../b", "./c.json"]);
    }

    #[test]
    fn a_path_stays_in_the_folder() {
        for (referrer, specifier, expected) in [
            ("policy.js", "./a.js", Some("a.js")),
            ("lib/a.js", "../b.js", Some("b.js")),
            ("lib/a.js", "./deep/../b.js", Some("lib/b.js")),
            ("policy.js", "../b.js", None),
            ("lib/a.js", "../../b.js", None),
        ] {
            assert_eq!(joined(referrer, specifier).as_deref(), expected, "{specifier}");
        }
        let candidates = candidates("lib/a.js").collect::<Vec<_>>();
        assert_eq!(candidates, ["lib/a.js", "lib/a.ts", "lib/a.js.js", "lib/a.js.ts"]);
    }
}
