//! One of several processes that want to lead: as little of a daemon as it takes. It "writes" whenever it may.
//!
//! `contender ADDRESS TOKEN_FILE NAME LOG` contends until SIGTERM, then resigns. A line of LOG is
//! `MILLISECONDS write TERM` for each write that it began, and `MILLISECONDS ROLE TERM` when its role changed;
//! milliseconds are wall time. TOKEN_FILE may be `-`.

use autoscaler_consul::{Consul, Options};
use autoscaler_leader::{Effect, Elector, Event, Fence, Role, Term};
use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Writes are tried this often.
const EVERY: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, token_file, name, log] = &arguments[..] else {
        panic!("usage: contender ADDRESS TOKEN_FILE NAME LOG");
    };
    let clock = SystemClock::new();
    let mut options = Options::new(address, &format!("{name}-{}", std::process::id()));
    options.token_file = (token_file != "-").then(|| PathBuf::from(token_file));
    let consul = Consul::new(options).expect("options make sense");
    let elector = Elector::contender();
    let term = Arc::new(AtomicU64::new(0));
    tokio::spawn(write(elector.fence(), clock, open(log.as_ref()), Arc::clone(&term)));
    decide(elector, consul, clock, open(log.as_ref()), &term).await;
}

fn open(log: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(log).expect("a log")
}

/// The deciding loop: events in, effects out.
async fn decide(mut elector: Elector, consul: Consul, clock: SystemClock, mut log: File, terms: &AtomicU64) {
    let mut terminated = signal(SignalKind::terminate()).expect("signals");
    let (answers_in, mut answers) = mpsc::unbounded_channel();
    let mut wake = clock.monotonic();
    loop {
        let event = tokio::select! {
            Some(event) = answers.recv() => event,
            () = clock.sleep_until(wake) => Event::Timer,
            _ = terminated.recv() => Event::Resign,
        };
        let now = clock.monotonic();
        // Until the next effect says otherwise.
        wake = now + Duration::from_secs(1);
        for effect in elector.handle(event, now) {
            match effect {
                Effect::Call { call, request } => {
                    let (consul, answers) = (consul.clone(), answers_in.clone());
                    tokio::spawn(async move {
                        let answer = consul.answer(&request).await;
                        // An error says that the loop has ended.
                        let _ = answers.send(Event::Answered { call, answer });
                    });
                }
                Effect::WakeAt { at } => wake = at,
                Effect::Became(role) => {
                    let term = match role {
                        Role::Leader { term: Term(term) } | Role::Lost { term: Term(term) } => term,
                        Role::Standby { .. } | Role::Resigned => 0,
                    };
                    terms.store(term, Ordering::Relaxed);
                    writeln!(log, "{} {} {term}", clock.wall().millis(), role.label()).expect("a log");
                }
                Effect::Resigned => return,
            }
        }
    }
}

/// Somebody else, who knows nothing but the fence.
async fn write(fence: Fence, clock: SystemClock, mut log: File, term: Arc<AtomicU64>) {
    loop {
        let at = clock.wall().millis();
        if fence.may_write(clock.monotonic()) {
            writeln!(log, "{at} write {}", term.load(Ordering::Relaxed)).expect("a log");
        }
        clock.sleep_until(clock.monotonic() + EVERY).await;
    }
}
