//! Azure: federated identity credentials of an identity.

use countersign_clouds::Cloud;
use hcl::{Attribute, Block};
use serde_json::{Value, json};

use super::hcl::{list, quoted, reference, text, variable};
use super::{AZURE_CREDENTIALS, GeneratedTrust, TrustError, TrustSpec, bounded, subject_limits};

pub(super) fn generate(trust: &TrustSpec) -> Result<GeneratedTrust, TrustError> {
    subject_limits(trust, Cloud::Azure)?;
    let count = trust.subjects.len();
    let remedy = "use another identity for some of the definitions";
    bounded(Cloud::Azure, "an identity", (count, AZURE_CREDENTIALS), "credentials", remedy)?;
    let audience = trust.audience.as_str();
    let json: Vec<Value> = trust
        .subjects
        .iter()
        .map(|(name, subject)| {
            json!({
                "name": name,
                "issuer": trust.issuer,
                "subject": subject.as_str(),
                "audiences": [audience],
            })
        })
        .collect();
    if trust.of_application {
        return Ok(GeneratedTrust { json: json.into(), hcl: of_application(trust) });
    }
    let mut blocks =
        vec![variable("user_assigned_identity_id", "The id of the user-assigned identity")];
    blocks.extend(trust.subjects.iter().map(|(name, subject)| {
        Block::builder("resource")
            .add_labels(["azurerm_federated_identity_credential", name])
            .add_attribute(Attribute::new("name", quoted(name)))
            .add_attribute(Attribute::new(
                "user_assigned_identity_id",
                reference("var.user_assigned_identity_id"),
            ))
            .add_attribute(Attribute::new("issuer", quoted(&trust.issuer)))
            .add_attribute(Attribute::new("subject", quoted(subject.as_str())))
            .add_attribute(Attribute::new("audience", list(&[audience])))
            .build()
    }));
    Ok(GeneratedTrust { json: json.into(), hcl: text(blocks) })
}

/// The credentials of an application, for the provider `azuread`.
fn of_application(trust: &TrustSpec) -> String {
    let mut blocks = vec![variable("application_id", "The resource id of the application")];
    blocks.extend(trust.subjects.iter().map(|(name, subject)| {
        Block::builder("resource")
            .add_labels(["azuread_application_federated_identity_credential", name])
            .add_attribute(Attribute::new("application_id", reference("var.application_id")))
            .add_attribute(Attribute::new("display_name", quoted(name)))
            .add_attribute(Attribute::new("issuer", quoted(&trust.issuer)))
            .add_attribute(Attribute::new("subject", quoted(subject.as_str())))
            .add_attribute(Attribute::new("audiences", list(&[trust.audience.as_str()])))
            .build()
    }));
    text(blocks)
}
