//! A simulator of somebody else's: it knows the drive by its format alone.
//!
//! It is asked for a line when the one before has been answered, and takes the answer in when it is flushed: so a
//! drive that does not answer line by line gets no further.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{self, BufRead, Read, Write};
use std::rc::Rc;

/// Seconds between two observations.
pub const STEP: f64 = 10.0;
/// From request to serving.
const BOOT: f64 = 120.0;
const POOLS: [&str; 4] =
    ["m5.large/eu-west-1a", "c5.large/eu-west-1b", "m5.large/eu-west-1b", "c5.large/eu-west-1a"];

/// How the world behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The length of a sample, in steps; it is seen as late as it is long, but a single step at once.
    pub sample_steps: usize,
    /// How long an instance that is told to go is seen draining before it is gone.
    pub drain: f64,
}

/// What came of it, from the third hour on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub steps: u32,
    pub above_80: u32,
    pub served: f64,
    pub capacity: f64,
    pub dropped: f64,
    pub removed: u32,
    pub changes: u32,
}

struct Instance {
    id: String,
    pool: &'static str,
    requested: f64,
    draining: Option<f64>,
}

impl Instance {
    fn state(&self, now: f64) -> (&'static str, f64) {
        match self.draining {
            Some(since) => ("draining", since),
            None if now >= self.requested + BOOT => ("in_service", self.requested + BOOT),
            None if now >= self.requested + 30.0 => ("booting", self.requested + 30.0),
            None => ("requested", self.requested),
        }
    }
    fn serves(&self, now: f64) -> bool {
        self.state(now).0 == "in_service"
    }
}

/// A fleet of instances of weight 1 that works off a demand.
pub struct World {
    manners: Manners,
    demand: Vec<f64>,
    step: usize,
    target: usize,
    instances: Vec<Instance>,
    launched: usize,
    queue: f64,
    /// (served, capacity, offered) of the steps of the sample that is growing.
    window: Vec<(f64, f64, f64)>,
    /// Samples on their way, by the step in which they are seen first.
    late: Vec<(usize, Value)>,
    pub tally: Tally,
}

impl World {
    pub fn new(manners: Manners, demand: Vec<f64>) -> Self {
        let mut world = Self {
            manners,
            step: 0,
            target: (demand[0] / 0.75).ceil() as usize,
            demand,
            instances: Vec::new(),
            launched: 0,
            queue: 0.0,
            window: Vec::new(),
            late: Vec::new(),
            tally: Tally::default(),
        };
        world.buy(-3600.0);
        world
    }

    fn now(&self) -> f64 {
        self.step as f64 * STEP
    }

    /// A fleet of type `maintain` buys what its target misses.
    fn buy(&mut self, now: f64) {
        while self.instances.iter().filter(|i| i.draining.is_none()).count() < self.target {
            let pool = POOLS[self.launched % POOLS.len()];
            self.launched += 1;
            let id = format!("i-{}", self.launched);
            self.instances.push(Instance { id, pool, requested: now, draining: None });
        }
    }

    /// Works for a step, and says what is to be seen at its end; `None` when the demand has ended.
    fn observe(&mut self) -> Option<Value> {
        let demand = *self.demand.get(self.step)?;
        let serving = self.instances.iter().filter(|i| i.serves(self.now())).count() as f64;
        self.step += 1;
        let now = self.now();
        self.instances.retain(|i| i.draining.is_none_or(|since| now < since + self.manners.drain));
        self.work(demand, serving);
        self.measure();
        let due = |(seen, _): &(usize, Value)| *seen <= self.step;
        let seen: Vec<Value> = self.late.iter().filter(|late| due(late)).map(|(_, s)| s.clone()).collect();
        self.late.retain(|(at, _)| *at > self.step);
        let instances: Vec<Value> = self
            .instances
            .iter()
            .map(|i| {
                let (state, since) = i.state(now);
                json!({"id": i.id, "pool": i.pool, "weight": 1, "state": state, "since": since})
            })
            .collect();
        Some(json!({
            "t": now, "fleet": "web", "target": self.target, "instances": instances, "samples": seen,
            "notices": [],
        }))
    }

    fn work(&mut self, demand: f64, serving: f64) {
        let offered = self.queue + demand * STEP;
        let served = offered.min(serving * STEP);
        self.queue = offered - served;
        let dropped = (self.queue - 30.0 * serving).max(0.0);
        self.queue -= dropped;
        self.window.push((served, serving * STEP, offered));
        if self.now() > 7200.0 {
            self.tally.steps += 1;
            self.tally.above_80 += u32::from(demand > 0.8 * serving);
            self.tally.served += served;
            self.tally.capacity += serving * STEP;
            self.tally.dropped += dropped;
        }
    }

    fn measure(&mut self) {
        if self.window.len() < self.manners.sample_steps {
            return;
        }
        let (served, capacity, offered) =
            self.window.drain(..).fold((0.0, 0.0, 0.0), |(s, c, o), w| (s + w.0, c + w.1, o + w.2));
        let steps = self.manners.sample_steps;
        let period = steps as f64 * STEP;
        let mut sample = json!({
            "end": self.now(), "period": period, "capacity": capacity / period, "utilization": served / capacity,
        });
        if steps == 1 {
            sample["load"] = json!(offered / capacity);
        }
        let late = if steps == 1 { 0 } else { steps };
        self.late.push((self.step + late, sample));
    }

    /// Does as it is told: the target first, then whoever is to go.
    fn obey(&mut self, answer: &Value) {
        assert!(answer.get("error").is_none(), "{answer}");
        assert_eq!(answer["t"].as_f64(), Some(self.now()), "{answer}");
        let now = self.now();
        let target = answer["target"].as_u64().expect("a target") as usize;
        self.tally.changes += u32::from(target != self.target);
        self.target = target;
        for id in answer["remove"].as_array().expect("a list") {
            let named = |i: &&mut Instance| Some(i.id.as_str()) == id.as_str();
            let victim = self.instances.iter_mut().find(named).expect("one of those that were shown");
            assert_eq!(victim.draining, None, "told twice: {answer}");
            victim.draining = Some(now);
            self.tally.removed += 1;
        }
        let staying = self.instances.iter().filter(|i| i.draining.is_none()).count();
        let told = answer["remove"].as_array().is_some_and(|remove| !remove.is_empty());
        assert!(!told || staying >= self.target, "the fleet would buy replacements: {answer}");
        self.instances.retain(|i| i.draining.is_none() || self.manners.drain > 0.0);
        self.buy(now);
    }
}

/// The world's end of the line.
pub struct Mouth {
    world: Rc<RefCell<World>>,
    line: Vec<u8>,
    at: usize,
}

/// The world's other end.
pub struct Ear {
    world: Rc<RefCell<World>>,
    heard: Vec<u8>,
}

/// Both ends of a world.
pub fn ends(world: &Rc<RefCell<World>>) -> (Mouth, Ear) {
    let mouth = Mouth { world: Rc::clone(world), line: Vec::new(), at: 0 };
    (mouth, Ear { world: Rc::clone(world), heard: Vec::new() })
}

impl Read for Mouth {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Mouth {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.line.len() {
            self.at = 0;
            self.line.clear();
            if let Some(seen) = self.world.borrow_mut().observe() {
                self.line = format!("{seen}\n").into_bytes();
            }
        }
        Ok(&self.line[self.at..])
    }
    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let lines: Vec<&[u8]> = self.heard.split_inclusive(|b| *b == b'\n').collect();
        assert_eq!(lines.len(), 1, "one answer at a time");
        let answer = serde_json::from_slice(lines[0]).expect("an answer is JSON");
        self.world.borrow_mut().obey(&answer);
        self.heard.clear();
        Ok(())
    }
}
