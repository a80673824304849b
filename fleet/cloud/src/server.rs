//! The HTTP server: connections, bounds, the world's own pace, and the way out.

use crate::config::CloudConfig;
use crate::ec2::{self, BakeMachine, ImageSpec};
use crate::faults::HttpFault;
use crate::gate::{self, Outcome};
use crate::identity::{DocumentSigner, SignerError};
use crate::oidc::OidcProvider;
use crate::request::{MAX_BODY, Request};
use crate::shared::{Shared, locked};
use crate::wire::Answer;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span};

/// The most connections at a time; others wait for a place.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take to send its headers, and its body. The host's time, as all of transport.
const READ_TIME: Duration = Duration::from_secs(10);
/// How long a stop waits for requests that are under way.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How often a world that runs by itself is moved on while nobody asks for anything.
const PACE: Duration = Duration::from_millis(100);

/// Why the cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("could not listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A speed that is not a positive number.
    #[error("{speed} is no speed of the world's time; it must be more than 0")]
    Speed {
        /// The value.
        speed: f64,
    },
}

/// A cloud that listens. Dropped, it stops at once; [`CloudServer::stop`] lets requests end first.
pub struct CloudServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Moves the world on, where the server drives it.
    pacing: Option<JoinHandle<()>>,
}

impl CloudServer {
    /// Starts to serve a world. Needs a tokio runtime with I/O and time.
    pub async fn start(config: CloudConfig) -> Result<Self, StartError> {
        if let Some(speed) = config.speed
            && !(speed.is_finite() && speed > 0.0)
        {
            return Err(StartError::Speed { speed });
        }
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(&config));
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(
            serve(listener, Arc::clone(&shared), stopping).instrument(info_span!("cloud_serving")),
        );
        let pacing = shared
            .pace
            .drives()
            .then(|| tokio::spawn(keep_pace(Arc::clone(&shared)).instrument(info_span!("cloud_pacing"))));
        info!(%addr, "cloud started");
        Ok(Self { addr, shared, stop, serving, pacing })
    }

    /// Listens at another address, too, until it stops: at the metadata service's, for machines that have no other.
    pub async fn listen_also(&self, listen: SocketAddr) -> Result<(), StartError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|source| StartError::Listen { listen, source })?;
        tokio::spawn(serve(listener, Arc::clone(&self.shared), self.stop.subscribe()));
        Ok(())
    }

    /// The certificate, in PEM, whose key signs the identity documents of this server's instances.
    pub fn identity_certificate(&self) -> Result<String, &SignerError> {
        self.shared.signer().map(DocumentSigner::certificate)
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as AWS clients want it: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Puts other faults in force; none: everything goes well again.
    pub fn set_faults(&self, faults: Vec<HttpFault>) {
        self.shared.faults.set(faults);
    }

    /// The faults in force, each with how many times more.
    pub fn faults(&self) -> Vec<HttpFault> {
        self.shared.faults.list()
    }

    /// Has the account trust a provider of identities, beside those that it trusts already.
    pub fn trust(&self, provider: OidcProvider) {
        locked(&self.shared.providers).push(provider);
    }

    /// Puts an image into the account that nobody has made, with a past. * returns: its id, and its snapshot's.
    pub fn put_image(&self, image: &ImageSpec) -> (String, String) {
        ec2::put_image(&self.shared, image)
    }

    /// The machines that no fleet holds and that run, or are about to.
    pub fn bake_machines(&self) -> Vec<BakeMachine> {
        let now = self.shared.world().now();
        locked(&self.shared.machines).running(now)
    }

    /// The images that were made of machines, each with its machine.
    pub fn images_made(&self) -> Vec<(String, String)> {
        locked(&self.shared.images).made()
    }

    /// Says that somebody else has advanced the world, so that long polls look for what has come.
    pub fn world_moved(&self) {
        self.shared.moved.notify_waiters();
    }

    /// Puts messages into the queue of the world's events, beside those. Of more than 10,000 the oldest are dropped.
    pub fn send(&self, bodies: impl IntoIterator<Item = String>) {
        let now = self.shared.world().now();
        locked(&self.shared.queues).send(bodies, now);
        self.shared.moved.notify_waiters();
    }

    /// Takes no more connections, lets requests end within two seconds, and returns when all is closed.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        // The task ends by itself, at the latest when the time for requests is over; a panic in it was logged.
        let _ = (&mut self.serving).await;
        info!(addr = %self.addr, "cloud stopped");
    }
}

impl Drop for CloudServer {
    fn drop(&mut self) {
        self.serving.abort();
        if let Some(pacing) = &self.pacing {
            pacing.abort();
        }
    }
}

async fn keep_pace(shared: Arc<Shared>) {
    loop {
        shared.pace.sleep(PACE).await;
        drop(shared.world());
        shared.moved.notify_waiters();
    }
}

/// Accepts connections until it is told to stop, then waits for the last of them.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
                connections.spawn(async move {
                    connection(stream, peer, shared, stopping).await;
                    drop(place);
                });
            }
            // Out of file descriptors, or the client is gone already: the next one may do better.
            Err(error) => {
                debug!(%error, "connection not accepted");
                shared.host.sleep_until(shared.host.monotonic() + Duration::from_millis(10)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Returns when the server is to stop; also when it was dropped.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    // Answers are written whole: waiting for more to send only costs time.
    let _ = stream.set_nodelay(true);
    let mut stop = stopping.clone();
    let service = service_fn(move |request| {
        let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
        async move { exchange(request, peer, &shared, stopping).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            // Who has not ended by then is cut off.
            timeout(STOP_TIME, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended early");
    }
}

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Closed;

async fn exchange(
    request: http::Request<Incoming>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    stopping: watch::Receiver<bool>,
) -> Result<Response<Reply>, Closed> {
    let (parts, body) = request.into_parts();
    let read = timeout(READ_TIME, Limited::new(body, MAX_BODY).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(whole(gate::plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB\n")));
        }
        Ok(Err(_)) => return Err(Closed),
        Err(_) => return Ok(whole(gate::plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"))),
    };
    let request = Request { method: parts.method, uri: parts.uri, headers: parts.headers, body, peer };
    match gate::answer(shared, request, stopping).await {
        Outcome::Answer(answer) => Ok(whole(answer)),
        Outcome::Cut(answer) => {
            let (parts, body) = answer.into_parts();
            Ok(Response::from_parts(parts, Reply { announced: body.len(), rest: Some(body), cut: true }))
        }
        Outcome::Close => Err(Closed),
    }
}

fn whole(answer: Answer) -> Response<Reply> {
    answer.map(|body| Reply { announced: body.len(), rest: Some(body), cut: false })
}

/// The body of an answer: whole, or only half of what its length announces.
struct Reply {
    announced: usize,
    rest: Option<Bytes>,
    cut: bool,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        let cut = self.cut;
        Poll::Ready(match self.rest.take() {
            Some(body) if cut => Some(Ok(Frame::data(body.slice(..body.len() / 2)))),
            Some(body) if !body.is_empty() => Some(Ok(Frame::data(body))),
            None if cut => Some(Err(Closed)),
            _ => None,
        })
    }
    fn is_end_stream(&self) -> bool {
        !self.cut && self.rest.as_ref().is_none_or(Bytes::is_empty)
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.announced).unwrap_or(u64::MAX))
    }
}
