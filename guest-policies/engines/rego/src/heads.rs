//! The verdict rules that a policy defines.

use regorus::Value;
use regorus::unstable::{Module, Ref, Rule, RuleHead};

use crate::check;
use crate::tree::{Place, Reference, head};

/// The verdict rules that a policy defines, by name.
#[derive(Clone, Copy, Default)]
pub struct Heads {
    pub permit: bool,
    pub restrict: bool,
    pub deny: bool,
}

impl Heads {
    /// Reads the heads of all rules of the policy's package.
    ///
    /// # Errors
    /// When a verdict rule has no value of its own, such as a function: evaluating it by name would overlook it.
    pub fn of(modules: &[Ref<Module>]) -> Result<Self, String> {
        let mut heads = Self::default();
        for module in modules.iter().filter(|module| check::package(module) == crate::PACKAGE) {
            for rule in &module.policy {
                let place = || Place::of(Reference::of(head(rule)).head.span());
                let (name, is_function) = match rule.as_ref() {
                    Rule::Spec { head: RuleHead::Compr { refr, .. }, .. }
                    | Rule::Spec { head: RuleHead::Set { refr, .. }, .. } => (refr, false),
                    Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
                    Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
                };
                let name = name.span().text();
                let first = name.split(['.', '[', '(']).next().unwrap_or(name).trim();
                let defined = match first {
                    "permit" => &mut heads.permit,
                    "restrict" => &mut heads.restrict,
                    "deny" => &mut heads.deny,
                    _ => continue,
                };
                if is_function {
                    return Err(format!(
                        "`{first}` is a function; expected a rule without arguments ({})",
                        place()
                    ));
                }
                if name.trim() != first {
                    return Err(format!(
                        "the rule `{name}`: expected `{first}` as a whole ({})",
                        place()
                    ));
                }
                *defined = true;
            }
        }
        Ok(heads)
    }

    /// Says that the policy has no verdict rule at all, and could only abstain.
    pub fn is_empty(self) -> bool {
        !(self.permit || self.restrict || self.deny)
    }

    /// The text of a module whose rule `answer` has the values of the rules of a package that are defined: a list for each,
    /// empty where the rule is undefined.
    pub fn answer(self, own: &str, package: &str) -> String {
        let rules = [("permit", self.permit), ("restrict", self.restrict), ("deny", self.deny)];
        let defined = rules.iter().filter(|(_, defined)| *defined);
        let values: Vec<_> = defined
            .map(|(rule, _)| format!("\"{rule}\": [value | value := data.{package}.{rule}]"))
            .collect();
        format!("package {own}\nready := true\nanswer := {{{}}}\n", values.join(", "))
    }
}

/// The end of the message for a policy without verdicts: the rule that was meant to be one, if there is one.
pub fn proposal(modules: &[Ref<Module>]) -> String {
    let names = modules
        .iter()
        .filter(|module| check::package(module) == crate::PACKAGE)
        .flat_map(|module| &module.policy);
    let meant = names.filter_map(|rule| {
        let reference = Reference::of(head(rule));
        let name = reference.name()?;
        Some((name.to_owned(), check::verdict_meant(name)?, Place::of(reference.head.span())))
    });
    match meant.into_iter().next() {
        Some((name, meant, place)) => format!("; for `{name}` ({place}), did you mean `{meant}`?"),
        None => String::new(),
    }
}

/// The value of a rule in what `answer` has; undefined where the rule has none.
pub fn value(answer: &Value, rule: &str) -> Value {
    let values = answer.as_object().ok().and_then(|rules| rules.get(&Value::from(rule)));
    let values = values.and_then(|values| values.as_array().ok());
    values.and_then(|values| values.first()).cloned().unwrap_or(Value::Undefined)
}
