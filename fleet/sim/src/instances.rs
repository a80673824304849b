//! An instance and its life, kept as the times at which things happened to it: so that any moment of the past
//! can be shown to a describe that lags.

use crate::marks::SpotStatus;
use crate::pools::PoolState;
use crate::rng::Rng;
use fleet::{EndedBy, FleetId, Health, Instance, InstanceId, InstanceState, Pool, Shared, Timestamp, Weight};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Where an instance really stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// Asked for; EC2 shows no instance yet.
    Requested,
    /// Exists, does not serve yet.
    Booting,
    /// Serves.
    InService,
    /// Takes no more work, still runs and is billed.
    Draining,
    /// Shutting down or terminated.
    Gone,
}

/// An instance, as it really is now.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceTruth {
    /// EC2's id. Given already when it is asked for.
    pub id: InstanceId,
    /// Its pool.
    pub pool: Pool,
    /// What it counts for in its fleet's target.
    pub weight: Weight,
    /// How much work it does, in units of demand.
    pub power: f64,
    /// Where it stands.
    pub phase: InstancePhase,
    /// When it was asked for.
    pub requested: Timestamp,
    /// From when on it is billed: when it was asked for, unless the request was held up.
    pub billed_from: Option<Timestamp>,
    /// When it began to serve.
    pub in_service: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The interruption that it is marked for.
    pub interruption: Option<Interruption>,
}

/// An end that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// When it was decided (the notice may be late or never come).
    pub marked: Timestamp,
    /// When the instance goes.
    pub deadline: Timestamp,
    /// Whether the fleet itself chose it, to come down to a lowered target.
    pub by_fleet: bool,
}

/// The kinds of scheduled events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduledCode {
    /// `instance-reboot`
    InstanceReboot,
    /// `system-reboot`
    SystemReboot,
    /// `system-maintenance`
    SystemMaintenance,
    /// `instance-retirement`
    InstanceRetirement,
    /// `instance-stop`
    InstanceStop,
}

impl ScheduledCode {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::InstanceReboot,
        Self::SystemReboot,
        Self::SystemMaintenance,
        Self::InstanceRetirement,
        Self::InstanceStop,
    ];
    /// EC2's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InstanceReboot => "instance-reboot",
            Self::SystemReboot => "system-reboot",
            Self::SystemMaintenance => "system-maintenance",
            Self::InstanceRetirement => "instance-retirement",
            Self::InstanceStop => "instance-stop",
        }
    }
    /// Whether the instance is gone afterwards.
    pub const fn ends_the_instance(self) -> bool {
        matches!(self, Self::InstanceRetirement | Self::InstanceStop)
    }
}

/// Something that AWS plans to do to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledEvent {
    /// What.
    pub code: ScheduledCode,
    /// When it was announced.
    pub announced: Timestamp,
    /// When it begins; here, exactly then.
    pub not_before: Timestamp,
}

/// What an instance's metadata service says of its future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// `spot/instance-action`: terminate, at this time.
    pub terminate_at: Option<Timestamp>,
    /// `events/recommendations/rebalance`: its notice time.
    pub rebalance: Option<Timestamp>,
    /// `events/maintenance/scheduled`: the event that lies ahead.
    pub scheduled: Option<ScheduledEvent>,
}

/// An instance, from its request on.
#[derive(Clone, Debug)]
pub(crate) struct InstanceData {
    pub(crate) id: InstanceId,
    /// Its fleet's place in the world.
    pub(crate) fleet: usize,
    /// Its pool's place in the world.
    pub(crate) pool: usize,
    /// What it counts for, in millionths.
    pub(crate) weight: i64,
    /// What work it does, in millionths of a unit.
    pub(crate) power: i64,
    pub(crate) vcpus: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) chance: Rng,
    pub(crate) health: Health,
    pub(crate) tags: Shared<BTreeMap<String, String>>,
    /// How long the request takes to become an instance, and the instance to serve.
    pub(crate) fulfilment: Duration,
    pub(crate) boot: Duration,
    /// How long it had been there when the world began: only shown, never billed.
    pub(crate) seniority: Duration,
    /// Whether it counts towards its fleet's target.
    pub(crate) counted: bool,
    pub(crate) requested: Timestamp,
    pub(crate) created: Option<Timestamp>,
    pub(crate) running: Option<Timestamp>,
    pub(crate) in_service: Option<Timestamp>,
    pub(crate) drained: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) terminated: Option<Timestamp>,
    pub(crate) interruption: Option<Interruption>,
    /// When its notice could be heard.
    pub(crate) noticed: Option<Timestamp>,
    pub(crate) recommended: Option<Timestamp>,
    /// What lies ahead of it.
    pub(crate) scheduled: Option<ScheduledEvent>,
}

impl InstanceData {
    pub(crate) fn phase(&self) -> InstancePhase {
        if self.ended.is_some() {
            InstancePhase::Gone
        } else if self.drained.is_some() {
            InstancePhase::Draining
        } else if self.in_service.is_some() {
            InstancePhase::InService
        } else if self.created.is_some() {
            InstancePhase::Booting
        } else {
            InstancePhase::Requested
        }
    }
    /// Whether it exists and has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.created.is_some() && self.ended.is_none()
    }
    /// What its metadata service says of its future; `None` where it does not run.
    pub(crate) fn notices(&self) -> Option<Notices> {
        let end = self.interruption.filter(|_| self.noticed.is_some());
        self.is_alive().then(|| Notices {
            terminate_at: end.map(|end| end.deadline),
            rebalance: self.recommended,
            scheduled: self.scheduled,
        })
    }
    /// EC2's state of it at a time that is not in the future; `None` before it existed.
    pub(crate) fn state_at(&self, at: Timestamp) -> Option<InstanceState> {
        let was = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= at);
        if was(self.terminated) {
            Some(InstanceState::Terminated)
        } else if was(self.ended) {
            Some(InstanceState::ShuttingDown)
        } else if was(self.running) {
            Some(InstanceState::Running)
        } else if was(self.created) {
            Some(InstanceState::Pending)
        } else {
            None
        }
    }
    /// From when on it is billed; `None` before it exists.
    pub(crate) fn billed_from(&self) -> Option<Timestamp> {
        self.created.map(|created| created - self.fulfilment)
    }
    /// EC2's view of it at a time that is not in the future.
    pub(crate) fn view_at(&self, at: Timestamp, fleet: &FleetId, pools: &[PoolState]) -> Option<Instance> {
        Some(Instance {
            id: self.id.clone(),
            fleet: fleet.clone(),
            pool: pools[self.pool].pool.clone(),
            state: self.state_at(at)?,
            ended_by: match self.spot_status_at(at) {
                Some(SpotStatus::TakenBack(_)) => Some(EndedBy::Aws),
                Some(SpotStatus::TerminatedByUser(_)) => Some(EndedBy::Client),
                None | Some(SpotStatus::Fulfilled | SpotStatus::Marked(_)) => None,
            },
            health: self.health,
            launched: self.created? - self.seniority,
            vcpus: Some(self.vcpus),
            private_ip: Some(self.address.into()),
            tags: self.tags.clone(),
        })
    }
    pub(crate) fn truth(&self, pools: &[PoolState]) -> InstanceTruth {
        InstanceTruth {
            id: self.id.clone(),
            pool: pools[self.pool].pool.clone(),
            weight: Weight::new(crate::num::units(self.weight)),
            power: crate::num::units(self.power),
            phase: self.phase(),
            requested: self.requested,
            billed_from: self.billed_from(),
            in_service: self.in_service,
            ended: self.ended,
            interruption: self.interruption,
        }
    }
}
