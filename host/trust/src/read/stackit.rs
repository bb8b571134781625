//! STACKIT: federated identity providers of service accounts.

use countersign::Cloud;

use super::note_unknown;
use crate::node::Node;
use crate::trust_statement::{Grant, How, May, Test};

/// A provider; `None` where it is none.
pub(super) fn provider(node: &Node) -> Option<Vec<Grant>> {
    let (issuer, assertions) = (node.get("issuer")?, node.get("assertions")?);
    let owner = node
        .any(&["service_account_email", "serviceAccountEmail", "email"])
        .and_then(Node::text)
        .map(|text| text.text);
    let mut grant = Grant::new(Cloud::Stackit, node.place.clone(), owner.unwrap_or_default());
    grant.issuer = issuer.text();
    for assertion in assertions.elements() {
        let text = |name| assertion.get(name).and_then(Node::text);
        let (Some(item), Some(operator)) = (text("item"), text("operator")) else {
            grant.note(May::Hide, &assertion.place, "an assertion");
            continue;
        };
        let how = if operator.text == "equals" { How::Exact } else { How::Other };
        let values = text("value").into_iter().collect();
        let place = assertion.place.clone();
        let test = Test::new(how, values, place, &operator.text);
        match item.text.as_str() {
            "sub" => grant.subjects.push(test),
            "aud" => grant.audiences.push(test),
            other => {
                grant.note(May::Narrow, &test.place, format!("an assertion on `{other}`"));
            }
        }
    }
    note_unknown(&mut grant);
    Some(vec![grant])
}
