//! Parts of traces that were read before, by their text.
//!
//! Most records of a log repeat parts of earlier ones to the byte: the bindings are the same, and so are most verdicts and
//! the fuel that they took. A part that begins as one does that was read before is that one: the text of an object ends
//! where the object does.

use std::collections::HashMap;

use super::RecordedTrace;
use crate::request::claims::TokenRequest;
use crate::request::identifier::Audience;

/// Bytes of texts that are kept. Beyond that all are forgotten, and read anew.
const MAX_BYTES: usize = 8 << 20;

/// Parts of one binding that are kept, each with another verdict or usage. Beyond that, the one that was used least is
/// forgotten.
const MAX_RESTS: usize = 64;

/// Parts that were read before.
#[derive(Debug, Default)]
pub(super) struct KnownParts {
    /// By the name of the binding as the text has it.
    heads: HashMap<Box<str>, Vec<Head>>,
    bytes: usize,
}

/// The beginning of parts, up to the verdict or fault.
#[derive(Debug)]
struct Head {
    text: Box<str>,
    rests: Vec<Rest>,
}

/// The rest of a part.
#[derive(Debug)]
struct Rest {
    text: Box<str>,
    /// A grant is checked against these of the request.
    ttl_seconds: u32,
    audiences: Box<[Audience]>,
    read: RecordedTrace,
}

impl KnownParts {
    /// The part that `text` begins with, if it was read before for such a request, and its length.
    pub(super) fn find(
        &mut self,
        text: &str,
        token: &TokenRequest,
    ) -> Option<(RecordedTrace, usize)> {
        let heads = self.heads.get_mut(name(text)?)?;
        let head = heads.iter_mut().find(|head| text.starts_with(&*head.text))?;
        let text = text.get(head.text.len()..)?;
        let place = head.rests.iter().position(|rest| {
            text.starts_with(&*rest.text)
                && rest.ttl_seconds == token.ttl_seconds()
                && *rest.audiences == *token.audiences()
        })?;
        let rest = head.rests.get(place)?;
        let found = (rest.read.clone(), head.text.len() + rest.text.len());
        // Those that are met often come to stand in front.
        head.rests.swap(place, place / 2);
        Some(found)
    }

    /// Keeps a part that was read.
    pub(super) fn keep(&mut self, text: &str, token: &TokenRequest, read: &RecordedTrace) {
        let marks = [r#","verdict":"#, r#","fault":"#];
        let end = marks.iter().find_map(|mark| Some(text.find(mark)? + mark.len()));
        let (Some(name), Some((before, after))) =
            (name(text), end.and_then(|end| text.split_at_checked(end)))
        else {
            return;
        };
        if self.bytes + text.len() > MAX_BYTES {
            *self = Self::default();
        }
        let heads = self.heads.entry(name.into()).or_default();
        let place = heads.iter().position(|head| *head.text == *before).unwrap_or(heads.len());
        if place == heads.len() {
            self.bytes += before.len();
            heads.push(Head { text: before.into(), rests: Vec::new() });
        }
        let Some(head) = heads.get_mut(place) else { return };
        if head.rests.len() == MAX_RESTS
            && let Some(last) = head.rests.pop()
        {
            self.bytes -= last.text.len();
        }
        self.bytes += after.len();
        head.rests.push(Rest {
            text: after.into(),
            ttl_seconds: token.ttl_seconds(),
            audiences: token.audiences().into(),
            read: read.clone(),
        });
    }
}

/// The name of the binding of a part, as its text has it.
fn name(part: &str) -> Option<&str> {
    part.strip_prefix(r#"{"binding":""#)?.split('"').next()
}
