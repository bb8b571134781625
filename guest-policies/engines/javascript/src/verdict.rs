//! Reads the verdict that a policy returned.

use boa_engine::{JsData, JsValue};
use boa_gc::{Finalize, Trace};
use countersign_policy::{Grant, Reason, Token, Verdict};

/// A verdict that a function of the module `countersign` made, as the data of an object. No other object has it, so
/// nothing that a policy writes into an object, or into a prototype, makes one.
#[derive(Debug, Clone, Trace, Finalize, JsData)]
#[boa_gc(unsafe_empty_trace)]
pub enum Answer {
    Permit(Narrowing),
    Restrict(Narrowing),
    Deny(Vec<(String, String)>),
    Abstain,
}

/// A grant as the author wrote it: not yet within the request.
#[derive(Debug, Clone, Default)]
pub struct Narrowing {
    pub max_ttl: Option<u32>,
    pub audiences: Option<Vec<String>>,
    pub claims: Vec<(String, String)>,
}

/// The verdict that a value holds; `None` where it holds none.
pub fn of(value: &JsValue, token: &Token) -> Option<Verdict> {
    let object = value.as_object()?;
    let answer = object.downcast_ref::<Answer>()?;
    Some(match &*answer {
        Answer::Permit(narrowing) => narrowing.grant(token).permit(),
        Answer::Restrict(narrowing) => narrowing.grant(token).restrict(),
        Answer::Deny(reasons) => {
            let reasons = reasons.iter().map(|(code, message)| Reason::new(code, message.as_str()));
            Verdict::Deny(reasons.collect())
        }
        Answer::Abstain => Verdict::abstain(),
    })
}

impl Narrowing {
    /// A grant never widens: the maximum TTL is at most the requested one, and audiences are among the requested ones.
    fn grant(&self, token: &Token) -> Grant {
        let mut grant = Grant::new();
        if let Some(seconds) = self.max_ttl {
            grant = grant.ttl_at_most(seconds, token);
        }
        if let Some(kept) = &self.audiences {
            grant = grant.keep_audiences(token, |audience| kept.iter().any(|k| k == audience));
        }
        let claims = self.claims.iter();
        claims.fold(grant, |grant, (name, value)| grant.claim(name, value.as_str()))
    }
}

/// Says what a value is that is no verdict.
pub fn misfit(value: &JsValue) -> String {
    let expected = "expected a verdict made by permit(…), restrict(…), deny(…) or abstain()";
    if value.is_promise() {
        return format!("a promise; {expected}, and a policy cannot wait: remove `async`");
    }
    format!("{}; {expected}", kind(value))
}

/// A value in a few words.
pub fn kind(value: &JsValue) -> String {
    if value.is_promise() {
        return "a promise".to_owned();
    }
    if value.is_callable() {
        return "a function".to_owned();
    }
    if let Some(object) = value.as_object() {
        let is_generator = object.is::<boa_engine::builtins::generator::Generator>();
        return match () {
            () if is_generator => "a generator",
            () if object.is_array() => "an array",
            () => "an object",
        }
        .to_owned();
    }
    match value.as_string() {
        Some(text) => format!("the text `{}`", short(&text.to_std_string_escaped())),
        None => short(&value.display().to_string()),
    }
}

/// The first 80 characters of a text, for an error.
fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
