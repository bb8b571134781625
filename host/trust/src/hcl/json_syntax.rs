//! OpenTofu's JSON syntax: `main.tf.json`. Its texts are templates of HCL, and its objects are expressions of HCL.

use hcl_edit::expr::Expression;

use super::{Content, Definition, HclFile, line_of, plain_key};
use crate::json;

/// Writes a file as an attribute of HCL, with each line where it was.
pub(super) fn as_hcl(text: &str) -> Result<String, String> {
    json::check(text)?;
    // HCL has no such escapes.
    let text = text.replace("\\/", "/").replace("\\b", " ").replace("\\f", " ");
    Ok(format!("file = {}\n", text.trim_end()))
}

/// Lists the blocks: `{"resource": {"KIND": {"NAME": {…}}}}`, in which lists have several of a name.
pub(super) fn definitions(file: &HclFile) -> Vec<Definition<'_>> {
    let mut found = Vec::new();
    let root = file.body.attributes().next().map(|root| &root.value);
    for (kind, content) in root.map(members).unwrap_or_default() {
        let labels = match kind.as_str() {
            "resource" | "data" => 2,
            "variable" | "module" | "output" => 1,
            _ => 0,
        };
        collect(file, &kind, labels, &mut Vec::new(), content, &mut found);
    }
    found
}

fn collect<'f>(
    file: &'f HclFile,
    kind: &str,
    labels_left: usize,
    labels: &mut Vec<String>,
    content: &'f Expression,
    found: &mut Vec<Definition<'f>>,
) {
    if let Expression::Array(array) = content {
        array.iter().for_each(|one| collect(file, kind, labels_left, labels, one, found));
        return;
    }
    if labels_left == 0 {
        found.push(Definition {
            file,
            kind: kind.to_owned(),
            labels: labels.clone(),
            place: line_of(file, content),
            content: Content::Object(content),
        });
        return;
    }
    for (label, content) in members(content) {
        labels.push(label);
        collect(file, kind, labels_left - 1, labels, content, found);
        labels.pop();
    }
}

/// The members of an object. `//` is a comment.
fn members(expression: &Expression) -> Vec<(String, &Expression)> {
    let object = expression.as_object().into_iter().flat_map(|object| object.iter());
    let members = object.map(|(key, value)| (plain_key(key), value.expr()));
    members.filter(|(key, _)| key != "//").collect()
}
