//! A metadata service in front of the cloud's, which answers as that does but for what a test has it do; and an autoscaler that
//! takes whatever it is told.

use fleet::InstanceId;
use serde_json::{Value, json};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// What happened, in order, to whoever writes it down.
pub type Events = Arc<Mutex<Vec<String>>>;

/// What a request of one's own head and body comes to.
struct Asked {
    method: String,
    path: String,
    /// The head's other lines, as they stand.
    headers: Vec<String>,
    body: String,
}

/// The next request of a connection; `None` at its end.
fn asked(reader: &mut impl io::BufRead) -> io::Result<Option<Asked>> {
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
    let length = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

fn listen(at: IpAddr, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((at, 0)).unwrap_or_else(|error| {
        panic!("this host has no loopback {at}: {error}: sysctl net.ipv6.conf.lo.disable_ipv6=0")
    });
    let address = listener.local_addr().expect("it listens");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            // Who hangs up in the middle gets no answer, and that is all.
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It is answered as the cloud does.
    Answers,
    /// Nobody answers until they hang up.
    Hangs,
    /// A status alone.
    Says(u16),
}

struct Rules {
    instance: InstanceId,
    /// What is done where a path holds a text; the first that fits.
    does: Vec<(&'static str, Does)>,
    dated: bool,
}

/// The metadata service.
pub struct Front {
    at: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    events: Events,
}

impl Front {
    /// One that answers as the cloud does. * `at`: its address.
    pub fn start(cloud: SocketAddr, instance: &InstanceId, at: IpAddr) -> Self {
        let rules = Rules { instance: instance.clone(), does: Vec::new(), dated: true };
        let (rules, events) = (Arc::new(Mutex::new(rules)), Events::default());
        let (shared, told) = (Arc::clone(&rules), Arc::clone(&events));
        let at = listen(at, move |stream| serve(cloud, &stream, &shared, &told));
        Self { at, rules, events }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("whole")
    }

    /// What is done from now on where a path holds a text.
    pub fn does(&self, does: &[(&'static str, Does)]) {
        does.clone_into(&mut self.rules().does);
    }

    /// It is another instance's from now on.
    pub fn turn_to(&self, instance: &InstanceId) {
        self.rules().instance = instance.clone();
    }

    /// Its answers do not say what time it is.
    pub fn without_date(&self) {
        self.rules().dated = false;
    }

    pub fn events(&self) -> Events {
        Arc::clone(&self.events)
    }

    /// What was asked so far: `GET latest/…`.
    pub fn asked(&self) -> Vec<String> {
        self.events.lock().expect("whole").clone()
    }
}

fn serve(cloud: SocketAddr, mut stream: &TcpStream, rules: &Mutex<Rules>, events: &Events) -> io::Result<()> {
    let Some(asked) = asked(&mut BufReader::new(stream))? else { return Ok(()) };
    let (instance, does, dated) = {
        let rules = rules.lock().expect("whole");
        let does = rules.does.iter().find(|(part, _)| asked.path.contains(part)).map(|(_, does)| *does);
        (rules.instance.clone(), does.unwrap_or(Does::Answers), rules.dated)
    };
    let note = |what: String| events.lock().expect("whole").push(what);
    note(format!("{} {}", asked.method, asked.path.trim_start_matches('/')));
    match does {
        Does::Hangs => {
            io::copy(&mut stream, &mut io::sink())?;
            note(format!("gave up {}", asked.path));
            Ok(())
        }
        Does::Says(status) => {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Does::Answers => {
            let mut far = TcpStream::connect(cloud)?;
            let kept = asked.headers.iter().filter(|line| !line.to_lowercase().starts_with("connection:"));
            let headers: Vec<&str> = kept.map(String::as_str).chain(["Connection: close"]).collect();
            let headers = headers.join("\r\n");
            write!(
                far,
                "{} /_imds/{instance}{} HTTP/1.1\r\n{headers}\r\n\r\n{}",
                asked.method, asked.path, asked.body
            )?;
            let mut answer = Vec::new();
            far.read_to_end(&mut answer)?;
            let text = String::from_utf8_lossy(&answer).into_owned();
            note(format!("answered {} {}", asked.path, text.split(' ').nth(1).unwrap_or_default()));
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let lines = head.split("\r\n").filter(|line| dated || !line.to_lowercase().starts_with("date:"));
            let head: Vec<&str> = lines.collect();
            write!(stream, "{}\r\n\r\n{body}", head.join("\r\n"))?;
            stream.shutdown(Shutdown::Both)
        }
    }
}

/// An autoscaler that leads, and confirms what it is told.
pub struct Scaler {
    pub at: SocketAddr,
    events: Events,
}

impl Scaler {
    /// * `events`: where it writes down `identify`, `notices KIND…` and `samples`.
    pub fn start(events: &Events) -> Self {
        let told = Arc::clone(events);
        let at = listen(Ipv4Addr::LOCALHOST.into(), move |stream| {
            let mut reader = BufReader::new(&stream);
            while let Some(asked) = asked(&mut reader)? {
                let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
                let (what, answer) = match asked.path.as_str() {
                    "/v1/identify" => {
                        let answer =
                            json!({"token": "planted-token-of-autoscaler", "expires": 4_102_444_800_000_i64});
                        ("identify".to_owned(), answer)
                    }
                    "/v1/notices" => {
                        let notices = body["notices"].as_array().cloned().unwrap_or_default();
                        let kinds: Vec<&str> =
                            notices.iter().filter_map(|notice| notice["kind"].as_str()).collect();
                        let answer =
                            json!({"accepted": kinds.len(), "confirmed": kinds.len(), "leader": true});
                        (format!("notices {}", kinds.join(" ")), answer)
                    }
                    _ => ("samples".to_owned(), json!({"accepted": 1})),
                };
                told.lock().expect("whole").push(what);
                let text = answer.to_string();
                write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                )?;
            }
            Ok(())
        });
        Self { at, events: Arc::clone(events) }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.at)
    }

    /// What it was told so far.
    pub fn told(&self) -> Vec<String> {
        self.events.lock().expect("whole").clone()
    }
}
