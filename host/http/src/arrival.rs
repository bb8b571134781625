//! The arrival of a request's body, before anything is made of the request.
//!
//! Whoever has proved nothing can send a head and no body. What a request costs until its body is there, such as an id, a
//! line's fields and a handler, would be spent on each of these; so a body that comes with its head, or soon after, is there
//! when the request is looked at. One that does not come is looked at all the same after a while: there may be an answer
//! that does not need it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

use super::connections::{Connection, InRequest, Reading};

/// The time within which a body is awaited. Most arrive with their head.
const SOON: Duration = Duration::from_millis(250);

/// The maximum number of bytes that are kept meanwhile.
const MAX_BYTES: usize = 64 << 10;

/// The part of a body that has arrived, and its rest.
struct Begun {
    arrived: VecDeque<Result<Frame<Bytes>, hyper::Error>>,
    rest: Incoming,
    /// True once nothing follows what has arrived.
    is_whole: bool,
}

/// Waits for the body of a request on a connection, no longer than `most`, and gives the request with what has arrived of it.
pub(crate) async fn awaited(
    request: hyper::Request<Incoming>,
    connection: &Arc<Connection>,
    most: Duration,
) -> Request {
    let is_long = request.body().size_hint().lower() > MAX_BYTES as u64;
    // Who asks to be told is told by whoever reads the body.
    if request.body().is_end_stream() || is_long || request.headers().contains_key(EXPECT) {
        return request.map(Body::new);
    }
    let (parts, rest) = request.into_parts();
    // It is no idle connection, and it may make room.
    let _request = InRequest::begin(Arc::clone(connection));
    let _reading = Reading::begin(Arc::clone(connection));
    let mut begun = Begun { arrived: VecDeque::new(), rest, is_whole: false };
    let _ = tokio::time::timeout(SOON.min(most), begun.fill()).await;
    Request::from_parts(parts, Body::new(begun))
}

impl Begun {
    /// Reads until the body is whole, broken, or longer than what is kept.
    async fn fill(&mut self) {
        let mut room = MAX_BYTES;
        while !self.is_whole {
            let Some(frame) = self.rest.frame().await else {
                self.is_whole = true;
                return;
            };
            let length = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
            self.is_whole = frame.is_err() || self.rest.is_end_stream();
            self.arrived.push_back(frame);
            let Some(less) = room.checked_sub(length) else { return };
            room = less;
        }
    }
}

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        match this.arrived.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if this.is_whole => Poll::Ready(None),
            None => Pin::new(&mut this.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.arrived.is_empty() && (self.is_whole || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.arrived.iter().filter_map(|frame| frame.as_ref().ok());
        let arrived: usize = frames.filter_map(Frame::data_ref).map(Bytes::len).sum();
        let arrived = u64::try_from(arrived).unwrap_or(u64::MAX);
        if self.is_whole {
            return SizeHint::with_exact(arrived);
        }
        let mut hint = self.rest.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(arrived));
        }
        hint.set_lower(hint.lower().saturating_add(arrived));
        hint
    }
}
