//! Resources that carry trust in another form: templates of CloudFormation and of Azure, requests, and commands.

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use super::{arm, aws, azure, cloudformation};
use crate::hcl::Block;
use crate::node::{Node, Place, Value};
use crate::trust_statement::{TrustStatement, UnknownEffect};
use crate::{json, yaml};

/// Words of commands that make trust, and the clouds that these are of.
const COMMANDS: &[(&str, Cloud)] = &[
    ("--assume-role-policy-document", Cloud::Aws),
    ("update-assume-role-policy", Cloud::Aws),
    ("federated-credential", Cloud::Azure),
    ("federatedIdentityCredentials", Cloud::Azure),
    ("workload-identity-pools providers", Cloud::Gcp),
];

/// Reads the trust that a resource carries; none for all others.
pub(super) fn block(block: &Block, kind: &str) -> Vec<TrustStatement> {
    let body = |name| block.body.get(name);
    match kind {
        "aws_cloudformation_stack" | "aws_cloudformation_stack_set" => {
            template(block, Cloud::Aws, "template_body", "template_url", cloudformation::read)
        }
        "aws_cloudcontrolapi_resource" => {
            let of = body("type_name").and_then(Node::known);
            if of.is_some_and(|of| of != "AWS::IAM::Role") {
                return Vec::new();
            }
            let state = body("desired_state").and_then(of_json);
            let policy = state.as_ref().and_then(|state| state.get("AssumeRolePolicyDocument"));
            aws::role(policy, &block.place, &block.labels.join("."), &BTreeSet::new())
        }
        "msgraph_resource" | "msgraph_update_resource" => azure::msgraph(block),
        kind if kind.starts_with("azurerm_") && kind.ends_with("_template_deployment") => {
            template(block, Cloud::Azure, "template_content", "template_spec_version_id", |root| {
                Some(super::json(&arm::resolved(root)))
            })
        }
        _ => Vec::new(),
    }
}

/// Reads a template in an attribute. One that is elsewhere, or that is not known, is said.
fn template(
    block: &Block,
    cloud: Cloud,
    inline: &str,
    elsewhere: &str,
    read: impl Fn(&Node) -> Option<Vec<TrustStatement>>,
) -> Vec<TrustStatement> {
    let Some(attribute) = block.body.get(inline) else {
        let of = block.body.get(elsewhere);
        return of.map(|of| unread(block, cloud, &of.place, elsewhere)).into_iter().collect();
    };
    let found = of_json(attribute).or_else(|| of_yaml(attribute)).and_then(|root| read(&root));
    let Some(mut found) = found else {
        return vec![unread(block, cloud, &attribute.place, inline)];
    };
    for statement in &mut found {
        statement.owner = format!("{}: {}", block.labels.join("."), statement.owner);
        // A template of which a part is not certain is not certain as a whole.
        if let Some(text) = attribute.text().filter(|text| !text.known) {
            let origin = text.origin.as_deref().unwrap_or("an expression");
            let what = format!("a part of `{inline}`, which is {origin}");
            statement.note(UnknownEffect::Narrows, &attribute.place, what);
        }
    }
    found
}

/// The value of an attribute that has JSON as a text, or by `jsonencode`.
fn of_json(attribute: &Node) -> Option<Node> {
    match &attribute.value {
        Value::Text(text) => json::parse_at(text, &attribute.place),
        Value::Map(_) => Some(attribute.clone()),
        _ => None,
    }
}

fn of_yaml(attribute: &Node) -> Option<Node> {
    match &attribute.value {
        Value::Text(text) if text.known => Some(yaml::parse(&text.text).ok()?.at(&attribute.place)),
        _ => None,
    }
}

/// A statement that stands for what an attribute has.
fn unread(block: &Block, cloud: Cloud, place: &Place, attribute: &str) -> TrustStatement {
    let labels = block.labels.join(".");
    let mut statement = TrustStatement::new(cloud, place.clone(), labels.clone());
    let what = format!("what `{attribute}` of `{labels}` makes");
    statement.note(UnknownEffect::HidesTests, place, what);
    statement
}

/// Reads the commands that a resource runs: one that makes trust is not evaluated, and said.
pub(super) fn commands(block: &Block) -> Vec<TrustStatement> {
    let provisioners = block.body.get("provisioner").map(Node::elements).unwrap_or_default();
    let commands = provisioners.iter().filter_map(|provisioner| {
        let command = provisioner.get("command")?;
        let text = command.text()?.text;
        let (word, cloud) = COMMANDS.iter().find(|(word, _)| text.contains(word))?;
        let owner = block.labels.join(".");
        let mut statement = TrustStatement::new(*cloud, command.place.clone(), owner);
        let what = format!("what the command with `{word}` makes");
        statement.note(UnknownEffect::HidesTests, &command.place, what);
        Some(statement)
    });
    commands.collect()
}
