//! Reads and drops the rest of a request's body that its handler did not want, for a moment. A connection that is closed
//! with bytes unread loses the answer for clients that write the whole request before they read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a client may go on to send what is not wanted.
const MOMENT: Duration = Duration::from_secs(3);
/// Bytes that are thrown away. A client that reads meanwhile has its answer long before.
const MAX_BYTES: usize = 64 << 20;

/// A request's body. What its handler leaves of it is read when it is dropped.
pub(super) struct Lingering {
    /// None once it was dropped.
    rest: Option<Incoming>,
    /// False while the client waits to be asked for the body: it is not asked for the sake of throwing it away.
    asked: bool,
    shutdown: CancellationToken,
}

impl Lingering {
    /// `waits` is true if the client sends the body only when it is asked to (`Expect: 100-continue`).
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
        // At the end of the program there is nobody left to read for.
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
