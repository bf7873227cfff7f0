//! Accepts connections, and closes those that exceed a time limit.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::guard::Guard;
use super::linger::Lingering;
use super::listen::Listeners;
use super::{ApiDeps, Limits, router};

/// The time limit for answers in progress at shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// The buffer of a connection for requests and answers, in bytes.
const MAX_BUFFER: usize = 256 << 10;
/// The pause after the system refused a connection (out of descriptors).
const REST: Duration = Duration::from_millis(50);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 5\r\n\
connection: close\r\ncontent-length: 150\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"too_many_connections\",\
\"detail\":\"too many open connections: try again later\"}\n";

struct Server {
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    connections: TaskTracker,
}

pub(super) async fn serve(deps: ApiDeps, listeners: Listeners, shutdown: CancellationToken) {
    let Listeners { unix, tcp, socket } = listeners;
    let limits = deps.limits.clone();
    let server = Arc::new(Server {
        router: router::router(deps, shutdown.clone()),
        limits,
        shutdown: shutdown.clone(),
        connections: TaskTracker::new(),
    });
    let local = accept(&server, None, &unix);
    match &tcp {
        None => local.await,
        Some((listener, guard)) => {
            let remote = accept(&server, Some(guard.clone()), listener);
            tokio::join!(local, remote);
        }
    }
    drop((unix, tcp));
    // Closing the socket first shows new clients at once that the host is gone.
    drop(socket);
    server.connections.close();
    if tokio::time::timeout(DRAIN, server.connections.wait()).await.is_err() {
        tracing::warn!("{} API connections were still open at the end of the shutdown", server.connections.len());
    }
}

/// A listener of any kind.
trait Door: Sync {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for UnixListener {
    type Stream = UnixStream;
    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Door for TcpListener {
    type Stream = TcpStream;
    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Events are small and must be sent without delay.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn accept<D: Door>(server: &Arc<Server>, guard: Option<Arc<Guard>>, door: &D) {
    let slots = Arc::new(Semaphore::new(server.limits.connections));
    loop {
        let stream = tokio::select! {
            stream = door.next() => stream,
            () = server.shutdown.cancelled() => return,
        };
        match stream {
            Ok(stream) => match slots.clone().try_acquire_owned() {
                Ok(slot) => {
                    server.connections.spawn(connection(server.clone(), guard.clone(), stream, slot));
                }
                Err(_) => turn_away(stream),
            },
            Err(error) => {
                tracing::warn!("cannot accept API connections at the moment: {error}");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Sends the ready-made `503` if that needs no waiting, and closes.
fn turn_away(mut stream: impl AsyncWrite + Unpin) {
    let write = pin!(stream.write(BUSY));
    let _ = write.poll(&mut Context::from_waker(std::task::Waker::noop()));
}

async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    server: Arc<Server>,
    guard: Option<Arc<Guard>>,
    stream: S,
    _slot: OwnedSemaphorePermit,
) {
    let (router, shutdown) = (&server.router, &server.shutdown);
    let service = service_fn(move |request: Request<Incoming>| {
        let refused = guard.as_ref().and_then(|guard| guard.check(request.uri(), request.headers()).err());
        let router = router.clone();
        let waits = request.headers().contains_key(http::header::EXPECT);
        let request = request.map(|body| Lingering::new(body, waits, shutdown.clone()));
        async move {
            Ok::<Response<Body>, Infallible>(match refused {
                Some(problem) => problem.into_response(),
                None => match router.oneshot(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            })
        }
    });
    let io = TokioIo::new(Watched::new(stream, server.limits.stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.limits.head)
        .max_headers(64)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!("API connection: {error}");
    }
}

/// A stream whose writes fail if the client leaves sent bytes unread for too long.
struct Watched<S> {
    stream: S,
    limit: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, stall: None }
    }

    /// Turns a pending write into an error after the time limit.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let limit = self.limit;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, result)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, result)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, result)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::BUSY;

    #[test]
    fn busy_answer_announces_its_length() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "too_many_connections");
    }
}
