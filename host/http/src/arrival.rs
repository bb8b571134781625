//! The arrival of a request's body, before anything is made of the request.
//!
//! Whoever has proved nothing can send a head and no body. What a request costs until its body is there, such as an id, a
//! line's fields and a handler, would be spent on each of these; so a body that comes with its head, or soon after, is there
//! when the request is looked at. One that does not come is looked at all the same after a while: there may be an answer
//! that does not need it. Streams of HTTP/2 share a connection, which makes room with all of them, and are not awaited.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Version;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

use super::connections::{Connection, InRequest, Reading};

/// The time within which a body is awaited. Most arrive with their head.
const SOON: Duration = Duration::from_millis(250);

/// The number of bytes from which no more is kept meanwhile.
const MAX_BYTES: usize = 64 << 10;

/// A body of which a part has arrived. Its parts are put together: a body can come in chunks of a byte, each of which would
/// take a hundred. Trailers are left out, since nothing reads them.
struct Begun {
    arrived: Vec<u8>,
    /// The end of a body that is broken off.
    broken: Option<hyper::Error>,
    /// `None` once nothing follows.
    rest: Option<Incoming>,
}

/// Waits for the body of a request on a connection, no longer than `most`, and gives the request with what has arrived of it.
pub(crate) async fn awaited(
    request: hyper::Request<Incoming>,
    connection: &Arc<Connection>,
    most: Duration,
) -> Request {
    let body = request.body();
    // Who asks to be told is told by whoever reads the body.
    let is_awaited = request.version() < Version::HTTP_2
        && !body.is_end_stream()
        && body.size_hint().lower() <= MAX_BYTES as u64
        && !request.headers().contains_key(EXPECT);
    if !is_awaited {
        return request.map(Body::new);
    }
    let (parts, rest) = request.into_parts();
    // It is no idle connection, and it may make room.
    let _request = InRequest::begin(Arc::clone(connection));
    let _reading = Reading::begin(Arc::clone(connection));
    let mut begun = Begun { arrived: Vec::new(), broken: None, rest: Some(rest) };
    let _ = tokio::time::timeout(SOON.min(most), begun.fill()).await;
    Request::from_parts(parts, Body::new(begun))
}

impl Begun {
    /// Reads until the body is whole, broken, or longer than what is kept.
    async fn fill(&mut self) {
        while let Some(rest) = &mut self.rest
            && self.arrived.len() < MAX_BYTES
        {
            match rest.frame().await {
                Some(Ok(frame)) => {
                    self.arrived.extend(frame.data_ref().into_iter().flatten());
                    if rest.is_end_stream() {
                        self.rest = None;
                    }
                }
                end => (self.broken, self.rest) = (end.and_then(Result::err), None),
            }
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
        if !this.arrived.is_empty() {
            let arrived = std::mem::take(&mut this.arrived);
            return Poll::Ready(Some(Ok(Frame::data(arrived.into()))));
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(this.broken.take().map(Err)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.arrived.is_empty()
            && self.broken.is_none()
            && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        let rest = self.rest.as_ref().map_or(0, |rest| rest.size_hint().lower());
        hint.set_lower(rest.saturating_add(self.arrived.len() as u64));
        hint
    }
}
