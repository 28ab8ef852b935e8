//! A connection's bytes, with an end to waiting: for the first ones, and for a client that takes none.
//!
//! What tells HTTP/1.1 from HTTP/2 is read before either protocol's own times begin, so a client that sends nothing, or
//! half of that, is waited for here.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::ConnectionLimits;

/// Bytes that settle which protocol is spoken: the preface of HTTP/2 (RFC 9113, 3.4). No request is shorter.
const SETTLED: usize = 24;

/// Fails with `TimedOut` when the client lets it wait too long.
pub(super) struct PatientIo<S> {
    stream: S,
    read: usize,
    first_bytes: Pin<Box<Sleep>>,
    send_timeout: Duration,
    /// Runs while bytes wait for the client to take them.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PatientIo<S> {
    pub(super) fn new(stream: S, limits: &ConnectionLimits) -> Self {
        Self {
            stream,
            read: 0,
            first_bytes: Box::pin(sleep(limits.header_timeout)),
            send_timeout: limits.send_timeout,
            stalled: None,
        }
    }

    /// The outcome of an attempt to send, or the end of patience.
    fn sent<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let send_timeout = self.send_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(send_timeout)));
        stalled.as_mut().poll(context).map(|()| {
            tracing::debug!("a client took nothing of its answer for {send_timeout:?}");
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PatientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.read < SETTLED {
            self.read += buffer.filled().len() - before;
            if outcome.is_pending() && self.first_bytes.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PatientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        match outcome {
            // A flush of a plain socket is done at once: it must not end the wait of bytes that were refused.
            Poll::Ready(Ok(())) => outcome,
            _ => self.sent(context, outcome),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.sent(context, outcome)
    }
}
