//! Checks a policy before it decides, as `opa check --strict` does: what it names has to be there, and each variable has to
//! get a value. Then looks for forms that are legal and do not mean what they seem to.
//!
//! The check is of the text alone and runs once, in `configure`; evaluations are none the slower.

mod calls;
mod claims;
mod conflicts;
mod findings;
mod graph;
mod index;
mod nearest;
mod reads;
mod safety;
mod scope;
mod style;
mod verdicts;
mod walk;
mod words;

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{Module, Ref};

pub use findings::{Finding, Severity};
pub use graph::verdict_meant;

use findings::Findings;
use graph::{Graph, VERDICTS};
use index::Index;
use walk::Walk;

use crate::tree::Place;

/// The rules of a check that count only where a verdict reads the rule: a library may be written for other inputs too.
const OF_REACHED_RULES: [&str; 1] = ["unknown-claim"];

/// The path of a module's package, without `data`.
pub fn package(module: &Ref<Module>) -> String {
    index::keys(&module.package.refr).join(".")
}

/// The findings about a policy, by their places. `main` is the package that verdicts are read from.
pub fn check(modules: &[Ref<Module>], data: &Value, main: &str) -> Vec<Finding> {
    let index = Index::new(modules, data);
    let mut findings = Findings::default();
    let mut reads = Vec::new();
    let (mut of_groups, mut errors) = (Vec::new(), Findings::default());
    let mut imports: BTreeSet<(usize, &str)> = BTreeSet::new();
    for group in &index.groups {
        let (mut read, mut found) = (BTreeSet::new(), Findings::default());
        for definition in &group.definitions {
            let walk = Walk::of_rule(&index, definition.module, definition.rule);
            read.extend(walk.reads);
            imports.extend(walk.imports.into_iter().map(|name| (definition.module, name)));
            found.append(walk.findings);
        }
        reads.push(read);
        errors.append(found.of(Severity::Error));
        of_groups.push(found);
        // So many are enough to work at, and the rest would take the time of each.
        if errors.is_full(Severity::Error) {
            return errors.sorted();
        }
    }
    let graph = Graph::new(reads);
    let is_verdict = |name: &&str| index.group(&[main.to_owned(), (*name).to_owned()]);
    let reached = graph.reached(VERDICTS.iter().filter_map(is_verdict));
    for (number, found) in of_groups.into_iter().enumerate() {
        let is_reached = reached.contains(&number);
        for finding in found.sorted() {
            if is_reached || !OF_REACHED_RULES.contains(&finding.name) {
                findings.push(finding);
            }
        }
    }
    conflicts::check(&index, &mut findings);
    verdicts::check(&index, main, &mut findings);
    graph::check_recursion(&index, &graph, &mut findings);
    graph::check_reach(&index, &reached, main, &mut findings);
    for (number, file) in index.files.iter().enumerate() {
        for (name, import) in &file.imports {
            if !imports.contains(&(number, *name)) {
                let message = format!("import `{}` is not used; remove it", import.path.join("."));
                findings.error("unused-import", Place::of(import.span), message);
            }
        }
    }
    findings.sorted()
}
