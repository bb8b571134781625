//! Finds the type definitions in a Rust source file.

use std::ops::RangeInclusive;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ItemEnum, ItemStruct};

/// The lines of the types that a file defines, attributes included, counted from 1. Empty if the file does not parse.
///
/// Their code is derived, so coverage leaves them out.
pub(super) fn lines(text: &str) -> Vec<RangeInclusive<u32>> {
    let mut types = Types(Vec::new());
    if let Ok(file) = syn::parse_file(text) {
        types.visit_file(&file);
    }
    types.0
}

struct Types(Vec<RangeInclusive<u32>>);

impl Types {
    fn push(&mut self, item: &impl Spanned) {
        let span = item.span();
        let line = |line| u32::try_from(line).unwrap_or(u32::MAX);
        self.0.push(line(span.start().line)..=line(span.end().line));
    }
}

impl<'f> Visit<'f> for Types {
    fn visit_item_struct(&mut self, item: &'f ItemStruct) {
        self.push(item);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'f ItemEnum) {
        self.push(item);
        visit::visit_item_enum(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn types_begin_with_their_attributes() {
        let text = "use a::B;\n\n#[settings]\n#[derive(Clone)]\npub struct A {\n    b: u8,\n}\n\nfn f() {\n    \
                    enum C { D }\n    g();\n}\nmod m {\n    struct E(u8);\n}\n";
        assert_eq!(lines(text), [3..=7, 10..=10, 14..=14]);
        assert_eq!(lines("fn f( {"), []);
    }
}
