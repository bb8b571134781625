//! The standard of a platform: permits runs of `team-` workspaces, with OpenTofu 1.8 or later. Machines alone destroy, and
//! on weekdays in Berlin; a dry run gets ten minutes.

use countersign_policy::{
    AuthorKind, Behavior, Grant, Implementation, Problem, Reason, Run, TimeZone, Token, Verdict,
    policy, settings,
};

/// None: the standard is one for all.
#[settings]
pub struct Settings {}

/// What evaluations begin with.
pub struct Prepared {
    berlin: TimeZone,
}

policy!(Settings, prepare, Prepared, evaluate);

// Once, and not in each evaluation: a zone is looked up in the database.
fn prepare(_: Settings) -> Result<Prepared, Vec<Problem>> {
    let berlin = TimeZone::parse("Europe/Berlin");
    let problem = |message| vec![Problem { pointer: String::new(), message }];
    berlin.map(|berlin| Prepared { berlin }).map_err(problem)
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    let destroys = run.behavior == Behavior::Destroy;
    let mut reasons = Vec::new();
    if !run.building_block.workspace.starts_with("team-") {
        let message = "expected a workspace whose name begins with `team-`";
        reasons.push(Reason::new("not-a-team", message));
    }
    if destroys && !is_by_machine(run) {
        reasons.push(Reason::new("destroy-by-machines", "destroy by a pipeline with an API key"));
    }
    if destroys && prepared.berlin.local(token.issued_at).weekday >= 6 {
        let message = "destroy from Monday to Friday, in Berlin";
        reasons.push(Reason::new("destroy-on-weekdays", message));
    }
    if run.definition.implementation == Implementation::Terraform && !is_current(run) {
        let message = "let the definition ask for OpenTofu 1.8 or later";
        reasons.push(Reason::new("opentofu-too-old", message));
    }
    match run.behavior {
        _ if !reasons.is_empty() => Verdict::Deny(reasons),
        Behavior::Detect => Grant::new().ttl_at_most(600, token).permit(),
        _ => Verdict::permit(),
    }
}

/// Nobody knows who triggered a run without a trigger, so that is no machine.
fn is_by_machine(run: &Run) -> bool {
    let trigger = run.trigger.as_ref();
    trigger.is_some_and(|trigger| {
        matches!(trigger.author_kind, AuthorKind::ApiKey | AuthorKind::ApiUser)
    })
}

/// A fact that is missing, or is no version, is not current.
fn is_current(run: &Run) -> bool {
    let fact = run.facts.iter().find(|fact| fact.name == "opentofu-version");
    let numbers = fact.and_then(|fact| version(&fact.value));
    numbers.is_some_and(|numbers| numbers >= [1, 8])
}

/// The first two numbers of a version with two or three, such as `1.8.2` or `v1.8`.
fn version(text: &str) -> Option<[u32; 2]> {
    let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
    let numbers = [number(parts.next()?)?, number(parts.next()?)?];
    if let Some(patch) = parts.next() {
        number(patch)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number(text: &str) -> Option<u32> {
    let is_number = (1..=9).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if is_number { text.parse().ok() } else { None }
}
