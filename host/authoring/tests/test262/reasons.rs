//! The reason that a test fails for, in words that are the same for all that fail for it.

use crate::case::Case;

/// Parts of what a test is about and of its error, and the reason: the first that is met.
const REASONS: [(&str, &str); 16] = [
    ("a policy has no clock", "there is no clock"),
    ("a policy has no random numbers", "there are no random numbers"),
    ("should be random", "there are no random numbers"),
    ("WeakRef", "there is no `WeakRef`, which tells when memory is collected"),
    ("Array.fromAsync", "there is no `Array.fromAsync`, which waits"),
    ("print is not defined", "there is no `print`, and nothing to print to"),
    (
        "`eval` and `Function` are not available",
        "text is not compiled: `eval` and `Function` throw",
    ),
    ("this.arrayIndex", "it makes members of the global object, and a policy is a module"),
    ("__THIS__", "it makes members of the global object, and a policy is a module"),
    ("units of fuel", "it takes more fuel than `configure` has"),
    ("nested too deep", "brackets are open deeper than a policy may have them"),
    ("Math.sumPrecise", "boa is built without `Math.sumPrecise`"),
    ("Float16Array", "boa is built without numbers of 16 bits"),
    (
        "resizable-arraybuffer",
        "boa is built without numbers of 16 bits, which these tests have among others",
    ),
    ("regexp-", "boa differs in regular expressions with named groups"),
    ("localeCompare", "boa is built without the comparison of texts by languages"),
];

/// The reason for an error.
pub(crate) fn of(error: &str, case: &Case) -> String {
    let about = format!("{} {error}", case.features.join(" "));
    let known = REASONS.iter().find(|(part, _)| about.contains(part));
    known.map_or("boa differs", |(_, reason)| *reason).to_owned()
}
