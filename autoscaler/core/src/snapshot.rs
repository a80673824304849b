//! What was seen, with ages.

use fleet::{
    AlarmState, ErrorClass, FleetView, Health, InstanceId, LaunchTemplate, NodeView, Notice, Pool, Power,
    Resources, Sample, Timestamp, UsdPerHour, Weight,
};
use serde::{Deserialize, Serialize};

/// Something that was seen, and when it was asked for: an answer is as old as its question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed<T> {
    /// When the call that showed it was begun.
    pub at: Timestamp,
    /// What it showed.
    pub what: T,
}

/// Everything that a plan may look at besides policy and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The fleet; `None` until a describe has shown it.
    pub fleet: Option<Observed<FleetView>>,
    /// Its instances, by id; `None` until a describe has shown them.
    pub members: Option<Observed<Vec<Member>>>,
    /// Instances that the leader before us has seen, which the ledger says go by a deadline, and which no describe has shown us:
    /// none was begun since we were told of them. None that was protected.
    #[serde(default)]
    pub unseen: Vec<InstanceId>,
    /// Samples that came since the cycle before, oldest first; [`crate::Learned::learn`] folds them.
    pub samples: Vec<Sample>,
    /// The usable sample with the newest end, whenever it came: how fresh the knowledge of load is.
    pub latest: Option<Sample>,
    /// Every notice that is known for a member.
    pub notices: Vec<Notice>,
    /// Set while an operator has paused the fleet.
    pub pause: Option<Pause>,
    /// Whether Application Auto Scaling has the fleet registered as a target: a second writer.
    pub scalable_target: bool,
    /// Reads that fail now: what they would tell is older than it should be.
    pub failing: Vec<FailingRead>,
    /// The nodes of its instances, as old as the last word that they are as they were; `None` without Nomad, or until
    /// it has answered.
    pub nodes: Option<Observed<Vec<NodeView>>>,
    /// What Nomad could not place for want of room, all blocked evaluations that could run here together.
    pub blocked: Resources,
    /// The service groups that are scaled along, as they are now.
    pub groups: Vec<GroupCount>,
    /// Instances whose drain hook has ended well, so that they are empty.
    pub emptied: Vec<InstanceId>,
    /// What pools failed to give, or took back without a notice, since the cycle before, oldest first. What is told
    /// twice counts once. Notices are not repeated here.
    pub troubles: Vec<PoolTrouble>,
    /// What pools cost now, where that is known.
    pub prices: Vec<(Pool, UsdPerHour)>,
    /// The alarms of CloudWatch that a roll-out watches; `None` until they were asked for.
    pub alarms: Option<Observed<Vec<WatchedAlarm>>>,
}

/// An alarm that a roll-out watches, as a reading showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedAlarm {
    /// Its name.
    pub name: String,
    /// What it says; `None`: there is no such alarm.
    pub state: Option<AlarmState>,
    /// Since when it says so, where CloudWatch tells.
    pub since: Option<Timestamp>,
}

/// How many allocations a service group is asked to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCount {
    /// Its namespace.
    pub namespace: String,
    /// Its job's id.
    pub job: String,
    /// Its name.
    pub group: String,
    /// Its count.
    pub count: u32,
    /// How many of it are on nodes, the fleet's and others, and have not been told to end; `None` where that is not known. A process
    /// of before it was asked has not journaled it.
    #[serde(default)]
    pub placed: Option<u32>,
}

/// Something that a pool did, and that speaks against it for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTrouble {
    /// Which pool.
    pub pool: Pool,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: TroubleKind,
    /// Whom it took, where it was one of the fleet's.
    pub instance: Option<InstanceId>,
}

/// What can speak against a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// It took an instance back, and nobody had said so.
    Interrupted,
    /// It had nothing to give (`InsufficientInstanceCapacity` and its kin).
    NoCapacity,
    /// A launch in it failed otherwise; where no zone was named, in any of its type's pools.
    LaunchFailed,
}

/// A read that failed when it was last tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingRead {
    /// The metric label: `describe_fleets`, `cloudwatch`, …
    pub operation: String,
    /// What kind of failure it was.
    pub class: ErrorClass,
}

/// An operator's word to leave a fleet alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Where an instance stands between request and end, by all evidence (not only EC2's state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Bought, not yet seen running.
    Requested,
    /// Runs, does not serve yet.
    Booting,
    /// Serves.
    InService,
    /// Asked to let go of its work.
    Draining,
    /// Leaving (shutting down, stopped): no longer capacity.
    Leaving,
}

/// An instance of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// EC2's id.
    pub id: InstanceId,
    /// Where its capacity comes from.
    pub pool: Pool,
    /// What it counts for in the target.
    pub weight: Weight,
    /// How much work it can do.
    pub power: Power,
    /// Where it stands.
    pub phase: Phase,
    /// Since when it stands there.
    pub since: Timestamp,
    /// When it was launched.
    pub launched: Timestamp,
    /// EC2's opinion of its health.
    pub health: Health,
    /// Never to be removed by us: by tag, by policy, or because we run on it.
    pub protected: bool,
    /// What it was launched from.
    pub launch: Option<LaunchTemplate>,
}
