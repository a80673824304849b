//! A server that a test plays: each request comes to what the test has it come to.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// With its query: `/latest/meta-data/instance-id`.
    pub path: String,
    /// The head's other lines, as they stand.
    pub headers: Vec<String>,
    /// What came after the head.
    pub body: String,
}

impl Asked {
    /// Its first line, but for the protocol.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
    /// A header's value; its name in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (of, value) = line.split_once(':')?;
            of.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
    /// Its body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What a request comes to.
pub enum Plays {
    /// A status, headers as lines, a body.
    Says(u16, Vec<String>, String),
    /// Nothing, until they hang up; and then this.
    Hangs(Box<dyn FnOnce() + Send>),
}

impl Plays {
    /// A status without a body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Says(status, Vec::new(), String::new())
    }
    /// 200 and a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Says(200, Vec::new(), text.into())
    }
    /// 200 and JSON.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::Says(200, vec!["Content-Type: application/json".to_owned()], value.to_string())
    }
    /// Nothing, until they hang up.
    #[must_use]
    pub fn hangs() -> Self {
        Self::Hangs(Box::new(|| {}))
    }
}

type Script = dyn Fn(&Asked) -> Plays + Send + Sync;

/// The server. Dropped, nobody is there any more.
#[derive(Debug)]
pub struct StandIn {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ends: Arc<AtomicBool>,
}

impl StandIn {
    /// On this host's loopback. * `script`: what each request comes to; may be asked by several at once.
    #[must_use]
    pub fn start(script: impl Fn(&Asked) -> Plays + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), script)
    }

    /// At an address of this host.
    #[must_use]
    pub fn start_at(at: IpAddr, script: impl Fn(&Asked) -> Plays + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap_or_else(|error| {
            panic!("this host has no loopback {at}: {error}: sysctl net.ipv6.conf.lo.disable_ipv6=0")
        });
        let at = listener.local_addr().expect("it listens");
        let (asked, ends) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicBool>::default());
        let (noted, ended, script) =
            (Arc::clone(&asked), Arc::clone(&ends), Arc::<Script>::from(Box::new(script) as Box<Script>));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (noted, ended, script) = (Arc::clone(&noted), Arc::clone(&ended), Arc::clone(&script));
                // Who hangs up in the middle gets no answer, and that is all.
                thread::spawn(move || serve(&stream, &*script, &noted, &ended));
            }
        });
        Self { at, asked, ends }
    }

    /// Where it is.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }
    /// The same as `http://…`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }
    /// What it was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }
    /// How often it was asked something: a line such as `PUT /latest/api/token`.
    pub fn times(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line() == line).count()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Whoever waits for a caller hears of it so.
        let _ = TcpStream::connect(self.at);
    }
}

/// Answers one connection's one request: what comes next is heard by whoever plays then.
fn serve(
    mut stream: &TcpStream,
    script: &Script,
    noted: &Mutex<Vec<Asked>>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let asked = read(&mut BufReader::new(stream))?;
    let Some(asked) = asked.filter(|_| !ended.load(Ordering::Relaxed)) else { return Ok(()) };
    noted.lock().expect("whole").push(asked.clone());
    match script(&asked) {
        Plays::Says(status, headers, body) => {
            let headers: Vec<String> = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let headers = headers.concat();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
        }
        Plays::Hangs(then) => {
            io::copy(&mut stream, &mut io::sink())?;
            then();
            Ok(())
        }
    }
}

/// A request; `None` where they hang up.
fn read(reader: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        headers.push(line.trim_end().to_owned());
    }
    let mut asked = Asked { method, path, headers, body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(asked))
}
