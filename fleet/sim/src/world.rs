//! The world itself: what it is made of, and how its time passes.

use crate::agenda::{Agenda, Due};
use crate::alarms::Alarm;
use crate::calls::{CallCounts, Throttle};
use crate::demand::Demand;
use crate::events::EventLog;
use crate::faults::Faults;
use crate::fleets::{FleetData, LONGEST_LAG, fleet_id};
use crate::instances::InstanceData;
use crate::metrics::MetricLog;
use crate::num::{ceil, duration};
use crate::pools::{Candidate, PoolState, wait};
use crate::rng::Rng;
use crate::service::Service;
use crate::spec::{FleetRequest, FleetSpec, Hazard, ServiceSpec, WorldSpec};
use fleet::{FleetId, FleetState, InstanceId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// A simulated account in a region. See the crate's documentation.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) spec: WorldSpec,
    pub(crate) start: Timestamp,
    pub(crate) now: Timestamp,
    next_step: Timestamp,
    pub(crate) agenda: Agenda,
    pub(crate) pools: Vec<PoolState>,
    pub(crate) fleets: Vec<FleetData>,
    /// By serial number: instances and open requests.
    pub(crate) instances: BTreeMap<u32, InstanceData>,
    /// Serial numbers by id, of those that exist or are asked for.
    pub(crate) serials: BTreeMap<InstanceId, u32>,
    pub(crate) next_serial: u32,
    /// What every entity's own generator is forked from.
    pub(crate) chance: Rng,
    pub(crate) call_chance: Rng,
    pub(crate) throttle: Throttle,
    pub(crate) calls: CallCounts,
    pub(crate) faults: Faults,
    pub(crate) events: EventLog,
    pub(crate) event_chance: Rng,
    pub(crate) scalable: BTreeSet<FleetId>,
    /// CloudWatch's alarms, by name.
    pub(crate) alarms: BTreeMap<String, Alarm>,
    /// Versions of launch templates that were made, by template and token.
    pub(crate) versions: BTreeMap<(String, String), u64>,
    /// Images of versions that fleets were told to launch, by template and number, where they are others than the fleet
    /// was made with.
    pub(crate) images: BTreeMap<(String, String), String>,
    /// Versions whose instances never serve.
    pub(crate) broken: BTreeSet<u64>,
}

/// What the generators are forked for.
pub(crate) mod forks {
    pub(crate) const FLEET: u64 = 1;
    pub(crate) const INSTANCE: u64 = 2;
    pub(crate) const POOL: u64 = 3;
    pub(crate) const CALLS: u64 = 4;
    pub(crate) const EVENTS: u64 = 5;
}

impl World {
    /// A world that begins at `start`, with the spec's fleets in service. Total: odd values are taken as the
    /// nearest that make sense.
    ///
    /// * `seed`: of all chance. The same spec, seed, start and calls give the same world, to the bit.
    pub fn new(mut spec: WorldSpec, seed: u64, start: Timestamp) -> Self {
        let chance = Rng::new(seed);
        let fleets = std::mem::take(&mut spec.fleets);
        spec.timing.describe_lag = spec.timing.describe_lag.min(LONGEST_LAG);
        let mut world = Self {
            start,
            now: start,
            next_step: start.floor(ServiceSpec::STEP) + ServiceSpec::STEP,
            agenda: Agenda::default(),
            pools: pools(&spec, chance),
            fleets: Vec::new(),
            instances: BTreeMap::new(),
            serials: BTreeMap::new(),
            next_serial: 0,
            chance,
            call_chance: chance.fork(forks::CALLS, 0),
            throttle: Throttle::default(),
            calls: CallCounts::default(),
            faults: Faults::new(spec.faults.clone()),
            events: EventLog::new(spec.event_queue),
            event_chance: chance.fork(forks::EVENTS, 0),
            scalable: BTreeSet::new(),
            alarms: BTreeMap::new(),
            versions: BTreeMap::new(),
            images: BTreeMap::new(),
            broken: BTreeSet::new(),
            spec,
        };
        for fleet in &fleets {
            world.found(fleet);
        }
        world.spec.fleets = fleets;
        for place in 0..world.spec.interruptions.script.len() {
            let at = world.spec.interruptions.script[place].at;
            world.agenda.put(start + at, Due::Scripted(place));
        }
        if world.spec.interruptions.hazard == Hazard::Band {
            for pool in 0..world.pools.len() {
                world.foresee_strike(pool);
            }
        }
        world
    }

    /// A fleet that is there when the world begins, with its initial capacity in service.
    fn found(&mut self, spec: &FleetSpec) {
        let FleetSpec { id, request, initial, load } = spec;
        let needed = ceil(load.at(Duration::ZERO) / self.spec.service.target).max(1);
        let initial = initial.unwrap_or(needed);
        let mut request = request.clone();
        if request.target == 0 {
            request.target = initial;
        }
        let fleet = self.enlist(id.clone(), request, load.clone());
        self.fleets[fleet].state = FleetState::Active;
        self.furnish(fleet, initial);
        self.replenish(fleet);
        self.expire_in_time(fleet);
    }

    /// Puts a fleet on the books.
    pub(crate) fn enlist(&mut self, id: Option<FleetId>, request: FleetRequest, load: Demand) -> usize {
        let place = self.fleets.len();
        let mut chance = self.chance.fork(forks::FLEET, u64::try_from(place).unwrap_or(u64::MAX));
        let id = id.unwrap_or_else(|| fleet_id(request.backend, &mut chance));
        let candidates = self.candidates(&request);
        let pools = self.pools.len();
        let service = Service::new(load, chance, self.now);
        let metrics = MetricLog::new(&self.spec.metrics);
        self.fleets.push(FleetData::new(id, request, service, metrics, candidates, pools, self.now));
        place
    }

    /// A line for every pool that the fleet's overrides allow.
    fn candidates(&self, request: &FleetRequest) -> Vec<Candidate> {
        if request.overrides.is_empty() {
            let weight = crate::num::whole(1);
            return (0..self.pools.len()).map(|pool| Candidate { pool, weight, place: pool }).collect();
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for (place, wanted) in request.overrides.iter().enumerate() {
            for (pool, state) in self.pools.iter().enumerate() {
                let fits = state.pool.instance_type == wanted.instance_type
                    && wanted.zone.as_ref().is_none_or(|zone| *zone == state.pool.zone);
                // The first line that names a pool holds for it.
                if fits && candidates.iter().all(|candidate| candidate.pool != pool) {
                    // A weight of nothing would be bought for ever.
                    let weight = crate::num::micros(wanted.weight.get()).max(1);
                    candidates.push(Candidate { pool, weight, place });
                }
            }
        }
        candidates
    }

    /// Lets time pass until `to`; everything due by then has happened afterwards. Never goes back.
    ///
    /// It makes no difference in how many moves a time is passed.
    pub fn advance(&mut self, to: Timestamp) {
        loop {
            // A step that ends at the same moment as something happens covers the time before it.
            let due = self.agenda.next_at().filter(|due| *due < self.next_step);
            match due {
                Some(due) if due <= to => self.happen(due),
                None if self.next_step <= to => self.step(to),
                _ => break,
            }
        }
        self.now = self.now.max(to);
    }

    /// The next thing that is due, at `until` at the latest.
    fn happen(&mut self, until: Timestamp) {
        if let Some((at, due)) = self.agenda.take(until) {
            self.now = at;
            self.carry_out(due);
        }
    }

    /// Ends the service step of all fleets.
    fn step(&mut self, to: Timestamp) {
        let end = self.next_step;
        self.now = end;
        let World { spec, start, fleets, .. } = self;
        let mut any = false;
        for fleet in fleets.iter_mut().filter(|fleet| !fleet.is_over()) {
            any = true;
            let began = fleet.service.last_end();
            let before = fleet.service.totals;
            if let Some(step) = fleet.service.step(&spec.service, *start, end) {
                let after = fleet.service.totals;
                let (served, dropped) = (after.served - before.served, after.dropped - before.dropped);
                fleet.scores.note_step(&spec.service, &step, served, dropped);
                fleet.metrics.note(&spec.metrics, began, &step, fleet.fulfilled, fleet.target);
            }
        }
        self.next_step = end + ServiceSpec::STEP;
        if !any {
            // Nobody serves: jump to what is due, not step by step.
            let until = self.agenda.next_at().map_or(to, |due| due.min(to));
            self.next_step = self.next_step.max(until.floor(ServiceSpec::STEP) + ServiceSpec::STEP);
        }
    }

    /// When something happens next: the end of a service step at the latest. `None` in a world without fleets
    /// in which nothing is due.
    pub fn next_event(&self) -> Option<Timestamp> {
        let step = self.fleets.iter().any(|fleet| !fleet.is_over()).then_some(self.next_step);
        step.into_iter().chain(self.agenda.next_at()).min()
    }
    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }
    /// When the world began.
    pub fn start(&self) -> Timestamp {
        self.start
    }
    /// What it was made of (and set to since, where a method sets it).
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }
    /// The time since the start: what windows, faults and demand count in.
    pub(crate) fn offset(&self) -> Duration {
        duration(self.now.millis() - self.start.millis())
    }

    /// Draws when a pool is struck as a whole next, and whether that is foretold.
    pub(crate) fn foresee_strike(&mut self, pool: usize) {
        let interruptions = &self.spec.interruptions;
        let state = &mut self.pools[pool];
        let Some(mean) = state.mean_time_between() else {
            return;
        };
        let at = self.now + wait(mean, &mut state.chance);
        if let Some(foretold) = interruptions.foretold(at, &mut state.chance) {
            self.agenda.put(foretold.max(self.now), Due::PoolRecommended(pool));
        }
        self.agenda.put(at, Due::PoolStruck(pool));
    }

    /// A hash of everything that can still make a difference: equal worlds have equal hashes.
    ///
    /// Made of the debug text, so that a new field cannot be forgotten. Slow: for tests.
    pub fn state_hash(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        // Hashing cannot fail.
        let _ = write!(hash, "{self:?}");
        hash.0
    }
}

fn pools(spec: &WorldSpec, chance: Rng) -> Vec<PoolState> {
    let mut pools: Vec<PoolState> = Vec::new();
    for (place, spec) in spec.pools.iter().enumerate() {
        let pool = spec.pool();
        // The first of several that are the same holds.
        if pools.iter().all(|known| known.pool != pool) {
            let chance = chance.fork(forks::POOL, u64::try_from(place).unwrap_or(u64::MAX));
            pools.push(PoolState { spec: spec.clone(), pool, used: 0, chance });
        }
    }
    pools
}

/// FNV-1a, which stays the same for ever; the standard library's hashers do not promise that.
struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
