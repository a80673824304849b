//! A way to a real server on which everything goes wrong that a test wants, and nothing when it wants no more.

use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// The request is taken, and nothing comes back.
    Hangs,
    /// A whole head, then a byte now and then, for ever.
    Trickles,
    /// A part of an answer, and the connection is closed.
    Cut,
    /// Bytes that are no HTTP.
    Garbage,
    /// A page of somebody else's, with 200: a proxy's, to log in at.
    Page,
    /// This status, and a word.
    Says(u16),
    /// That something is wrong with the request, which is shown: all of it.
    Echoes,
    /// This status, and when to come back: in so many seconds.
    ComeBack(u16, u64),
    /// The certificate has lapsed.
    Expired,
    /// The certificate was signed by another authority.
    Stranger,
    /// The server itself is sealed.
    Sealed,
    /// The server itself has no leader.
    Leaderless,
}

impl Fault {
    /// Those that need no TLS.
    pub const PLAIN: [Self; 12] = [
        Self::Refused,
        Self::Hangs,
        Self::Trickles,
        Self::Cut,
        Self::Garbage,
        Self::Page,
        Self::Echoes,
        Self::Says(403),
        Self::Says(404),
        Self::Says(500),
        Self::ComeBack(429, 1),
        Self::ComeBack(503, 1),
    ];
    /// Those that do.
    pub const TLS: [Self; 2] = [Self::Expired, Self::Stranger];
}

/// Certificates for a proxy, and who is to trust them.
struct Authority {
    pem: String,
    /// The same authority, by a certificate that has lapsed.
    lapsed: String,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    stranger: Arc<ServerConfig>,
}

impl Authority {
    fn new(at: SocketAddr) -> Self {
        // An error says that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate().expect("a key");
        let again = KeyPair::try_from(key.serialize_der()).expect("a key");
        let (ours, lapsed) = (authority(key, 2100), authority(again, 2020));
        let other = stranger();
        let config = |by: &CertifiedIssuer<'_, KeyPair>, until: i32| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec![at.ip().to_string()]).expect("an address");
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let cert = params.signed_by(&key, by).expect("a certificate");
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            let builder = ServerConfig::builder().with_no_client_auth();
            Arc::new(builder.with_single_cert(vec![cert.der().clone()], key.into()).expect("they fit"))
        };
        let (good, expired, stranger) = (config(&ours, 2100), config(&ours, 2020), config(&other, 2100));
        Self { pem: ours.pem(), lapsed: lapsed.pem(), good, expired, stranger }
    }
}

fn authority(key: KeyPair, until: i32) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// An authority that nobody knows.
pub(super) fn stranger() -> CertifiedIssuer<'static, KeyPair> {
    authority(KeyPair::generate().expect("a key"), 2100)
}

#[derive(Default)]
struct Wanted {
    fault: Option<Fault>,
    /// Requests that are answered as the server does before that.
    spared: usize,
    listens: bool,
    ends: bool,
}

struct Shared {
    at: SocketAddr,
    upstream: SocketAddr,
    tls: Option<Authority>,
    wanted: Mutex<Wanted>,
    changed: Condvar,
    asked: Mutex<Vec<Duration>>,
    clock: SystemClock,
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("whole")
    }
}

/// A proxy of HTTP: a connection a request.
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before this server. * `tls`: whether it is reached by HTTPS, and the server itself by HTTP.
    pub fn start(upstream: SocketAddr, tls: bool, fault: Option<Fault>) -> Self {
        let at = port();
        let tls = tls.then(|| Authority::new(at));
        let (wanted, changed, asked, clock) =
            (Mutex::default(), Condvar::new(), Mutex::default(), SystemClock::new());
        let shared = Arc::new(Shared { at, upstream, tls, wanted, changed, asked, clock });
        let proxy = Self { shared: Arc::clone(&shared) };
        shared.locked().fault = fault;
        thread::spawn(move || accept(&shared));
        proxy.set(fault);
        proxy
    }

    pub fn at(&self) -> SocketAddr {
        self.shared.at
    }
    /// Where it is: `https://…` or `http://…`.
    pub fn address(&self) -> String {
        format!("{}://{}", if self.shared.tls.is_some() { "https" } else { "http" }, self.shared.at)
    }
    /// Who signed its certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.shared.tls.as_ref().expect("it speaks TLS").pem
    }
    /// The same in a certificate that has lapsed.
    pub fn lapsed_pem(&self) -> &str {
        &self.shared.tls.as_ref().expect("it speaks TLS").lapsed
    }
    /// When each request came, in monotonic time.
    pub fn asked(&self) -> Vec<Duration> {
        self.shared.asked.lock().expect("whole").clone()
    }

    /// What goes wrong does so after this many requests that the server has answered.
    pub fn spare(&self, count: usize) {
        self.shared.locked().spared = count;
    }

    /// Has this go wrong from the next request on; `None`: nothing.
    pub fn set(&self, fault: Option<Fault>) {
        let mut wanted = self.shared.locked();
        wanted.fault = fault;
        let listens = fault != Some(Fault::Refused);
        self.shared.changed.notify_all();
        if !listens && wanted.listens {
            // Wakes the one who accepts.
            let _ = TcpStream::connect(self.shared.at);
        }
        while wanted.listens != listens {
            wanted = self.shared.changed.wait(wanted).expect("whole");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.locked().ends = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(self.shared.at);
    }
}

fn accept(shared: &Arc<Shared>) {
    loop {
        let mut wanted = shared.locked();
        while wanted.fault == Some(Fault::Refused) && !wanted.ends {
            wanted = shared.changed.wait(wanted).expect("whole");
        }
        if wanted.ends {
            return;
        }
        let listener = TcpListener::bind(shared.at).expect("a port of its own");
        wanted.listens = true;
        shared.changed.notify_all();
        drop(wanted);
        for stream in listener.incoming().flatten() {
            let mut wanted = shared.locked();
            if wanted.ends || wanted.fault == Some(Fault::Refused) {
                break;
            }
            let fault = wanted.fault.filter(|_| wanted.spared == 0);
            if fault.is_none() && TcpStream::connect(shared.upstream).is_err() {
                // As the server itself: nobody is there, and nothing was asked.
                continue;
            }
            wanted.spared = wanted.spared.saturating_sub(1);
            drop(wanted);
            let shared = Arc::clone(shared);
            // Who hangs up has had enough, and so has who does not trust us.
            thread::spawn(move || serve(&shared, stream, fault));
        }
        drop(listener);
        shared.locked().listens = false;
        shared.changed.notify_all();
    }
}

fn serve(shared: &Shared, stream: TcpStream, fault: Option<Fault>) -> io::Result<()> {
    // Longer than anybody waits here for an answer.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let Some(tls) = &shared.tls else { return exchange(shared, stream, fault) };
    let config = match fault {
        Some(Fault::Expired) => &tls.expired,
        Some(Fault::Stranger) => &tls.stranger,
        _ => &tls.good,
    };
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    exchange(shared, &mut stream, fault)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// One request and its answer.
fn exchange(shared: &Shared, mut stream: impl Read + Write, fault: Option<Fault>) -> io::Result<()> {
    let request = read_request(&mut stream)?;
    shared.asked.lock().expect("whole").push(shared.clock.monotonic());
    match fault {
        None => {
            let mut server = TcpStream::connect(shared.upstream)?;
            server.set_read_timeout(Some(Duration::from_secs(60)))?;
            server.write_all(&request)?;
            io::copy(&mut server, &mut stream).map(|_| ())
        }
        Some(Fault::Hangs) => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0]);
            Ok(())
        }
        Some(Fault::Trickles) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Some(Fault::Cut) => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        Some(Fault::Garbage) => stream.write_all(b"\x00\x01\x02 this is no HTTP\r\n\r\n"),
        Some(Fault::Page) => answer(&mut stream, 200, "Content-Type: text/html\r\n", "<html>Log in</html>\n"),
        Some(Fault::Says(status)) => answer(&mut stream, status, "", "no\n"),
        Some(Fault::Echoes) => {
            // In one line: of more, nobody reads on.
            let shown = String::from_utf8_lossy(&request).replace(['\r', '\n'], " ");
            answer(&mut stream, 400, "", &shown)
        }
        Some(Fault::ComeBack(status, seconds)) => {
            answer(&mut stream, status, &format!("Retry-After: {seconds}\r\n"), "later\n")
        }
        Some(Fault::Refused | Fault::Expired | Fault::Stranger | Fault::Sealed | Fault::Leaderless) => {
            // Whoever trusts a certificate that is not to be trusted is told so.
            answer(&mut stream, 200, "", "\"it was trusted\"")
        }
    }
}

fn answer(stream: &mut impl Write, status: u16, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()
}

/// A request, whole, as one that is the only one of its connection.
fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    let head = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 2;
        }
        let more = stream.read(&mut piece)?;
        if more == 0 {
            return Err(ended());
        }
        read.extend_from_slice(&piece[..more]);
    };
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let mut length = 0;
    let mut request = String::new();
    for line in text.lines() {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if name == "content-length" {
            length = line["content-length:".len()..].trim().parse().unwrap_or(0);
        }
        if name != "connection" {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    let mut body = read.split_off(head + 2);
    while body.len() < length {
        let more = stream.read(&mut piece)?;
        if more == 0 {
            return Err(ended());
        }
        body.extend_from_slice(&piece[..more]);
    }
    let mut whole = format!("{request}Connection: close\r\n\r\n").into_bytes();
    whole.extend_from_slice(&body);
    Ok(whole)
}
