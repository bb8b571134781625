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
            aligned(&hcl::format::to_string(&body).unwrap_or_default())
        })
        .collect();
    texts.join("\n")
}

/// Aligns the equals signs of attributes that stand in lines one after the other, as `tofu fmt` does. An attribute
/// whose value goes on over more lines is not aligned with others.
fn aligned(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The indentation and the name of an attribute that is on one line.
    let attribute = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        let is_name = name
            .trim_start()
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-\"".contains(c) || c == '.');
        let is_open = value.ends_with(['[', '{', '(']);
        (is_name && !is_open).then(|| (name.len() - name.trim_start().len(), name.len()))
    };
    let mut aligned = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let Some((indent, _)) = attribute(line) else {
            aligned.push_str(line);
            aligned.push('\n');
            at += 1;
            continue;
        };
        let rest = lines.iter().skip(at);
        let group: Vec<_> = rest
            .map_while(|line| {
                attribute(line).filter(|(other, _)| *other == indent).map(|(_, end)| (*line, end))
            })
            .collect();
        let widest = group.iter().map(|(_, end)| *end).max().unwrap_or_default();
        for (line, end) in &group {
            let (name, value) = line.split_at(*end);
            aligned.push_str(&format!("{name:widest$}{value}\n"));
        }
        at += group.len();
    }
    aligned
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
