//! For a short time, reads and drops the rest of a request body that the handler did not read. Otherwise, a client
//! that writes its whole request before it reads would lose the answer: closing a connection with unread bytes resets
//! it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The time limit for reading the unwanted rest.
const MOMENT: Duration = Duration::from_secs(3);
/// The byte limit for reading the unwanted rest. A client that reads meanwhile gets its answer long before.
const MAX_BYTES: usize = 64 << 20;

/// A request's body. When it is dropped, a task reads the part that the handler left.
pub(super) struct Lingering {
    /// None after the drop.
    rest: Option<Incoming>,
    /// False while the client waits for `100 Continue`: such a body is not requested only to be dropped.
    asked: bool,
    shutdown: CancellationToken,
}

impl Lingering {
    /// `waits`: the client sends the body only on request (`Expect: 100-continue`).
    pub(super) fn new(body: Incoming, waits: bool, shutdown: CancellationToken) -> Self {
        Self { rest: Some(body), asked: !waits, shutdown }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        self.asked = true;
        self.rest.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.rest.take().filter(|body| self.asked && !body.is_end_stream()) else { return };
        // Without a runtime, the process is at its end, and nobody is left to read for.
        if let Ok(runtime) = Handle::try_current() {
            let shutdown = self.shutdown.clone();
            runtime.spawn(async move { shutdown.run_until_cancelled(timeout(MOMENT, throw_away(body))).await });
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
