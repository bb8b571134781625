//! Parts of the binary format that the text format cannot express.

/// A section of a component: its id, its length in LEB128 padded to five bytes, its content.
#[must_use]
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut section = vec![id];
    section.extend((0..5).map(|n| {
        let more = if n < 4 { 0x80 } else { 0 };
        u8::try_from(length >> (7 * n) & 0x7f).unwrap() | more
    }));
    section.extend(content);
    section
}

/// A component in the text format.
pub(crate) fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A component of one core module, given by its fields.
pub(crate) fn of_module(fields: &str) -> Vec<u8> {
    component(&format!("(component (core module {fields}))"))
}
