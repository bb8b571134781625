//! The bytes of a connection: noted as they arrive, and left in order at its end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::connections::Connection;

/// The preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time for which a client may go on sending after its answer, before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// The number of bytes of it that are read.
const LINGER_BYTES: u64 = 1 << 20;

/// The place in which a stream is left by whoever has used it.
#[derive(Clone, Default)]
pub(crate) struct Left(Arc<Mutex<Option<TcpStream>>>);

/// A stream that is left in a place when it is dropped.
pub(crate) struct Lent {
    stream: Option<TcpStream>,
    left: Left,
}

/// A stream whose arriving bytes a connection takes note of.
pub(crate) struct Noted<S> {
    stream: S,
    connection: Arc<Connection>,
    /// The bytes that were read to see which protocol is spoken, until they are read again.
    first: Vec<u8>,
}

impl Left {
    pub(crate) fn lend(&self, stream: TcpStream) -> Lent {
        Lent { stream: Some(stream), left: self.clone() }
    }

    /// Says that there will be no more, and reads what still comes, for a while: closing at once while bytes are unread
    /// resets the connection, and the client loses the answer (RFC 9112 section 9.6).
    pub(crate) async fn linger(self) {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut stream) = stream else { return };
        let _ = tokio::time::timeout(LINGER, async {
            // The client may have gone, which is as good.
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
        })
        .await;
    }
}

impl Lent {
    /// The stream; it is gone only when this is dropped.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.left.0.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Noted<S> {
    pub(crate) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, first: Vec::new() }
    }

    /// Tells whether the client begins with the preface of HTTP/2, and reads as much as that takes.
    ///
    /// # Errors
    /// When nothing can be read.
    pub(crate) async fn begins_http2(&mut self) -> io::Result<bool> {
        let mut first = [0; PREFACE.len()];
        let mut length = 0;
        while length < first.len() {
            let Some(rest) = first.get_mut(length..) else { break };
            let read = self.stream.read(rest).await?;
            self.connection.arrived(rest.get(..read).unwrap_or_default());
            length += read;
            let read_so_far = first.get(..length).unwrap_or_default();
            if read == 0 || !PREFACE.starts_with(read_so_far) {
                break;
            }
        }
        let first = first.get(..length).unwrap_or_default();
        self.first = first.to_vec();
        Ok(first == PREFACE)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let length = this.first.len().min(buffer.remaining());
            buffer.put_slice(this.first.get(..length).unwrap_or_default());
            this.first.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.connection.arrived(buffer.filled().get(before..).unwrap_or_default());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
