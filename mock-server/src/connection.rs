//! A client's connection, which can be told to deliver an answer badly: slowly, in part, or not at all.
//!
//! Everything passes through untouched until a delivery is set; then it shapes what is written next.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;

/// Most of a request's head that is kept, bytes.
const MAX_HEAD: usize = 16 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// How an answer reaches its client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// No faster than this.
    pub pace: Option<Pace>,
    /// No further than this.
    pub cut: Option<Cut>,
}

/// At most `bytes` at a time, and a pause after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At least one.
    pub bytes: usize,
    /// Between two writes.
    pub pause: Duration,
}

/// Where an answer ends, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Where.
    pub at: CutAt,
    /// How.
    pub ending: Ending,
}

/// A place in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutAt {
    /// Before its first byte.
    Head,
    /// After so many bytes of its body.
    Body(u64),
}

/// What happens to a connection in the middle of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is reset: the client's next read fails.
    Reset,
    /// Nothing for so long, then it is closed.
    Idle(Duration),
}

/// A connection as those who serve its requests see it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Whether there is a delivery, so that connections without one need no lock.
    shaped: AtomicBool,
    /// Whether an answer has begun since the last input, which therefore begins a request.
    answered: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    head: Vec<u8>,
    head_is_whole: bool,
    progress: Progress,
}

/// How far a shaped answer is.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    delivery: Delivery,
    /// How many bytes of [`END_OF_HEAD`] were written last.
    matched: usize,
    body: Option<u64>,
}

impl Control {
    /// Takes the head of the request that is being served, to the byte; none where it did not come by itself.
    pub(crate) fn take_head(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.head_is_whole.then(|| std::mem::take(&mut state.head))
    }

    /// Shapes the answer that is written next, and only that.
    pub(crate) fn shape(&self, delivery: Delivery) {
        let shaped = delivery != Delivery::default();
        if shaped || self.shaped.load(Ordering::Acquire) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).progress = Progress {
                delivery,
                ..Progress::default()
            };
            self.shaped.store(shaped, Ordering::Release);
        }
    }

    fn saw_input(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.answered.swap(false, Ordering::AcqRel) {
            state.head.clear();
            state.head_is_whole = false;
        }
        if state.head_is_whole || state.head.len() > MAX_HEAD {
            return;
        }
        let before = state.head.len().saturating_sub(END_OF_HEAD.len());
        state.head.extend_from_slice(bytes);
        if let Some(end) = memchr::memmem::find(&state.head[before..], END_OF_HEAD) {
            state.head.truncate(before + end);
            state.head_is_whole = true;
        }
    }
}

impl Progress {
    /// How much of `bytes` may be written now; none where the answer is cut here.
    fn allowed(&self, bytes: &[u8]) -> Option<usize> {
        let allowed = match self.delivery.cut.map(|cut| cut.at) {
            Some(CutAt::Head) => return None,
            Some(CutAt::Body(limit)) => {
                let (head, written) = match self.body {
                    Some(written) => (0, written),
                    None => match self.end_of_head(bytes) {
                        Some(end) => (end, 0),
                        None => (bytes.len(), 0),
                    },
                };
                let left = usize::try_from(limit.saturating_sub(written)).unwrap_or(usize::MAX);
                let allowed = head.saturating_add(left).min(bytes.len());
                if allowed == 0 && !bytes.is_empty() {
                    return None;
                }
                allowed
            }
            None => bytes.len(),
        };
        Some(
            self.delivery
                .pace
                .map_or(allowed, |pace| allowed.min(pace.bytes.max(1))),
        )
    }

    /// Where in `bytes` the body begins.
    fn end_of_head(&self, bytes: &[u8]) -> Option<usize> {
        let mut matched = self.matched;
        for (index, byte) in bytes.iter().enumerate() {
            matched = next_match(matched, *byte);
            if matched == END_OF_HEAD.len() {
                return Some(index + 1);
            }
        }
        None
    }

    fn wrote(&mut self, bytes: &[u8]) {
        match self.body {
            Some(written) => self.body = Some(written + bytes.len() as u64),
            None => match self.end_of_head(bytes) {
                Some(end) => self.body = Some((bytes.len() - end) as u64),
                None => {
                    self.matched = bytes
                        .iter()
                        .fold(self.matched, |matched, byte| next_match(matched, *byte));
                }
            },
        }
    }

    /// Whether all that may be written has been.
    fn is_over(&self) -> bool {
        match self.delivery.cut.map(|cut| cut.at) {
            Some(CutAt::Body(limit)) => self.body.is_some_and(|written| written >= limit),
            _ => false,
        }
    }
}

/// How many bytes of [`END_OF_HEAD`] are matched after one more byte.
fn next_match(matched: usize, byte: u8) -> usize {
    match byte {
        byte if END_OF_HEAD.get(matched) == Some(&byte) => matched + 1,
        b'\r' => 1,
        _ => 0,
    }
}

/// What carries a connection's bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Has the end of `stream` reset its connection.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::warn!(error = %error, "a connection that is to be reset is closed instead");
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A connection under control. It fails where its client takes nothing for too long.
#[derive(Debug)]
pub(crate) struct Connection {
    inner: Pin<Box<TimeoutStream<Transport>>>,
    control: Arc<Control>,
    pause: Option<Pin<Box<Sleep>>>,
    idle: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// A connection whose client must take something within `write_timeout`.
    pub(crate) fn new(transport: Transport, write_timeout: Duration) -> Self {
        let mut inner = TimeoutStream::new(transport);
        inner.set_write_timeout(Some(write_timeout));
        Self {
            inner: Box::pin(inner),
            control: Arc::default(),
            pause: None,
            idle: None,
        }
    }

    /// What those who serve its requests use.
    pub(crate) fn control(&self) -> Arc<Control> {
        self.control.clone()
    }

    fn progress(&self) -> Option<Progress> {
        let state = || self.control.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.control
            .shaped
            .load(Ordering::Acquire)
            .then(|| state().progress)
    }

    /// Ends the connection as its cut wants it, at once or after a while.
    fn poll_end(&mut self, cx: &mut Context<'_>, progress: &Progress) -> Poll<io::Error> {
        match progress.delivery.cut.map(|cut| cut.ending) {
            Some(Ending::Idle(time)) => {
                let idle = self
                    .idle
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                ready!(idle.as_mut().poll(cx));
                Poll::Ready(io::ErrorKind::TimedOut.into())
            }
            _ => {
                reset_on_close(self.inner.get_ref().tcp());
                Poll::Ready(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    fn poll_write_shaped(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        progress: &Progress,
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(allowed) = progress.allowed(bytes) else {
            return self.poll_end(cx, progress).map(Err);
        };
        let written = ready!(self.inner.as_mut().poll_write(cx, &bytes[..allowed]))?;
        if let Some(pace) = progress.delivery.pace {
            self.pause = Some(Box::pin(tokio::time::sleep_until(Instant::now() + pace.pause)));
        }
        let mut state = self.control.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.progress.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(progress) = self.progress().filter(Progress::is_over) {
            return self.poll_end(cx, &progress).map(Err);
        }
        let before = buffer.filled().len();
        ready!(self.inner.as_mut().poll_read(cx, buffer))?;
        if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.control.saw_input(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.control.answered.store(true, Ordering::Release);
        match self.progress() {
            None => self.inner.as_mut().poll_write(cx, bytes),
            Some(progress) => self.poll_write_shaped(cx, bytes, &progress),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.control.answered.store(true, Ordering::Release);
        match self.progress() {
            None => self.inner.as_mut().poll_write_vectored(cx, slices),
            Some(progress) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_write_shaped(cx, first.map_or(&[], |slice| slice), &progress)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.inner.as_mut().poll_flush(cx))?;
        match self.progress().filter(Progress::is_over) {
            Some(progress) => self.poll_end(cx, &progress).map(Err),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_after(body: u64) -> Progress {
        Progress {
            delivery: Delivery {
                cut: Some(Cut {
                    at: CutAt::Body(body),
                    ending: Ending::Reset,
                }),
                pace: None,
            },
            ..Progress::default()
        }
    }

    #[test]
    fn the_body_is_cut_wherever_writes_are_split() {
        let answer = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody";
        for split in 0..=answer.len() {
            let mut progress = cut_after(2);
            let mut written = Vec::new();
            for part in [&answer[..split], &answer[split..]] {
                let mut part = part;
                while !part.is_empty() {
                    let Some(allowed) = progress.allowed(part) else {
                        break;
                    };
                    progress.wrote(&part[..allowed]);
                    written.extend_from_slice(&part[..allowed]);
                    part = &part[allowed..];
                }
            }
            assert_eq!(written, b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbo", "{split}");
            assert!(progress.is_over());
        }
    }

    #[test]
    fn an_answer_without_a_body_ends_after_its_head() {
        let mut progress = cut_after(0);
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(progress.allowed(head), Some(head.len()));
        progress.wrote(head);
        assert!(progress.is_over() && progress.allowed(b"x").is_none());
    }

    #[test]
    fn the_head_of_each_request_is_kept_to_the_byte() {
        let control = Control::default();
        control.saw_input(b"POST / HTTP/1.1\r\nX-A: 1\r\n\r");
        assert_eq!(control.take_head(), None);
        control.saw_input(b"\nbody\r\n\r\nmore");
        assert_eq!(control.take_head().unwrap(), b"POST / HTTP/1.1\r\nX-A: 1");
        control.answered.store(true, Ordering::Release);
        control.saw_input(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(control.take_head().unwrap(), b"GET / HTTP/1.1");
    }
}
