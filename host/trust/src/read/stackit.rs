//! STACKIT: reads federated identity providers of service accounts.

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::node::Node;
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// Reads a provider; `None` if the node is not one.
pub(super) fn provider(node: &Node) -> Option<Vec<TrustStatement>> {
    let (issuer, assertions) = (node.get("issuer")?, node.get("assertions")?);
    let owner = node
        .any(&["service_account_email", "serviceAccountEmail", "email"])
        .and_then(Node::text)
        .map(|text| text.text);
    let mut statement =
        TrustStatement::new(Cloud::Stackit, node.place.clone(), owner.unwrap_or_default());
    statement.issuer = issuer.text();
    for assertion in assertions.elements() {
        let text = |name| assertion.get(name).and_then(Node::text);
        let (Some(item), Some(operator)) = (text("item"), text("operator")) else {
            statement.note(UnknownEffect::HidesTests, &assertion.place, "an assertion");
            continue;
        };
        let kind = if operator.text == "equals" { MatchKind::Exact } else { MatchKind::Other };
        let values = text("value").into_iter().collect();
        let place = assertion.place.clone();
        let test = Test::new(kind, values, place, &operator.text);
        match item.text.as_str() {
            "sub" => statement.subjects.push(test),
            "aud" => statement.audiences.push(test),
            other => {
                statement.note(
                    UnknownEffect::Narrows,
                    &test.place,
                    format!("an assertion on `{other}`"),
                );
            }
        }
    }
    note_unknown(&mut statement);
    Some(vec![statement])
}
