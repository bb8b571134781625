//! Subjects: what is built comes apart again, and nothing else does.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{SubjectFormat, SubjectParts, SubjectTemplate};
use proptest::prelude::*;

// Few of each, so that two draws often share parts.
const NAME: &str = "[ab](-[ab]){0,2}";
const UUID: &str = "[12]0000000-0000-4000-8000-000000000000";

fn parts() -> impl Strategy<Value = SubjectParts> {
    prop_oneof![
        (NAME, UUID).prop_map(|(meshstack, runner)| SubjectParts::ByRunner {
            meshstack: meshstack.parse().unwrap(),
            runner: runner.parse().unwrap(),
        }),
        (NAME, NAME, UUID).prop_map(|(meshstack, workspace, definition)| {
            SubjectParts::ByDefinition {
                meshstack: meshstack.parse().unwrap(),
                workspace: workspace.parse().unwrap(),
                definition: definition.parse().unwrap(),
            }
        }),
    ]
}

proptest! {
    #[test]
    fn parse_gives_back_what_was_built(parts in parts()) {
        prop_assert_eq!(SubjectParts::parse(parts.subject().unwrap().as_str()), Ok(parts));
    }

    #[test]
    fn distinct_parts_have_distinct_subjects(a in parts(), b in parts()) {
        prop_assert_eq!(a == b, a.subject() == b.subject());
    }

    #[test]
    fn what_parses_was_built(parts in parts(), place in any::<prop::sample::Index>(), with in "[ab.:-]") {
        let mut text = parts.subject().unwrap().to_string();
        let at = place.index(text.len());
        text.replace_range(at..=at, &with);
        if let Ok(parts) = SubjectParts::parse(&text) {
            let subject = parts.subject().unwrap();
            prop_assert_eq!(subject.as_str(), text);
        }
    }
}

#[test]
fn both_forms() {
    // Owned by `team-a`, which stands in neither form.
    let run = support::run();
    let form = |profile| SubjectTemplate { profile, meshstack_id: "demo".parse().unwrap() };
    let runner = support::runner();
    assert_eq!(
        form(SubjectFormat::ByDefinition).of(&run, None).unwrap().as_str(),
        "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.\
         b23cfb9a-6974-444f-9d33-62134a632373"
    );
    assert_eq!(
        form(SubjectFormat::ByRunner).of(&run, Some(&runner)).unwrap().as_str(),
        "system:serviceaccount:demo:98520496-627d-43e6-82da-ce499179ff3f"
    );
    let error = form(SubjectFormat::ByRunner).of(&run, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a subject by runner needs the runner's UUID, which is not given"
    );
}
