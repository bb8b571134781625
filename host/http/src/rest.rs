//! The rest of a body that nobody has read, which stands between an answer and the next request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::connections::{Connection, Reading};

/// The maximum number of bytes that are read for nothing.
const MAX_BYTES: usize = 64 << 10;

/// The maximum time that reading them may take, by which the answer is later.
const MAX_TIME: Duration = Duration::from_millis(500);

/// The rest of a request's body, once whoever had it has dropped it.
pub(crate) struct Rest {
    left: Arc<Mutex<Option<Body>>>,
    /// True where the client sends the body only when it is told to.
    expects: bool,
}

/// A body that leaves its rest when it is dropped.
struct Lent {
    body: Option<Body>,
    left: Arc<Mutex<Option<Body>>>,
    reading: Option<Reading>,
}

impl Rest {
    /// Takes note of the body of a request, and of how far it is read.
    pub(crate) fn of(request: Request, connection: Option<&Arc<Connection>>) -> (Self, Request) {
        let left = Arc::default();
        let (parts, body) = request.into_parts();
        let expects = parts.headers.contains_key(EXPECT);
        let reading = connection
            .filter(|_| !body.is_end_stream())
            .map(|connection| Reading::begin(Arc::clone(connection)));
        let lent = Lent { body: Some(body), left: Arc::clone(&left), reading };
        (Self { left, expects }, Request::from_parts(parts, Body::new(lent)))
    }

    /// Reads what is left, within bounds; true when nothing is. What is not read would be taken for the next request, so
    /// the connection cannot go on then (RFC 9112 section 9.3), and has to say so (section 9.6).
    pub(crate) async fn drain(&mut self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return false };
        if body.is_end_stream() {
            return true;
        }
        let is_small = body.size_hint().lower() <= MAX_BYTES as u64;
        if self.expects || !is_small {
            return false;
        }
        let drained = tokio::time::timeout(MAX_TIME, async {
            let mut room = MAX_BYTES;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = room.checked_sub(length) else { return false };
                room = less;
            }
            true
        });
        drained.await.unwrap_or(false)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        match &polled {
            // What comes after a broken body is nothing that could be read.
            Poll::Ready(Some(Err(_))) => (this.body, this.reading) = (None, None),
            Poll::Ready(_) if body.is_end_stream() => this.reading = None,
            Poll::Ready(None) => this.reading = None,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}
