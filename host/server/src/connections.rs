//! Connections: taken up to a number, served over HTTP/1.1 and HTTP/2, with TLS or without, and ended in good order.
//!
//! Invariants: no client holds anything for longer than it is given: headers, the wait between requests, the handshake and
//! bytes that are not taken have their times, bodies have theirs in `routes/body`. One connection too many is told so and
//! closed; it never waits for a place. When the server stops, connections end after the answer they are at.

use std::{fs, io, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Version,
    middleware::{self, Next},
    response::Response,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

mod patience;
mod stalled;

use patience::PatientIo;
use stalled::WatchedBody;

/// Files a server opens beside its connections: models, plugins, caches, logs.
const OTHER_FILES: usize = 256;
/// More than any system has sockets for one address.
const MOST: usize = 1 << 24;
/// Connections that are told at once that there are too many; more are closed without a word.
const REFUSALS: usize = 64;
/// How long a refused client has to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// No more files to open: time for some connection to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A client of HTTP/2 that does not answer a ping for so long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 142\r\n\r\n\
    {\"error\":{\"message\":\"the server has as many connections as it takes\",\"type\":\"service_unavailable\",\
    \"param\":null,\"code\":\"too_many_connections\"}}";

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub max_connections: usize,
    /// Time for the handshake of TLS, for a request's headers, and between requests.
    pub header_timeout: Duration,
    /// Time in which a client must take something of its answer.
    pub send_timeout: Duration,
}

impl ConnectionLimits {
    /// The same with no more connections than the process may open files for.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let Some(files) = open_files() else {
            return self;
        };
        let fitting = files.saturating_sub(OTHER_FILES).max(1);
        if fitting < self.max_connections {
            self.max_connections = fitting;
            tracing::info!(
                "no more than {fitting} connections at once: the process may open {files} files, which `ulimit -n` raises"
            );
        }
        self
    }
}

/// How many files the process may open, where the system says so as Linux does.
fn open_files() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Serves `app` until `stop`, then until every connection has ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) {
    let most = limits.max_connections.min(MOST);
    let places = Arc::new(Semaphore::new(most));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let (stopping, stopped) = watch::channel(());
    let server = Arc::new(Server::new(tls, app, limits));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_for(&error).await;
                continue;
            }
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let (server, stopped) = (Arc::clone(&server), stopped.clone());
            tokio::spawn(async move {
                server.connection(stream, stopped).await;
                drop(place);
            });
        } else if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            let plain = server.tls.is_none();
            tokio::spawn(async move {
                if plain {
                    // Whoever does not listen will see the connection close.
                    drop(timeout(REFUSAL_TIME, refuse(stream)).await);
                }
                drop(place);
            });
        }
    }
    drop(listener);
    stopping.send_replace(());
    // Every place is free again once every connection has ended.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    drop(places.acquire_many(all).await);
}

/// A client that went away before it was accepted needs nothing; without files to open there is nothing to do but wait.
async fn pause_for(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!("cannot take a connection: {error}");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Says why, and waits until the client has read it: a close with bytes unread would take the answer back.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(REFUSAL.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

struct Server {
    tls: Option<TlsAcceptor>,
    app: Router,
    http: Builder<TokioExecutor>,
    limits: ConnectionLimits,
}

impl Server {
    fn new(tls: Option<TlsAcceptor>, app: Router, limits: ConnectionLimits) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.header_timeout)
            .keep_alive_timeout(PING_TIMEOUT);
        let app = app.layer(middleware::from_fn_with_state(limits, watch_answer));
        Self {
            tls,
            app,
            http,
            limits,
        }
    }

    async fn connection(&self, stream: TcpStream, stopped: watch::Receiver<()>) {
        // A token is sent when it is there. Without the option it comes later, nothing else.
        drop(stream.set_nodelay(true));
        let Some(tls) = &self.tls else {
            return self.http(stream, stopped).await;
        };
        match timeout(self.limits.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream, stopped).await,
            Ok(Err(error)) => tracing::debug!("a TLS handshake failed: {error}"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http<S>(&self, stream: S, mut stopped: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(PatientIo::new(stream, &self.limits));
        let service = TowerToHyperService::new(self.app.clone());
        let mut connection = pin!(self.http.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            _ = stopped.changed() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

/// HTTP/2 has many answers on one connection: one that is not taken is given up alone. Over HTTP/1.1 the connection is cut.
async fn watch_answer(
    State(limits): State<ConnectionLimits>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let response = next.run(request).await;
    match version {
        Version::HTTP_2 => {
            response.map(|body| Body::new(WatchedBody::new(body, limits.send_timeout)))
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["code"], "too_many_connections");
    }

    #[test]
    fn the_system_says_how_many_files_there_may_be() {
        assert!(open_files().is_none_or(|files| files > 0));
    }
}
