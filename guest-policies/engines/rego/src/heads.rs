//! Which of the rules that are looked at a policy has.

use regorus::Engine;
use regorus::unstable::{Rule, RuleHead};

/// Whether there is a rule of the name.
pub struct Heads {
    pub permit: bool,
    pub deny: bool,
}

/// Looks at the heads of all rules.
///
/// # Errors
/// When `permit` or `deny` is something that has no value of its own, such as a function: it would be overlooked.
pub fn of(engine: &mut Engine) -> Result<Heads, String> {
    let mut heads = Heads { permit: false, deny: false };
    for module in engine.get_modules() {
        for rule in &module.policy {
            let (name, is_function) = match rule.as_ref() {
                Rule::Spec { head: RuleHead::Compr { refr, .. }, .. }
                | Rule::Spec { head: RuleHead::Set { refr, .. }, .. } => (refr, false),
                Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
                Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
            };
            let name = name.span().text();
            let first = name.split(['.', '[', '(']).next().unwrap_or(name).trim();
            let has = match first {
                "permit" => &mut heads.permit,
                "deny" => &mut heads.deny,
                _ => continue,
            };
            if is_function {
                return Err(format!("`{first}` is a function; expected a rule without arguments"));
            }
            if name.trim() != first {
                return Err(format!("the rule `{name}`: expected `{first}` as a whole"));
            }
            *has = true;
        }
    }
    Ok(heads)
}
