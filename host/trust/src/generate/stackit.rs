//! STACKIT: federated identity providers of a service account. An assertion has one value, so there is one
//! provider for each subject.

use hcl::expr::{Object, ObjectKey};
use hcl::{Attribute, Block, Expression, Identifier};
use serde_json::{Value, json};

use super::hcl::{quoted, reference, text, variable};
use super::{GeneratedTrust, TrustSpec};

pub(super) fn generate(trust: &TrustSpec) -> GeneratedTrust {
    let audience = trust.audience.as_str();
    let json: Vec<Value> = trust
        .subjects
        .iter()
        .map(|(name, subject)| {
            json!({
                "name": name,
                "issuer": trust.issuer,
                "assertions": [
                    { "item": "aud", "operator": "equals", "value": audience },
                    { "item": "sub", "operator": "equals", "value": subject.as_str() },
                ],
            })
        })
        .collect();
    let assertion = |item: &str, value: &str| {
        let member =
            |name: &str, value| (ObjectKey::Identifier(Identifier::sanitized(name)), quoted(value));
        let members = [member("item", item), member("operator", "equals"), member("value", value)];
        Expression::Object(Object::from_iter(members))
    };
    let mut blocks = vec![
        variable("project_id", "The project of the service account"),
        variable("service_account_email", "The service account that runs act as"),
    ];
    blocks.extend(trust.subjects.iter().map(|(name, subject)| {
        let assertions = vec![assertion("aud", audience), assertion("sub", subject.as_str())];
        Block::builder("resource")
            .add_labels(["stackit_service_account_federated_identity_provider", name])
            .add_attribute(Attribute::new("project_id", reference("var.project_id")))
            .add_attribute(Attribute::new(
                "service_account_email",
                reference("var.service_account_email"),
            ))
            .add_attribute(Attribute::new("name", quoted(name)))
            .add_attribute(Attribute::new("issuer", quoted(&trust.issuer)))
            .add_attribute(Attribute::new("assertions", Expression::Array(assertions)))
            .build()
    }));
    GeneratedTrust { json: json.into(), hcl: text(blocks) }
}
