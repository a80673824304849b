//! Connections: how many, for how long, and how they end.

use super::{Refusal, Tls};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// What callers may take of us. `Default` is what the daemon runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at a time; more wait unaccepted. Well below the usual limit of 1024 open files.
    /// Above half of it connections are closed after each answer, so that agents by the thousand take turns.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a request's head may take, and how long a connection may idle: longer than an agent's 10 s.
    pub head: Duration,
    /// How long a request may take, body and answer included.
    pub request: Duration,
    /// How long a stop waits for requests under way.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(15),
            request: Duration::from_secs(10),
            stop: Duration::from_secs(3),
        }
    }
}

/// Serves `router` until `stop` completes, then lets requests under way finish for `limits.stop` at most.
///
/// * `tls`: `None`: plain HTTP, for loopback: whoever listens in on the way can take the callers' tokens.
///
/// Handlers find the peer's address as `ConnectInfo<SocketAddr>`, IPv4 as IPv4 even on a dual-stack listener.
/// Never fails: a connection that cannot be accepted or breaks off concerns only its caller.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    // Told to every connection when it is time to go; the sender's end is this function's.
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
            // Collects the ended ones, so that the set holds only the living.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer, place) = accepted;
        let connection = Connection { router: router.clone(), peer, limits, places: Arc::clone(&places) };
        // Looked up for each connection, so that a certificate that was replaced counts from the next one on.
        let acceptor = tls.as_ref().map(Tls::acceptor);
        connections.spawn(connection.begin(acceptor, stream, place, stopped.clone()));
    }
    drop(listener);
    // Nobody listens when no connection is open.
    let _ = stopping.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.stop, all).await.is_err() {
        tracing::info!("cut off requests that outlasted the stop");
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        match (place, listener.accept().await) {
            (Ok(place), Ok((stream, peer))) => {
                return (stream, plain(peer), place);
            }
            (_, Err(error)) => {
                tracing::debug!(%error, "could not accept a connection");
                pause().await;
            }
            // The semaphore is never closed.
            (Err(_), _) => std::future::pending().await,
        }
    }
}

/// A peer's address without IPv6's wrapping: an instance's private address is known as IPv4.
const fn plain(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Keeps a listener that has run out of files from spinning.
#[expect(
    clippy::disallowed_methods,
    reason = "transport waits on the host's time, whatever the world's does"
)]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    limits: Limits,
    places: Arc<Semaphore>,
}

impl Connection {
    /// Serves one connection until it ends; `place` is given back then.
    async fn begin(
        self,
        acceptor: Option<TlsAcceptor>,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        mut stopped: watch::Receiver<bool>,
    ) {
        match acceptor {
            None => self.run(stream, stopped).await,
            Some(acceptor) => {
                let shaken = tokio::select! {
                    shaken = timeout(self.limits.handshake, acceptor.accept(stream)) => shaken,
                    // Nothing has been asked yet: there is nothing to finish.
                    _ = async { stopped.wait_for(|stop| *stop).await.is_ok() } => return,
                };
                match shaken {
                    Ok(Ok(stream)) => self.run(stream, stopped).await,
                    Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(peer = %self.peer, "a TLS handshake took too long"),
                }
            }
        }
        drop(place);
    }

    async fn run(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        mut stopped: watch::Receiver<bool>,
    ) {
        let head = self.limits.head;
        let service = service_fn(|request: hyper::Request<Incoming>| self.answer(request.map(Body::new)));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            // Either the word to stop, or that nobody is left to give it.
            _ = async { stopped.wait_for(|stop| *stop).await.is_ok() } => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection broke off");
        }
    }

    async fn answer(&self, mut request: Request) -> Result<Response, Infallible> {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answered = timeout(self.limits.request, self.router.clone().oneshot(request)).await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Err(_) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
        };
        if self.places.available_permits() < self.limits.connections / 2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dual_stack_listener_knows_ipv4_callers_by_their_ipv4_address() {
        let plain = |text: &str| plain(text.parse().expect(text)).to_string();
        assert_eq!(plain("[::ffff:10.0.0.5]:7"), "10.0.0.5:7");
        assert_eq!(plain("10.0.0.5:7"), "10.0.0.5:7");
        assert_eq!(plain("[2001:db8::5]:7"), "[2001:db8::5]:7");
    }
}
