//! Takes TypeScript's types away. What they covered becomes spaces, so that every place stays the author's own.
//!
//! That is possible where a type is only removed, as in Node's own support of TypeScript. Syntax that would have to be
//! translated (`enum`, `namespace`, parameter properties, decorators, `import =`) is an error.

use std::collections::BTreeSet;

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    AccessorProperty, AccessorPropertyType, Class, ClassElement, Declaration, Decorator,
    ExportAllDeclaration, ExportDeclaration, ExportDefaultDeclaration,
    ExportDefaultDeclarationKind, ExportFromDeclaration, ExportNamedDeclaration, ExportSpecifier,
    FormalParameter, ImportDeclaration, ImportOrExportKind, ImportSpecifier, MethodDefinition,
    MethodDefinitionType, PropertyDefinition, PropertyDefinitionType, Statement, TSAsExpression,
    TSEnumDeclaration, TSExportAssignment, TSImportEqualsDeclaration, TSNamespaceDeclaration,
    TSNamespaceExportDeclaration, TSNonNullExpression, TSSatisfiesExpression, TSThisParameter,
    TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration, TSTypeParameterInstantiation,
    VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType, Span};

use crate::errors;

/// The words before a member of a class that only types have.
const MODIFIERS: [&str; 7] =
    ["public", "private", "protected", "readonly", "override", "abstract", "declare"];

/// The text without its types.
///
/// # Errors
/// The place and the problem, when it is not TypeScript, or has syntax that cannot only be removed.
pub fn without_types(path: &str, text: &str) -> Result<String, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts().with_module(true)).parse();
    if let Some(problem) = parsed.diagnostics.first() {
        let at = problem.labels.first().map_or(0, |label| label.offset() as usize);
        return Err(format!("{}: SyntaxError: {}", errors::place(path, text, at), problem.message));
    }
    let mut types = Types { text, ..Types::default() };
    types.visit_program(&parsed.program);
    match types.problem {
        Some((at, problem)) => Err(format!(
            "{}: {problem} is not supported: only types that can be removed are",
            errors::place(path, text, at as usize)
        )),
        None => Ok(types.removed()),
    }
}

#[derive(Default)]
struct Types<'t> {
    text: &'t str,
    /// The spans to remove.
    spans: Vec<Span>,
    /// Offsets where a removed span begins that must not join what is before it with what follows.
    starts: BTreeSet<u32>,
    /// Offsets where statements end: a removed span that ends there must not join it with the next one.
    ends: BTreeSet<u32>,
    /// The first syntax that cannot only be removed.
    problem: Option<(u32, &'static str)>,
}

impl Types<'_> {
    fn removed(mut self) -> String {
        self.spans.sort_unstable_by_key(|span| (span.start, span.end));
        let mut removed = String::with_capacity(self.text.len());
        let mut at = 0;
        for span in &self.spans {
            let start = (span.start as usize).max(at);
            let end = span.end as usize;
            if end <= start {
                continue;
            }
            removed.push_str(self.text.get(at..start).unwrap_or_default());
            let covered = self.text.get(start..end).unwrap_or_default();
            let count = covered.chars().count();
            for (index, character) in covered.chars().enumerate() {
                let ends_statement = index + 1 == count && self.ends.contains(&span.end)
                    || index == 0 && self.starts.contains(&span.start);
                removed.push(match character {
                    '\n' | '\r' | '\u{2028}' | '\u{2029}' => character,
                    _ if ends_statement => ';',
                    _ => ' ',
                });
            }
            at = end;
        }
        removed.push_str(self.text.get(at..).unwrap_or_default());
        removed
    }

    fn remove(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// Removes a whole statement or member.
    fn remove_statement(&mut self, span: Span) {
        self.starts.insert(span.start);
        self.remove(span);
    }

    fn unsupported(&mut self, span: Span, what: &'static str) {
        self.problem.get_or_insert((span.start, what));
    }

    /// Removes one of these characters if it is the next from an offset on.
    fn remove_next(&mut self, from: u32, characters: &[char]) {
        if let Some((at, _)) = self.next(from).filter(|(_, next)| characters.contains(next)) {
            self.remove(Span::new(at, at + 1));
        }
    }

    /// The next character from an offset on that is neither space nor part of a comment.
    fn next(&self, from: u32) -> Option<(u32, char)> {
        let mut at = from as usize;
        loop {
            let rest = self.text.get(at..)?;
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                at += trimmed.find('\n')?;
            } else if trimmed.starts_with("/*") {
                at += trimmed.find("*/")? + 2;
            } else {
                return Some((u32::try_from(at).ok()?, trimmed.chars().next()?));
            }
        }
    }

    /// Removes the words of [`MODIFIERS`] between two offsets.
    fn remove_modifiers(&mut self, from: u32, to: u32, is_member: bool) {
        let mut at = from;
        while let Some((start, _)) = self.next(at).filter(|(start, _)| *start < to) {
            let rest = self.text.get(start as usize..to as usize).unwrap_or_default();
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let word = rest.get(..length).unwrap_or_default();
            if word.is_empty() {
                return;
            }
            let end = start + u32::try_from(length).unwrap_or_default();
            if MODIFIERS.contains(&word) {
                let span = Span::new(start, end);
                // The first word of a member, which could otherwise continue the member before it.
                if start == from && is_member {
                    self.remove_statement(span);
                } else {
                    self.remove(span);
                }
            }
            at = end;
        }
    }

    /// Removes what a member of a class has before and behind its name.
    fn remove_around(&mut self, member: Span, name: Span, computed: bool) {
        self.remove_modifiers(member.start, name.start, true);
        let mut from = name.end;
        if computed && let Some((at, ']')) = self.next(from) {
            from = at + 1;
        }
        self.remove_next(from, &['?', '!']);
    }

    /// Removes a specifier with the comma that follows it.
    fn remove_specifier(&mut self, span: Span) {
        self.remove(span);
        self.remove_next(span.end, &[',']);
    }

    /// Returns true for a declaration that has no code.
    fn is_type(declaration: &Declaration<'_>) -> bool {
        match declaration {
            Declaration::TSTypeAliasDeclaration(_)
            | Declaration::TSInterfaceDeclaration(_)
            | Declaration::TSExternalModuleDeclaration(_)
            | Declaration::TSGlobalDeclaration(_) => true,
            Declaration::VariableDeclaration(it) => it.declare,
            Declaration::FunctionDeclaration(it) => it.declare || it.body.is_none(),
            Declaration::ClassDeclaration(it) => it.declare,
            Declaration::TSEnumDeclaration(it) => it.declare,
            Declaration::TSNamespaceDeclaration(it) => it.declare,
            Declaration::TSImportEqualsDeclaration(it) => {
                it.import_kind == ImportOrExportKind::Type
            }
        }
    }
}

impl<'a> Visit<'a> for Types<'_> {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        self.ends.insert(it.span().end);
        walk::walk_statement(self, it);
    }

    fn visit_declaration(&mut self, it: &Declaration<'a>) {
        if Self::is_type(it) {
            self.remove_statement(it.span());
        } else {
            walk::walk_declaration(self, it);
        }
    }

    fn visit_export_declaration(&mut self, it: &ExportDeclaration<'a>) {
        if Self::is_type(&it.declaration) {
            self.remove_statement(it.span);
        } else {
            walk::walk_export_declaration(self, it);
        }
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => {
                self.remove_statement(it.span);
            }
            ExportDefaultDeclarationKind::FunctionDeclaration(function)
                if function.body.is_none() =>
            {
                self.remove_statement(it.span);
            }
            _ => walk::walk_export_default_declaration(self, it),
        }
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        if it.import_kind == ImportOrExportKind::Type {
            self.remove_statement(it.span);
        } else {
            walk::walk_import_declaration(self, it);
        }
    }

    fn visit_import_specifier(&mut self, it: &ImportSpecifier<'a>) {
        if it.import_kind == ImportOrExportKind::Type {
            self.remove_specifier(it.span);
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        if it.export_kind == ImportOrExportKind::Type {
            self.remove_statement(it.span);
        } else {
            walk::walk_export_named_declaration(self, it);
        }
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        if it.export_kind == ImportOrExportKind::Type {
            self.remove_statement(it.span);
        } else {
            walk::walk_export_from_declaration(self, it);
        }
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        if it.export_kind == ImportOrExportKind::Type {
            self.remove_statement(it.span);
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if it.export_kind == ImportOrExportKind::Type {
            self.remove_specifier(it.span);
        }
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.remove_specifier(it.span);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.unsupported(it.span, "a parameter that declares a property");
        }
        if it.optional {
            self.remove_next(it.pattern.span().end, &['?']);
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            self.remove_next(it.id.span().end, &['!']);
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.r#abstract {
            self.remove_modifiers(it.span.start, it.body.span.start, false);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            // The keyword is the last word before what it lists.
            let before = self.text.get(..first.span().start as usize).unwrap_or_default();
            let start = before.rfind("implements").unwrap_or(before.len());
            self.remove(Span::new(u32::try_from(start).unwrap_or_default(), last.span().end));
        }
        walk::walk_class(self, it);
    }

    fn visit_class_element(&mut self, it: &ClassElement<'a>) {
        let is_type = match it {
            ClassElement::TSIndexSignature(_) => true,
            ClassElement::MethodDefinition(it) => {
                it.r#type == MethodDefinitionType::TSAbstractMethodDefinition
                    || it.value.body.is_none()
            }
            ClassElement::PropertyDefinition(it) => {
                it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition || it.declare
            }
            ClassElement::AccessorProperty(it) => {
                it.r#type == AccessorPropertyType::TSAbstractAccessorProperty
            }
            ClassElement::StaticBlock(_) => false,
        };
        if is_type {
            self.remove_statement(it.span());
        } else {
            self.ends.insert(it.span().end);
            walk::walk_class_element(self, it);
        }
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        self.remove_around(it.span, it.key.span(), it.computed);
        walk::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        self.remove_around(it.span, it.key.span(), it.computed);
        walk::walk_property_definition(self, it);
    }

    fn visit_accessor_property(&mut self, it: &AccessorProperty<'a>) {
        self.remove_around(it.span, it.key.span(), it.computed);
        walk::walk_accessor_property(self, it);
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.remove(it.span);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.remove(it.span);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.remove(it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.remove(Span::new(it.expression.span().end, it.span.end));
        self.visit_expression(&it.expression);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.remove(Span::new(it.expression.span().end, it.span.end));
        self.visit_expression(&it.expression);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.remove(Span::new(it.span.end - 1, it.span.end));
        self.visit_expression(&it.expression);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.remove(Span::new(it.span.start, it.expression.span().start));
        self.visit_expression(&it.expression);
    }

    fn visit_ts_enum_declaration(&mut self, it: &TSEnumDeclaration<'a>) {
        self.unsupported(it.span, "`enum`");
    }

    fn visit_ts_namespace_declaration(&mut self, it: &TSNamespaceDeclaration<'a>) {
        self.unsupported(it.span, "`namespace`");
    }

    fn visit_ts_import_equals_declaration(&mut self, it: &TSImportEqualsDeclaration<'a>) {
        self.unsupported(it.span, "`import =`");
    }

    fn visit_ts_export_assignment(&mut self, it: &TSExportAssignment<'a>) {
        self.unsupported(it.span, "`export =`");
    }

    fn visit_ts_namespace_export_declaration(&mut self, it: &TSNamespaceExportDeclaration<'a>) {
        self.unsupported(it.span, "`export as namespace`");
    }

    fn visit_decorator(&mut self, it: &Decorator<'a>) {
        self.unsupported(it.span, "a decorator");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(without_types("policy.ts", text).as_deref(), Ok(expected));
    }

    #[test]
    fn types_become_spaces() {
        check("let a: number = 1;", "let a         = 1;");
        check("let a!: string;", "let a         ;");
        check("const a = b as string;", "const a = b          ;");
        check("const a = b!.c! as X;", "const a = b .c      ;");
        check("const a = <X>b;", "const a =    b;");
        check("const a = f<string>(1);", "const a = f        (1);");
        check("const a = b satisfies X;", "const a = b            ;");
        check(
            "function f<T>(this: X, a?: T, ...b: T[]): asserts a is T {}",
            "function f   (         a    , ...b     )                 {}",
        );
        check(
            "const f = async <T,>(a: T): Promise<T> => a;",
            "const f = async     (a   )             => a;",
        );
        check("const f = (a: 'ä'): void => {};", "const f = (a     )       => {};");
        check("interface X {\n  a: 1;\n}\nlet b;", ";            \n       \n;\nlet b;");
        check("export type X = 1;", ";                ;");
        check("import type { X } from './x';", ";                           ;");
        check("import { type X, y } from './x';", "import {         y } from './x';");
        check("import { y, type X } from './x';", "import { y,        } from './x';");
        check("export { type X, y };", "export {         y };");
        check("declare const a: 1;", ";                 ;");
        check("function f(a: 1): 1;\nfunction f(a) {}", ";                  ;\nfunction f(a) {}");
        check("for (const a of b as X) {}", "for (const a of b     ) {}");
    }

    #[test]
    fn classes_keep_their_code() {
        check(
            "abstract class A<T> extends B<T> implements C, D { readonly a?: 1; private static b: X; abstract c(): void; \
             [key: string]: X; override d?(): X {} declare e: 1; get f(): 1 { return 1; } }",
            concat!(
                "         class A    extends B                    { ;        a    ; ;       static b   ; ;                   ;",
                "                 ;        d ()    {} ;             get f()    { return 1; } }",
            ),
        );
    }

    #[test]
    fn a_removed_type_joins_no_statements() {
        check("a as X\n(b)", "a    ;\n(b)");
        check("let a = 1\ntype X = 1\n[b]", "let a = 1\n;        ;\n[b]");
        check("class A { a: X\n['b'] = 1 }", "class A { a  ;\n['b'] = 1 }");
        check("class A { a = 1\nprivate ['b'] = 1 }", "class A { a = 1\n;       ['b'] = 1 }");
    }

    #[test]
    fn what_is_more_than_a_type_is_an_error() {
        for (text, says) in [
            ("enum A { B }", "policy.ts:1:1: `enum` is not supported"),
            ("const a = 1;\nnamespace A { export const b = 1; }", "policy.ts:2:1: `namespace`"),
            (
                "class A { constructor(private a: 1) {} }",
                "policy.ts:1:23: a parameter that declares",
            ),
            ("@a class B {}", "policy.ts:1:1: a decorator"),
            ("import a = require('b');", "policy.ts:1:1: `import =`"),
            ("const a: = 1;", "policy.ts:1:10: SyntaxError: "),
        ] {
            let found = without_types("policy.ts", text).expect_err(text);
            assert!(found.contains(says), "{text}: {found}");
        }
    }
}
