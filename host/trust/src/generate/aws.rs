//! AWS: the trust policy of a role.

use countersign_clouds::Cloud;
use hcl::{Attribute, Block};
use serde_json::json;

use super::hcl::{list, quoted, reference, text};
use super::{AWS_POLICY_CHARACTERS, GeneratedTrust, TrustError, TrustSpec, aws_issuer, bounded};

pub(super) fn generate(trust: &TrustSpec) -> Result<GeneratedTrust, TrustError> {
    let issuer = aws_issuer(trust)?;
    let (audience, subjects) = (trust.audience.as_str(), trust.subject_texts());
    // The data source writes `&{` as `${`.
    if let Some(begin) = ["${", "&{"].into_iter().find(|begin| audience.contains(begin)) {
        return Err(TrustError::Variable { audience: trust.audience.clone(), begin });
    }
    let json = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": format!("arn:aws:iam::ACCOUNT:oidc-provider/{issuer}") },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": {
                format!("{issuer}:aud"): audience,
                format!("{issuer}:sub"): subjects,
            } },
        }],
    });
    // `ACCOUNT` stands for an account number of twelve digits.
    let written = json.to_string().replace("::ACCOUNT:", "::123456789012:");
    let characters = written.chars().filter(|c| !c.is_whitespace()).count();
    let remedy = "use a role for each definition";
    let bounds = (characters, AWS_POLICY_CHARACTERS);
    bounded(Cloud::Aws, "the trust policy", bounds, "characters without white space", remedy)?;
    let condition = |claim: &str, values| {
        Block::builder("condition")
            .add_attribute(("test", "StringEquals"))
            .add_attribute(Attribute::new("variable", quoted(&format!("{issuer}:{claim}"))))
            .add_attribute(Attribute::new("values", values))
            .build()
    };
    let provider = Block::builder(if trust.existing_provider { "data" } else { "resource" })
        .add_labels(["aws_iam_openid_connect_provider", trust.name.as_str()])
        .add_attribute(Attribute::new("url", quoted(&trust.issuer)));
    let provider = if trust.existing_provider {
        provider.build()
    } else {
        provider.add_attribute(Attribute::new("client_id_list", list(&[audience]))).build()
    };
    let kind = if trust.existing_provider { "data." } else { "" };
    let arn = format!("{kind}aws_iam_openid_connect_provider.{}.arn", trust.name);
    let principals = Block::builder("principals")
        .add_attribute(("type", "Federated"))
        .add_attribute(Attribute::new("identifiers", vec![reference(&arn)]))
        .build();
    let statement = Block::builder("statement")
        .add_attribute(Attribute::new("actions", list(&["sts:AssumeRoleWithWebIdentity"])))
        .add_block(principals)
        .add_block(condition("aud", list(&[audience])))
        .add_block(condition("sub", list(&subjects)))
        .build();
    let document = Block::builder("data")
        .add_labels(["aws_iam_policy_document", trust.name.as_str()])
        .add_block(statement)
        .build();
    let policy = format!("data.aws_iam_policy_document.{}.json", trust.name);
    let role = Block::builder("resource")
        .add_labels(["aws_iam_role", trust.name.as_str()])
        .add_attribute(Attribute::new("name", quoted(&trust.name)))
        .add_attribute(Attribute::new("assume_role_policy", reference(&policy)))
        .build();
    Ok(GeneratedTrust { json, hcl: text(vec![provider, document, role]) })
}
