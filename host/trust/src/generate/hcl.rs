//! Blocks of HCL. Every text of ours is written so that nothing in it is evaluated.

use hcl::expr::{Expression, TemplateExpr};
use hcl::{Attribute, Block, Body};

/// The text of blocks, with empty lines between.
pub(super) fn text(blocks: Vec<Block>) -> String {
    let texts: Vec<String> = blocks
        .into_iter()
        .map(|block| {
            let body = Body::from_iter([hcl::Structure::Block(block)]);
            // Made of what was just built: it always has a form.
            hcl::format::to_string(&body).unwrap_or_default()
        })
        .collect();
    texts.join("\n")
}

/// A text.
pub(super) fn quoted(text: &str) -> Expression {
    Expression::String(text.to_owned())
}

/// A text in which `${…}` is evaluated. Only texts of this crate come here.
pub(super) fn template(text: &str) -> Expression {
    TemplateExpr::QuotedString(text.to_owned()).into()
}

/// A reference, `google_service_account.run.name`.
pub(super) fn reference(path: &str) -> Expression {
    let mut steps = path.split('.');
    let root = hcl::Identifier::sanitized(steps.next().unwrap_or_default());
    let steps =
        steps.map(|step| hcl::expr::TraversalOperator::GetAttr(hcl::Identifier::sanitized(step)));
    hcl::expr::Traversal::new(Expression::from(hcl::expr::Variable::from(root)), steps).into()
}

/// `variable "NAME"` with a description.
pub(super) fn variable(name: &str, description: &str) -> Block {
    Block::builder("variable")
        .add_label(name)
        .add_attribute(Attribute::new("type", reference("string")))
        .add_attribute(Attribute::new("description", quoted(description)))
        .build()
}

/// A list, one element a line.
pub(super) fn list(texts: &[&str]) -> Expression {
    Expression::Array(texts.iter().map(|text| quoted(text)).collect())
}
