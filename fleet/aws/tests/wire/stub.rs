//! A server that answers recorded bodies in a given order, and remembers what it was asked.

use fleet::{Region, Timestamp};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Secret};
use fleet_clock::SteppedClock;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole one: status, further headers, body.
    Whole(u16, &'static str, Vec<u8>),
    /// One that ends in the middle of its body.
    Cut(u16, Vec<u8>),
    /// None: the connection is closed once the request was read.
    Closed,
    /// None: the connection stays open and silent.
    Silence,
}

impl Reply {
    /// EC2's usual answer.
    pub fn xml(body: &str) -> Self {
        Self::Whole(200, "content-type: text/xml;charset=UTF-8\r\n", body.as_bytes().to_vec())
    }
    /// EC2's way of saying no.
    pub fn ec2_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
             <Message>{message}</Message></Error></Errors><RequestID>req-{code}</RequestID></Response>"
        );
        Self::Whole(status, "content-type: text/xml;charset=UTF-8\r\n", body.into_bytes())
    }
}

/// One request, as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The headers, as they came.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The form's fields, decoded as far as the tests need.
    pub fn form(&self) -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let decode = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%24", "$");
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }
    /// One field of the form.
    pub fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The server.
pub struct Stub {
    /// Where it listens.
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Stub {
    /// Starts a server that gives each request the next of these answers; after the last it closes connections.
    pub async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (seen, counted) = (Arc::clone(&requests), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().expect("no panic") += 1;
                tokio::spawn(serve(stream, Arc::clone(&replies), Arc::clone(&seen)));
            }
        });
        Self { url, requests, connections, task }
    }
    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
    /// The actions that it was asked for, by EC2's form.
    pub fn actions(&self) -> Vec<String> {
        self.requests().iter().filter_map(|request| request.field("Action")).collect()
    }
    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("no panic")
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        requests.lock().expect("no panic").push(request);
        let reply = replies.lock().expect("no panic").pop_front();
        let (status, headers, body, end) = match reply {
            Some(Reply::Whole(status, headers, body)) => (status, headers, body.clone(), body.len()),
            Some(Reply::Cut(status, body)) => {
                (status, "content-type: text/xml\r\n", body.clone(), body.len() / 2)
            }
            Some(Reply::Silence) => return std::future::pending().await,
            Some(Reply::Closed) | None => return,
        };
        let head = format!("HTTP/1.1 {status} Recorded\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        let sent = stream.write_all(head.as_bytes()).await.and(stream.write_all(&body[..end]).await);
        if sent.is_err() || end < body.len() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let headers = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + 4 + length.unwrap_or(0);
    while bytes.len() < end {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let path = headers.split_whitespace().nth(1).unwrap_or_default().to_owned();
    Some(Request { path, headers, body: bytes[head_end + 4..end].to_vec() })
}

/// A clock that stands at a known time.
pub fn clock() -> SteppedClock {
    SteppedClock::new(Timestamp::parse("2026-03-01T12:00:00Z").expect("a valid time"))
}

/// A configuration that sends everything to `url`.
pub fn config(url: &str) -> AwsConfig {
    let mut config = AwsConfig::new(Region::new("eu-west-1"));
    config.endpoints = Endpoints::all(url);
    config.credentials =
        Credentials::Static { access_key_id: "AKIDEXAMPLE".into(), secret_access_key: Secret::new("secret") };
    config
}

/// A connection to the server.
pub async fn connect(stub: &Stub, clock: &SteppedClock) -> Aws {
    Aws::connect(config(&stub.url), Arc::new(clock.clone())).await
}

/// Runs `future` to its end, moving the clock on whenever somebody waits for it.
pub async fn drive<T>(clock: &SteppedClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut look = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            biased;
            output = &mut future => return output,
            _ = look.tick() => {
                if let Some(next) = clock.next_wake() {
                    clock.advance_to(next);
                }
            }
        }
    }
}
