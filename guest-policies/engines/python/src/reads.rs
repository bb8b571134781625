//! The claims that a policy reads, as far as its text tells: making the others would be a great part of a decision.

use engine_shared::claims::Paths;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Alias, ExceptHandler, Expr, Pattern, Stmt};

use crate::reader::path_of;

/// The names that the parameters of `evaluate` have.
const CLAIMS: [&str; 2] = ["run", "token"];

/// The functions by which a name is reached that is not written down.
const BY_NAME: [&str; 4] = ["dir", "globals", "locals", "vars"];

/// The function that is called, with its arguments by their names.
const EVALUATE: &str = "evaluate";

/// Finds what the file with `evaluate` reads of `run` and `token`, by names that are written after these, in whatever
/// function: `run.definition.id`. Anything else, such as `f(run)` or `run[0]`, reads all; so does a function that takes its
/// arguments by no name, or that may be another one when it is called.
pub fn of(body: &[Stmt]) -> Paths {
    let defined = body.iter().filter_map(|statement| match statement {
        Stmt::FunctionDef(function) if function.name.as_str() == EVALUATE => Some(function),
        _ => None,
    });
    let [evaluate] = *defined.collect::<Vec<_>>() else { return Paths::all() };
    let parameters = &evaluate.parameters;
    let mut reads = Reads { paths: Paths::default(), binds: 0 };
    reads.visit_body(body);
    let is_plain = reads.binds == 1
        && evaluate.decorator_list.is_empty()
        && parameters.vararg.is_none()
        && parameters.kwarg.is_none();
    if is_plain { reads.paths } else { Paths::all() }
}

struct Reads {
    paths: Paths,
    /// The times that the name `evaluate` is bound, or read.
    binds: usize,
}

impl Reads {
    fn name(&mut self, name: &str) {
        self.binds += usize::from(name == EVALUATE);
    }
}

impl<'a> Visitor<'a> for Reads {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => self.name(&function.name),
            Stmt::ClassDef(class) => self.name(&class.name),
            Stmt::Global(global) => global.names.iter().for_each(|name| self.name(name)),
            Stmt::Nonlocal(outer) => outer.names.iter().for_each(|name| self.name(name)),
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_alias(&mut self, alias: &'a Alias) {
        self.name(alias.asname.as_ref().unwrap_or(&alias.name));
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(named) = handler;
        named.name.iter().for_each(|name| self.name(name));
        visitor::walk_except_handler(self, handler);
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let bound = match pattern {
            Pattern::MatchAs(bound) => &bound.name,
            Pattern::MatchStar(bound) => &bound.name,
            Pattern::MatchMapping(bound) => &bound.rest,
            _ => &None,
        };
        bound.iter().for_each(|name| self.name(name));
        visitor::walk_pattern(self, pattern);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        let Some((root, path)) = path_of(expression) else {
            return visitor::walk_expr(self, expression);
        };
        self.name(&root);
        if CLAIMS.contains(&root.as_str()) {
            self.paths.add_claim(std::iter::once(root).chain(path).collect());
        } else if BY_NAME.contains(&root.as_str()) {
            self.paths = Paths::all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_by_names_is_all() {
        for (line, read, not_read) in [
            ("return run.definition.workspace", &["run.definition.workspace"][..], &["run.id"][..]),
            (
                "return run.building_block.workspace.startswith('a')",
                &["run.building_block.workspace"],
                &["run.building_block.id"],
            ),
            ("return [token.ttl_seconds for _ in ()]", &["token.ttl_seconds"], &["token.subject"]),
            ("return f'{run.definition}'", &["run.definition.id"], &["run.id"]),
            (
                "return f'{run.id!r:>{token.ttl_seconds}}'",
                &["run.id", "token.ttl_seconds"],
                &["run.runner"],
            ),
            ("return f'{run}'", &["run.id", "run.trigger"], &["token.subject"]),
            ("return helper(run)", &["run.facts"], &["token.subject"]),
            ("return run[0]", &["run.id"], &["token.subject"]),
            ("a, *_ = token", &["token.subject"], &["run.id"]),
            ("return run._asdict()", &["run.id"], &["token.subject"]),
            ("return run.definition._replace()", &["run.definition.version"], &["run.id"]),
            ("match run.trigger:\n        case None: pass", &["run.trigger"], &["run.id"]),
            ("def inner(): return run.facts['a']", &["run.facts"], &["run.id"]),
            ("return locals()", &["run.id", "token.subject"], &[]),
            ("return settings", &[], &["run.id", "run.trigger", "token.subject"]),
        ] {
            let text = format!("def evaluate(settings, run, token):\n    {line}\n");
            let paths = of(&ruff_python_parser::parse_module(&text).expect(line).syntax().body);
            let is_read = |path: &&&str| paths.read(&path.split('.').collect::<Vec<_>>());
            assert_eq!(read.iter().find(|path| !is_read(path)), None, "{line}");
            assert_eq!(not_read.iter().find(is_read), None, "{line}");
        }
        for text in [
            "@wrap\ndef evaluate(run): return 1\n",
            "def evaluate(**claims): return 1\n",
            "def evaluate(*claims): return 1\n",
            "def evaluate(run): return 1\nevaluate = other\n",
            "def evaluate(run): return 1\nfor evaluate in others: pass\n",
            "def evaluate(run): return 1\nfrom .other import one as evaluate\n",
            "def evaluate(run): return 1\nclass evaluate: pass\n",
            "def evaluate(run): return 1\ntry: pass\nexcept ValueError as evaluate: pass\n",
            "def evaluate(run): return 1\nmatch other:\n    case [*evaluate]: pass\n",
            "def f():\n    global evaluate\n    evaluate = 1\ndef evaluate(run): return 1\n",
            "if True:\n    def evaluate(run): return 1\n",
        ] {
            let paths = of(&ruff_python_parser::parse_module(text).expect(text).syntax().body);
            assert!(paths.read(&["run", "id"]) && paths.read(&["token", "subject"]), "{text}");
        }
    }
}
