//! Translates what the prelude's functions make to a verdict.

use countersign_policy::{Grant, Reason, Token, Verdict};
use monty_types::MontyObject;

/// The verdict that `evaluate` returned, in the parts of the prelude.
///
/// # Errors
/// When it is none: the name of the type that was returned.
pub fn of(returned: &MontyObject, token: &Token) -> Result<Verdict, String> {
    let misfit = || {
        let found = match returned {
            MontyObject::String(name) => name,
            other => &other.to_string(),
        };
        format!(
            "`evaluate` returned {found}, expected permit(…), restrict(…), deny(…) or abstain()"
        )
    };
    let MontyObject::Tuple(parts) = returned else { return Err(misfit()) };
    let [MontyObject::String(kind), max_ttl, audiences, claims, reasons] = parts.as_slice() else {
        return Err(misfit());
    };
    match kind.as_str() {
        "permit" => Ok(grant(max_ttl, audiences, claims, token).permit()),
        "restrict" => Ok(grant(max_ttl, audiences, claims, token).restrict()),
        "abstain" => Ok(Verdict::abstain()),
        _ => {
            let MontyObject::List(reasons) = reasons else { return Err(misfit()) };
            let reason = |reason: &MontyObject| match reason {
                MontyObject::Tuple(parts) => match parts.as_slice() {
                    [MontyObject::String(code), MontyObject::String(message)] => {
                        Ok(Reason::new(code.as_str(), message.as_str()))
                    }
                    _ => Err(misfit()),
                },
                _ => Err(misfit()),
            };
            Ok(Verdict::Deny(reasons.iter().map(reason).collect::<Result<_, _>>()?))
        }
    }
}

/// The prelude has checked the types.
fn grant(
    max_ttl: &MontyObject,
    audiences: &MontyObject,
    claims: &MontyObject,
    token: &Token,
) -> Grant {
    let mut grant = Grant::new();
    match max_ttl {
        MontyObject::Int(seconds) => {
            grant = grant.ttl_at_most(u32::try_from(*seconds).unwrap_or(u32::MAX), token);
        }
        MontyObject::BigInt(_) => grant = grant.ttl_at_most(u32::MAX, token),
        _ => {}
    }
    if let MontyObject::List(kept) = audiences {
        grant = grant.keep_audiences(token, |audience| {
            kept.iter().any(|kept| matches!(kept, MontyObject::String(kept) if kept == audience))
        });
    }
    if let MontyObject::Dict(members) = claims {
        for (name, value) in members {
            if let (MontyObject::String(name), MontyObject::String(value)) = (name, value) {
                grant = grant.claim(name, value.as_str());
            }
        }
    }
    grant
}
