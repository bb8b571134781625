//! Definitions that do not go together.

use regorus::Value;

use super::findings::Findings;
use super::index::{Group, Index, Shape};
use super::nearest::proposal;
use crate::tree::Place;

/// Checks the definitions of all rules, and the imports of all files.
pub fn check(index: &Index<'_>, findings: &mut Findings) {
    for group in &index.groups {
        defaults(group, findings);
        shapes(group, findings);
        below(index, group, findings);
        of_data(index, group, findings);
        builtins(group, findings);
    }
    imports(index, findings);
}

fn defaults(group: &Group<'_>, findings: &mut Findings) {
    let mut defaults = group.definitions.iter().filter(|definition| definition.is_default);
    let Some(first) = defaults.next() else { return };
    let first = Place::of(first.span());
    for other in defaults {
        let message = format!("rule `{}` has another default in {first}; keep one", group.name());
        findings.error("two-defaults", Place::of(other.span()), message);
    }
}

fn shapes(group: &Group<'_>, findings: &mut Findings) {
    let Some((first, others)) = group.definitions.split_first() else { return };
    for other in others {
        let place = Place::of(other.span());
        let name = group.name();
        match (first.shape, other.shape) {
            (one, same) if one == same => continue,
            (Shape::Function(one), Shape::Function(another)) => {
                let before = Place::of(first.span());
                let message = format!(
                    "function `{name}` takes {another} arguments here, and {one} in {before}"
                );
                findings.error("different-arguments", place, message);
            }
            (one, another) => {
                let before = Place::of(first.span());
                let message = format!(
                    "`{name}` is {} here, and {} in {before}; rename one of them",
                    noun(another),
                    noun(one)
                );
                findings.error("conflicting-rules", place, message);
            }
        }
        // The first conflict is the mistake.
        return;
    }
}

/// A rule whose path goes on in another rule, or in a package.
fn below(index: &Index<'_>, group: &Group<'_>, findings: &mut Findings) {
    let Some(first) = group.definitions.first() else { return };
    let is_object = first.shape == Shape::Object;
    let mut inner = index.below(&group.path).filter_map(|at| index.groups.get(at));
    let inner = inner.find(|other| other.path.len() > group.path.len() && !is_object);
    if let Some(inner) = inner.filter(|inner| inner.package == group.package)
        && let Some(definition) = inner.definitions.first()
    {
        let before = Place::of(first.span());
        let message = format!(
            "`{}` defines a part of `{}`, which is {} in {before}",
            inner.name(),
            group.name(),
            noun(first.shape)
        );
        findings.error("conflicting-rules", Place::of(definition.span()), message);
    }
    if index.packages.iter().any(|package| package.starts_with(&group.path)) {
        let message =
            format!("rule `{}` has the path of a package; rename one of them", group.name());
        findings.error("conflicting-rules", Place::of(first.span()), message);
    }
}

/// A document takes the place of the rule, silently.
fn of_data(index: &Index<'_>, group: &Group<'_>, findings: &mut Findings) {
    let mut value = index.data;
    for key in &group.path {
        let Value::Object(members) = value else { return };
        match members.get(&Value::from(key.as_str())) {
            Some(below) => value = below,
            None => return,
        }
    }
    if let Some(first) = group.definitions.first() {
        let path = group.path.join(".");
        let message = format!("`data.{path}` is both a rule and a document; rename one of them");
        findings.error("conflicting-data", Place::of(first.span()), message);
    }
}

fn builtins(group: &Group<'_>, findings: &mut Findings) {
    let (Some(first), name) = (group.definitions.first(), group.first_name()) else { return };
    let is_function = crate::catalog::lookup(name).is_some() || name == "print";
    if is_function || crate::catalog::is_namespace(name) {
        let message = format!("`{name}` hides the built-in function of that name; rename the rule");
        findings.warn("rule-shadows-builtin", Place::of(first.span()), message);
    }
}

fn imports(index: &Index<'_>, findings: &mut Findings) {
    for file in &index.files {
        for (name, import) in &file.imports {
            let place = Place::of(import.span);
            if file.package.is_empty() {
                continue;
            }
            let Some((root, path)) = import.path.split_first() else { continue };
            if index.names_in(&file.package).any(|rule| rule == *name) {
                let message =
                    format!("import `{name}` has the name of a rule; import it `as` another name");
                findings.error("import-shadows-rule", place.clone(), message);
            }
            if root != "data" || path.is_empty() || is_there(index, path) {
                continue;
            }
            let text = import.path.join(".");
            let known = index.packages.iter().map(|package| package.join("."));
            let known: Vec<String> =
                known.filter(|package| *package != file.package.join(".")).collect();
            let meant = proposal(&path.join("."), known.iter().map(String::as_str));
            let message = format!(
                "nothing is at `{text}`: no file has such a package, and data has no such member{meant}"
            );
            findings.error("unresolved-import", place, message);
        }
    }
}

fn is_there(index: &Index<'_>, path: &[String]) -> bool {
    if index.packages.iter().any(|package| package.starts_with(path))
        || index.groups.iter().any(|group| group.path.starts_with(path))
    {
        return true;
    }
    let mut value = index.data;
    path.iter().all(|key| match value {
        Value::Object(members) => match members.get(&Value::from(key.as_str())) {
            Some(below) => {
                value = below;
                true
            }
            None => false,
        },
        _ => false,
    })
}

fn noun(shape: Shape) -> &'static str {
    match shape {
        Shape::Complete => "a rule with one value",
        Shape::Set => "a set",
        Shape::Object => "an object",
        Shape::Function(_) => "a function",
    }
}
