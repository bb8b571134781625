//! OpenTofu's JSON syntax: `main.tf.json`. Its texts are templates of HCL, and its objects are expressions of HCL.

use hcl_edit::expr::Expression;

use super::{Content, Definition, HclFile, line_of, plain_key};
use crate::json;

/// Writes a file as an attribute of HCL, with each line where it was.
pub(super) fn as_hcl(text: &str) -> Result<String, String> {
    json::check(text)?;
    Ok(format!("file = {}\n", unescaped(text.trim_end())))
}

/// Decodes what HCL does not read: escapes that it lacks, and all escapes within `${…}`, which is parsed when the
/// text has been decoded.
fn unescaped(text: &str) -> String {
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    let (mut in_text, mut depth, mut in_inner) = (false, 0_usize, false);
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        if in_text && character == '\\' {
            let escape = rest.chars().nth(1).unwrap_or_default();
            length = if escape == 'u' { 6 } else { 1 + escape.len_utf8() };
            let written = rest.get(..length).unwrap_or(rest);
            match escape {
                _ if depth > 0 => {
                    let decoded: Option<String> =
                        serde_json::from_str(&format!("\"{written}\"")).ok();
                    in_inner ^= escape == '"' && !made.ends_with('\\');
                    made.push_str(&decoded.unwrap_or_default().replace(['\n', '\r'], " "));
                }
                '/' => made.push('/'),
                'b' | 'f' => made.push(' '),
                _ => made.push_str(written),
            }
        } else {
            match character {
                '"' if depth == 0 => in_text = !in_text,
                '{' if in_text && depth > 0 && !in_inner => depth += 1,
                '{' if in_text && depth == 0 => {
                    let is_opened = (made.ends_with('$') && !made.ends_with("$$"))
                        || (made.ends_with('%') && !made.ends_with("%%"));
                    depth = usize::from(is_opened);
                    in_inner = false;
                }
                '}' if depth > 0 && !in_inner => depth -= 1,
                _ => {}
            }
            made.push(character);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    made
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
