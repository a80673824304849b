//! The watchman on time that a test moves, with everybody that he speaks to played by the test.
//!
//! Time moves on in steps, and only when everybody has done what was due and heard what he asked for, by real sockets.

mod autoscaler;
mod consul;
mod notices;
mod work;

use super::*;
use crate::host::{Answering, Done, Host, HostError, Request, Verb};
use crate::imds::{Imds, paths};
use crate::no_aws::NoAws;
use crate::node::{Directories, Proved};
use bootstrap_config::{AutoscalerSettings, IdentitySettings, Settings};
use fleet::ports::Clock;
use fleet::{ErrorClass, InstanceId, Region, Timestamp};
use fleet_clock::SteppedClock;
use muster_test_servers::{Asked, Plays, StandIn};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const OWN: &str = "i-0123456789abcdef0";
/// When it begins.
const THEN: Timestamp = Timestamp::from_secs(1_000_000);

/// Root's hands on paper, which fail as often as a test says.
#[derive(Default)]
pub(super) struct Paper {
    pub(super) asked: Mutex<Vec<Request>>,
    pub(super) fails: Mutex<u32>,
    /// What is answered only once the test says so.
    holds: Mutex<Vec<(Verb, Arc<Notify>)>>,
    /// A bug.
    panics: AtomicBool,
}

impl Paper {
    /// Holds the next answer to a request of a verb. * returns: what lets go of it.
    fn hold(&self, verb: Verb) -> Arc<Notify> {
        let released = Arc::<Notify>::default();
        self.holds.lock().expect("whole").push((verb, Arc::clone(&released)));
        released
    }
    fn held(&self, request: &Request) -> Option<Arc<Notify>> {
        let mut holds = self.holds.lock().expect("whole");
        let at = holds
            .iter()
            .position(|(held, _)| matches!(request, Request::Unit { verb, .. } if verb == held))?;
        Some(holds.remove(at).1)
    }
}

impl Host for Paper {
    fn ask(&self, request: Request) -> Answering<'_> {
        assert!(!self.panics.load(Ordering::Relaxed), "a bug");
        let mut left = self.fails.lock().expect("whole");
        let fails = *left > 0;
        *left = left.saturating_sub(1);
        let answer = if fails {
            Err(HostError::new(&request, ErrorClass::Transient, "it is out of order"))
        } else {
            Ok(Done::Changed)
        };
        let held = self.held(&request);
        self.asked.lock().expect("whole").push(request);
        Box::pin(async move {
            if let Some(held) = held {
                held.notified().await;
            }
            answer
        })
    }
}

/// That it is this instance.
pub(crate) fn proved() -> Proved {
    let document = fleet_identity::Document {
        instance: InstanceId::new(OWN),
        account: "123456789012".to_owned(),
        region: Region::new("eu-west-1"),
        image: Some("ami-1".to_owned()),
        instance_type: None,
        pending: Timestamp::EPOCH,
        private_ip: None,
    };
    Proved { document, pkcs7: "signed".to_owned(), life_cycle: None }
}

/// What the metadata service says: of each path a status and a text; 404 of all others.
type Documents = Arc<Mutex<BTreeMap<&'static str, (u16, String)>>>;

/// In place of a status: nobody answers.
const HANGS: u16 = 0;

/// A node that is proved, and its metadata service.
pub(crate) struct Bench {
    pub(crate) node: Arc<Node>,
    clock: SteppedClock,
    host: Arc<Paper>,
    documents: Documents,
    metadata: StandIn,
    /// The tasks that do not end by themselves: the part of the watch that is tested.
    lasting: usize,
    _place: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(settle: impl FnOnce(&mut Settings)) -> Self {
        let documents = Documents::default();
        let said = Arc::clone(&documents);
        let metadata = StandIn::start(move |asked| {
            if asked.method == "PUT" {
                return Plays::text("token");
            }
            let said = said.lock().expect("whole");
            let document = said.get(asked.path.trim_start_matches('/'));
            if document.is_some_and(|(status, _)| *status == HANGS) {
                return Plays::Hangs(Box::new(|| {}));
            }
            document
                .map_or(Plays::status(404), |(status, text)| Plays::Says(*status, Vec::new(), text.clone()))
        });
        let place = tempfile::tempdir().expect("a directory");
        let clock = SteppedClock::new(THEN);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let identity =
            IdentitySettings { endpoints: vec![metadata.address()], ..IdentitySettings::default() };
        let imds = Imds::new(&identity, Arc::clone(&shared)).expect("a client");
        let mut base = Settings { identity, ..Settings::default() };
        settle(&mut base);
        let directories = Directories {
            config: place.path().join("bootstrap.hcl"),
            state: place.path().join("state"),
            run: place.path().join("run"),
        };
        let host = Arc::<Paper>::default();
        let (node, ..) =
            Node::new(base, directories, shared, imds, Arc::clone(&host) as Arc<dyn Host>, Arc::new(NoAws));
        node.set_proved(proved());
        Self { node, clock, host, documents, metadata, lasting: 1, _place: place }
    }

    /// The metadata service says this of a document from now on; `None`: there is none.
    fn says(&self, path: &'static str, status: u16, text: &str) {
        self.documents.lock().expect("whole").insert(path, (status, text.to_owned()));
    }
    fn is_silent_of(&self, path: &'static str) {
        self.documents.lock().expect("whole").remove(path);
    }

    /// How often a document was asked for.
    fn looks(&self, path: &str) -> usize {
        self.metadata.times(&format!("GET /{path}"))
    }

    /// What root was asked for.
    fn asked(&self) -> Vec<String> {
        self.host.asked.lock().expect("whole").iter().map(ToString::to_string).collect()
    }

    /// Lets everybody go on, without time, until something holds.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waits = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waits).await;
        waited.unwrap_or_else(|_| panic!("waited for {what} at {:?}", self.clock.monotonic()));
    }

    /// Lets everybody go on until nobody is asked anything any more, and what came of it was taken in.
    ///
    /// Whatever is read or sent is a task of its own, and so is its connection. Once they have ended, whoever waits for them
    /// is before this one in the runtime's queue.
    async fn settle(&self) {
        let tasks = tokio::runtime::Handle::current();
        let waits = async {
            let mut quiet = 0;
            while quiet < 4 {
                tokio::task::yield_now().await;
                quiet = if tasks.metrics().num_alive_tasks() <= self.lasting { quiet + 1 } else { 0 };
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waits).await;
        waited.unwrap_or_else(|_| panic!("somebody is asked for ever at {:?}", self.clock.monotonic()));
    }

    /// Time goes by, in steps in which everybody does what is due.
    async fn pass(&self, long: Duration) {
        let end = self.clock.monotonic() + long;
        loop {
            self.settle().await;
            match self.clock.next_wake().filter(|wake| *wake <= end) {
                Some(wake) => self.clock.advance_to(wake),
                None => break,
            }
        }
        self.clock.advance_to(end);
        self.settle().await;
    }

    pub(crate) async fn seconds(&self, count: u64) {
        self.pass(Duration::from_secs(count)).await;
    }

    /// Lets so many seconds go by at most, until it is so: for what is looked at now and then.
    async fn within(&self, seconds: u64, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..seconds {
            if holds() {
                return;
            }
            self.seconds(1).await;
        }
        self.until(what, holds).await;
    }
}

/// How a process of the autoscaler behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Leads,
    StandsBy,
    Refuses(u16),
    Hangs,
    /// It knows who has come, and takes nobody else in.
    TakesNobodyIn,
}

/// A process of the autoscaler: it gives tokens with numbers, and takes the last one alone.
struct Process {
    server: StandIn,
    manner: Arc<Mutex<Manner>>,
    given_up: Arc<AtomicUsize>,
}

impl Process {
    /// * `lasts`: how long its tokens do.
    fn start(manner: Manner, lasts: Duration) -> Self {
        let manner = Arc::new(Mutex::new(manner));
        let given_up = Arc::<AtomicUsize>::default();
        let (shared, counted, given) = (Arc::clone(&manner), Arc::clone(&given_up), Mutex::new(0_u32));
        let server = StandIn::start(move |asked| {
            let manner = *shared.lock().expect("whole");
            let mut given = given.lock().expect("whole");
            if manner == Manner::Hangs {
                let counted = Arc::clone(&counted);
                return Plays::Hangs(Box::new(move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                }));
            }
            if asked.path == "/v1/identify" && manner == Manner::TakesNobodyIn {
                return Plays::status(503);
            }
            if asked.path == "/v1/identify" {
                *given += 1;
                return Plays::json(&json!({"token": format!("token-{given}"), "expires": THEN + lasts}));
            }
            if asked.header("authorization") != Some(format!("Bearer token-{given}").as_str()) {
                return Plays::status(401);
            }
            match manner {
                Manner::Refuses(status) => Plays::status(status),
                _ => answer(asked, manner == Manner::Leads),
            }
        });
        Self { server, manner, given_up }
    }

    fn turns(&self, manner: Manner) {
        *self.manner.lock().expect("whole") = manner;
    }
    /// How often somebody waited for it in vain.
    fn given_up(&self) -> usize {
        self.given_up.load(Ordering::Relaxed)
    }
    fn identified(&self) -> usize {
        self.server.times("POST /v1/identify")
    }
    fn notices(&self) -> Vec<Value> {
        let asked = self.server.asked().into_iter().filter(|asked| asked.path == "/v1/notices");
        asked.map(|asked| asked.json()["notices"].clone()).collect()
    }
    fn samples(&self) -> Vec<u64> {
        let asked = self.server.asked().into_iter().filter(|asked| asked.path == "/v1/samples");
        asked.filter_map(|asked| asked.json()["sequence"].as_u64()).collect()
    }
}

fn answer(asked: &Asked, leads: bool) -> Plays {
    let count = asked.json()["notices"].as_array().map_or(0, Vec::len);
    match asked.path.as_str() {
        "/v1/notices" => Plays::json(&json!({"accepted": count, "confirmed": count, "leader": leads})),
        "/v1/samples" => Plays::json(&json!({"accepted": 1})),
        _ => Plays::status(404),
    }
}

/// The autoscaler of these processes.
fn of(processes: &[&Process]) -> AutoscalerSettings {
    AutoscalerSettings {
        fleet: "web".to_owned(),
        addresses: processes.iter().map(|process| process.server.address()).collect(),
        service: None,
        ca_file: None,
        token_file: None,
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn who_looks_equally_often_wakes_at_once_and_a_client_is_kept_while_its_settings_are_the_same() {
    let millis = Duration::from_millis;
    for (now, every, next) in
        [(0, 1000, 1000), (1, 1000, 1000), (999, 1000, 1000), (1000, 1000, 2000), (29_001, 10_000, 30_000)]
    {
        assert_eq!(beat(millis(now), millis(every)), millis(next), "{now} {every}");
    }
    assert!(beat(millis(5), Duration::ZERO) > millis(5), "time goes on");

    let made = AtomicUsize::new(0);
    let mut kept = ClientOf(None);
    let of = |settings: &str| {
        let client = kept.of(&settings.to_owned(), |settings| match settings.as_str() {
            "bad" => Err(Failure::new(ErrorClass::Denied, "x")),
            _ => Ok(made.fetch_add(1, Ordering::Relaxed)),
        });
        client.ok()
    };
    let clients = ["a", "a", "b", "bad", "b", "a"].map(of);
    assert_eq!(clients, [Some(0), Some(0), Some(1), None, Some(1), Some(2)]);
}
