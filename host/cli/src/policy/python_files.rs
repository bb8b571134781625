//! The files of a policy in Python.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::sources;

/// The file that has the function `evaluate`.
pub(super) const MAIN: &str = "policy.py";

/// Reads the policy and the files beside it that it imports, by their names.
///
/// That is more than what is imported, at times, and never less: the engine finds imports exactly, and says where one is
/// that leads nowhere.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    sources::read(folder, MAIN, |_, text| {
        let imported = modules(text).map(|module| format!("{module}.py"));
        // The module `countersign` is the engine's; a file of the name is for editors.
        imported.filter(|name| name != "countersign.py").collect()
    })
}

/// The names of modules that statements of a text import, without the dot of a relative import.
fn modules(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.split(['\n', ';', ':']).flat_map(move |statement| {
        let statement = statement.trim_start();
        let names = match statement.split_once(char::is_whitespace) {
            Some(("from", rest)) => rest.split(" import").next().unwrap_or_default(),
            Some(("import", rest)) => rest,
            _ => "",
        };
        names.split(',').filter_map(move |name| {
            let name = name.trim().trim_start_matches('.').trim_start();
            let name = name.split(|c: char| !is_name(c)).next().unwrap_or_default();
            (!name.is_empty()).then_some(name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::modules;

    #[test]
    fn every_imported_module_is_found() {
        let text = "import a, b as c\nfrom .d import e\nfrom . f import g\nif True: import h; import i\n\
                    x = 'from nothing'\nfrom j.k import l\n    from m import (\n        n,\n    )\n";
        assert_eq!(modules(text).collect::<Vec<_>>(), ["a", "b", "d", "f", "h", "i", "j", "m"]);
    }
}
