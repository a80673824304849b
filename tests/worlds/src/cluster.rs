//! One world and several autoscalers: a lock and a ledger that they share, a queue that the leader reads, Nomad, and
//! agents who tell all of them. Processes die, freeze and come back.

mod calls;
mod telling;

use crate::chance::Chance;
use crate::disk::Disk;
use crate::harness::{secs, start};
use crate::later::Later;
use crate::nomad::Nomad;
use crate::seat::{Seat, Way};
use crate::truth::Truth;
use autoscaler_core::{Breach, DrainBy, DrainCause, Hold, Policy, ReplacementCause};
use autoscaler_engine::{
    Alarm, AlarmChange, Answer, BatchId, CallId, Config, Effect, Engine, Event, FleetDelta, Going, GoingStep,
    Ledger, NotSent, Now, Record, Withheld, Write, replay,
};
use autoscaler_leader::ANSWER_WITHIN;
use autoscaler_leader::paper::Consul;
use autoscaler_policy::FleetPolicy;
use fleet::{FleetId, FleetName, InstanceId, MessageId, News, Region, Timestamp};
use fleet_sim::{FleetTruth, InstancePhase, InstanceTruth, World, WorldSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const RESTART: Duration = Duration::from_secs(2);
/// How long a ledger takes to be written.
const LEDGER: Duration = Duration::from_millis(12);
/// Who is told so long before an instance goes can empty its node: the next leader, where the first dies, too.
const TOLD_IN_TIME: Duration = Duration::from_secs(100);
/// Where nobody can write for so long, nobody can be told in time: it is the margin of a drain (20 s), less what work takes to leave
/// (4 s), and a step of the world. Between two leaders it is less, from the end of the first one's lease on.
const NOBODY_LEADS: Duration = Duration::from_secs(17);
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
    /// What is on its way back, with the time of the question.
    answers: Later<(CallId, Answer, Timestamp)>,
    ledgers: BTreeMap<BatchId, Vec<(FleetName, Box<Ledger>)>>,
    /// Batches that are on disk and in Consul, or are not, and when that is known.
    recorded: Later<(BatchId, Result<(), String>)>,
    frozen: bool,
    /// When it goes on, where that is fate's.
    pub thaws_at: Option<Timestamp>,
    /// What was to be begun when it froze.
    kept: Vec<Effect>,
    /// Its elector, where it is one of several.
    seat: Option<Seat>,
    /// What its wall clock shows beyond the world's time, in milliseconds.
    pub wall_off: i64,
    /// How its calls to Consul fare.
    pub consul: Way,
    /// Whether it is cut off from Nomad, ...
    pub nomad_off: bool,
    /// ... from EC2 and CloudWatch.
    pub aws_off: bool,
    /// Effects until it dies.
    pub dies_in: Option<u64>,
    /// Effects until it freezes, and for how long it then does.
    pub freezes_in: Option<(u64, Duration)>,
    /// When it last had the lock.
    led: Option<Timestamp>,
    /// Its engine is told of a lease all the time, whatever Consul says: to see that the judge notices.
    pub believes: bool,
    /// Its shell asks neither fence nor permit before a write: likewise.
    pub unfenced: bool,
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
    /// Whether agents say nothing of how busy they are.
    pub mute: bool,
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
    /// Whether a version is rolled out at some time.
    pub rolls_out: bool,
    /// Whom AWS takes: those that are interrupted or have a scheduled event.
    pub taken: BTreeSet<InstanceId>,
    /// Who of those had a scheduled event before, and was interrupted then.
    pub announced_twice: BTreeSet<InstanceId>,
    /// Who dies does not come back.
    pub stays_dead: bool,
    pub consul: Consul,
    /// How often a process has taken a seat at Consul.
    seats: usize,
    /// Until when the work on each instance was given time to leave, by the last drain that was tried.
    drains: BTreeMap<InstanceId, Timestamp>,
    queue: BTreeMap<(Timestamp, u64), (MessageId, Vec<News>)>,
    acknowledged: BTreeSet<MessageId>,
    place: u64,
    number: u64,
    heard: Timestamp,
    told: Timestamp,
    /// Agents that told of an interruption: since when.
    agents: BTreeMap<InstanceId, Timestamp>,
    /// Whom a process has said to act on, so that the node is left to it.
    heeded: BTreeSet<InstanceId>,
    /// When somebody last led, and could prove it.
    led: Timestamp,
    /// When nodes could last not be told in time, whoever tries.
    hampered: Option<Timestamp>,
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
            answers: Later::default(),
            ledgers: BTreeMap::new(),
            recorded: Later::default(),
            frozen: false,
            thaws_at: None,
            kept: Vec::new(),
            seat: None,
            wall_off: 0,
            consul: Way::Open,
            nomad_off: false,
            aws_off: false,
            dies_in: None,
            freezes_in: None,
            led: None,
            believes: false,
            unfenced: false,
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
            mute: false,
            duplicates: 0,
            late: Duration::ZERO,
            effects: 0,
            dies_at: None,
            freezes_at: None,
            crashes: 0,
            last: None,
            spoil: None,
            complaints: Vec::new(),
            rolls_out: false,
            taken: BTreeSet::new(),
            announced_twice: BTreeSet::new(),
            stays_dead: false,
            consul: Consul::default(),
            seats: 0,
            drains: BTreeMap::new(),
            queue: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            place: 0,
            number: 0,
            heard: start(),
            told: start(),
            agents: BTreeMap::new(),
            heeded: BTreeSet::new(),
            led: start(),
            hampered: None,
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

    /// Whose the lock is; the only process where there is but one.
    pub fn leader(&mut self) -> Option<usize> {
        if !self.config.lease_needed {
            return Some(0);
        }
        let holder = self.consul.holder(self.world.now().since(Timestamp::EPOCH))?;
        let holds = |seat: &Seat| seat.session() == Some(holder);
        self.processes.iter().position(|process| process.seat.as_ref().is_some_and(holds))
    }

    pub fn now(&self, who: usize) -> Now {
        let process = &self.processes[who];
        let wall = Timestamp::from_millis(self.world.now().millis() + process.wall_off);
        Now { wall, monotonic: self.world.now().since(process.booted) }
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
        // What the world says by itself is looked for every second, or a queue would tell late.
        let mut next = until.min(speaks).min(now + secs(1));
        let mut at_most = |at: Option<Timestamp>| next = at.map_or(next, |at| next.min(at));
        at_most(tells);
        at_most(self.queue.first_key_value().map(|((at, _), _)| *at));
        at_most(self.nomad.next());
        for process in &self.processes {
            if process.frozen {
                at_most(process.thaws_at);
                continue;
            }
            at_most(process.answers.next());
            at_most(process.recorded.next());
            at_most(process.engine.as_ref().and(process.wake));
            at_most(process.disk.next());
            at_most(process.restart_at);
            at_most(process.seat.as_ref().and_then(Seat::next));
        }
        let next = next.max(now);
        self.world.advance(next);
        let place = self.place;
        self.fill_queue();
        // Instances come and go with events, and serve from one of the world's steps on.
        let moved = place != self.place || self.followed + secs(10) <= next;
        if moved || self.nomad.next().is_some_and(|at| at <= next) {
            self.followed = next;
            let fleets: Vec<FleetId> = self.world.targets().map(|(id, _)| id.clone()).collect();
            self.nomad.follow(&self.world, &fleets);
        }
        let leader = self.leader();
        let leads = leader.is_some_and(|who| self.may_write(who));
        self.judge_lost(leads, next);
        if let Some(leader) = leader {
            self.processes[leader].led = Some(next);
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

    /// LOST: work goes with no instance whose end was told in time, unless nobody could have told its node.
    fn judge_lost(&mut self, leads: bool, now: Timestamp) {
        if leads {
            self.led = now;
        }
        // By a wrong clock nobody knows how much time is left.
        let cut_off = self.processes.iter().any(|process| process.nomad_off || process.wall_off != 0);
        if self.nomad.down || self.nomad.denies || cut_off || now.since(self.led) > NOBODY_LEADS {
            self.hampered = Some(now);
        }
        for (instance, work) in self.nomad.take_lost() {
            let Some(told) = self.agents.get(&instance).copied() else { continue };
            let free = self.hampered.is_none_or(|at| at < told);
            if free && now.since(told) >= TOLD_IN_TIME {
                let before = now.since(told).as_secs();
                self.complain(&format!(
                    "LOST: {work} allocations with {instance}, told of {before} s before"
                ));
            }
        }
    }

    /// What is due for one process.
    fn go_on(&mut self, who: usize, now: Timestamp) {
        if self.processes[who].thaws_at.is_some_and(|at| at <= now) {
            self.thaw(who);
        }
        if self.processes[who].frozen {
            return;
        }
        if self.processes[who].restart_at.is_some_and(|at| at <= now) {
            self.restart(who);
        }
        let told = self.now(who);
        let Process { seat, consul, engine, .. } = &mut self.processes[who];
        let blind = engine.as_ref().is_some_and(|engine| engine.is_blind(told));
        let leases = seat.as_mut().map(|seat| seat.go_on(&mut self.consul, *consul, blind, now));
        let leases = leases.unwrap_or_default();
        if self.processes[who].believes {
            let until = Some(self.now(who).monotonic + secs(60));
            self.happen(who, Event::Lease { until });
        } else {
            for until in leases {
                self.happen(who, Event::Lease { until });
            }
        }
        if self.processes[who].wake.is_some_and(|at| at <= now) {
            self.processes[who].wake = None;
            self.happen(who, Event::Timer);
        }
        self.record(who, now);
        // A process that freezes in the middle of it finds the rest when it wakes.
        while !self.processes[who].frozen
            && let Some((call, answer, asked)) = self.processes[who].answers.take(now)
        {
            self.truth.observer = who;
            self.truth.answered(&answer, asked);
            self.happen(who, Event::Answered { call, answer });
        }
    }

    /// Batches reach the disk, then Consul where they have to, then the engine hears of it.
    fn record(&mut self, who: usize, now: Timestamp) {
        let process = &mut self.processes[who];
        while let Some((batch, mut result)) = process.disk.write(now) {
            let ledgers = process.ledgers.remove(&batch).unwrap_or_default();
            let mut at = now;
            if let Some(seat) = process.seat.as_mut().filter(|_| !ledgers.is_empty()) {
                let written = seat.write(&mut self.consul, process.consul, &ledgers, now);
                at = now + if process.consul == Way::Open { LEDGER } else { ANSWER_WITHIN };
                result = result.and(written);
            }
            process.recorded.put(at, (batch, result));
        }
        while !self.processes[who].frozen
            && let Some((batch, result)) = self.processes[who].recorded.take(now)
        {
            self.happen(who, Event::Recorded { batch, result });
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
            let process = &mut self.processes[who];
            let dies = counts_down(&mut process.dies_in);
            if self.dies_at == Some(self.effects) || dies {
                return self.die(who);
            }
            let mut left = process.freezes_in.map(|(left, _)| left);
            let freezes = counts_down(&mut left);
            if freezes {
                process.thaws_at = process.freezes_in.take().map(|(_, time)| self.world.now() + time);
            } else if let (Some(left), Some(freezes_in)) = (left, &mut process.freezes_in) {
                freezes_in.0 = left;
            }
            if self.freezes_at == Some(self.effects) || freezes {
                self.last = Some(who);
                process.frozen = true;
                process.kept = std::iter::once(effect).chain(effects).collect();
                return;
            }
            self.begin_one(who, effect);
        }
    }

    /// A frozen process goes on where it was.
    pub fn thaw(&mut self, who: usize) {
        self.processes[who].frozen = false;
        self.processes[who].thaws_at = None;
        let kept = std::mem::take(&mut self.processes[who].kept);
        self.begin(who, kept);
    }

    fn begin_one(&mut self, who: usize, effect: Effect) {
        let now = self.world.now();
        match effect {
            Effect::Read { call, read, region: _ } => {
                let (answer, latency) = self.read(who, read);
                self.answer_later(who, call, answer, latency);
            }
            Effect::Write { call, write, permit, region: _ } => {
                let monotonic = self.now(who).monotonic;
                let open = |seat: &Seat| seat.fence().may_write(monotonic);
                let process = &mut self.processes[who];
                let not_sent = if process.unfenced {
                    None
                } else if process.seat.as_ref().is_none_or(open) {
                    (monotonic > permit.not_after).then_some(NotSent::Expired)
                } else {
                    Some(NotSent::Fenced)
                };
                if let Some(not_sent) = not_sent {
                    process.fenced += 1;
                    return self.answer_later(who, call, Answer::NotSent(not_sent), Duration::ZERO);
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
            Effect::Alarm(AlarmChange { raised: true, alarm: Alarm::Refused { breaches }, .. }) => {
                for breach in breaches {
                    let Breach { invariant, how } = breach;
                    self.complain(&format!("CHECK: {who}: {invariant:?}: {how}"));
                }
            }
            Effect::Alarm(_) | Effect::Stopped => {}
        }
    }

    /// Whether a process that leads can prove it: its calls to Consul may arrive and their answers may not.
    fn may_write(&self, who: usize) -> bool {
        let Process { seat, frozen, .. } = &self.processes[who];
        !frozen && seat.as_ref().is_none_or(|seat| seat.fence().may_write(self.now(who).monotonic))
    }

    /// Whether the lock is anybody's, a process's that has died included.
    fn is_led(&mut self) -> bool {
        let now = self.world.now().since(Timestamp::EPOCH);
        !self.config.lease_needed || self.consul.holder(now).is_some()
    }

    fn complain(&mut self, what: &str) {
        let after = self.elapsed().as_secs();
        self.complaints.push(format!("after {after} s: {what}"));
    }

    pub fn die(&mut self, who: usize) {
        let refused = self.refused(who);
        self.complaints.extend(refused);
        let now = self.world.now();
        let process = &mut self.processes[who];
        process.engine = None;
        process.wake = None;
        process.seat = None;
        process.answers.clear();
        process.ledgers.clear();
        process.recorded.clear();
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
        if self.config.lease_needed {
            process.seat = Some(Seat::new(self.seats, now));
            self.seats += 1;
        }
        process.engine = Some(Engine::new(self.config.clone(), process.disk.entries()));
        self.happen(who, Event::PoliciesLoaded(self.policies.clone()));
    }

    /// What the checker refused a process that runs, and what panicked.
    fn refused(&self, who: usize) -> Option<String> {
        let metrics = self.processes[who].engine.as_ref()?.metrics();
        let (breaches, panics) = (&metrics.breaches, metrics.panics);
        let well = breaches.is_empty() && panics == 0;
        (!well).then(|| format!("the checker refused {who}: {breaches:?}, {panics} panics"))
    }

    /// Ends a process's session at Consul by force.
    pub fn end_sessions(&mut self, who: usize) {
        let now = self.world.now().since(Timestamp::EPOCH);
        if let Some(seat) = &self.processes[who].seat {
            self.consul.end_sessions_of(seat.caller(), now);
        }
    }

    /// How many instances are on their way out, by the leader's books: what others would do is not so.
    pub fn leaving(&mut self) -> usize {
        let Some(who) = self.leader() else { return 0 };
        let now = self.now(who);
        let Some(engine) = &self.processes[who].engine else { return 0 };
        let reports = engine.status(now).fleets.into_iter().filter_map(|fleet| fleet.decided);
        reports.map(|decided| decided.report.removals.len() + decided.report.replacements.len()).sum()
    }

    /// The units of those that live beside their successors and are on their way out for the sake of the spread.
    pub fn repaired(&mut self, fleet: usize) -> f64 {
        let Some(who) = self.leader() else { return 0.0 };
        let replaced = DrainCause::Replaced(ReplacementCause::Spread);
        let repaired = self.removals(who, &self.policies[fleet].name).filter(|g| g.cause == replaced);
        let repaired: BTreeSet<InstanceId> = repaired.map(|going| going.instance).collect();
        let members = self.members(fleet).into_iter();
        let lives = |m: &InstanceTruth| m.phase != InstancePhase::Gone && repaired.contains(&m.id);
        members.filter(lives).map(|m| m.weight.get()).sum()
    }

    /// Who goes, and is not only to be replaced, as a process says.
    fn removals(&self, who: usize, fleet: &FleetName) -> impl Iterator<Item = Going> + use<> {
        let engine = self.processes[who].engine.as_ref();
        let status = engine.and_then(|engine| engine.fleet_status(fleet, self.now(who)));
        let going = status.into_iter().flat_map(|status| status.going);
        going.filter(|going| matches!(going.step, GoingStep::Removal(_)))
    }

    /// Whether somebody says that the work on a victim would have no place elsewhere.
    pub fn lacks_room(&self) -> bool {
        self.is_held(|hold| matches!(hold, Hold::NoRoom { .. }))
    }

    /// Whether somebody says that one that is to be replaced has no place under `max` and `surge` beside what is wanted.
    pub fn lacks_surge(&self) -> bool {
        self.is_held(|hold| matches!(hold, Hold::SurgeFull { .. }))
    }

    /// Whether somebody sees more than is asked for, which is given back before long.
    pub fn holds_excess(&self) -> bool {
        self.is_held(|hold| matches!(hold, Hold::ExcessHeld { .. }))
    }

    fn is_held(&self, by: impl Fn(&Hold) -> bool) -> bool {
        self.processes.iter().enumerate().any(|(who, process)| {
            let fleets = process.engine.as_ref().map(|engine| engine.status(self.now(who)).fleets);
            let mut reports = fleets.into_iter().flatten().filter_map(|fleet| fleet.decided);
            reports.any(|decided| decided.report.holds.iter().any(&by))
        })
    }

    /// What was wrong so far: invariants by the truth, and what the processes' own checkers refused.
    pub fn all_complaints(&self) -> Vec<String> {
        let refused = (0..self.processes.len()).filter_map(|who| self.refused(who));
        let found = self.complaints.iter().chain(self.truth.complaints()).cloned();
        found.chain(refused).collect()
    }

    /// What the world and the processes did, line by line, for whoever has to find out why.
    pub fn story(&self) -> String {
        let events = self.world.events_since(0);
        let mut lines: Vec<(Timestamp, String)> =
            events.map(|event| (event.at, format!("world: {:?}", event.kind))).collect();
        for (who, process) in self.processes.iter().enumerate() {
            for entry in process.disk.entries() {
                for record in entry.records {
                    let line = match &record {
                        Record::Cycle(cycle) if cycle.withheld == Some(Withheld::Standby) => continue,
                        Record::Cycle(cycle) if !cycle.plan.actions.is_empty() || cycle.memory.is_some() => {
                            let ledger =
                                cycle.memory.as_ref().map(|m| (&m.removals, &m.replacements, m.expected));
                            format!("{:?} {:?} {ledger:?}", cycle.plan.actions, cycle.withheld)
                        }
                        Record::Outcome { .. }
                        | Record::Notice(_)
                        | Record::CalledOff { .. }
                        | Record::Leads { .. }
                        | Record::Fleet { delta: FleetDelta::Moved { .. }, .. }
                        | Record::State { .. } => format!("{record:?}"),
                        Record::Ledger(ledger) => {
                            let memory = &ledger.memory;
                            format!("Ledger {:?} {:?}", memory.removals, memory.replacements)
                        }
                        _ => continue,
                    };
                    lines.push((entry.at, format!("{who}: {line}")));
                }
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        for (who, process) in self.processes.iter().enumerate() {
            let Some(engine) = &process.engine else { continue };
            let decided = engine.status(self.now(who)).fleets.into_iter().filter_map(|fleet| fleet.decided);
            for last in decided {
                let said = format!("{who}: at last {:?} {:?}", last.report.holds, last.report.remarks);
                lines.push((self.world.now(), said));
            }
        }
        let told =
            |(at, line): &(Timestamp, String)| format!("{:9.3} {line}", at.since(start()).as_secs_f64());
        lines.iter().map(told).collect::<Vec<_>>().join("\n")
    }

    /// What must hold at the end: nobody complains, and every journal replays.
    pub fn conclude(&self) {
        let complaints = self.all_complaints();
        assert!(complaints.is_empty(), "{} complaints: {:?}", complaints.len(), complaints.first());
        let diverged = self.diverged();
        assert!(diverged.is_none(), "{diverged:?}");
    }

    /// The first plan of any process that its journal does not come to again.
    pub fn diverged(&self) -> Option<String> {
        self.processes.iter().enumerate().find_map(|(who, process)| {
            let replayed = replay(process.disk.entries(), self.config.planner);
            replayed.divergences.first().map(|first| format!("process {who} diverges: {first:?}"))
        })
    }
}

/// Counts effects: whether the last one has come.
fn counts_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0 | 1) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}
