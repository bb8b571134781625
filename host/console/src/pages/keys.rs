//! Keys and checkpoints.

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::facts::Field;
use crate::frame::{CheckpointView, Frame};
use crate::problem::Problem;
use crate::query::Parameters;
use crate::text::{Number, Text, Time};

/// The keys that are listed: those that signed most tokens.
const MAX_KEYS: u32 = 200;

#[derive(Template, Serialize)]
#[template(path = "keys.html")]
struct KeysView {
    log: Frame,
    /// The keys of tokens on record.
    keys: Vec<KeyView>,
    /// The checkpoints of a page, the latest first.
    checkpoints: Vec<CheckpointView>,
    total: Number,
    /// `before` of the page with earlier checkpoints.
    earlier: Option<u64>,
    /// The statement of the records that were removed on purpose.
    pruned: Option<PrunedView>,
    /// The key that checkpoints are verified with.
    checkpoint_kid: Text,
}

#[derive(Serialize)]
struct KeyView {
    kid: Text,
    tokens: Number,
    /// The record of its last token.
    last: Number,
}

#[derive(Serialize)]
struct PrunedView {
    first: Number,
    before: Text,
    time: Time,
    kid: Text,
}

impl View for KeysView {
    fn lines(&self) -> Vec<Value> {
        self.checkpoints.iter().map(value).collect()
    }
}

pub(crate) async fn keys(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    let mut parameters = Parameters::parse(asked.query)?;
    let (limit, before) = (parameters.take_limit()?, parameters.take_number("before")?);
    parameters.end()?;
    let state = &asked.state;
    let keys = asked.log.index.values(Field::Kid, MAX_KEYS).await?.into_iter().map(|key| KeyView {
        kid: key.value.into(),
        tokens: Number(key.records),
        last: Number(key.last),
    });
    let all = state.checkpoints.iter().filter(|one| one.sequence <= state.covered).rev();
    let total = all.clone().count() as u64;
    let wanted = all.filter(|one| before.is_none_or(|before| one.sequence < before));
    let mut checkpoints: Vec<_> = wanted.take(limit + 1).map(CheckpointView::new).collect();
    let has_earlier = checkpoints.len() > limit;
    checkpoints.truncate(limit);
    let earlier = checkpoints.last().map(|one| one.sequence.0).filter(|_| has_earlier);
    let pruned = state.pruned.as_ref().map(|pruned| PrunedView {
        first: Number(pruned.first),
        before: pruned.before.as_str().into(),
        time: Time(pruned.time),
        kid: pruned.kid.as_str().into(),
    });
    let view = KeysView {
        log: asked.frame("keys"),
        keys: keys.collect(),
        checkpoints,
        total: Number(total),
        earlier,
        pruned,
        checkpoint_kid: asked.log.key.kid().into(),
    };
    respond(asked.format, &view)
}
