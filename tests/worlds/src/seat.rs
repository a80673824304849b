//! A process's seat at Consul: the real elector, its calls on their way, and the ledgers that it writes.

use crate::later::Later;
use autoscaler_engine::{Ledger, LedgerLeft};
use autoscaler_leader::paper::{Consul, LedgerAnswer};
use autoscaler_leader::{
    ANSWER_WITHIN, Answer, CallId, Effect, Elector, Event, Failure, Fence, LedgerError, LedgerRequest,
    LedgerVersion, Request, SessionId,
};
use fleet::{ApiError, ErrorClass, FleetName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a call to Consul takes.
const LATENCY: Duration = Duration::from_millis(8);

/// How a call to Consul fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// It arrives and is answered.
    Open,
    /// It does not arrive.
    Closed,
    /// It arrives; its answer does not.
    OneWay,
}

/// One process's elector and its calls.
#[derive(Debug)]
pub struct Seat {
    elector: Elector,
    /// Who calls: another one after each restart.
    caller: usize,
    /// What the lock says of it while it has it.
    name: String,
    booted: Timestamp,
    wake: Option<Timestamp>,
    answers: Later<(CallId, Answer)>,
    /// Watches: call, the index to be passed, and when it ends anyway.
    watches: Vec<(CallId, u64, Timestamp)>,
    /// The lease that the engine was told.
    told: Option<Duration>,
    versions: BTreeMap<FleetName, LedgerVersion>,
}

/// Consul's time is that of the world.
fn since_epoch(at: Timestamp) -> Duration {
    at.since(Timestamp::EPOCH)
}

fn unanswered(operation: &str) -> ApiError {
    ApiError::new(ErrorClass::Unclear, "consul", operation, None, "no answer in time")
}

fn failed(request: &Request) -> Answer {
    let failure = Failure::Api(unanswered(request.label()));
    match request {
        Request::Register => Answer::Registered(Err(failure)),
        Request::CreateSession { .. } => Answer::SessionCreated(Err(failure)),
        Request::Renew => Answer::Renewed(Err(failure)),
        Request::Acquire { .. } => Answer::Acquired(Err(failure)),
        Request::Watch { .. } => Answer::Watched(Err(failure)),
        Request::Withdraw { .. } => Answer::Withdrawn(Err(failure)),
    }
}

impl Seat {
    pub fn new(caller: usize, booted: Timestamp) -> Self {
        Self {
            elector: Elector::contender(),
            caller,
            name: format!("process {caller}"),
            booted,
            wake: Some(booted),
            answers: Later::default(),
            watches: Vec::new(),
            told: None,
            versions: BTreeMap::new(),
        }
    }

    pub fn fence(&self) -> Fence {
        self.elector.fence()
    }

    /// Who calls.
    pub const fn caller(&self) -> usize {
        self.caller
    }

    /// Its session, where it has one.
    pub const fn session(&self) -> Option<&SessionId> {
        self.elector.session()
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Timestamp> {
        let answer = self.answers.next();
        self.wake.map_or(answer, |wake| Some(answer.map_or(wake, |answer| answer.min(wake))))
    }

    /// Lets happen what is due. * returns: the lease, each time that it is another than the engine was told.
    ///
    /// * `blind`: whether AWS does not answer its process.
    pub fn go_on(
        &mut self,
        consul: &mut Consul,
        way: Way,
        blind: bool,
        now: Timestamp,
    ) -> Vec<Option<Duration>> {
        self.elector.set_blind(blind, now.since(self.booted));
        self.watch_on(consul, way, now);
        let mut leases = Vec::new();
        while let Some(event) = self.due(now) {
            let monotonic = now.since(self.booted);
            self.elector.take_in(event, monotonic);
            while let Some(effect) = self.elector.next_effect() {
                match effect {
                    Effect::Call { call, request } => self.call(consul, way, call, &request, now),
                    Effect::WakeAt { at } => self.wake = Some(self.booted + at),
                    Effect::Became(_) | Effect::Resigned => {}
                }
            }
            let lease = self.fence().until().filter(|_| self.elector.may_write(monotonic));
            if lease != self.told {
                self.told = lease;
                leases.push(lease);
            }
        }
        leases
    }

    fn due(&mut self, now: Timestamp) -> Option<Event> {
        if self.next().is_none_or(|next| next > now) {
            return None;
        }
        if let Some((call, answer)) = self.answers.take(now) {
            return Some(Event::Answered { call, answer });
        }
        self.wake.take_if(|at| *at <= now).map(|_| Event::Timer)
    }

    fn call(&mut self, consul: &mut Consul, way: Way, call: CallId, request: &Request, now: Timestamp) {
        if let Request::Watch { after, wait } = request {
            self.watches.push((call, *after, now + *wait));
            return;
        }
        let answer =
            (way != Way::Closed).then(|| consul.answer(self.caller, &self.name, request, since_epoch(now)));
        match answer.filter(|_| way == Way::Open) {
            Some(answer) => self.answers.put(now + LATENCY, (call, answer)),
            None => self.answers.put(now + ANSWER_WITHIN, (call, failed(request))),
        }
    }

    fn watch_on(&mut self, consul: &mut Consul, way: Way, now: Timestamp) {
        let waits = |(_, after, until): &(CallId, u64, Timestamp)| {
            let told = way == Way::Open && (consul.is_newer(*after) || *until <= now);
            !told && *until + ANSWER_WITHIN > now
        };
        if self.watches.iter().all(waits) {
            return;
        }
        for (call, after, until) in std::mem::take(&mut self.watches) {
            let watch = Request::Watch { after, wait: Duration::ZERO };
            if way == Way::Open && (consul.is_newer(after) || until <= now) {
                let answer = consul.answer(self.caller, "", &watch, since_epoch(now));
                self.answers.put(now + LATENCY, (call, answer));
            } else if until + ANSWER_WITHIN <= now {
                self.answers.put(now, (call, failed(&watch)));
            } else {
                self.watches.push((call, after, until));
            }
        }
    }

    /// What a leader left of these fleets.
    pub fn read(
        &mut self,
        consul: &mut Consul,
        way: Way,
        fleets: &[FleetName],
        now: Timestamp,
    ) -> Result<Vec<LedgerLeft>, ApiError> {
        let mut found = Vec::new();
        for fleet in fleets {
            match self.read_one(consul, way, fleet, now) {
                Err(error) if error.class() != ErrorClass::Malformed => return Err(error),
                left => found.push(left),
            }
        }
        Ok(found)
    }

    fn read_one(&mut self, consul: &mut Consul, way: Way, fleet: &FleetName, now: Timestamp) -> LedgerLeft {
        if way != Way::Open {
            return Err(unanswered("read_ledger"));
        }
        let request = LedgerRequest::Read { name: fleet.as_str().to_owned() };
        let LedgerAnswer::Read(Ok(read)) = consul.ledger(&request, since_epoch(now)) else {
            return Err(unanswered("read_ledger"));
        };
        let decode = |bytes: &[u8]| postcard::from_bytes(bytes).map(Box::new);
        let left = (!read.bytes.is_empty()).then(|| decode(&read.bytes)).transpose();
        let malformed = |error: postcard::Error| {
            ApiError::new(ErrorClass::Malformed, "consul", "read_ledger", None, &error.to_string())
        };
        let ledger = left.map_err(malformed)?;
        self.versions.insert(fleet.clone(), read.version);
        Ok(ledger)
    }

    /// Writes ledgers as the daemon does: against the version that is known, once more after a conflict.
    pub fn write(
        &mut self,
        consul: &mut Consul,
        way: Way,
        ledgers: &[(FleetName, Box<Ledger>)],
        now: Timestamp,
    ) -> Result<(), String> {
        for (fleet, ledger) in ledgers {
            let bytes = postcard::to_stdvec(ledger).expect("a ledger encodes");
            let outcome = match self.write_one(consul, way, fleet, &bytes, now) {
                Err(LedgerError::Conflict { .. }) => self.write_one(consul, way, fleet, &bytes, now),
                outcome => outcome,
            };
            outcome.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn write_one(
        &mut self,
        consul: &mut Consul,
        way: Way,
        fleet: &FleetName,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let Some(session) = self.elector.session().cloned() else {
            return Err(LedgerError::Fenced { message: "there is no session".to_owned() });
        };
        if !self.versions.contains_key(fleet) {
            self.read_one(consul, way, fleet, now)?;
        }
        let expected = self.versions.remove(fleet).unwrap_or_default();
        if way == Way::Closed {
            return Err(unanswered("write_ledger").into());
        }
        let name = fleet.as_str().to_owned();
        let request = LedgerRequest::Write { name, bytes: bytes.to_vec(), expected, session };
        match consul.ledger(&request, since_epoch(now)) {
            LedgerAnswer::Written(_) if way == Way::OneWay => Err(unanswered("write_ledger").into()),
            LedgerAnswer::Written(Ok(version)) => {
                self.versions.insert(fleet.clone(), version);
                Ok(())
            }
            LedgerAnswer::Written(Err(error)) => Err(error),
            LedgerAnswer::Read(_) => unreachable!("a write is answered as a write"),
        }
    }
}
