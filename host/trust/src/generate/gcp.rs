//! GCP: a provider of a workload identity pool, and what its principals may.

use countersign_clouds::Cloud;
use hcl::{Attribute, Block};
use serde_json::json;

use super::hcl::{list, quoted, reference, template, text, variable};
use super::{
    GCP_CONDITION_CHARACTERS, GeneratedTrust, TrustError, TrustSpec, bounded, subject_limits,
};

pub(super) fn generate(trust: &TrustSpec) -> Result<GeneratedTrust, TrustError> {
    subject_limits(trust, Cloud::Gcp)?;
    let audience = trust.audience.as_str();
    // A subject has no quotes: it was put together of identifiers.
    let subjects: Vec<_> = trust.subject_texts().iter().map(|text| format!("'{text}'")).collect();
    let condition = format!("assertion.sub in [{}]", subjects.join(", "));
    let remedy = "use a provider for each definition";
    let bounds = (condition.chars().count(), GCP_CONDITION_CHARACTERS);
    bounded(Cloud::Gcp, "the condition", bounds, "characters", remedy)?;
    let json = json!({
        "displayName": trust.name,
        "oidc": { "issuerUri": trust.issuer, "allowedAudiences": [audience] },
        "attributeMapping": { "google.subject": "assertion.sub" },
        "attributeCondition": condition,
    });
    let oidc = Block::builder("oidc")
        .add_attribute(Attribute::new("issuer_uri", quoted(&trust.issuer)))
        .add_attribute(Attribute::new("allowed_audiences", list(&[audience])))
        .build();
    let mapping = hcl::Expression::Object(hcl::expr::Object::from_iter([(
        hcl::expr::ObjectKey::Expression(quoted("google.subject")),
        quoted("assertion.sub"),
    )]));
    let provider = Block::builder("resource")
        .add_labels(["google_iam_workload_identity_pool_provider", trust.name.as_str()])
        .add_attribute(Attribute::new(
            "workload_identity_pool_id",
            reference("var.workload_identity_pool_id"),
        ))
        .add_attribute(Attribute::new("workload_identity_pool_provider_id", quoted(&trust.name)))
        .add_attribute(Attribute::new("attribute_mapping", mapping))
        .add_attribute(Attribute::new("attribute_condition", quoted(&condition)))
        .add_block(oidc)
        .build();
    let mut blocks = vec![
        variable("workload_identity_pool_id", "The id of the workload identity pool"),
        variable("project_number", "The number of the project that the pool belongs to"),
        variable("service_account_id", "The name of the service account that runs act as"),
        provider,
    ];
    for (name, subject) in &trust.subjects {
        // A subject has nothing that is evaluated.
        let member = format!(
            "principal://iam.googleapis.com/projects/${{var.project_number}}/locations/global/workloadIdentityPools/${{var.workload_identity_pool_id}}/subject/{subject}"
        );
        let binding = Block::builder("resource")
            .add_labels(["google_service_account_iam_member", name])
            .add_attribute(Attribute::new(
                "service_account_id",
                reference("var.service_account_id"),
            ))
            .add_attribute(("role", "roles/iam.workloadIdentityUser"))
            .add_attribute(Attribute::new("member", template(&member)))
            .build();
        blocks.push(binding);
    }
    Ok(GeneratedTrust { json, hcl: text(blocks) })
}
