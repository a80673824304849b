//! A fleet: what it was asked to be, what it has, and what describes have shown of it over time.

use crate::events::{FleetChange, FleetRecord};
use crate::metrics::MetricLog;
use crate::num::{units, whole};
use crate::pools::Candidate;
use crate::rng::Rng;
use crate::scores::ScoreBook;
use crate::service::Service;
use crate::spec::FleetRequest;
use fleet::ports::Change;
use fleet::{
    Activity, Backend, CapacityUnits, ExcessCapacity, FleetId, FleetState, FleetView, InstanceId,
    LaunchTemplate, Market, Override, Timestamp,
};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What ModifySpotFleetRequest and ModifyFleet can change; `None` leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModifyFleet {
    /// The total target.
    pub target: Option<u32>,
    /// The on-demand part of it.
    pub on_demand_target: Option<u32>,
    /// What is done with capacity above the target.
    pub excess: Option<ExcessCapacity>,
    /// The version of its launch template that it launches from now on.
    pub launch: Option<u64>,
}

impl From<Change> for ModifyFleet {
    /// As muster modifies: never without `NoTermination`.
    fn from(change: Change) -> Self {
        let Change { target, on_demand_target, launch } = change;
        Self {
            target: Some(target),
            on_demand_target: Some(on_demand_target),
            excess: Some(ExcessCapacity::NoTermination),
            launch,
        }
    }
}

/// How a deleted fleet ends: `cancelled_running`, `cancelled_terminating`, `cancelled` in Spot Fleet's words,
/// `deleted_running`, `deleted_terminating`, `deleted` in EC2 Fleet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deletion {
    /// Launches no more; what runs, runs on.
    Running,
    /// Its instances are going.
    Terminating,
    /// Nothing of it is left.
    Gone,
}

impl Deletion {
    /// The line of history that says so.
    pub(crate) const fn change(self) -> FleetChange {
        match self {
            Self::Running => FleetChange::CancelledRunning,
            Self::Terminating => FleetChange::CancelledTerminating,
            Self::Gone => FleetChange::Cancelled,
        }
    }
}

/// A fleet, as it really is now, and what it did in the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FleetTruth {
    /// The target in force.
    pub target: u32,
    /// Instances asked for that do not exist yet.
    pub requested: u32,
    /// Instances that exist and do not serve yet.
    pub booting: u32,
    /// Instances in service.
    pub in_service: u32,
    /// Instances that drain.
    pub draining: u32,
    /// Capacity in service now, in units of demand.
    pub capacity: f64,
    /// Capacity that exists and is billed now, in the fleet's units.
    pub billed: f64,
    /// Demand of the last step (with its noise), in units.
    pub demand: f64,
    /// Utilisation of the last step, 0..=1.
    pub utilization: f64,
    /// Work that waits, in unit-seconds.
    pub queue: f64,
    /// Work that came since the start, in unit-seconds.
    pub offered: f64,
    /// Work that was served since the start, in unit-seconds.
    pub served: f64,
    /// Work that was dropped since the start, in unit-seconds.
    pub dropped: f64,
}

/// The most lines of history that are kept: what EC2 answers in one page.
const HISTORY: usize = 1000;
/// For how long the past can be shown.
pub(crate) const LONGEST_LAG: Duration = Duration::from_secs(900);
/// For how long a deleted fleet is still described.
const DELETED_VISIBLE: Duration = Duration::from_secs(48 * 3600);

/// Market by market: index with [`slot`].
pub(crate) type ByMarket = [i64; 2];

pub(crate) const fn slot(market: Market) -> usize {
    match market {
        Market::Spot => 0,
        Market::OnDemand => 1,
    }
}

/// A fleet at work.
#[derive(Clone, Debug)]
pub(crate) struct FleetData {
    pub(crate) id: FleetId,
    pub(crate) request: FleetRequest,
    pub(crate) created: Timestamp,
    pub(crate) target: u32,
    pub(crate) on_demand_target: u32,
    pub(crate) excess: ExcessCapacity,
    pub(crate) state: FleetState,
    pub(crate) deletion: Option<Deletion>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Its shopping list, a line a pool.
    pub(crate) candidates: Vec<Candidate>,
    /// Serial numbers of its instances and open requests, in the order of their requests, gone ones too for as
    /// long as they are shown.
    pub(crate) members: Vec<u32>,
    /// What counts towards the target, open requests too, in millionths.
    pub(crate) counted: ByMarket,
    /// The same by pool.
    pub(crate) held: Vec<i64>,
    /// What exists and counts, in millionths.
    pub(crate) fulfilled: i64,
    /// What exists and has not ended, in millionths.
    pub(crate) billed: i64,
    /// Instances that it gives back, until they are gone.
    pub(crate) leaving: u32,
    /// Whether no pool had anything to give when it last asked.
    pub(crate) short: bool,
    /// Whether it will ask again.
    pub(crate) retries: bool,
    /// Whether it has bought all that it will ever buy (kinds other than `maintain`).
    pub(crate) sated: bool,
    /// Whether a fault keeps it in `modifying`, doing nothing.
    pub(crate) frozen: bool,
    versions: VecDeque<(Timestamp, Version)>,
    pub(crate) history: VecDeque<FleetRecord>,
    pub(crate) service: Service,
    pub(crate) metrics: MetricLog,
    pub(crate) scores: ScoreBook,
}

/// What a describe shows of a fleet besides what never changes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Version {
    state: FleetState,
    deletion: Option<Deletion>,
    activity: Activity,
    target: u32,
    on_demand_target: u32,
    excess: ExcessCapacity,
    fulfilled: i64,
    /// The version of the launch template; `None` by name.
    launch: Option<u64>,
}

impl FleetData {
    pub(crate) fn new(
        id: FleetId,
        request: FleetRequest,
        service: Service,
        metrics: MetricLog,
        candidates: Vec<Candidate>,
        pools: usize,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            created: now,
            target: request.target,
            on_demand_target: request.on_demand_target.min(request.target),
            excess: request.excess,
            state: FleetState::Submitted,
            deletion: None,
            tags: request.tags.clone(),
            candidates,
            members: Vec::new(),
            counted: [0; 2],
            held: vec![0; pools],
            fulfilled: 0,
            billed: 0,
            leaving: 0,
            short: false,
            retries: false,
            sated: false,
            frozen: false,
            versions: VecDeque::new(),
            history: VecDeque::new(),
            service,
            metrics,
            scores: ScoreBook::new(now),
            request,
        }
    }
    pub(crate) fn backend(&self) -> Backend {
        self.request.backend
    }
    /// The part of the target in a market, in millionths.
    pub(crate) fn target_of(&self, market: Market) -> i64 {
        match market {
            Market::OnDemand => whole(self.on_demand_target),
            Market::Spot => whole(self.target) - whole(self.on_demand_target),
        }
    }
    /// Whether it buys what is missing.
    pub(crate) fn buys(&self) -> bool {
        let works = matches!(self.state, FleetState::Active | FleetState::Modifying);
        works && self.deletion.is_none() && !self.frozen && !self.sated
    }
    /// Whether there is anything to serve with or to buy with.
    pub(crate) fn is_over(&self) -> bool {
        self.deletion == Some(Deletion::Gone)
    }
    /// Counts an instance or request towards the target.
    pub(crate) fn count(&mut self, market: Market, pool: usize, weight: i64) {
        self.counted[slot(market)] += weight;
        self.held[pool] += weight;
    }
    /// No longer.
    pub(crate) fn discount(&mut self, market: Market, pool: usize, weight: i64) {
        self.count(market, pool, -weight);
    }
    pub(crate) fn record(&mut self, record: FleetRecord) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(record);
    }

    /// Remembers how it looks from now on. To be called after every change.
    pub(crate) fn note_version(&mut self, now: Timestamp) {
        let version = Version {
            state: self.state,
            deletion: self.deletion,
            activity: self.activity(),
            target: self.target,
            on_demand_target: self.on_demand_target,
            excess: self.excess,
            fulfilled: self.fulfilled,
            launch: self.request.launch_template.1.parse().ok(),
        };
        match self.versions.back_mut() {
            Some((at, last)) if *at == now => *last = version,
            Some((_, last)) if *last == version => {}
            _ => self.versions.push_back((now, version)),
        }
        // The last one that is old enough is still needed.
        while self.versions.get(1).is_some_and(|(at, _)| *at + LONGEST_LAG < now) {
            self.versions.pop_front();
        }
    }
    fn activity(&self) -> Activity {
        let wanted = whole(self.target);
        if self.leaving > 0 {
            Activity::PendingTermination
        } else if self.fulfilled >= wanted {
            Activity::Fulfilled
        } else if self.short {
            Activity::Error
        } else {
            Activity::PendingFulfillment
        }
    }
    /// How a describe shows it as of a time; `None` before it was made, and long after it was deleted.
    pub(crate) fn view_at(&self, at: Timestamp, overrides: Vec<Override>) -> Option<FleetView> {
        let known = self.versions.partition_point(|(since, _)| *since <= at);
        let (since, version) = self.versions.get(known.checked_sub(1)?)?;
        if version.deletion == Some(Deletion::Gone) && *since + DELETED_VISIBLE < at {
            return None;
        }
        Some(FleetView {
            id: self.id.clone(),
            backend: self.backend(),
            state: version.state,
            activity: Some(version.activity),
            kind: self.request.kind,
            target: version.target,
            on_demand_target: version.on_demand_target,
            fulfilled: CapacityUnits::new(units(version.fulfilled)),
            excess: version.excess,
            strategy: Some(self.request.strategy),
            capacity_rebalance: self.request.capacity_rebalance,
            overrides,
            launch: Some(LaunchTemplate {
                id: self.request.launch_template.0.clone(),
                version: version.launch,
            }),
            tags: self.tags.clone(),
            created: self.created,
            valid_until: self.request.valid_until,
        })
    }
    /// The tags that AWS sets on its instances, with those that were asked for.
    pub(crate) fn instance_tags(&self) -> BTreeMap<String, String> {
        let (template, version) = &self.request.launch_template;
        let own = match self.backend() {
            Backend::SpotFleet => "aws:ec2spot:fleet-request-id",
            Backend::Ec2Fleet => "aws:ec2:fleet-id",
        };
        let mut tags = self.request.instance_tags.clone();
        tags.insert(own.to_owned(), self.id.to_string());
        tags.insert("aws:ec2launchtemplate:id".to_owned(), template.clone());
        tags.insert("aws:ec2launchtemplate:version".to_owned(), version.clone());
        tags
    }
}

/// An id of EC2's shape for a fleet: `sfr-` or `fleet-` and a UUID.
pub(crate) fn fleet_id(backend: Backend, chance: &mut Rng) -> FleetId {
    let prefix = match backend {
        Backend::SpotFleet => "sfr",
        Backend::Ec2Fleet => "fleet",
    };
    let (high, low) = (chance.bits(), chance.bits());
    FleetId::new(format!(
        "{prefix}-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    ))
}

/// An id of EC2's shape for an instance: `i-` and 17 hexadecimal digits.
pub(crate) fn instance_id(chance: &mut Rng) -> InstanceId {
    InstanceId::new(format!("i-0{:016x}", chance.bits()))
}
