//! A decision, for people.

use std::fmt::Write as _;

use countersign::{BindingTrace, Claims, Decision, Mode, Outcome, Reason, Terms, Verdict};

use crate::output::{DIM, FAILURE, STRONG, SUCCESS, Styled};

/// Formats a decision for people: the run, the outcome, its reasons, and the bindings behind them.
pub fn decision_text(decision: &Decision) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_decision(&mut text, decision);
    text
}

fn write_decision(text: &mut String, decision: &Decision) -> std::fmt::Result {
    let claims = decision.claims();
    let run = claims.run();
    match decision.outcome() {
        Outcome::Approved(_) => write!(text, "{}", Styled(SUCCESS, "approved"))?,
        Outcome::Refused(_) => write!(text, "{}", Styled(FAILURE, "refused"))?,
    }
    writeln!(
        text,
        "  {} of a building block of workspace {}, by a definition of workspace {}",
        run.behavior.as_str(),
        Styled(STRONG, &run.building_block.workspace),
        Styled(STRONG, &run.definition.workspace),
    )?;
    match decision.outcome() {
        Outcome::Approved(terms) => write_terms(text, terms, claims)?,
        Outcome::Refused(reasons) => {
            for reason in reasons {
                write_reason(text, reason)?;
            }
        }
    }
    writeln!(text)?;
    let width = decision.trace().iter().map(|entry| entry.binding.name.as_str().len()).max();
    for entry in decision.trace() {
        write_entry(text, entry, width.unwrap_or_default())?;
    }
    if decision.trace().is_empty() {
        writeln!(text, "  no binding applies to this run")?;
    }
    writeln!(text)?;
    writeln!(text, "  {} {}", Styled(DIM, "decision  "), Styled(DIM, decision.id()))?;
    writeln!(text, "  {} {}", Styled(DIM, "policy set"), Styled(DIM, decision.policy_set()))
}

fn write_terms(text: &mut String, terms: &Terms, claims: &Claims) -> std::fmt::Result {
    let asked = claims.token();
    writeln!(text, "  subject   {}", claims.subject())?;
    for audience in &terms.audiences {
        writeln!(text, "  audience  {audience}")?;
    }
    for dropped in asked.audiences().iter().filter(|asked| !terms.audiences.contains(asked)) {
        writeln!(text, "  narrowed  {dropped} was asked for too")?;
    }
    write!(text, "  life      {} s", terms.ttl_seconds)?;
    if terms.ttl_seconds < asked.ttl_seconds() {
        write!(text, ", narrowed from the {} s asked for", asked.ttl_seconds())?;
    }
    writeln!(text)?;
    for (name, value) in &terms.claims {
        writeln!(text, "  claim     {name} = {}", value.escape_debug())?;
    }
    Ok(())
}

fn write_reason(text: &mut String, reason: &Reason) -> std::fmt::Result {
    writeln!(text, "  {}", reason.message)?;
    let code = &reason.code;
    match &reason.binding {
        Some(binding) => writeln!(text, "    {}", Styled(DIM, format!("{code}, by `{binding}`"))),
        None => writeln!(text, "    {}", Styled(DIM, code)),
    }
}

fn write_entry(text: &mut String, entry: &BindingTrace, width: usize) -> std::fmt::Result {
    let binding = &entry.binding;
    let (mark, word) = match &entry.result {
        Ok(Verdict::Permit(_)) if entry.permits() => ("+", "permits".to_owned()),
        Ok(Verdict::Permit(_)) => (" ", "restricts (permits, but may not)".to_owned()),
        Ok(Verdict::Restrict(_)) => (" ", "restricts".to_owned()),
        Ok(Verdict::Deny(_)) => ("-", "denies".to_owned()),
        Ok(Verdict::Abstain) => (" ", "abstains".to_owned()),
        Err(fault) => ("!", format!("{}: {fault}", fault.code())),
    };
    let shadow = match binding.mode {
        Mode::Enforce => "",
        Mode::Shadow => " (shadow: does not decide)",
    };
    write!(text, "  {mark} {:<width$}  {word}{shadow}", binding.name.as_str())?;
    let policy = format!("{} {}", binding.policy_name, binding.policy_version);
    let fuel = entry.used.fuel.map(|fuel| format!(", {fuel} fuel")).unwrap_or_default();
    writeln!(text, "  {}", Styled(DIM, format!("{policy}{fuel}")))
}
