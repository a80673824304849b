//! One world and several autoscalers: a lock and a ledger that they share, a queue that the leader reads, Nomad, and
//! agents who tell all of them. Processes die, freeze and come back.

use crate::chance::Chance;
use crate::disk::Disk;
use crate::harness::{secs, start};
use crate::nomad::Nomad;
use crate::truth::Truth;
use autoscaler_core::{DrainBy, Policy};
use autoscaler_engine::{
    Answer, BatchId, CallId, Config, Effect, Engine, Event, FleetDelta, Ledger, NotSent, Now, Read, Record,
    Write, replay,
};
use autoscaler_policy::FleetPolicy;
use fleet::wire::{AgentNotice, NoticeBatch, SampleBatch};
use fleet::{
    ApiError, ErrorClass, FleetId, FleetName, InstanceId, MessageId, News, Notice, NoticeKind, NoticeSource,
    Region, Timestamp,
};
use fleet_sim::{EventKind, FleetTruth, InstanceTruth, RecordType, World, WorldEvent, WorldSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(40);
const RESTART: Duration = Duration::from_secs(2);
/// A leader proves itself this often, ...
const PROVES: Duration = Duration::from_secs(2);
/// ... a proof allows writes for so long, ...
const LEASE: Duration = Duration::from_secs(4);
/// ... and the lock is another's after so long without one.
const LOCK: Duration = Duration::from_secs(10);
/// A message that was not deleted comes again.
const VISIBILITY: Duration = Duration::from_secs(30);
/// A call of an engine's that has a fault.
pub type Spoil = Box<dyn FnMut(&Write) -> Option<Answer>>;

/// One autoscaler.
pub struct Process {
    pub engine: Option<Engine>,
    pub disk: Disk,
    pub acknowledged: usize,
    pub fenced: usize,
    pub writes: usize,
    booted: Timestamp,
    wake: Option<Timestamp>,
    restart_at: Option<Timestamp>,
    answers: BTreeMap<(Timestamp, u64), (CallId, Answer)>,
    ledgers: BTreeMap<BatchId, Vec<(FleetName, Box<Ledger>)>>,
    frozen: bool,
    /// What was to be begun when it froze.
    kept: Vec<Effect>,
    proves: Timestamp,
    lease: Option<Timestamp>,
}

/// All of it.
pub struct Cluster {
    pub world: World,
    pub nomad: Nomad,
    pub processes: Vec<Process>,
    pub policies: Vec<FleetPolicy>,
    pub config: Config,
    pub truth: Truth,
    /// What agents tell: each instance's notices, at most once every five seconds.
    pub agents_tell: bool,
    pub queue_tells: bool,
    /// How often each message is delivered beyond once, and how late.
    pub duplicates: u64,
    pub late: Duration,
    /// Effects of all processes, and the one before which a process dies.
    pub effects: u64,
    pub dies_at: Option<u64>,
    /// The effect before which the process that wants it freezes.
    pub freezes_at: Option<u64>,
    pub crashes: u32,
    /// Who died or froze last.
    pub last: Option<usize>,
    pub spoil: Option<Spoil>,
    pub complaints: Vec<String>,
    /// Who dies does not come back.
    pub stays_dead: bool,
    ledger: BTreeMap<FleetName, Ledger>,
    lock: Option<(usize, Timestamp)>,
    queue: BTreeMap<(Timestamp, u64), (MessageId, Vec<News>)>,
    acknowledged: BTreeSet<MessageId>,
    place: u64,
    number: u64,
    heard: Timestamp,
    told: Timestamp,
    followed: Timestamp,
    sequence: u64,
    chance: Chance,
}

impl Cluster {
    /// A world with so many autoscalers, and a policy with a drain by Nomad for each of its fleets.
    pub fn new(spec: WorldSpec, seed: u64, processes: usize) -> Self {
        let region: Region = spec.region.clone();
        let world = World::new(spec, seed, start());
        let fleets = world.fleets().into_iter().enumerate();
        let policies = fleets.map(|(index, fleet)| {
            let mut policy = FleetPolicy::of(FleetName::new(format!("fleet-{index}")), fleet.id);
            policy.base.drain.by = DrainBy::Nomad;
            policy
        });
        let policies: Vec<FleetPolicy> = policies.collect();
        let config = Config {
            region: Some(region),
            backfill: Duration::ZERO,
            nomad: true,
            lease_needed: processes > 1,
            shared_ledger: processes > 1,
            ..Config::default()
        };
        let process = |index: u64| Process {
            engine: None,
            disk: Disk::default(),
            acknowledged: 0,
            fenced: 0,
            writes: 0,
            booted: start(),
            wake: None,
            restart_at: Some(start() + Duration::from_millis(index * 700)),
            answers: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            frozen: false,
            kept: Vec::new(),
            proves: start(),
            lease: None,
        };
        Self {
            world,
            nomad: Nomad::new(),
            processes: (0..processes as u64).map(process).collect(),
            policies,
            config,
            truth: Truth::replacing(2),
            agents_tell: true,
            queue_tells: true,
            duplicates: 0,
            late: Duration::ZERO,
            effects: 0,
            dies_at: None,
            freezes_at: None,
            crashes: 0,
            last: None,
            spoil: None,
            complaints: Vec::new(),
            stays_dead: false,
            ledger: BTreeMap::new(),
            lock: None,
            queue: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            place: 0,
            number: 0,
            heard: start(),
            told: start(),
            followed: start(),
            sequence: 0,
            chance: Chance::new(seed),
        }
    }

    /// The same with another policy for every fleet.
    pub fn policy(mut self, change: impl Fn(&mut Policy)) -> Self {
        self.policies.iter_mut().for_each(|policy| change(&mut policy.base));
        self.truth.surge = self.policies.first().map_or(0, |policy| policy.base.capacity.surge);
        self
    }

    pub fn id(&self, fleet: usize) -> FleetId {
        self.world.fleets()[fleet].id.clone()
    }

    pub fn truth_of(&self, fleet: usize) -> FleetTruth {
        self.world.truth(&self.id(fleet)).expect("the fleet exists")
    }

    pub fn members(&self, fleet: usize) -> Vec<InstanceTruth> {
        self.world.instance_truths(&self.id(fleet))
    }

    pub fn elapsed(&self) -> Duration {
        self.world.now().since(start())
    }

    /// Who leads, by the lock.
    pub fn leader(&self) -> Option<usize> {
        if !self.config.lease_needed {
            return Some(0);
        }
        self.lock.filter(|(_, until)| *until > self.world.now()).map(|(who, _)| who)
    }

    pub fn now(&self, who: usize) -> Now {
        Now { wall: self.world.now(), monotonic: self.world.now().since(self.processes[who].booted) }
    }

    pub fn run_until(&mut self, until: Duration) {
        let until = start() + until;
        while self.world.now() < until {
            self.step(until);
        }
    }

    fn step(&mut self, until: Timestamp) {
        // What fate has done between two steps.
        self.fill_queue();
        let now = self.world.now();
        let speaks = now.floor(secs(10)) + secs(1);
        let speaks = if speaks > now { speaks } else { speaks + secs(10) };
        let tells = self.agents_tell.then(|| self.told + secs(5));
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let mut next =
            [Some(until), Some(speaks), tells, queued, self.nomad.next()].into_iter().flatten().min();
        for process in &self.processes {
            if process.frozen {
                continue;
            }
            let answer = process.answers.first_key_value().map(|((at, _), _)| *at);
            let proves = (self.config.lease_needed && process.engine.is_some()).then_some(process.proves);
            let wake = process.engine.as_ref().and(process.wake);
            let own = [answer, wake, process.disk.next(), process.restart_at, proves];
            next = own.into_iter().flatten().chain(next).min();
        }
        // What the world says by itself is looked for every second, or a queue would tell late.
        let next = next.expect("there is an end").max(now).min(now + secs(1)).max(now);
        self.world.advance(next);
        let place = self.place;
        self.fill_queue();
        // Instances come and go with events, and serve from one of the world's steps on.
        let moved = place != self.place || self.followed + secs(10) <= next;
        if moved || self.nomad.next().is_some_and(|at| at <= next) {
            self.followed = next;
            let fleets: Vec<FleetId> = self.world.fleets().into_iter().map(|fleet| fleet.id).collect();
            self.nomad.follow(&self.world, &fleets);
        }
        for who in 0..self.processes.len() {
            self.go_on(who, next);
        }
        self.deliver(next);
        if self.agents_tell && self.told + secs(5) <= next {
            self.told = next;
            self.agents_tell_notices();
        }
        if self.heard + secs(11) <= next {
            self.speak();
        }
        self.truth.watch(&self.world, &self.policies);
    }

    /// What is due for one process.
    fn go_on(&mut self, who: usize, now: Timestamp) {
        if self.processes[who].frozen {
            return;
        }
        if self.processes[who].restart_at.is_some_and(|at| at <= now) {
            self.restart(who);
        }
        if self.config.lease_needed
            && self.processes[who].engine.is_some()
            && self.processes[who].proves <= now
        {
            self.prove(who, now);
        }
        if self.processes[who].wake.is_some_and(|at| at <= now) {
            self.processes[who].wake = None;
            self.happen(who, Event::Timer);
        }
        while let Some((batch, result)) = self.processes[who].disk.write(now) {
            let ledgers = self.processes[who].ledgers.remove(&batch).unwrap_or_default();
            let result = if ledgers.is_empty() || self.leader() == Some(who) {
                self.ledger.extend(ledgers.into_iter().map(|(name, ledger)| (name, *ledger)));
                result
            } else {
                Err("the lock is not ours".to_owned())
            };
            self.happen(who, Event::Recorded { batch, result });
        }
        while let Some(entry) = self.processes[who].answers.first_entry().filter(|entry| entry.key().0 <= now)
        {
            let (call, answer) = entry.remove();
            self.happen(who, Event::Answered { call, answer });
        }
    }

    /// Takes the lock or keeps it, and tells the engine.
    fn prove(&mut self, who: usize, now: Timestamp) {
        self.processes[who].proves = now + PROVES;
        let free = self.lock.is_none_or(|(holder, until)| holder == who || until <= now);
        if free {
            self.lock = Some((who, now + LOCK));
            self.processes[who].lease = Some(now + LEASE);
            let until = Some((now + LEASE).since(self.processes[who].booted));
            self.happen(who, Event::Lease { until });
        } else if self.processes[who].lease.take().is_some() {
            self.happen(who, Event::Lease { until: None });
        }
    }

    pub fn happen(&mut self, who: usize, event: Event) {
        let now = self.now(who);
        if self.processes[who].frozen {
            return;
        }
        let Some(engine) = &mut self.processes[who].engine else { return };
        let effects = engine.handle(event, now);
        self.begin(who, effects);
    }

    fn begin(&mut self, who: usize, effects: Vec<Effect>) {
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            self.effects += 1;
            if self.dies_at == Some(self.effects) {
                return self.die(who);
            }
            if self.freezes_at == Some(self.effects) {
                self.last = Some(who);
                self.processes[who].frozen = true;
                self.processes[who].kept = std::iter::once(effect).chain(effects).collect();
                return;
            }
            self.begin_one(who, effect);
        }
    }

    /// A frozen process goes on where it was.
    pub fn thaw(&mut self, who: usize) {
        self.processes[who].frozen = false;
        let kept = std::mem::take(&mut self.processes[who].kept);
        self.begin(who, kept);
    }

    fn begin_one(&mut self, who: usize, effect: Effect) {
        let now = self.world.now();
        match effect {
            Effect::Read { call, read, region: _ } => {
                let (answer, latency) = self.read(read);
                self.answer_later(who, call, answer, latency);
            }
            Effect::Write { call, write, permit, region: _ } => {
                if self.now(who).monotonic > permit.not_after {
                    self.processes[who].fenced += 1;
                    return self.answer_later(who, call, Answer::NotSent(NotSent::Expired), Duration::ZERO);
                }
                let (answer, latency) = self.write(who, write);
                self.answer_later(who, call, answer, latency);
            }
            Effect::Record { batch, durable, entries, ledgers } => {
                let process = &mut self.processes[who];
                process.disk.take(batch, durable || !ledgers.is_empty(), &entries, now);
                process.ledgers.insert(batch, ledgers);
            }
            Effect::Acknowledge { messages } => {
                self.processes[who].acknowledged += messages.len();
                self.acknowledged.extend(messages);
            }
            Effect::WakeAt { at } => self.processes[who].wake = Some(self.processes[who].booted + at),
            Effect::Alarm(_) | Effect::Stopped => {}
        }
    }

    fn answer_later(&mut self, who: usize, call: CallId, answer: Answer, latency: Duration) {
        self.number += 1;
        let at = self.world.now() + LATENCY + latency;
        self.processes[who].answers.insert((at, self.number), (call, answer));
    }

    fn read(&mut self, read: Read) -> (Answer, Duration) {
        match read {
            Read::Nodes { .. } if self.nomad.down => {
                let error = ApiError::new(ErrorClass::Transient, "nomad", "nodes", None, "no leader");
                (Answer::Nodes(Err(error)), Duration::ZERO)
            }
            Read::Nodes { .. } => (Answer::Nodes(Ok(self.nomad.seen())), Duration::ZERO),
            Read::Ledgers { fleets } => {
                let ledgers = fleets.iter().map(|name| self.ledger.get(name).cloned().map(Box::new));
                (Answer::Ledgers(Ok(ledgers.collect())), Duration::ZERO)
            }
            read => {
                let (answer, latency) = crate::shell::read(&mut self.world, read);
                self.truth.answered(&answer, self.world.now());
                (answer, latency)
            }
        }
    }

    fn write(&mut self, who: usize, write: Write) -> (Answer, Duration) {
        self.processes[who].writes += 1;
        if self.leader() != Some(who) {
            let after = self.elapsed();
            self.complaints.push(format!("FENCE: {who} began {write:?} after {after:?} without the lock"));
        }
        if let Some(answer) = self.spoil.as_mut().and_then(|spoil| spoil(&write)) {
            return (answer, Duration::ZERO);
        }
        match &write {
            Write::Modify { .. } => {}
            Write::Terminate { instances, .. } => {
                for instance in instances {
                    let left = self.nomad.work_on(instance);
                    if left > 0 && !self.nomad.is_overdue(instance, self.world.now()) {
                        let after = self.elapsed();
                        self.complaints
                            .push(format!("DRAIN: {instance} had {left} at its end after {after:?}"));
                    }
                }
            }
            _ => {
                let error = || ApiError::new(ErrorClass::NotFound, "nomad", "node", None, "no such node");
                let known = !self.nomad.down && self.nomad.write(&write, self.world.now());
                return (Answer::Done(known.then_some(()).ok_or_else(error)), Duration::ZERO);
            }
        }
        self.truth.judge(&self.world, &self.policies, &write);
        crate::shell::write(&mut self.world, write)
    }

    pub fn die(&mut self, who: usize) {
        self.conclude_process(who);
        let now = self.world.now();
        let process = &mut self.processes[who];
        process.engine = None;
        process.wake = None;
        process.lease = None;
        process.answers.clear();
        process.ledgers.clear();
        process.disk.crash();
        process.restart_at = (!self.stays_dead).then_some(now + RESTART);
        self.crashes += 1;
        self.last = Some(who);
    }

    fn restart(&mut self, who: usize) {
        let now = self.world.now();
        let process = &mut self.processes[who];
        process.restart_at = None;
        process.booted = now;
        process.proves = now;
        process.engine = Some(Engine::new(self.config.clone(), process.disk.entries()));
        self.happen(who, Event::PoliciesLoaded(self.policies.clone()));
    }

    /// What EventBridge carries.
    fn fill_queue(&mut self) {
        let events: Vec<WorldEvent> = self.world.events_since(self.place).cloned().collect();
        for event in events {
            self.place = event.sequence + 1;
            let Some(news) = news_of(&event).filter(|_| self.queue_tells) else { continue };
            let id = MessageId::new(format!("m-{}", event.sequence));
            for copy in 0..=self.duplicates {
                let spread = Duration::from_millis(self.chance.between(150, 900)) + secs(copy * 7);
                self.number += 1;
                let at = self.world.now() + spread + self.late;
                self.queue.insert((at, self.number), (id.clone(), vec![news.clone()]));
            }
        }
    }

    /// The leader reads the queue.
    fn deliver(&mut self, now: Timestamp) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let (id, news) = entry.remove();
            if self.acknowledged.contains(&id) {
                continue;
            }
            self.number += 1;
            self.queue.insert((now + VISIBILITY, self.number), (id.clone(), news.clone()));
            let region = self.config.region.clone().expect("a region");
            if let Some(leader) = self.leader() {
                self.happen(leader, Event::Heard { region, message: Some(id), news });
            }
        }
    }

    /// Agents tell every process what their metadata service says.
    fn agents_tell_notices(&mut self) {
        let ids: Vec<FleetId> = self.world.fleets().into_iter().map(|fleet| fleet.id).collect();
        let members: Vec<InstanceId> =
            ids.iter().flat_map(|id| self.world.instance_truths(id)).map(|truth| truth.id).collect();
        for instance in members {
            let Some(notices) = self.world.notices(&instance) else { continue };
            let now = self.world.now();
            let interrupted = notices.terminate_at.map(|at| AgentNotice {
                kind: NoticeKind::SpotInterruption,
                at_ms: now,
                deadline_ms: Some(at),
            });
            let rebalance = notices.rebalance.map(|at| AgentNotice {
                kind: NoticeKind::RebalanceRecommendation,
                at_ms: at,
                deadline_ms: None,
            });
            let notices: Vec<AgentNotice> = interrupted.into_iter().chain(rebalance).collect();
            let Some(peer) = self.world.private_address(&instance).filter(|_| !notices.is_empty()) else {
                continue;
            };
            let batch = NoticeBatch { version: 1, instance, sequence: None, notices };
            for who in 0..self.processes.len() {
                let now = self.now(who);
                let process = &mut self.processes[who];
                if let Some(engine) = process.engine.as_mut().filter(|_| !process.frozen) {
                    let (_, effects) = engine.accept_notices(peer, &batch, now);
                    self.begin(who, effects);
                }
            }
        }
    }

    fn speak(&mut self) {
        let mut samples = Vec::new();
        self.world.agent_samples(self.heard, &mut samples);
        if let Some(newest) = samples.iter().map(|(_, sample)| sample.end_ms).max() {
            self.heard = newest;
        }
        self.sequence += 1;
        for (instance, sample) in samples {
            self.truth.heard(&instance, sample.end_ms);
            let Some(peer) = self.world.private_address(&instance) else { continue };
            let sequence = self.sequence;
            let batch = SampleBatch { version: 1, instance, sequence, samples: vec![sample] };
            for who in 0..self.processes.len() {
                let now = self.now(who);
                let process = &mut self.processes[who];
                if let Some(engine) = process.engine.as_mut().filter(|_| !process.frozen) {
                    let (_, effects) = engine.accept_samples(peer, &batch, now);
                    self.begin(who, effects);
                }
            }
        }
    }

    fn conclude_process(&self, who: usize) {
        if let Some(engine) = &self.processes[who].engine {
            let metrics = engine.metrics();
            assert!(metrics.breaches.is_empty(), "the checker refused: {:?}", metrics.breaches);
            assert_eq!(metrics.panics, 0);
        }
    }

    /// What the processes did, line by line, for whoever has to find out why.
    pub fn story(&self) -> String {
        let mut lines: Vec<(Timestamp, String)> = Vec::new();
        for (who, process) in self.processes.iter().enumerate() {
            for entry in process.disk.entries() {
                for record in entry.records {
                    let line = match &record {
                        Record::Cycle(cycle) if !cycle.plan.actions.is_empty() || cycle.memory.is_some() => {
                            let ledger =
                                cycle.memory.as_ref().map(|m| (&m.removals, &m.replacements, m.expected));
                            format!("{:?} {:?} {ledger:?}", cycle.plan.actions, cycle.withheld)
                        }
                        Record::Outcome { .. }
                        | Record::Notice(_)
                        | Record::Leads { .. }
                        | Record::Fleet { delta: FleetDelta::Moved { .. }, .. }
                        | Record::Ledger(_)
                        | Record::State { .. } => format!("{record:?}"),
                        _ => continue,
                    };
                    lines.push((entry.at, format!("{who}: {line}")));
                }
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        let told =
            |(at, line): &(Timestamp, String)| format!("{:9.3} {line}", at.since(start()).as_secs_f64());
        lines.iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// What must hold at the end: nobody complains, and every journal replays.
    pub fn conclude(&self) {
        assert!(
            self.complaints.is_empty(),
            "{} complaints: {:?}",
            self.complaints.len(),
            self.complaints.first()
        );
        self.truth.assert_clean();
        for (who, process) in self.processes.iter().enumerate() {
            self.conclude_process(who);
            let replayed = replay(process.disk.entries(), self.config.planner);
            assert!(replayed.divergences.is_empty(), "process {who}: {:?}", replayed.divergences.first());
        }
    }
}

/// What a message about an event says.
fn news_of(event: &WorldEvent) -> Option<News> {
    let at = event.at;
    let notice = |instance: &InstanceId, kind, deadline| {
        let source = NoticeSource::EventBridge;
        Some(News::Notice(Notice { instance: instance.clone(), kind, source, at, deadline }))
    };
    match &event.kind {
        EventKind::InterruptionWarning { instance, .. } => {
            notice(instance, NoticeKind::SpotInterruption, Some(at + secs(120)))
        }
        EventKind::RebalanceRecommendation { instance, .. } => {
            notice(instance, NoticeKind::RebalanceRecommendation, None)
        }
        EventKind::StateChange { instance, state } => {
            Some(News::State { instance: instance.clone(), state: *state, at })
        }
        EventKind::Scheduled { instance, event } => {
            notice(instance, NoticeKind::ScheduledEvent, Some(event.not_before))
        }
        EventKind::Fleet { fleet, record, .. } => match (record.record_type, &record.instance) {
            (RecordType::InstanceChange, Some(instance)) if record.sub_type == "launched" => {
                Some(News::Launched { fleet: fleet.clone(), instance: instance.clone(), at })
            }
            (RecordType::InstanceChange, Some(instance)) if record.sub_type == "termination_notified" => {
                notice(instance, NoticeKind::FleetScaleIn, Some(at + secs(120)))
            }
            (RecordType::InstanceChange, _) => None,
            (RecordType::Error, _) => record.no_capacity.as_ref().map(|(pool, _)| News::NoCapacity {
                fleet: fleet.clone(),
                instance_type: Some(pool.instance_type.clone()),
                zone: Some(pool.zone.clone()),
                at,
            }),
            _ => Some(News::FleetChanged { fleet: fleet.clone(), at }),
        },
    }
}
