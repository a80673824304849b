//! What happened, and when.

use fleet::ports::Clock;
use fleet_clock::SystemClock;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The events so far. Copies are of the same.
#[derive(Clone)]
pub struct Timeline {
    clock: Arc<SystemClock>,
    begun: Duration,
    events: Arc<Mutex<Vec<Event>>>,
    boots: Arc<Mutex<Vec<Boot>>>,
    figures: Arc<Mutex<Vec<Figure>>>,
    ends: Arc<AtomicBool>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the beginning.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// A machine's way from its launch to work.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Whose.
    pub instance: String,
    /// From when it was switched on until it was ready.
    pub ready: Duration,
    /// The steps of its agent, and how long each took.
    pub steps: Vec<(String, Duration)>,
    /// From the agent's first step to its last one.
    pub agent: Duration,
}

impl Boot {
    /// How long a step took.
    pub fn step(&self, name: &str) -> Option<Duration> {
        self.steps.iter().find(|(step, _)| step == name).map(|(_, took)| *took)
    }
    /// What the agent took, without the playbook's own time.
    pub fn own(&self) -> Duration {
        self.agent.saturating_sub(self.step("awx").unwrap_or_default())
    }
}

/// Something that was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What.
    pub what: String,
    /// The value with its unit.
    pub value: String,
}

impl Timeline {
    /// Begins now.
    pub fn begin() -> Self {
        let clock = Arc::new(SystemClock::new());
        Self {
            begun: clock.monotonic(),
            clock,
            events: Arc::default(),
            boots: Arc::default(),
            figures: Arc::default(),
            ends: Arc::default(),
        }
    }

    /// How long it goes by now.
    pub fn now(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.begun)
    }

    /// Notes that something happened, and tells it.
    pub fn say(&self, what: &str) {
        let at = self.now();
        self.events.lock().expect("whole").push(Event { at, what: what.to_owned() });
        // Who does not look any more has the report.
        let _ = writeln!(std::io::stderr(), "{:7.1} s  {what}", at.as_secs_f64());
    }

    /// Whoever waits for something is to give up.
    pub fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }
    /// Whether that was said.
    pub fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Notes that a machine became ready.
    pub fn booted(&self, boot: Boot) {
        self.boots.lock().expect("whole").push(boot);
    }
    /// Notes what was measured.
    pub fn measured(&self, what: &str, value: String) {
        self.figures.lock().expect("whole").push(Figure { what: what.to_owned(), value });
    }
    /// All boots.
    pub fn boots(&self) -> Vec<Boot> {
        self.boots.lock().expect("whole").clone()
    }
    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        self.figures.lock().expect("whole").clone()
    }

    /// All of them, in order.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("whole").clone()
    }
}
