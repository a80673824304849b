//! Processes, what lies between them and Consul, and what can go wrong with either.

use crate::chance::Chance;
use autoscaler_leader::paper::{Caller, Consul};
use autoscaler_leader::{
    ANSWER_WITHIN, Answer, CallId, Effect, Elector, Event, Failure, LEASE, Lock, Request, Role, Term,
};
use fleet::{ApiError, ErrorClass};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
/// The time within which somebody must lead, whatever happened.
const WITHIN: Duration = Duration::from_secs(15);
/// What has to lie between the end of a lease and the next leader, unless the lock was given back.
const MARGIN: Duration = SECOND;

/// What lies between a process and Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Milliseconds.
    Up,
    /// Seconds: some answers come too late.
    Slow,
    /// Refused at once.
    Cut,
    /// Swallowed.
    Hole,
}

#[derive(Clone, Debug)]
pub enum Fault {
    Freeze(usize),
    Thaw(usize),
    Kill(usize),
    Start(usize),
    Resign(usize),
    Link(usize, Link),
    EndSessions(usize),
    ForgetCheck(usize),
    Lag(Duration),
}

#[derive(Clone, Debug)]
enum What {
    Arrives { place: usize, caller: Caller, call: CallId, request: Request, sent: Duration },
    Feeds { place: usize, caller: Caller, call: CallId, lock: Lock },
    Watches { place: usize, caller: Caller, call: CallId, after: u64, until: Duration },
    Happens { place: usize, caller: Caller, event: Event },
    Wakes { place: usize, caller: Caller, at: Duration },
    Moves,
    Fault(Fault),
}

/// A process, where there is one.
struct Process {
    caller: Caller,
    elector: Elector,
    frozen: Option<Duration>,
    inbox: VecDeque<Event>,
    wake: Option<Duration>,
    term: Term,
    resigned: bool,
}

pub struct World {
    pub now: Duration,
    pub consul: Consul,
    chance: Chance,
    agenda: BinaryHeap<Reverse<(Duration, u64)>>,
    whats: BTreeMap<u64, What>,
    /// Blocking queries that wait.
    watchers: Vec<What>,
    places: Vec<Option<Process>>,
    links: Vec<Link>,
    /// Whom AWS does not answer.
    blind: BTreeSet<usize>,
    callers: Caller,
    order: u64,
    moves: Duration,
    calm_since: Duration,
    /// The ends of the leases of those who were killed: what they sent may still be under way.
    killed: Duration,
    /// (when, who, after how long without anybody)
    pub elections: Vec<(Duration, usize, Duration)>,
    led_at: Duration,
    pub trail: Vec<String>,
}

impl World {
    pub fn new(seed: u64, places: usize) -> Self {
        let mut world = Self {
            now: SECOND,
            consul: Consul::default(),
            chance: Chance::new(seed),
            agenda: BinaryHeap::new(),
            whats: BTreeMap::new(),
            watchers: Vec::new(),
            places: (0..places).map(|_| None).collect(),
            links: vec![Link::Up; places],
            blind: BTreeSet::new(),
            callers: 0,
            order: 0,
            moves: Duration::ZERO,
            calm_since: Duration::ZERO,
            killed: Duration::ZERO,
            elections: Vec::new(),
            led_at: SECOND,
            trail: Vec::new(),
        };
        for place in 0..places {
            world.fault_in(Duration::from_millis(10 * place as u64), Fault::Start(place));
        }
        world
    }

    pub fn fault_in(&mut self, delay: Duration, fault: Fault) {
        self.schedule(self.now + delay, What::Fault(fault));
    }

    /// Who may write now, whether it runs or is frozen.
    pub fn writers(&self) -> Vec<usize> {
        let may = |process: &Process| process.elector.may_write(self.now);
        (0..self.places.len()).filter(|place| self.places[*place].as_ref().is_some_and(may)).collect()
    }

    pub fn role(&self, place: usize) -> Option<Role> {
        self.places[place].as_ref().map(|process| process.elector.role(self.now))
    }

    pub fn elector(&self, place: usize) -> &Elector {
        &self.places[place].as_ref().expect("a process runs there").elector
    }

    /// AWS does not answer a process, or does again.
    pub fn set_blind(&mut self, place: usize, blind: bool) {
        let now = self.now;
        self.places[place].as_mut().expect("a process runs there").elector.set_blind(blind, now);
        if blind {
            self.blind.insert(place);
        } else {
            self.blind.remove(&place);
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, order))) = self.agenda.peek().copied().filter(|next| next.0.0 <= end) {
            self.agenda.pop();
            // A lease may have ended since: nothing in here makes one longer.
            self.now = at;
            let what = self.whats.remove(&order).expect("is on the agenda");
            self.step(what);
            self.consul.advance(self.now);
            self.wake_watchers();
            if let Some(next) = self.consul.next() {
                self.moves_at(next);
            }
            self.check();
        }
        self.now = end;
    }

    fn schedule(&mut self, at: Duration, what: What) {
        self.order += 1;
        self.agenda.push(Reverse((at.max(self.now), self.order)));
        self.whats.insert(self.order, what);
    }

    /// Consul moves by itself next at `at`.
    fn moves_at(&mut self, at: Duration) {
        if self.moves != at {
            self.moves = at;
            self.schedule(at, What::Moves);
        }
    }

    fn step(&mut self, what: What) {
        match what {
            What::Arrives { place, caller, call, request, sent } => {
                self.arrive(place, caller, call, &request, sent);
            }
            What::Feeds { place, caller, call, lock } => {
                let fed = self.consul.feed(caller, self.now).map(|()| lock);
                self.answer(place, caller, call, Answer::Renewed(fed));
            }
            What::Watches { .. } | What::Moves => {}
            What::Happens { place, caller, event } => self.happen(place, caller, event),
            What::Wakes { place, caller, at } => {
                let waits = |process: &Process| process.caller == caller && process.wake == Some(at);
                if self.places[place].as_ref().is_some_and(waits) {
                    self.happen(place, caller, Event::Timer);
                }
            }
            What::Fault(fault) => self.break_something(&fault),
        }
    }

    /// A request has reached Consul.
    fn arrive(&mut self, place: usize, caller: Caller, call: CallId, request: &Request, sent: Duration) {
        match request {
            Request::Renew => {
                let lock = self.consul.lock(self.now);
                let back = self.now + self.delay(place);
                if back.saturating_sub(sent) <= ANSWER_WITHIN / 2 && self.passes(place) {
                    let at = back + self.delay(place);
                    self.schedule(at, What::Feeds { place, caller, call, lock });
                }
            }
            Request::Watch { after, wait } => {
                let until = self.now + *wait;
                self.watchers.push(What::Watches { place, caller, call, after: *after, until });
                self.schedule(until, What::Watches { place, caller, call, after: *after, until });
            }
            _ => {
                let answer = self.consul.answer(caller, &format!("place {place}"), request, self.now);
                self.answer(place, caller, call, answer);
            }
        }
    }

    fn wake_watchers(&mut self) {
        for watcher in std::mem::take(&mut self.watchers) {
            match watcher {
                What::Watches { place, caller, call, after, until }
                    if self.consul.is_newer(after) || until <= self.now =>
                {
                    let lock = self.consul.lock(self.now);
                    self.answer(place, caller, call, Answer::Watched(Ok(lock)));
                }
                other => self.watchers.push(other),
            }
        }
    }

    fn answer(&mut self, place: usize, caller: Caller, call: CallId, answer: Answer) {
        if self.passes(place) {
            let at = self.now + self.delay(place);
            self.schedule(at, What::Happens { place, caller, event: Event::Answered { call, answer } });
        }
    }

    fn passes(&self, place: usize) -> bool {
        matches!(self.links[place], Link::Up | Link::Slow)
    }

    fn delay(&mut self, place: usize) -> Duration {
        let longest = if self.links[place] == Link::Slow { 1500 } else { 20 };
        Duration::from_millis(self.chance.between(1, longest))
    }

    fn happen(&mut self, place: usize, caller: Caller, event: Event) {
        let Some(process) = self.places[place].as_mut().filter(|process| process.caller == caller) else {
            return;
        };
        if process.frozen.is_some() {
            process.inbox.push_back(event);
            return;
        }
        let effects = process.elector.handle(event, self.now);
        for effect in effects {
            self.carry_out(place, caller, effect);
        }
    }

    fn carry_out(&mut self, place: usize, caller: Caller, effect: Effect) {
        match effect {
            Effect::Call { call, request } => self.send(place, caller, call, request),
            Effect::WakeAt { at } => {
                if let Some(process) = &mut self.places[place] {
                    process.wake = Some(at);
                }
                self.schedule(at, What::Wakes { place, caller, at });
            }
            Effect::Became(role) => {
                self.trail.push(format!("{:?} place {place} became {role:?}", self.now));
                if let Role::Leader { term } = role {
                    self.leads(place, term);
                }
            }
            Effect::Resigned => {
                if let Some(process) = &mut self.places[place] {
                    process.resigned = true;
                }
            }
        }
    }

    /// A term begins: the leases of all others ended long enough ago.
    fn leads(&mut self, place: usize, term: Term) {
        let process = self.places[place].as_mut().expect("it has just said so");
        if process.term == term {
            return;
        }
        process.term = term;
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != place);
        let leases = others.filter_map(|(_, process)| process.as_ref()?.elector.fence().until());
        let last = leases.chain([self.killed]).max().unwrap_or_default();
        assert!(last + MARGIN <= self.now || last.is_zero(), "{}", self.story("a lease ended just before"));
        let without = self.now.saturating_sub(self.led_at);
        self.elections.push((self.now, place, without));
    }

    fn send(&mut self, place: usize, caller: Caller, call: CallId, request: Request) {
        let (out, watch) = (self.delay(place), matches!(request, Request::Watch { .. }));
        let broken = |class| {
            let failure = Failure::Api(ApiError::new(class, "consul", request.label(), None, "no answer"));
            let answer = match &request {
                Request::Register => Answer::Registered(Err(failure)),
                Request::CreateSession { .. } => Answer::SessionCreated(Err(failure)),
                Request::Renew => Answer::Renewed(Err(failure)),
                Request::Acquire { .. } => Answer::Acquired(Err(failure)),
                Request::Watch { .. } => Answer::Watched(Err(failure)),
                Request::Withdraw { .. } => Answer::Withdrawn(Err(failure)),
            };
            What::Happens { place, caller, event: Event::Answered { call, answer } }
        };
        match self.links[place] {
            Link::Cut => {
                let event = broken(ErrorClass::Transient);
                self.schedule(self.now + out, event);
            }
            // The elector takes the first answer; a shell gives up what takes too long.
            Link::Up | Link::Slow | Link::Hole => {
                let within = if watch { Duration::from_secs(12) } else { ANSWER_WITHIN };
                let event = broken(ErrorClass::Unclear);
                self.schedule(self.now + within, event);
                if self.links[place] != Link::Hole {
                    self.schedule(
                        self.now + out,
                        What::Arrives { place, caller, call, request, sent: self.now },
                    );
                }
            }
        }
    }

    fn break_something(&mut self, fault: &Fault) {
        self.trail.push(format!("{:?} {fault:?}", self.now));
        self.calm_since = self.now;
        match *fault {
            Fault::Freeze(place) => {
                if let Some(process) = &mut self.places[place] {
                    process.frozen.get_or_insert(self.now);
                }
            }
            Fault::Thaw(place) => self.thaw(place),
            Fault::Kill(place) => {
                if let Some(process) = self.places[place].take() {
                    self.killed = self.killed.max(process.elector.fence().until().unwrap_or_default());
                }
            }
            Fault::Start(place) => {
                if self.places[place].as_ref().is_none_or(|process| process.resigned) {
                    self.callers += 1;
                    let caller = self.callers;
                    self.places[place] = Some(Process {
                        caller,
                        elector: Elector::contender(),
                        frozen: None,
                        inbox: VecDeque::new(),
                        wake: None,
                        term: Term(0),
                        resigned: false,
                    });
                    self.happen(place, caller, Event::Timer);
                }
            }
            Fault::Resign(place) => {
                if let Some(process) = &self.places[place] {
                    self.happen(place, process.caller, Event::Resign);
                }
            }
            Fault::Link(place, link) => self.links[place] = link,
            Fault::EndSessions(place) => {
                if let Some(process) = &self.places[place] {
                    self.consul.end_sessions_of(process.caller, self.now);
                }
            }
            Fault::ForgetCheck(place) => {
                if let Some(process) = &self.places[place] {
                    self.consul.forget_check(process.caller, self.now);
                }
            }
            Fault::Lag(lag) => self.consul.lag = lag,
        }
    }

    /// A process wakes: its timer is long due, and answers lie in its sockets.
    fn thaw(&mut self, place: usize) {
        let Some(process) = &mut self.places[place] else { return };
        let Some(since) = process.frozen.take() else { return };
        let long = self.now.saturating_sub(since) >= LEASE;
        assert!(
            !long || !process.elector.may_write(self.now),
            "seed: place {place} woke and would have written"
        );
        let caller = process.caller;
        let mut inbox = std::mem::take(&mut process.inbox);
        if self.chance.happens(0.5) {
            inbox.push_front(Event::Timer);
        } else {
            inbox.push_back(Event::Timer);
        }
        for event in inbox {
            self.happen(place, caller, event);
        }
        let writes = self.places[place].as_ref().is_some_and(|process| process.elector.may_write(self.now));
        assert!(!long || !writes, "{}", self.story("it writes on a proof from before it was frozen"));
    }

    /// At every step: at most one may write, and when it was calm for long enough, one does.
    fn check(&mut self) {
        let writers = self.writers();
        assert!(writers.len() <= 1, "{}", self.story(&format!("{writers:?} may write")));
        let able = |place: &usize| {
            let runs = self.places[*place].as_ref().is_some_and(|p| p.frozen.is_none() && !p.resigned);
            runs && matches!(self.links[*place], Link::Up) && !self.blind.contains(place)
        };
        let able = (0..self.places.len()).any(|place| able(&place));
        if !writers.is_empty() {
            self.led_at = self.now;
        } else if able {
            let waited = self.now.saturating_sub(self.led_at.max(self.calm_since));
            assert!(waited <= WITHIN, "{}", self.story("nobody leads"));
        }
    }

    fn story(&self, what: &str) -> String {
        format!("{what} at {:?}:\n{}", self.now, self.trail.join("\n"))
    }
}
