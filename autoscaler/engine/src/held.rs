//! One fleet that is held: its state, and what the engine keeps beside it that no plan looks at.

use crate::alarms::Alarms;
use crate::lane::{Flight, LaneKey};
use crate::lead::Tenure;
use crate::region::Streak;
use crate::windows::Windows;
use crate::{BatchId, CallId, Decided, InstanceSeen, Known, Now, Operation, Record, State};
use autoscaler_core::{Action, Hold, Phase, PoolTrouble, TroubleKind};
use autoscaler_policy::{FleetPolicy, SourcePolicy};
use fleet::{
    CapacityUnits, EndedBy, ErrorClass, FleetName, FleetRef, FleetState, InstanceId, InstanceState,
    InstanceType, Market, Pool, Region, Source, Timestamp, Zone,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Decisions that are kept in mind, for people who ask.
const DECISIONS: usize = 16;
/// Describes are fewer again when nothing has changed for this long, whatever is missing still.
const GIVE_UP_HASTE: Duration = Duration::from_secs(600);
/// A write that has not shown for this long is not asked for every cycle any more.
const SHOWS_WITHIN: Duration = Duration::from_secs(120);
/// An instance that is leaving (stopping, say) for longer than this moves no more.
const LEAVES_FOR: Duration = Duration::from_secs(600);

/// Weights are decimal fractions: sums of them are compared with this much leeway.
const UNIT_LEEWAY: f64 = 1e-6;

/// What is known of a fleet that no policy names, should one name it again.
#[derive(Debug)]
pub(crate) struct KnownOf {
    pub state: State,
    pub backfill: Backfill,
    /// Whether the journal may hold less than this.
    pub gap: bool,
}

impl KnownOf {
    /// What the records in a journal fold to.
    pub fn journaled(state: State) -> Self {
        Self { state, backfill: Backfill::Done, gap: false }
    }
}

/// A fleet that a policy names.
#[derive(Debug)]
pub(crate) struct Held {
    pub name: FleetName,
    pub policy: FleetPolicy,
    pub region: Option<Region>,
    /// What plans are made from; changed by records alone.
    pub state: State,
    /// What has been recorded since the last batch.
    pub records: Vec<Record>,
    /// Whether records are missing on disk: the next entry begins with a checkpoint.
    pub gap: bool,
    pub next_checkpoint: Duration,
    /// Instances of which EC2's own list had a scheduled event when it was last asked for.
    pub listed: BTreeSet<InstanceId>,
    /// Of these, those that it lacked when it was last asked for: lists are eventually consistent, and one that lacks
    /// somebody once says little.
    pub unlisted: BTreeSet<InstanceId>,
    /// The schedules that are active, and until when that holds.
    pub schedules: Vec<String>,
    pub in_force: Option<(Timestamp, Option<Timestamp>)>,
    pub windows: Windows,
    pub agents: BTreeMap<InstanceId, Agent>,
    /// When the last plan was made.
    pub planned: Option<Duration>,
    /// The calls that the next plan waits for.
    pub awaiting: BTreeSet<CallId>,
    /// The planner wants to look before it writes.
    pub look: bool,
    pub instances_asked: Option<Duration>,
    pub instances_call: Option<CallId>,
    /// When something about it last changed.
    pub moved: Duration,
    /// How often in a row describes have not shown it.
    pub unseen: u32,
    pub writing: Option<Writing>,
    /// Writes about nodes and groups, beside that.
    pub lane: BTreeMap<LaneKey, Flight>,
    /// What it waits for before it is written to, where leaders change.
    pub tenure: Tenure,
    pub backoff: Option<Backoff>,
    /// What writes fail with, since the last one that did not.
    pub failing: Option<(Operation, Streak)>,
    /// When writes were begun, within the last minute.
    pub writes: VecDeque<Duration>,
    /// When each source last told something new.
    pub heard: BTreeMap<Source, Duration>,
    /// The end of the newest sample of each source that was taken.
    pub told: BTreeMap<Source, Timestamp>,
    pub prometheus_asked: Option<Duration>,
    /// When it was first planned for, or last told by any source.
    pub quiet_since: Option<Duration>,
    pub missing: Option<Missing>,
    /// What speaks against pools whose instances have ended, until a describe says whose doing that was. Lost with the process:
    /// what ended just before a crash speaks against nobody.
    pub suspected: BTreeMap<InstanceId, PoolTrouble>,
    pub history_asked: Option<Duration>,
    pub alarms_asked: Option<Duration>,
    pub history: Vec<String>,
    pub backfill: Backfill,
    pub alarms: Alarms,
    pub decisions: VecDeque<Decided>,
    pub last: Option<Decided>,
}

/// Capacity that was asked for and is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub units: CapacityUnits,
    pub since: Timestamp,
    /// The same on the monotonic clock.
    pub began: Duration,
}

/// What is known of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agent {
    pub sequence: u64,
    pub last_end: Timestamp,
}

/// Whether the demand history is still to be filled.
#[derive(Clone, Debug, Default)]
pub(crate) enum Backfill {
    /// It is known, or cannot be.
    #[default]
    Done,
    /// It is asked for when its turn comes; samples that come meanwhile are kept.
    Wanted(Vec<crate::CompactSample>),
}

/// A plan that is being carried out.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    /// The changes to the fleet, each with its place in the plan.
    pub steps: Vec<(u16, Action)>,
    pub step: usize,
    pub phase: WritePhase,
    pub since: Timestamp,
    /// Whether it goes on where its intent cannot be journaled: it begins no removal.
    pub unjournaled: bool,
    pub intent: Option<BatchId>,
}

/// Where a plan stands that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WritePhase {
    /// Its intent is being written.
    Recording,
    /// A step has been sent.
    Sent(CallId),
}

/// No write before a while has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub until: Duration,
    pub class: ErrorClass,
}

/// How soon the answers about a fleet may differ from the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// Nothing moves.
    Steady,
    /// Something is missing and has been for long.
    Waiting,
    /// Instances come and go.
    Moving,
    /// A write has not shown yet, or is being carried out.
    Unsettled,
}

impl Held {
    /// Whether the fleet is changed by us: nobody has told us not to, and it can be held.
    pub fn is_ours(&self, now: Timestamp) -> bool {
        let State { policy, memory, pause, .. } = &self.state;
        let paused = pause.as_ref().is_some_and(|pause| pause.until > now);
        let told_off = policy.observe_only || policy.dry_run || memory.ceded || paused;
        let holds = self.decisions.back().map(|decided| &decided.report.holds);
        !told_off
            && holds.is_none_or(|holds| !holds.iter().any(|hold| matches!(hold, Hold::NotHoldable { .. })))
    }

    /// A fleet that nothing is known of but its policy and, after a restart, its state.
    pub fn new(policy: FleetPolicy, region: Option<Region>, state: State) -> Self {
        let told = state.latest.iter().map(|latest| (latest.source, latest.end)).collect();
        Self {
            name: policy.name.clone(),
            policy,
            region,
            state,
            records: Vec::new(),
            gap: false,
            next_checkpoint: Duration::ZERO,
            schedules: Vec::new(),
            in_force: None,
            windows: Windows::default(),
            listed: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            agents: BTreeMap::new(),
            planned: None,
            awaiting: BTreeSet::new(),
            look: false,
            instances_asked: None,
            instances_call: None,
            moved: Duration::ZERO,
            unseen: 0,
            writing: None,
            lane: BTreeMap::new(),
            tenure: Tenure::default(),
            backoff: None,
            failing: None,
            writes: VecDeque::new(),
            heard: BTreeMap::new(),
            told,
            prometheus_asked: None,
            quiet_since: None,
            missing: None,
            suspected: BTreeMap::new(),
            history_asked: None,
            alarms_asked: None,
            history: Vec::new(),
            backfill: Backfill::default(),
            alarms: Alarms::default(),
            decisions: VecDeque::new(),
            last: None,
        }
    }

    /// Changes the state, and keeps what changed it.
    pub fn record(&mut self, record: Record) {
        self.state.apply(&record);
        self.records.push(record);
    }

    /// The fleet for calls about it, once it was found.
    pub fn fleet_ref(&self) -> Option<FleetRef> {
        self.state.fleet.as_ref().map(|seen| seen.what.fleet_ref())
    }

    /// What speaks against pools in that these have ended. Whom somebody ended by hand speaks against nobody.
    ///
    /// * `seen`, `gone`: what a describe has changed; `ends`: whose doing it was, of those whose end it gives a reason for.
    pub fn lost(
        &mut self,
        seen: &[InstanceSeen],
        gone: &[InstanceId],
        ends: &BTreeMap<InstanceId, EndedBy>,
        at: Timestamp,
    ) -> Vec<PoolTrouble> {
        let known = &self.state.instances;
        self.suspected.retain(|id, _| known.contains_key(id));
        let going = seen.iter().filter(|seen| seen.state == InstanceState::ShuttingDown).map(|seen| &seen.id);
        let over: BTreeSet<&InstanceId> = going.chain(gone).chain(ends.keys()).collect();
        let mut lost = Vec::new();
        for id in over {
            let found = self.suspected.remove(id).or_else(|| self.lost_unannounced(id, at));
            lost.extend(found.filter(|_| ends.get(id) != Some(&EndedBy::Client)));
        }
        lost
    }

    /// What speaks against the pool of an instance that ends, as is learned now, where nobody had announced it and
    /// we did not ask for it.
    pub fn lost_unannounced(&self, id: &InstanceId, at: Timestamp) -> Option<PoolTrouble> {
        let known = self.state.instances.get(id)?;
        let memory = &self.state.memory;
        let ran = matches!(known.seen.state, InstanceState::Pending | InstanceState::Running);
        let expected = memory.removals.contains_key(id)
            || memory.replacements.contains_key(id)
            || memory.replaced.contains_key(id)
            || self.state.notices.iter().any(|notice| notice.instance == *id);
        let lost = ran && !expected && known.seen.pool.market == Market::Spot;
        lost.then(|| PoolTrouble {
            pool: known.seen.pool.clone(),
            at,
            kind: TroubleKind::Interrupted,
            instance: Some(id.clone()),
        })
    }

    /// What speaks against pools of the fleet when a type cannot be had: the pool of the zone that is named, else those of
    /// every zone in which the fleet may buy the type.
    pub fn troubles(
        &self,
        kind: TroubleKind,
        instance_type: &InstanceType,
        zone: Option<&Zone>,
        at: Timestamp,
    ) -> Vec<PoolTrouble> {
        let zones = zone.map_or_else(|| self.zones_of(instance_type), |zone| BTreeSet::from([zone.clone()]));
        let pool = |zone| Pool { instance_type: instance_type.clone(), zone, market: Market::Spot };
        zones.into_iter().map(|zone| PoolTrouble { pool: pool(zone), at, kind, instance: None }).collect()
    }

    /// The zones in which the fleet may buy a type: those that its lines name, and for a line that names none all that
    /// are known of the fleet, by other lines, instances and prices.
    fn zones_of(&self, instance_type: &InstanceType) -> BTreeSet<Zone> {
        let lines = self.state.fleet.iter().flat_map(|seen| &seen.what.overrides);
        let (of_type, others): (Vec<_>, Vec<_>) =
            lines.partition(|line| line.instance_type == *instance_type);
        let mut zones: BTreeSet<Zone> = of_type.iter().filter_map(|line| line.zone.clone()).collect();
        if of_type.iter().any(|line| line.zone.is_none()) {
            let instances = self.state.instances.values().map(|known| known.seen.pool.zone.clone());
            let priced = self.state.prices.iter().map(|(pool, _)| pool.zone.clone());
            zones.extend(others.iter().filter_map(|line| line.zone.clone()).chain(instances).chain(priced));
        }
        zones
    }

    /// How soon its answers may differ.
    pub fn pace(&self, now: Timestamp, monotonic: Duration) -> Pace {
        let Some(seen) = &self.state.fleet else { return Pace::Waiting };
        let view = &seen.what;
        let unshown = self.state.memory.expected.is_some_and(|expected| !expected.shown);
        let asked = self.state.memory.rollout.as_ref().and_then(|rollout| rollout.asked);
        let untold = asked.is_some_and(|asked| !asked.shown);
        let unsettled = unshown || untold || view.state == FleetState::Modifying;
        let phases = self.state.phases(now);
        let moves = unsettled
            || view.fulfilled.get() < f64::from(view.target)
            || !self.state.memory.removals.is_empty()
            || self.counts_unseen()
            || self.state.instances.values().any(|known| {
                known.missing_since.is_some()
                    || match phases.of(known) {
                        (Phase::InService, _) => false,
                        (Phase::Leaving, since) => now.since(since) < LEAVES_FOR,
                        _ => true,
                    }
            });
        let still_for = monotonic.saturating_sub(self.moved);
        if !moves {
            Pace::Steady
        } else if still_for > GIVE_UP_HASTE {
            Pace::Waiting
        } else if unsettled && still_for < SHOWS_WITHIN {
            Pace::Unsettled
        } else {
            Pace::Moving
        }
    }

    /// Whether the fleet counts more than the instances that are known: some have not been seen.
    fn counts_unseen(&self) -> bool {
        let Some(seen) = &self.state.fleet else { return false };
        let lives =
            |known: &&Known| matches!(known.seen.state, InstanceState::Pending | InstanceState::Running);
        let living = self.state.instances.values().filter(lives);
        let weights: f64 = living.map(|known| self.state.weight(known).get()).sum();
        seen.what.fulfilled.get() > weights + UNIT_LEEWAY
    }

    /// When a source last told something new, if that is not long ago.
    pub fn is_fresh(&self, source: &SourcePolicy, push_fresh: Duration, now: Duration) -> bool {
        let limit = match source {
            SourcePolicy::Push => push_fresh,
            // One reading that failed is forgiven.
            SourcePolicy::Cloudwatch(cloudwatch) => {
                let period =
                    cloudwatch.period.or_else(|| self.latest_period()).unwrap_or(Duration::from_secs(60));
                period * 2 + Duration::from_secs(30)
            }
            SourcePolicy::Prometheus(_) => Duration::from_secs(90),
        };
        self.heard.get(&source.source()).is_some_and(|heard| now.saturating_sub(*heard) <= limit)
    }

    /// The period of the newest sample from a metrics service.
    pub fn latest_period(&self) -> Option<Duration> {
        self.state.latest.filter(|latest| latest.source == Source::Cloudwatch).map(|latest| latest.period())
    }

    /// Whether a source that is preferred to this one tells the utilisation.
    pub fn is_outranked(&self, source: Source, push_fresh: Duration, now: Duration) -> bool {
        let before = self.policy.sources.iter().take_while(|listed| listed.source() != source);
        before.into_iter().any(|listed| self.is_fresh(listed, push_fresh, now))
    }

    /// The end of the newest sample that this source need not tell again: its own, or a preferred one's.
    pub fn known_to(&self, source: Source) -> Option<Timestamp> {
        let own = self.policy.sources.iter().position(|listed| listed.source() == source)?;
        self.policy.sources[..=own].iter().filter_map(|listed| self.told.get(&listed.source())).max().copied()
    }

    /// Keeps a decision in mind where it differs from the one before.
    pub fn remember(&mut self, decided: Decided) {
        let notable = self.last.as_ref().is_none_or(|last| {
            last.report.decision != decided.report.decision
                || last.withheld != decided.withheld
                || !decided.plan.actions.is_empty()
        });
        if notable {
            if self.decisions.len() == DECISIONS {
                self.decisions.pop_front();
            }
            self.decisions.push_back(decided.clone());
        }
        self.last = Some(decided);
    }

    /// The writes that were begun within the last minute, by us or by whoever led before. Ours are counted here as well: a planner that
    /// remembered none would have no bounds.
    pub fn writes_last_minute(&mut self, now: Now) -> u32 {
        let is_over = |at: &Duration| now.monotonic.saturating_sub(*at) >= Duration::from_secs(60);
        while self.writes.front().is_some_and(is_over) {
            self.writes.pop_front();
        }
        let ours = u32::try_from(self.writes.len()).unwrap_or(u32::MAX);
        ours.max(self.state.memory.writes_last_minute(now.wall))
    }
}
