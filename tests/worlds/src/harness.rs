//! One loop of virtual time: the world, one engine (that may crash and be started again), its disk, its agents.

use crate::disk::Disk;
use crate::truth::Truth;
use autoscaler_core::Policy;
use autoscaler_engine::{
    Alarm, AlarmChange, Answer, BatchId, CallId, Command, CommandError, Config, Effect, Engine, Event,
    FailingOperation, FleetStatus, Now, Order, Read, Replayed, State, Write, replay,
};
use autoscaler_policy::{CloudwatchPolicy, FleetPolicy, SourcePolicy};
use fleet::wire::{AgentSample, SampleBatch};
use fleet::{Backend, FleetId, FleetName, InstanceId, Region, Timestamp};
use fleet_sim::{Demand, FleetRequest, FleetSpec, FleetTruth, World, WorldSpec};
use std::collections::BTreeMap;
use std::time::Duration;

/// The engine's name among the world's callers.
pub const CALLER: &str = "muster";
/// How long a call takes where no fault says otherwise.
const LATENCY: Duration = Duration::from_millis(40);
/// How long a process takes to be back.
const RESTART: Duration = Duration::from_secs(2);

/// 2026-03-02T00:00:00Z: a Monday.
pub fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T00:00:00Z").expect("a time")
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn minutes(minutes: u64) -> Duration {
    secs(minutes * 60)
}

/// Changes what agents send: one call's samples at a time.
pub type Tamper = Box<dyn FnMut(&mut Vec<(InstanceId, AgentSample)>)>;
/// Changes what calls are answered.
pub type TamperAnswer = Box<dyn FnMut(&mut Answer)>;

pub struct Harness {
    pub world: World,
    pub engine: Option<Engine>,
    pub config: Config,
    pub policies: Vec<FleetPolicy>,
    pub disk: Disk,
    pub truth: Truth,
    /// Whether agents push.
    pub push: bool,
    pub tamper: Option<Tamper>,
    pub tamper_answer: Option<TamperAnswer>,
    pub alarms: Vec<AlarmChange>,
    /// What the wall clock shows beyond the world's time, in milliseconds.
    pub wall_off: i64,
    /// Effects that were begun, and the one before which the process dies.
    pub effects: u64,
    pub dies_at: Option<u64>,
    /// How many effects each process lives for.
    pub dies_every: Option<u64>,
    pub crashes: u32,
    pub stopped: bool,
    /// A region whose calls are never answered.
    pub silent_region: Option<Region>,
    /// When the running process was started: monotonic time counts from here.
    booted: Timestamp,
    wake: Option<Timestamp>,
    restart_at: Option<Timestamp>,
    answers: BTreeMap<(Timestamp, u64), (CallId, Answer, Timestamp)>,
    number: u64,
    heard: Timestamp,
    sequences: BTreeMap<InstanceId, u64>,
}

/// A Spot Fleet of four pools and three families, `initial` instances in service, and what it has to serve.
pub fn fleet(initial: u32, load: Demand) -> FleetSpec {
    FleetSpec { initial: Some(initial), load, ..FleetSpec::default() }
}

/// A world of some fleets.
pub fn world(fleets: Vec<FleetSpec>) -> WorldSpec {
    WorldSpec { fleets, ..WorldSpec::default() }
}

/// An EC2 Fleet in place of a Spot Fleet.
pub fn ec2(spec: FleetSpec) -> FleetSpec {
    FleetSpec { request: FleetRequest { backend: Backend::Ec2Fleet, ..spec.request }, ..spec }
}

impl Harness {
    /// A world, and a policy with defaults for each of its fleets: `fleet-0`, `fleet-1`, …
    pub fn new(spec: WorldSpec, seed: u64) -> Self {
        let region: Region = spec.region.clone();
        let world = World::new(spec, seed, start());
        let policies = world
            .fleets()
            .into_iter()
            .enumerate()
            .map(|(index, fleet)| FleetPolicy::of(FleetName::new(format!("fleet-{index}")), fleet.id));
        let policies = policies.collect();
        Self {
            world,
            engine: None,
            config: Config { region: Some(region), backfill: Duration::ZERO, ..Config::default() },
            policies,
            disk: Disk::default(),
            truth: Truth::default(),
            push: true,
            tamper: None,
            tamper_answer: None,
            alarms: Vec::new(),
            wall_off: 0,
            effects: 0,
            dies_at: None,
            dies_every: None,
            crashes: 0,
            stopped: false,
            silent_region: None,
            booted: start(),
            wake: None,
            restart_at: Some(start()),
            answers: BTreeMap::new(),
            number: 0,
            heard: start(),
            sequences: BTreeMap::new(),
        }
    }

    /// The same with another policy for every fleet.
    pub fn policy(mut self, change: impl Fn(&mut Policy)) -> Self {
        self.policies.iter_mut().for_each(|policy| change(&mut policy.base));
        self
    }

    /// Utilisation from CloudWatch alone: nobody pushes.
    pub fn cloudwatch_only(mut self) -> Self {
        self.push = false;
        for policy in &mut self.policies {
            policy.sources = vec![SourcePolicy::Cloudwatch(CloudwatchPolicy::of(policy.backend))];
        }
        self
    }

    pub fn id(&self, fleet: usize) -> FleetId {
        self.world.fleets()[fleet].id.clone()
    }

    pub fn name(&self, fleet: usize) -> FleetName {
        self.policies[fleet].name.clone()
    }

    pub fn truth_of(&self, fleet: usize) -> FleetTruth {
        self.world.truth(&self.id(fleet)).expect("the fleet exists")
    }

    pub fn status(&self, fleet: usize) -> FleetStatus {
        let engine = self.engine.as_ref().expect("a process runs");
        engine.fleet_status(&self.name(fleet), self.now()).expect("the fleet is held")
    }

    /// Time since the start of the world.
    pub fn elapsed(&self) -> Duration {
        self.world.now().since(start())
    }

    pub fn now(&self) -> Now {
        let wall = Timestamp::from_millis(self.world.now().millis() + self.wall_off);
        Now { wall, monotonic: self.world.now().since(self.booted) }
    }

    /// The first process is started only so long after the start of the world.
    pub fn start_late(&mut self, after: Duration) {
        self.restart_at = Some(start() + after);
        self.heard = start() + after;
        self.world.advance(start() + after);
    }

    /// Lets time pass until so long after the start.
    pub fn run_until(&mut self, until: Duration) {
        let until = start() + until;
        while self.world.now() < until {
            self.step(until);
        }
    }

    /// On to the next thing that happens, and lets it happen.
    fn step(&mut self, until: Timestamp) {
        let now = self.world.now();
        // Agents speak a second after the end of each step.
        let speaks = now.floor(secs(10)) + secs(1);
        let speaks = if speaks > now { speaks } else { speaks + secs(10) };
        let answer = self.answers.first_key_value().map(|((at, _), _)| *at);
        let engine = self.engine.as_ref().and(self.wake);
        let next = [Some(until), Some(speaks), answer, engine, self.disk.next(), self.restart_at];
        let next = next.into_iter().flatten().min().expect("there is an end").max(now);
        self.world.advance(next);
        if self.restart_at.is_some_and(|at| at <= next) {
            self.restart();
        }
        if self.wake.is_some_and(|at| at <= next) {
            self.wake = None;
            self.happen(Event::Timer);
        }
        while let Some((batch, result)) = self.disk.write(next) {
            self.happen(Event::Recorded { batch, result });
        }
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= next) {
            let (call, answer, asked) = entry.remove();
            self.truth.answered(&answer, asked);
            self.happen(Event::Answered { call, answer });
        }
        if self.heard + secs(11) <= next {
            self.speak();
        }
        self.truth.watch(&self.world, &self.policies);
    }

    /// Something happens to the engine, and what it wants is begun; unless there is no process.
    pub fn happen(&mut self, event: Event) {
        let now = self.now();
        let Some(engine) = &mut self.engine else { return };
        let effects = engine.handle(event, now);
        self.begin(effects);
    }

    pub fn begin(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects += 1;
            if self.dies_at == Some(self.effects) {
                self.die();
                return;
            }
            self.begin_one(effect);
        }
    }

    fn begin_one(&mut self, effect: Effect) {
        let now = self.world.now();
        match effect {
            Effect::Read { region, .. } if self.silent_region == Some(region.clone()) => {}
            Effect::Read { call, read, region: _ } => {
                let (answer, latency) = self.read(read);
                self.answer_later(call, answer, latency);
            }
            Effect::Write { call, write, permit, region: _ } => {
                let monotonic = now.since(self.booted);
                assert!(monotonic <= permit.not_after, "a write was handed out with its permit run out");
                self.truth.clock_is_wrong = self.wall_off != 0;
                self.truth.judge(&self.world, &self.policies, &write);
                let (answer, latency) = self.write(write);
                self.answer_later(call, answer, latency);
            }
            Effect::Record { batch, durable, entries, ledgers: _ } => {
                self.disk.take(batch, durable, &entries, now);
            }
            Effect::Acknowledge { .. } => {}
            Effect::WakeAt { at } => self.wake = Some(self.booted + at),
            Effect::Alarm(change) => self.alarms.push(change),
            Effect::Stopped => self.stopped = true,
        }
    }

    fn answer_later(&mut self, call: CallId, mut answer: Answer, latency: Duration) {
        if let Some(tamper) = &mut self.tamper_answer {
            tamper(&mut answer);
        }
        self.number += 1;
        self.answers
            .insert((self.world.now() + LATENCY + latency, self.number), (call, answer, self.world.now()));
    }

    fn read(&mut self, read: Read) -> (Answer, Duration) {
        crate::shell::read(&mut self.world, read)
    }

    fn write(&mut self, write: Write) -> (Answer, Duration) {
        crate::shell::write(&mut self.world, write)
    }

    /// The process dies: what it knew is gone, what it began goes on.
    pub fn die(&mut self) {
        self.conclude_process();
        self.engine = None;
        self.wake = None;
        self.answers.clear();
        if self.disk.full {
            // What was written to the fleet lately, nobody will know.
            self.truth.forgotten_until = Some(self.world.now() + minutes(3));
        }
        self.disk.crash();
        self.crashes += 1;
        self.restart_at = Some(self.world.now() + RESTART);
    }

    fn restart(&mut self) {
        self.restart_at = None;
        self.booted = self.world.now();
        if let Some(every) = self.dies_every {
            self.dies_at = Some(self.effects + every);
        }
        // A wall clock may be right again after a boot, or wrong in another way; monotonic time begins anew.
        self.engine = Some(Engine::new(self.config.clone(), self.disk.entries()));
        self.happen(Event::PoliciesLoaded(self.policies.clone()));
    }

    /// The policies are read again.
    pub fn reload(&mut self) {
        self.happen(Event::PoliciesLoaded(self.policies.clone()));
    }

    /// Agents send what they have.
    fn speak(&mut self) {
        let mut samples = Vec::new();
        self.world.agent_samples(self.heard, &mut samples);
        if let Some(newest) = samples.iter().map(|(_, sample)| sample.end_ms).max() {
            self.heard = newest;
        }
        if !self.push {
            return;
        }
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut samples);
        }
        for (instance, sample) in samples {
            self.send(&instance, vec![sample]);
        }
    }

    /// One agent sends a batch.
    pub fn send(&mut self, instance: &InstanceId, samples: Vec<AgentSample>) {
        let now = self.now();
        let sequence = self.sequences.entry(instance.clone()).or_default();
        let batch = SampleBatch { version: 1, instance: instance.clone(), sequence: *sequence, samples };
        *sequence += 1;
        if let Some(newest) = batch.samples.iter().map(|sample| sample.end_ms).max() {
            self.truth.heard(instance, newest.min(self.world.now()));
        }
        let Some(peer) = self.world.private_address(instance) else { return };
        let Some(engine) = &mut self.engine else { return };
        let (_, effects) = engine.accept_samples(peer, &batch, now);
        self.begin(effects);
    }

    /// An operator orders.
    pub fn order(&mut self, fleet: usize, order: Order) -> Result<BatchId, CommandError> {
        let (fleet, now) = (Some(self.name(fleet)), self.now());
        let command = Command { fleet, order, by: "ann".to_owned(), reason: "a test".to_owned() };
        let engine = self.engine.as_mut().expect("a process runs");
        let (answer, effects) = engine.operate(command, now);
        self.begin(effects);
        answer
    }

    /// A fleet's state as a new process would find it.
    pub fn disk_state(&self, fleet: usize) -> State {
        let name = self.name(fleet);
        let mut state = State::default();
        for entry in self.disk.entries().filter(|entry| entry.fleet == name) {
            entry.records.iter().for_each(|record| state.apply(record));
        }
        state
    }

    /// Whether a write of a fleet has been sent and not been answered.
    pub fn is_writing(&self, fleet: usize) -> bool {
        self.status(fleet).writing.is_some_and(|writing| writing.operation != "journal")
    }

    /// How many calls to terminate there were.
    pub fn truth_terminations(&self) -> usize {
        self.truth.termination_calls
    }

    /// Whether any instance was told to go more than once.
    pub fn terminated_twice(&self) -> bool {
        self.truth.terminations.values().any(|times| *times > 1)
    }

    /// Whether an alarm of a label was ever raised.
    pub fn was_raised(&self, label: &str) -> bool {
        self.alarms.iter().any(|change| change.raised && change.alarm.label() == label)
    }

    /// The alarms that are raised now.
    pub fn raised(&self) -> Vec<Alarm> {
        let engine = self.engine.as_ref().expect("a process runs");
        let status = engine.status(self.now());
        let of_fleets = status.fleets.into_iter().flat_map(|fleet| fleet.alarms);
        status.alarms.into_iter().chain(of_fleets).map(|active| active.alarm).collect()
    }

    /// The operations that fail now.
    pub fn failing(&self) -> Vec<FailingOperation> {
        let engine = self.engine.as_ref().expect("a process runs");
        engine.status(self.now()).failing
    }

    /// Plans everything on the disk again.
    pub fn replayed(&self) -> Replayed {
        replay(self.disk.entries(), self.config.planner)
    }

    /// What must hold at the end of every world: the checker refused nothing, nothing panicked, the truth has no
    /// complaints, and the journal replays.
    pub fn conclude(&mut self) {
        self.truth.assert_clean();
        self.conclude_process();
        self.conclude_replay();
    }

    /// What must hold at the end of every process, that which dies included.
    fn conclude_process(&self) {
        if let Some(engine) = &self.engine {
            let metrics = engine.metrics();
            let how = self.alarms.iter().filter(|change| change.alarm.label() == "refused");
            let how: Vec<_> = how.collect();
            assert!(metrics.breaches.is_empty(), "the checker refused: {:?} {how:?}", metrics.breaches);
            assert_eq!(metrics.panics, 0);
        }
    }

    /// The journal comes to the same plans again.
    pub fn conclude_replay(&self) {
        let replayed = self.replayed();
        let first = replayed.divergences.first();
        assert!(first.is_none(), "{} divergences, first {first:?}", replayed.divergences.len());
    }
}
