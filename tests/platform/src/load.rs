//! Somebody who asks the service all the time, and finds it by its name.

use crate::timeline::Timeline;
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use muster_test_servers::request;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The service's name in Consul's DNS.
const NAME: &str = "web.service.consul.";
/// The secrets that it is given, one after the other, and tells.
const SECRETS: [&str; 2] = ["first", "second"];
/// How many ask at once, at the most.
const ASKERS: u64 = 12;
/// Requests a second, all the time, that cost the service next to nothing: no gap of a tenth of a second is missed.
const PULSE: f64 = 10.0;
/// How many of these are under way at once, at the most.
const PULSES: u64 = 4;
/// How far ahead anybody plans to ask.
const LOOKS_AGAIN: Duration = Duration::from_millis(200);
/// How old what was looked up may be.
const FRESH: Duration = Duration::from_millis(200);

/// The load. Dropped, nobody asks any more.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    clock: SystemClock,
    timeline: Timeline,
    work: Line,
    pulse: Line,
    known: Mutex<(Option<Duration>, Vec<SocketAddr>)>,
    failed: Mutex<Vec<String>>,
    /// Which secret each of the service has told last, by its number.
    told: Mutex<BTreeMap<SocketAddr, usize>>,
    ends: AtomicBool,
}

/// Requests of a kind, one after the other.
struct Line {
    path: &'static str,
    /// Requests in a thousand seconds.
    rate: AtomicU64,
    next: Mutex<Duration>,
    asked: AtomicU64,
    /// Whether an answer has to tell a secret in its second line.
    tells: bool,
}

impl Line {
    fn new(path: &'static str, rate: f64, begun: Duration, tells: bool) -> Self {
        let line = Self {
            path,
            rate: AtomicU64::default(),
            next: Mutex::new(begun),
            asked: AtomicU64::default(),
            tells,
        };
        line.set(rate);
        line
    }
    fn set(&self, rate: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few a second")]
        self.rate.store((rate * 1000.0) as u64, Ordering::Relaxed);
    }
    /// How long it is until the next turn, which is taken; `None`: that is too far ahead.
    fn turn(&self, now: Duration) -> Option<Duration> {
        let mut next = self.next.lock().expect("whole");
        // What could not be asked in time is not made up for.
        let at = (*next).max(now);
        if at > now + LOOKS_AGAIN {
            return None;
        }
        *next = at + Duration::from_micros(1_000_000_000 / self.rate.load(Ordering::Relaxed).max(1));
        Some(at.saturating_sub(now))
    }
}

/// How it went so far.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many requests were answered or failed.
    pub asked: u64,
    /// Those that failed, and how.
    pub failed: Vec<String>,
}

impl Load {
    /// Begins with so many requests a second that cost work, beside those that cost none.
    pub fn start(names: &Arc<Names>, rate: f64, timeline: &Timeline) -> Self {
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        let shared = Arc::new(Shared {
            clock,
            timeline: timeline.clone(),
            work: Line::new("/cgi-bin/work", rate, begun, true),
            pulse: Line::new("/health", PULSE, begun, false),
            known: Mutex::default(),
            failed: Mutex::default(),
            told: Mutex::default(),
            ends: AtomicBool::default(),
        });
        let asker = |number| {
            let (shared, names) = (Arc::clone(&shared), Arc::clone(names));
            thread::spawn(move || {
                while !shared.ends.load(Ordering::Relaxed) {
                    shared.ask(&names, if number < ASKERS { &shared.work } else { &shared.pulse });
                }
            })
        };
        let threads = (0..ASKERS + PULSES).map(asker).collect();
        Self { shared, threads }
    }

    /// From now on so many requests a second that cost work.
    pub fn set(&self, rate: f64) {
        self.shared.work.set(rate);
    }

    /// How it went so far.
    pub fn tally(&self) -> Tally {
        let failed = self.shared.failed.lock().expect("whole").clone();
        let asked = |line: &Line| line.asked.load(Ordering::Relaxed);
        Tally { asked: asked(&self.shared.work) + asked(&self.shared.pulse), failed }
    }

    /// Whether each of these has told the newest secret.
    pub fn tell_the_newest(&self, places: &[SocketAddr]) -> bool {
        let told = self.shared.told.lock().expect("whole");
        places.iter().all(|place| told.get(place) == Some(&(SECRETS.len() - 1)))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Waits for its turn, and asks.
    fn ask(&self, names: &Names, line: &Line) {
        let wait = line.turn(self.clock.monotonic());
        // The rate may be another one by then.
        thread::sleep(wait.unwrap_or(LOOKS_AGAIN));
        if wait.is_none() {
            return;
        }
        let places = self.places(names);
        let asked = line.asked.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(asked).unwrap_or_default() % places.len().max(1);
        let failure = match places.get(at) {
            None => Some("nobody is healthy".to_owned()),
            Some(place) => match request(*place, "GET", line.path, &[], "") {
                Ok(answer) if answer.status == 200 && !line.tells => None,
                // Its version, and the secret that it has of Vault.
                Ok(answer) if answer.status == 200 => match answer.body.lines().nth(1).and_then(number) {
                    Some(secret) => {
                        self.told.lock().expect("whole").insert(*place, secret);
                        None
                    }
                    None => Some(format!("{place} tells no secret: {answer:?}")),
                },
                other => Some(format!("{place}: {other:?}")),
            },
        };
        if let Some(failure) = &failure {
            self.timeline.say(&format!("a request failed: {failure}; healthy are {places:?}"));
        }
        self.failed.lock().expect("whole").extend(failure);
    }

    /// Where the service is healthy.
    fn places(&self, names: &Names) -> Vec<SocketAddr> {
        let mut known = self.known.lock().expect("whole");
        let now = self.clock.monotonic();
        if known.0.is_none_or(|at| at + FRESH < now) {
            *known = (Some(now), names.healthy());
        }
        known.1.clone()
    }
}

/// Which secret that is.
fn number(word: &str) -> Option<usize> {
    SECRETS.iter().position(|secret| *secret == word)
}

/// What Consul's DNS says.
pub struct Names {
    resolver: TokioResolver,
    runtime: tokio::runtime::Runtime,
}

impl Names {
    /// * `dns`: where Consul answers. By TCP: an answer by UDP has the first few alone.
    pub fn of(dns: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut connection = ConnectionConfig::tcp();
        connection.port = dns.port();
        let server = NameServerConfig::new(dns.ip(), true, vec![connection]);
        let mut options = ResolverOpts::default();
        options.cache_size = 0;
        let config = ResolverConfig::from_name_servers(vec![server]);
        let built = {
            let _inside = runtime.enter();
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()
        };
        Self { resolver: built.expect("a resolver"), runtime }
    }

    /// Where the service is healthy: its SRV records, with the addresses that come beside them. Nowhere, where nobody is, or
    /// Consul gives no answer.
    pub fn healthy(&self) -> Vec<SocketAddr> {
        let Ok(answer) = self.runtime.block_on(self.resolver.srv_lookup(NAME)) else { return Vec::new() };
        let address = |target: &_| {
            let mut beside = answer.additionals().iter().filter(|record| record.name == *target);
            beside.find_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                _ => None,
            })
        };
        let place = |data: &RData| match data {
            RData::SRV(service) => Some(SocketAddr::new(address(&service.target)?, service.port)),
            _ => None,
        };
        answer.answers().iter().filter_map(|record| place(&record.data)).collect()
    }
}
