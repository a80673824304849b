//! A metadata service that does what a test says, and a node that asks it.

use bootstrap_agent::host::{Answering, Done, Host, Request};
use bootstrap_agent::imds::Imds;
use bootstrap_agent::node::{Aws, Consequence, Directories, Later, Node, Parameter};
use bootstrap_config::{IdentitySettings, Settings, VaultAws};
use bootstrap_core::{Failure, Secret};
use bootstrap_vault::LoginRequest;
use fleet::ports::Clock;
use fleet::{ErrorClass, InstanceId, Timestamp};
use fleet_clock::SteppedClock;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::sync::mpsc;

/// A request: its first line without the protocol, and the token that it bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub line: String,
    pub token: Option<String>,
}

/// What a request comes to.
pub enum Answer {
    /// A status, a body and `Date`, where there is one.
    Says(u16, String, Option<String>),
    /// Nothing, until they hang up.
    Hangs,
}

type Script = dyn Fn(&Asked) -> Answer + Send + Sync;

pub struct Service {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// * `script`: what each request comes to; may be asked by several at once.
    pub fn start(at: IpAddr, script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap_or_else(|error| {
            panic!("this host has no loopback {at}: {error}: sysctl net.ipv6.conf.lo.disable_ipv6=0")
        });
        let at = listener.local_addr().expect("it listens");
        let (asked, script) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(script));
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, script) = (Arc::clone(&noted), Arc::clone(&script));
                // Who hangs up gets no answer, and that is all.
                thread::spawn(move || serve(&stream, &*script, &noted));
            }
        });
        Self { at, asked }
    }
    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }
    /// How often a token was asked for.
    pub fn tokens(&self) -> usize {
        self.asked().iter().filter(|asked| asked.line == "PUT /latest/api/token").count()
    }
}

fn serve(mut stream: &TcpStream, script: &Script, noted: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut token) = (String::new(), None);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("x-aws-ec2-metadata-token")
            {
                token = Some(value.trim().to_owned());
            }
        }
        let line = first.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
        let asked = Asked { line, token };
        noted.lock().expect("whole").push(asked.clone());
        match script(&asked) {
            Answer::Says(status, body, date) => {
                let date = date.map_or_else(String::new, |date| format!("Date: {date}\r\n"));
                let length = body.len();
                write!(stream, "HTTP/1.1 {status} X\r\n{date}Content-Length: {length}\r\n\r\n{body}")?;
            }
            Answer::Hangs => return io::copy(&mut stream, &mut io::sink()).map(|_| ()),
        }
    }
}

/// Root's hands on paper.
#[derive(Default)]
pub struct Paper {
    pub asked: Mutex<Vec<Request>>,
    /// What happens when a unit is acted upon.
    pub then: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Host for Paper {
    fn ask(&self, request: Request) -> Answering<'_> {
        self.asked.lock().expect("whole").push(request);
        if let Some(then) = &*self.then.lock().expect("whole") {
            then();
        }
        Box::pin(std::future::ready(Ok(Done::Changed)))
    }
}

/// An AWS that is never asked.
struct NoAws;

fn never<T>() -> Result<T, Failure> {
    Err(Failure::new(ErrorClass::Denied, "there is no AWS here"))
}

impl Aws for NoAws {
    fn parameters<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Vec<Parameter>> {
        Box::pin(async { never() })
    }
    fn secret<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: &'a str) -> Later<'a, Secret> {
        Box::pin(async { never() })
    }
    fn sign_login<'a>(&'a self, _: &'a str, _: &'a VaultAws, _: Timestamp) -> Later<'a, LoginRequest> {
        Box::pin(async { never() })
    }
    fn tag<'a>(
        &'a self,
        _: &'a str,
        _: &'a InstanceId,
        _: &'a str,
        _: &'a str,
        _: Timestamp,
    ) -> Later<'a, ()> {
        Box::pin(async { never() })
    }
}

/// A metadata service of these endpoints.
pub fn imds(endpoints: &[String], clock: &SteppedClock) -> Imds {
    let settings = IdentitySettings { endpoints: endpoints.to_vec(), ..IdentitySettings::default() };
    Imds::new(&settings, Arc::new(clock.clone())).expect("a client")
}

/// A node of these settings, with its metadata service.
pub struct Bench {
    pub node: Arc<Node>,
    pub clock: SteppedClock,
    pub host: Arc<Paper>,
    pub consequences: mpsc::UnboundedReceiver<Consequence>,
    _place: tempfile::TempDir,
}

impl Bench {
    pub fn new(service: &Service, base: Settings, at: Timestamp) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(at);
        let directories = Directories {
            config: place.path().join("bootstrap.hcl"),
            state: place.path().join("state"),
            run: place.path().join("run"),
        };
        let host = Arc::<Paper>::default();
        let imds = imds(&[service.address()], &clock);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (node, _, consequences) =
            Node::new(base, directories, shared, imds, Arc::clone(&host) as Arc<dyn Host>, Arc::new(NoAws));
        Self { node, clock, host, consequences, _place: place }
    }
}
