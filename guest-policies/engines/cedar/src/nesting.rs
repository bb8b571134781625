//! The nesting of a text, which the language's own code recurses with: a trap would say neither that nor where.

use countersign_policy::Problem;

use crate::source::Source;

/// The depth that a text may have. The 512 KB of the component's stack overflow at 113 operators in a row, or at 48 brackets in
/// each other.
const MAX_DEPTH: usize = 500;

/// The depth of an operator, and of a bracket, in proportion to what they take of the stack.
const OPERATOR: usize = 5;
const BRACKET: usize = 12;

/// The problem, and what helps.
const MESSAGE: &str = "nested too deep: expected at most some 90 operators in one condition, or 35 brackets in each other; \
                           write several policies, or a set with `contains`";

/// A bracket that is open, or the text.
#[derive(Default)]
struct Level {
    /// The greatest depth of what is before the last comma.
    before: usize,
    /// The greatest number of `&&` between two `||`, or two branches of an `if`, times their depth: those lie beside each other.
    conjunctions: usize,
    /// The depth of the other operators since the last comma. Each nests what is before it.
    operators: usize,
    /// The `&&` since the last `||`.
    conjunction: usize,
    /// The greatest depth of a condition between these.
    conditions: usize,
    /// The depth of the arithmetic of the last condition.
    arithmetic: usize,
    /// The greatest depth of an operand of it.
    operands: usize,
    /// The depth of the last operand: of its brackets, and of the members that are read of it.
    operand: usize,
    /// The members that follow are tested by `has`, each of which is a condition of its own.
    is_tested: bool,
}

impl Level {
    /// The depth without that of operands.
    fn around(&self) -> usize {
        self.operators + self.conjunctions.max(self.conjunction)
    }

    fn depth(&self) -> usize {
        self.before.max(self.around() + self.conditions.max(self.condition()))
    }

    fn condition(&self) -> usize {
        self.arithmetic + self.operands.max(self.operand)
    }

    /// Begins another condition.
    fn next(&mut self) {
        self.conditions = self.conditions.max(self.condition());
        (self.arithmetic, self.operands, self.operand, self.is_tested) = (0, 0, 0, false);
    }

    fn take(&mut self, token: &str) {
        match token {
            "," | ";" => *self = Self { before: self.depth(), ..Self::default() },
            "." => self.operand += if self.is_tested { 2 * OPERATOR } else { OPERATOR },
            "has" => self.is_tested = true,
            "&&" => {
                self.next();
                self.conjunction += OPERATOR;
            }
            "||" | "then" | "else" => {
                self.next();
                self.conjunctions = self.conjunctions.max(self.conjunction);
                self.conjunction = 0;
                self.operators += if token == "||" { OPERATOR } else { 0 };
            }
            "+" | "-" | "*" | "!" => {
                self.operands = self.operands.max(self.operand);
                self.operand = 0;
                self.arithmetic += OPERATOR;
            }
            "if" | "when" | "unless" | "Set" => {
                self.next();
                self.operators += OPERATOR;
            }
            _ => {}
        }
    }
}

/// Checks how deep a text nests.
///
/// # Errors
/// The place at which that is too deep.
pub fn check(source: &Source<'_>) -> Result<(), Vec<Problem>> {
    match too_deep(source.text()) {
        Some(at) => Err(vec![source.at(at, MESSAGE)]),
        None => Ok(()),
    }
}

/// The offset at which a text nests too deep.
fn too_deep(text: &str) -> Option<usize> {
    // What is open, each with the depth around it.
    let mut levels = Vec::new();
    let (mut level, mut around) = (Level::default(), 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let token = token(rest, first);
        rest = rest.get(token.len()..).unwrap_or_default();
        match token {
            "(" | "[" | "{" => {
                let outer = around;
                around += level.around() + level.arithmetic + BRACKET;
                levels.push((std::mem::take(&mut level), outer));
            }
            ")" | "]" | "}" => {
                if let Some((outer, depth_around)) = levels.pop() {
                    let depth = BRACKET + level.depth();
                    (level, around) = (outer, depth_around);
                    // An index nests what is before it, as a member does.
                    level.operand = (level.operand + OPERATOR).max(depth);
                }
            }
            // The end of a policy.
            ";" if levels.is_empty() => level = Level::default(),
            other => level.take(other),
        }
        if around + level.depth() > MAX_DEPTH {
            return Some(at);
        }
    }
    None
}

/// The token with which a text begins, as far as it matters here.
fn token(text: &str, first: char) -> &str {
    let end = match first {
        _ if text.starts_with("//") => text.find(['\n', '\r']),
        _ if text.starts_with("&&") || text.starts_with("||") => Some(2),
        '"' => {
            let mut is_escaped = false;
            let closes = |character: char| {
                let closes = character == '"' && !is_escaped;
                is_escaped = character == '\\' && !is_escaped;
                closes
            };
            text.get(1..).and_then(|inner| inner.find(closes)).map(|end| end + 2)
        }
        first if first.is_alphanumeric() || first == '_' => {
            text.find(|c: char| !c.is_alphanumeric() && c != '_')
        }
        first => Some(first.len_utf8()),
    };
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_brackets_nest_and_lists_do_not() {
        let when = |condition: &str| {
            format!("permit(principal, action, resource)\nwhen {{ {condition} }};\n")
        };
        let flat = when("context.token.ttl_seconds > 60");
        for text in [
            flat.repeat(300),
            when(&vec!["a && b && c"; 40].join(" || ")),
            when(&vec!["context.run.number + 1 > 0"; 80].join(" && ")),
            when(&format!("{}true", "if a && b && c then d else ".repeat(25))),
            format!("namespace A {{\n{}}}", "type T = Set<String>;\n".repeat(200)),
            when(&vec!["context.run.building_block.workspace == \"a\""; 90].join(" && ")),
            when(&format!("[{}].contains(1)", "1 + 1, ".repeat(300))),
            when(&format!("\"{}\" == \"\"", "((\\\"".repeat(100))),
            format!("// {}\n{flat}", "(".repeat(300)),
            when(&format!("{}true{}", "(".repeat(35), ")".repeat(35))),
        ] {
            assert_eq!(too_deep(&text), None, "{text}");
        }
        for text in [
            when(&vec!["true"; 300].join(" && ")),
            when(&vec!["true"; 300].join(" || ")),
            when(&format!("{}1{}", "(".repeat(60), ")".repeat(60))),
            when(&format!("1{}", " + 1".repeat(300))),
            when(&format!("{}true", "if true then true else ".repeat(300))),
            when(&format!("[{}]", when(&vec!["true"; 300].join(" && ")))),
            format!("permit(principal, action, resource){};", " when { true }".repeat(300)),
            when(&format!("context{}", ".run".repeat(300))),
            when(&format!("context{}", "[\"run\"]".repeat(300))),
            when(&format!("context has {}a", "a.".repeat(90))),
            when(&format!("context{}{}", ".a".repeat(90), " && true".repeat(90))),
            when(&format!("{}x{}{}", "(".repeat(38), ")".repeat(38), ".a".repeat(90))),
            format!("// a\r{}", when(&vec!["true"; 300].join(" && "))),
        ] {
            assert!(too_deep(&text).is_some(), "{text}");
        }
    }
}
