//! Who called what how often, and EC2's request rates.

use fleet::Timestamp;
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
    /// `CreateLaunchTemplateVersion`
    pub const CREATE_LAUNCH_TEMPLATE_VERSION: Self = Self("CreateLaunchTemplateVersion");
    /// `DescribeInstances`
    pub const DESCRIBE_INSTANCES: Self = Self("DescribeInstances");
    /// `TerminateInstances`
    pub const TERMINATE_INSTANCES: Self = Self("TerminateInstances");
    /// `DescribeSpotPriceHistory`
    pub const DESCRIBE_SPOT_PRICE_HISTORY: Self = Self("DescribeSpotPriceHistory");
    /// `DescribeSpotInstanceRequests`
    pub const DESCRIBE_SPOT_INSTANCE_REQUESTS: Self = Self("DescribeSpotInstanceRequests");
    /// `DescribeInstanceStatus`
    pub const DESCRIBE_INSTANCE_STATUS: Self = Self("DescribeInstanceStatus");
    /// `CreateTags`
    pub const CREATE_TAGS: Self = Self("CreateTags");
    /// `DescribeScalableTargets` (Application Auto Scaling)
    pub const DESCRIBE_SCALABLE_TARGETS: Self = Self("DescribeScalableTargets");
    /// `GetMetricData` (CloudWatch)
    pub const GET_METRIC_DATA: Self = Self("GetMetricData");
    /// `DescribeAlarms` (CloudWatch)
    pub const DESCRIBE_ALARMS: Self = Self("DescribeAlarms");
    /// `DescribeImages`
    pub const DESCRIBE_IMAGES: Self = Self("DescribeImages");
    /// `DescribeLaunchTemplateVersions`
    pub const DESCRIBE_LAUNCH_TEMPLATE_VERSIONS: Self = Self("DescribeLaunchTemplateVersions");
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

/// EC2's documented request rates: (action, bucket, refill a second). Account and region together, whoever
/// calls. Other actions are not limited here.
///
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
const RATES: [(&str, i64, i64); 18] = [
    ("CancelSpotFleetRequests", 100, 5),
    ("CreateFleet", 50, 5),
    ("CreateTags", 100, 10),
    ("DeleteFleets", 100, 5),
    ("DescribeFleetHistory", 100, 20),
    ("DescribeFleetInstances", 100, 20),
    ("DescribeFleets", 100, 20),
    ("DescribeInstanceStatus", 100, 20),
    ("DescribeInstances", 100, 20),
    ("DescribeSpotFleetInstances", 100, 5),
    ("DescribeSpotFleetRequestHistory", 100, 5),
    ("DescribeSpotFleetRequests", 50, 3),
    ("DescribeSpotInstanceRequests", 100, 20),
    ("DescribeSpotPriceHistory", 100, 20),
    ("ModifyFleet", 50, 5),
    ("ModifySpotFleetRequest", 50, 5),
    ("RequestSpotFleet", 50, 5),
    ("TerminateInstances", 100, 5),
];

/// What TerminateInstances may end: a bucket of instances beside that of calls.
const TERMINATED_INSTANCES: (&str, i64, i64) = ("TerminateInstances (instances)", 1000, 20);

/// Token buckets, by action.
#[derive(Clone, Debug, Default)]
pub(crate) struct Throttle {
    buckets: BTreeMap<&'static str, Bucket>,
}

/// Tokens are counted in thousandths, so that a millisecond's refill is whole.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    thousandths: i64,
    at: Timestamp,
}

impl Throttle {
    /// Takes a token for a call; `false` when there is none.
    pub(crate) fn admits(&mut self, action: Action, now: Timestamp) -> bool {
        match RATES.iter().find(|(name, ..)| *name == action.0) {
            Some(rate) => self.takes(*rate, 1, now),
            None => true,
        }
    }
    /// Takes a token for each instance that a call would end; `false`, and takes none, when there are too few.
    pub(crate) fn admits_terminating(&mut self, instances: usize, now: Timestamp) -> bool {
        self.takes(TERMINATED_INSTANCES, i64::try_from(instances).unwrap_or(i64::MAX), now)
    }
    fn takes(&mut self, (name, size, refill): (&'static str, i64, i64), tokens: i64, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(name).or_insert(Bucket { thousandths: size * 1000, at: now });
        let refilled = (now.millis() - bucket.at.millis()).saturating_mul(refill);
        bucket.thousandths = bucket.thousandths.saturating_add(refilled).min(size * 1000);
        bucket.at = now;
        let price = tokens.saturating_mul(1000);
        let enough = bucket.thousandths >= price;
        if enough {
            bucket.thousandths -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut throttle = Throttle::default();
        let action = Action::DESCRIBE_SPOT_FLEET_REQUESTS;
        let mut admitted =
            |millis| (0..60).filter(|_| throttle.admits(action, Timestamp::from_millis(millis))).count();
        assert_eq!(admitted(0), 50, "the documented burst");
        assert_eq!(admitted(1000), 3, "the documented rate");
        assert_eq!(admitted(1333), 0, "not quite a token");
        assert_eq!(admitted(1334), 1);
        assert_eq!(admitted(100_000), 50, "never more than the bucket holds");
    }

    #[test]
    fn actions_do_not_take_each_others_tokens() {
        let mut throttle = Throttle::default();
        while throttle.admits(Action::DESCRIBE_FLEETS, Timestamp::EPOCH) {}
        assert!(throttle.admits(Action::MODIFY_FLEET, Timestamp::EPOCH));
        assert!(!throttle.admits_terminating(1001, Timestamp::EPOCH));
        assert!(throttle.admits_terminating(1000, Timestamp::EPOCH), "the refused call took none");
    }
}
