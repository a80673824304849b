//! Why, and why not.

use crate::sizing::{Expert, Headroom};
use crate::{Course, Halt, RemovalStep, ReplacementStep, Stage};
use fleet::{
    CapacityUnits, ErrorClass, InstanceId, NoticeKind, Pool, Power, Resources, Source, Timestamp, UsdPerHour,
    Utilization,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A reason not to act, or not to act fully.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// No describe has shown the fleet yet.
    FleetUnseen,
    /// What was seen of the fleet is too old to act upon.
    FleetStale {
        /// How old.
        #[serde(with = "fleet::seconds")]
        age: Duration,
    },
    /// What was seen of the fleet is too old to write upon: it is looked at again first.
    LookFirst {
        /// How old.
        #[serde(with = "fleet::seconds")]
        age: Duration,
    },
    /// The fleet is carrying out a modification.
    Modifying {
        /// Since when we wait.
        since: Timestamp,
    },
    /// The fleet's instances have not been seen, or too long ago to choose a victim.
    MembersUnseen,
    /// The fleet counts more than the instances that were seen: no victim is chosen on half a picture.
    Contradictory {
        /// What the fleet counts as fulfilled.
        fulfilled: CapacityUnits,
        /// What the instances that were seen weigh.
        seen: CapacityUnits,
    },
    /// Our last write has not shown yet.
    WriteNotShown {
        /// When it was sent.
        written: Timestamp,
    },
    /// The fleet shows a target that is neither ours nor the one before: it may be lag, or somebody else.
    Unsettled {
        /// The target that was seen.
        found: u32,
    },
    /// No usable sample.
    NoSamples,
    /// The newest sample is too old for a scale-in.
    SamplesStale {
        /// How old.
        #[serde(with = "fleet::seconds")]
        age: Duration,
    },
    /// An operator paused the fleet.
    Paused {
        /// Until when.
        until: Timestamp,
    },
    /// The policy says to observe only.
    ObserveOnly,
    /// Somebody else writes to this fleet: hands off until an operator resumes.
    Ceded {
        /// How often they were seen.
        foreign_writes: u32,
    },
    /// Less would do for the moment, but not for long enough yet, or the coming minutes need it again.
    ScaleInHeld {
        /// The units that are kept.
        keep: CapacityUnits,
        /// How long capacity must have been superfluous.
        #[serde(with = "fleet::seconds")]
        hold: Duration,
    },
    /// Need has not lasted for long enough.
    ScaleOutHeld {
        /// How long it must last.
        #[serde(with = "fleet::seconds")]
        hold: Duration,
    },
    /// Too few of the instances report to tell that less would do.
    FewReport {
        /// How many do.
        reporting: u32,
        /// How many serve.
        serving: u32,
    },
    /// More runs than is asked for, but it may be that describes lag.
    ExcessHeld {
        /// Since when.
        since: Timestamp,
    },
    /// The policy forbids scale-in.
    ScaleInOff,
    /// Somebody else wrote lately: what they set is not taken back at once.
    ForeignWrite {
        /// Until when.
        until: Timestamp,
    },
    /// Removals are under way.
    RemovalsInFlight {
        /// How many.
        count: usize,
    },
    /// Whole instances do not fit into what may be given back, or none of them may go.
    NoVictim,
    /// Nomad has not shown the nodes: nobody knows what runs where, and nobody is chosen.
    NodesUnseen,
    /// What was seen of the nodes is too old to choose among them, or to take one for empty.
    NodesStale {
        /// How old.
        #[serde(with = "fleet::seconds")]
        age: Duration,
    },
    /// What runs on instances that might go has no place on those that stay.
    NoRoom {
        /// How many were passed over for that.
        instances: usize,
    },
    /// Batch work runs on instances that might go, and the policy waits for its end.
    BatchRuns {
        /// How many were passed over for that.
        instances: usize,
    },
    /// Replacements wait for others to end: `max + surge` is reached.
    SurgeFull {
        /// How many wait.
        waiting: usize,
    },
    /// The fleet cannot be held by us.
    NotHoldable {
        /// Why not.
        why: Unholdable,
    },
    /// The independent checker refused the plan.
    Refused {
        /// The invariant's id.
        invariant: String,
    },
}

impl Hold {
    /// A word for logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::FleetUnseen => "fleet_unseen",
            Self::FleetStale { .. } => "fleet_stale",
            Self::LookFirst { .. } => "look_first",
            Self::Modifying { .. } => "modifying",
            Self::MembersUnseen => "members_unseen",
            Self::Contradictory { .. } => "contradictory",
            Self::WriteNotShown { .. } => "write_not_shown",
            Self::Unsettled { .. } => "unsettled",
            Self::NoSamples => "no_samples",
            Self::SamplesStale { .. } => "samples_stale",
            Self::Paused { .. } => "paused",
            Self::ObserveOnly => "observe_only",
            Self::Ceded { .. } => "ceded",
            Self::ScaleInHeld { .. } => "scale_in_held",
            Self::ScaleOutHeld { .. } => "scale_out_held",
            Self::FewReport { .. } => "few_report",
            Self::ExcessHeld { .. } => "excess_held",
            Self::ScaleInOff => "scale_in_off",
            Self::ForeignWrite { .. } => "foreign_write",
            Self::RemovalsInFlight { .. } => "removals_in_flight",
            Self::NoVictim => "no_victim",
            Self::NodesUnseen => "nodes_unseen",
            Self::NodesStale { .. } => "nodes_stale",
            Self::NoRoom { .. } => "no_room",
            Self::BatchRuns { .. } => "batch_runs",
            Self::SurgeFull { .. } => "surge_full",
            Self::NotHoldable { .. } => "not_holdable",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Why a fleet cannot be held by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unholdable {
    /// Of type `request`: asks once, cannot be modified.
    AsksOnce,
    /// Of type `instant`: launches once, cannot be modified.
    LaunchesOnce,
    /// Being deleted, or gone.
    Deleted,
    /// Failed, or in a state that we do not know.
    Failed,
    /// Not at work yet.
    Submitted,
    /// A scalable target of Application Auto Scaling: two writers would fight.
    ScalableTarget,
}

/// What kept the capacity from being just what was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `capacity.min`.
    Min,
    /// `capacity.max`.
    Max,
    /// `scale_out.max_step`.
    ScaleOutStep,
    /// `scale_in.max_step`.
    ScaleInStep,
}

/// A fact worth an operator's attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// The fleet was taken over as it was found.
    Adopted {
        /// Its target.
        target: u32,
    },
    /// The fleet's target lay out of bounds.
    OutOfBounds {
        /// The target.
        target: u32,
        /// The least that is allowed.
        min: u32,
        /// The most that is allowed.
        max: u32,
    },
    /// The fleet would terminate its own choice of instances; it is set to `NoTermination`.
    WouldTerminate,
    /// Somebody else changed the fleet.
    ForeignWrite {
        /// The target that we had left.
        was: u32,
        /// The target that was found.
        found: u32,
        /// How often that has been seen by now.
        count: u32,
    },
    /// The fleet has been carrying out a modification for uncommonly long; we can only wait.
    StuckModifying {
        /// Since when.
        since: Timestamp,
    },
    /// A write has not shown for so long that it is taken as lost.
    WriteLost {
        /// When it was sent.
        written: Timestamp,
        /// The target that it would have set.
        target: u32,
    },
    /// Capacity that was asked for is not there: the fleet itself goes on trying.
    Missing {
        /// Units.
        units: CapacityUnits,
    },
    /// More runs than is asked for, and nothing of it can be given back now.
    Excess {
        /// Units.
        units: CapacityUnits,
    },
    /// Demand came back before a victim was terminated: it stays.
    RemovalUndone {
        /// The instance that stays.
        instance: InstanceId,
    },
    /// The scheduled event that an instance was to be replaced for was called off, or put off: it stays.
    EventCalledOff {
        /// The instance that stays.
        instance: InstanceId,
    },
    /// A victim does not go although it was terminated; it is told again.
    TerminatedAgain {
        /// The victim.
        instance: InstanceId,
    },
    /// The fleet ends by itself.
    Ends {
        /// When.
        at: Timestamp,
    },
    /// The fleet is spread over fewer instance families than the policy asks for.
    FewFamilies {
        /// How many it is configured over.
        configured: u32,
        /// How many the policy asks for.
        wanted: u32,
    },
    /// The fleet is configured over so few zones that one of them has to hold more than the policy allows.
    FewZones {
        /// How many it is configured over.
        configured: u32,
        /// The largest share that the policy allows a zone.
        largest: Utilization,
    },
    /// EC2's capacity rebalancing is on: it replaces instances beside us.
    CapacityRebalanceOn,
    /// The policy says to change nothing: what stands here would have been done.
    DryRun,
    /// A notice of an instance that we keep our hands off: nothing is done about it.
    NoticeUnheeded {
        /// The instance.
        instance: InstanceId,
        /// What was announced.
        kind: NoticeKind,
    },
    /// An instance was taken, and nobody had said so.
    LostUnannounced {
        /// The instance.
        instance: InstanceId,
        /// Its pool.
        pool: Pool,
        /// How long after its end we learned of it.
        #[serde(with = "fleet::seconds")]
        late: Duration,
    },
    /// A protected instance goes: it is replaced, but its node is not touched.
    ProtectedGoes {
        /// The instance.
        instance: InstanceId,
    },
    /// Nomad could not place work for want of room.
    Blocked {
        /// What it needs.
        needs: Resources,
        /// The units that would hold it.
        units: CapacityUnits,
    },
    /// On-demand capacity stands in for spot.
    StandsIn {
        /// Units.
        units: u32,
        /// Since when.
        since: Timestamp,
        /// What that costs more than spot, where prices are known.
        extra: Option<UsdPerHour>,
    },
    /// The fleet has drifted out of its spread, and an instance is replaced for it.
    Repaired {
        /// The instance.
        instance: InstanceId,
    },
    /// A roll-out is under way, or halted.
    RollsOut {
        /// The version that everything is to be of.
        version: u64,
        /// Which way it goes.
        course: Course,
        /// How far it is.
        stage: Stage,
        /// How many instances are of that version.
        done: usize,
        /// How many there are.
        of: usize,
        /// How many are not, and stay: they are protected.
        protected: usize,
        /// Why it does not go on, if it does not.
        halted: Option<Halt>,
    },
    /// A roll-out replaces nobody more: alarms that it watches do not exist.
    AlarmsMissing {
        /// Which.
        names: Vec<String>,
    },
    /// A roll-out replaces nobody more: nobody knows what the alarms say that it watches.
    AlarmsUnread {
        /// When they were last asked for with success, if they ever were.
        since: Option<Timestamp>,
    },
    /// A node is drained and ineligible, and nobody accounts for it.
    Unaccounted {
        /// Its instance.
        instance: InstanceId,
        /// Since when that is seen.
        since: Timestamp,
    },
    /// An instance serves, and no node of it is shown: several claim to be it, or it is of a node pool that is not
    /// asked for. It cannot be emptied.
    NodeHidden {
        /// The instance.
        instance: InstanceId,
    },
    /// Work was told to end, and has not by the time that it was given: its instance goes all the same.
    NeverEnds {
        /// The instance.
        instance: InstanceId,
        /// So many allocations.
        work: usize,
    },
    /// Work that may take longer to end than an interruption leaves it.
    SlowToLeave {
        /// Its job.
        job: String,
        /// Its task group.
        group: String,
        /// Its longest `shutdown_delay` and `kill_timeout`.
        #[serde(with = "fleet::seconds")]
        grace: Duration,
    },
    /// A read fails: what it told before is all that is known.
    ReadFails {
        /// Which: the metric label.
        operation: String,
        /// As what.
        class: ErrorClass,
    },
}

impl Remark {
    /// A word for logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Adopted { .. } => "adopted",
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::WouldTerminate => "would_terminate",
            Self::ForeignWrite { .. } => "foreign_write",
            Self::StuckModifying { .. } => "stuck_modifying",
            Self::WriteLost { .. } => "write_lost",
            Self::Missing { .. } => "missing",
            Self::Excess { .. } => "excess",
            Self::RemovalUndone { .. } => "removal_undone",
            Self::EventCalledOff { .. } => "event_called_off",
            Self::TerminatedAgain { .. } => "terminated_again",
            Self::Ends { .. } => "ends",
            Self::FewFamilies { .. } => "few_families",
            Self::FewZones { .. } => "few_zones",
            Self::CapacityRebalanceOn => "capacity_rebalance_on",
            Self::DryRun => "dry_run",
            Self::NoticeUnheeded { .. } => "notice_unheeded",
            Self::LostUnannounced { .. } => "lost_unannounced",
            Self::ProtectedGoes { .. } => "protected_goes",
            Self::Blocked { .. } => "blocked",
            Self::StandsIn { .. } => "stands_in",
            Self::Repaired { .. } => "repaired",
            Self::RollsOut { .. } => "rolls_out",
            Self::AlarmsMissing { .. } => "alarms_missing",
            Self::AlarmsUnread { .. } => "alarms_unread",
            Self::Unaccounted { .. } => "unaccounted",
            Self::NodeHidden { .. } => "node_hidden",
            Self::NeverEnds { .. } => "never_ends",
            Self::SlowToLeave { .. } => "slow_to_leave",
            Self::ReadFails { .. } => "read_fails",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing is to be done.
    #[default]
    Steady,
    /// Buy.
    ScaleOut {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Give back.
    ScaleIn {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Same size, but the fleet's settings are set right.
    SetRight {
        /// The target, before and after.
        target: u32,
    },
    /// Give back what runs beyond the target, which stays.
    Trim {
        /// How many instances.
        instances: usize,
    },
    /// Ask for more in place of what is about to go.
    Replace {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Lower the target by what goes, now that it is replaced or empty.
    LowerBack {
        /// The target before.
        from: u32,
        /// The target after.
        to: u32,
    },
    /// Let the work of instances go elsewhere, so that they can be given back.
    Drain {
        /// How many instances.
        instances: usize,
    },
    /// Keep instances that were being emptied.
    Keep {
        /// How many instances.
        instances: usize,
    },
    /// Same size, another part of it on demand.
    Shift {
        /// The on-demand part before.
        from: u32,
        /// The on-demand part after.
        to: u32,
    },
    /// Same size, but another version of the launch template for what is launched from now on.
    Launch {
        /// The version.
        version: u64,
    },
    /// Not now; the holds say why.
    Held,
}

impl Decision {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::ScaleOut { .. } => "scale_out",
            Self::ScaleIn { .. } => "scale_in",
            Self::SetRight { .. } => "set_right",
            Self::Trim { .. } => "trim",
            Self::Replace { .. } => "replace",
            Self::LowerBack { .. } => "lower_back",
            Self::Drain { .. } => "drain",
            Self::Keep { .. } => "keep",
            Self::Shift { .. } => "shift",
            Self::Launch { .. } => "launch",
            Self::Held => "held",
        }
    }
    /// The target before and after, where it changes.
    pub const fn step(self) -> Option<(u32, u32)> {
        match self {
            Self::ScaleOut { from, to }
            | Self::ScaleIn { from, to }
            | Self::Replace { from, to }
            | Self::LowerBack { from, to } => Some((from, to)),
            Self::Steady
            | Self::SetRight { .. }
            | Self::Trim { .. }
            | Self::Drain { .. }
            | Self::Launch { .. }
            | Self::Keep { .. }
            | Self::Shift { .. }
            | Self::Held => None,
        }
    }
}

/// One forecaster's opinion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// Whose.
    pub expert: Expert,
    /// Demand at the horizon.
    pub forecast: Power,
    /// What it counts for, 0..=1; the weights of all sum to 1.
    pub weight: f64,
}

/// Whom to let go, and who would have been next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Those chosen, in the order of choice.
    pub victims: Vec<Candidate>,
    /// Those that would have been next, at most three.
    pub runners_up: Vec<Candidate>,
}

/// Somebody who might be let go, with what was weighed after spread and soundness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub instance: InstanceId,
    /// Where it comes from.
    pub pool: Pool,
    /// What is held against its pool: how often it took back or refused, decayed.
    pub held_against_pool: f64,
    /// What it costs for each unit of the fleet, where that is known.
    pub price: Option<UsdPerHour>,
    /// How many allocations would have to move.
    pub allocations: usize,
    /// When it was launched.
    pub launched: Timestamp,
}

/// The arithmetic of one decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was decided.
    pub decision: Decision,
    /// The newest utilisation.
    pub utilization: Option<Utilization>,
    /// Where it comes from.
    pub source: Option<Source>,
    /// How old it is.
    #[serde(with = "fleet::seconds::optional")]
    pub sample_age: Option<Duration>,
    /// The power that produced it.
    pub power: Option<Power>,
    /// Demand now, in power: what would be busy if nothing had to wait.
    pub demand: Option<Power>,
    /// Whether the fleet was saturated, so that demand is more than was measured.
    pub saturated: bool,
    /// What the forecasters say.
    pub opinions: Vec<Opinion>,
    /// Demand at the horizon.
    pub forecast: Option<Power>,
    /// How far ahead the horizon lies.
    #[serde(with = "fleet::seconds::optional")]
    pub horizon: Option<Duration>,
    /// What is kept above the forecast, and why.
    pub headroom: Headroom,
    /// The utilisation to hold.
    pub goal: Option<Utilization>,
    /// Power per fleet unit: turns demand into units.
    pub power_per_unit: Option<Power>,
    /// Units needed for the forecast with its headroom at the target, before bounds and holds.
    pub needed: Option<CapacityUnits>,
    /// Units asked for now (the target in force).
    pub target: Option<u32>,
    /// Units that serve.
    pub serving: CapacityUnits,
    /// Units on their way.
    pub coming: CapacityUnits,
    /// What bounded the decision.
    pub bounds: Vec<Bound>,
    /// Why not, or not fully.
    pub holds: Vec<Hold>,
    /// Removals in flight after this cycle.
    pub removals: Vec<(InstanceId, RemovalStep)>,
    /// Replacements in flight after this cycle.
    pub replacements: Vec<(InstanceId, ReplacementStep)>,
    /// Whom this cycle chose to let go, and who would have been next; told where more is known of the instances than
    /// their pools and ages.
    pub choice: Option<Choice>,
    /// Facts worth an operator's attention.
    pub remarks: Vec<Remark>,
}
