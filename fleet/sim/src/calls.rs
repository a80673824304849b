//! Who called what how often, and EC2's request rates.

use serde::Serialize;
use std::collections::BTreeMap;

/// An action of an AWS API, in the service's own words: `DescribeSpotFleetRequests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Action(pub &'static str);

/// The name of every action that the world itself answers.
impl Action {
    /// `RequestSpotFleet`
    pub const REQUEST_SPOT_FLEET: Self = Self("RequestSpotFleet");
    /// `CreateFleet`
    pub const CREATE_FLEET: Self = Self("CreateFleet");
    /// `CancelSpotFleetRequests`
    pub const CANCEL_SPOT_FLEET_REQUESTS: Self = Self("CancelSpotFleetRequests");
    /// `DeleteFleets`
    pub const DELETE_FLEETS: Self = Self("DeleteFleets");
    /// `DescribeSpotFleetRequests`
    pub const DESCRIBE_SPOT_FLEET_REQUESTS: Self = Self("DescribeSpotFleetRequests");
    /// `DescribeFleets`
    pub const DESCRIBE_FLEETS: Self = Self("DescribeFleets");
    /// `DescribeSpotFleetInstances`
    pub const DESCRIBE_SPOT_FLEET_INSTANCES: Self = Self("DescribeSpotFleetInstances");
    /// `DescribeFleetInstances`
    pub const DESCRIBE_FLEET_INSTANCES: Self = Self("DescribeFleetInstances");
    /// `DescribeSpotFleetRequestHistory`
    pub const DESCRIBE_SPOT_FLEET_REQUEST_HISTORY: Self = Self("DescribeSpotFleetRequestHistory");
    /// `DescribeFleetHistory`
    pub const DESCRIBE_FLEET_HISTORY: Self = Self("DescribeFleetHistory");
    /// `ModifySpotFleetRequest`
    pub const MODIFY_SPOT_FLEET_REQUEST: Self = Self("ModifySpotFleetRequest");
    /// `ModifyFleet`
    pub const MODIFY_FLEET: Self = Self("ModifyFleet");
    /// `DescribeInstances`
    pub const DESCRIBE_INSTANCES: Self = Self("DescribeInstances");
    /// `TerminateInstances`
    pub const TERMINATE_INSTANCES: Self = Self("TerminateInstances");
    /// `DescribeSpotPriceHistory`
    pub const DESCRIBE_SPOT_PRICE_HISTORY: Self = Self("DescribeSpotPriceHistory");
    /// `CreateTags`
    pub const CREATE_TAGS: Self = Self("CreateTags");
    /// `DescribeScalableTargets` (Application Auto Scaling)
    pub const DESCRIBE_SCALABLE_TARGETS: Self = Self("DescribeScalableTargets");
    /// `GetMetricData` (CloudWatch)
    pub const GET_METRIC_DATA: Self = Self("GetMetricData");
}

/// What became of the calls of one action by one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallCount {
    /// All of them, refused ones too.
    pub calls: u64,
    /// Of these, refused for their rate.
    pub throttled: u64,
    /// Of these, failed otherwise, or with their answer lost.
    pub failed: u64,
}

/// Who called what how often, since the world began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CallCounts {
    by_caller: BTreeMap<String, BTreeMap<Action, CallCount>>,
}

impl CallCounts {
    /// By caller and action, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Action, CallCount)> {
        self.by_caller.iter().flat_map(|(caller, actions)| {
            actions.iter().map(move |(action, count)| (caller.as_str(), *action, *count))
        })
    }
    /// One action of one caller.
    pub fn of(&self, caller: &str, action: Action) -> CallCount {
        self.by_caller.get(caller).and_then(|actions| actions.get(&action)).copied().unwrap_or_default()
    }
    /// All calls of a caller.
    pub fn total(&self, caller: &str) -> u64 {
        self.by_caller.get(caller).map_or(0, |actions| actions.values().map(|count| count.calls).sum())
    }
    pub(crate) fn of_mut(&mut self, caller: &str, action: Action) -> &mut CallCount {
        self.by_caller.entry(caller.to_owned()).or_default().entry(action).or_default()
    }
}
