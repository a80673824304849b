//! A metadata service in front of the cloud's, which answers as that does but for what a test has it do; and an autoscaler that
//! takes whatever it is told.

use fleet::InstanceId;
use muster_test_servers::{Asked, Plays, StandIn};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What happened, in order, to whoever writes it down.
pub type Events = Arc<Mutex<Vec<String>>>;

fn note(events: &Events, what: String) {
    events.lock().expect("whole").push(what);
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
    /// What documents say whose path ends so; `None`: there is none.
    says: BTreeMap<String, Option<String>>,
    dated: bool,
}

/// The metadata service.
pub struct Front {
    server: StandIn,
    rules: Arc<Mutex<Rules>>,
    events: Events,
}

impl Front {
    /// One that answers as the cloud does. * `at`: its address.
    pub fn start(cloud: SocketAddr, instance: &InstanceId, at: IpAddr) -> Self {
        let rules =
            Rules { instance: instance.clone(), does: Vec::new(), says: BTreeMap::new(), dated: true };
        let (rules, events) = (Arc::new(Mutex::new(rules)), Events::default());
        let (shared, told) = (Arc::clone(&rules), Arc::clone(&events));
        let server = StandIn::start_at(at, move |asked| plays(cloud, asked, &shared, &told));
        Self { server, rules, events }
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    pub const fn at(&self) -> SocketAddr {
        self.server.at()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("whole")
    }

    /// What is done from now on where a path holds a text.
    pub fn does(&self, does: &[(&'static str, Does)]) {
        does.clone_into(&mut self.rules().does);
    }

    /// Says so of a document, whose path ends like this, from now on; `None`: there is none.
    pub fn says(&self, path: &str, text: Option<&str>) {
        self.rules().says.insert(path.to_owned(), text.map(str::to_owned));
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

fn plays(cloud: SocketAddr, asked: &Asked, rules: &Mutex<Rules>, events: &Events) -> Plays {
    let (instance, does, says, dated) = {
        let rules = rules.lock().expect("whole");
        let does = rules.does.iter().find(|(part, _)| asked.path.contains(part)).map(|(_, does)| *does);
        let says = rules.says.iter().find(|(of, _)| asked.path.ends_with(*of)).map(|(_, text)| text.clone());
        (rules.instance.clone(), does.unwrap_or(Does::Answers), says, rules.dated)
    };
    note(events, format!("{} {}", asked.method, asked.path.trim_start_matches('/')));
    match (does, says) {
        (Does::Hangs, _) => {
            let (events, path) = (Arc::clone(events), asked.path.clone());
            Plays::Hangs(Box::new(move || note(&events, format!("gave up {path}"))))
        }
        (Does::Says(status), _) => Plays::status(status),
        (Does::Answers, Some(says)) => says.map_or(Plays::status(404), Plays::text),
        (Does::Answers, None) => {
            // A node may be told the whole path, with its instance.
            let own =
                if asked.path.starts_with("/_imds/") { String::new() } else { format!("/_imds/{instance}") };
            let path = format!("{own}{}", asked.path);
            let answer = forwarded(cloud, asked, &path, dated).unwrap_or(Plays::status(502));
            if let Plays::Says(status, ..) = answer {
                note(events, format!("answered {} {status}", asked.path));
            }
            answer
        }
    }
}

/// What another server answers to the same request at a path of its own. * `dated`: with its time.
fn forwarded(to: SocketAddr, asked: &Asked, path: &str, dated: bool) -> io::Result<Plays> {
    let mut far = TcpStream::connect(to)?;
    let kept = asked.headers.iter().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let headers: Vec<&str> = kept.map(String::as_str).chain(["Connection: close"]).collect();
    write!(far, "{} {path} HTTP/1.1\r\n{}\r\n\r\n{}", asked.method, headers.join("\r\n"), asked.body)?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|first| first.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no answer in HTTP: {text:?}")))?;
    let own = ["connection:", "content-length:"];
    let headers = lines.filter(|line| {
        let line = line.to_lowercase();
        !own.iter().any(|name| line.starts_with(name)) && (dated || !line.starts_with("date:"))
    });
    Ok(Plays::Says(status, headers.map(str::to_owned).collect(), body.to_owned()))
}

/// One process of an autoscaler, which takes and confirms what it is told.
pub struct Scaler {
    server: StandIn,
    events: Events,
}

impl Scaler {
    /// The leader. * `events`: where it writes down `identify`, `notices KIND…` and `samples NUMBER`.
    pub fn start(events: &Events) -> Self {
        Self::which(events, true, 0)
    }

    /// * `leads`: what it says of itself.
    /// * `busy`: so many times batches of samples are answered with 503 before any is taken.
    pub fn which(events: &Events, leads: bool, busy: usize) -> Self {
        let (told, left) = (Arc::clone(events), AtomicUsize::new(busy));
        let server = StandIn::start(move |asked| {
            let body = asked.json();
            match asked.path.as_str() {
                "/v1/identify" => {
                    note(&told, "identify".to_owned());
                    Plays::json(
                        &json!({"token": "planted-token-of-autoscaler", "expires": 4_102_444_800_000_i64}),
                    )
                }
                "/v1/notices" => {
                    let notices = body["notices"].as_array().cloned().unwrap_or_default();
                    let kinds: Vec<&str> =
                        notices.iter().filter_map(|notice| notice["kind"].as_str()).collect();
                    note(&told, format!("notices {}", kinds.join(" ")));
                    Plays::json(&json!({"accepted": kinds.len(), "confirmed": kinds.len(), "leader": leads}))
                }
                _ => {
                    note(&told, format!("samples {}", body["sequence"]));
                    let busy =
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                    if busy.is_ok() { Plays::status(503) } else { Plays::json(&json!({"accepted": 1})) }
                }
            }
        });
        Self { server, events: Arc::clone(events) }
    }

    pub const fn at(&self) -> SocketAddr {
        self.server.at()
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    /// What it was told so far.
    pub fn told(&self) -> Vec<String> {
        self.events.lock().expect("whole").clone()
    }

    /// How often it was told something.
    pub fn times(&self, what: &str) -> usize {
        self.told().iter().filter(|told| *told == what).count()
    }
}
