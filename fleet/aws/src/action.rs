//! Every AWS action that muster calls: its service, its documented rate, its permission and the reason for it.
//!
//! One table, so that the budget, the error classes and the documentation of permissions cannot drift apart.

/// An action of an AWS API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    DescribeSpotFleetRequests,
    DescribeSpotFleetInstances,
    DescribeSpotFleetRequestHistory,
    ModifySpotFleetRequest,
    DescribeFleets,
    DescribeFleetInstances,
    DescribeFleetHistory,
    ModifyFleet,
    DescribeInstances,
    TerminateInstances,
    DescribeSpotPriceHistory,
    DescribeSpotInstanceRequests,
    DescribeInstanceStatus,
    DescribeSubnets,
    DescribeLaunchTemplateVersions,
    GetMetricData,
    DescribeScalableTargets,
    ReceiveMessage,
    DeleteMessageBatch,
    GetQueueAttributes,
}

/// Whether a call changes something: decides what an answer that never came may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes nothing, or the same however often it is sent; repeated freely.
    Read,
    /// Changes something; an answer that never came is `Unclear`.
    Write,
}

/// What is known of an action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Whose facts these are.
    pub action: Action,
    /// `ec2`, `cloudwatch`, …; also the prefix of its permission.
    pub service: &'static str,
    /// The action's name in its API.
    pub name: &'static str,
    /// Whether it changes something.
    pub effect: Effect,
    /// AWS's bucket, in requests, per account and region.
    pub bucket: u32,
    /// AWS's refill of the bucket, in requests a second.
    pub refill: u32,
    /// Which method of the ports needs it.
    pub used_by: &'static str,
    /// What for: the reason that stands beside the permission.
    pub why: &'static str,
}

const fn read(action: Action, name: &'static str, rate: (u32, u32), use_: [&'static str; 2]) -> Facts {
    let [used_by, why] = use_;
    let (bucket, refill) = rate;
    Facts { action, service: "ec2", name, effect: Effect::Read, bucket, refill, used_by, why }
}

const fn write(action: Action, name: &'static str, rate: (u32, u32), use_: [&'static str; 2]) -> Facts {
    Facts { effect: Effect::Write, ..read(action, name, rate, use_) }
}

/// SQS sets no limit on a standard queue's calls. This is far above what reading fast needs, and bounds a bug.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const fn of_queue(action: Action, name: &'static str, use_: [&'static str; 2]) -> Facts {
    Facts { service: "sqs", ..read(action, name, (1000, 1000), use_) }
}

/// The actions in the order of [`Action`].
///
/// EC2's rates: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>. The page gives none for
/// `DescribeFleetHistory`: it is taken to be as scarce as its Spot Fleet sibling. CloudWatch's rate:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html>. Application Auto
/// Scaling publishes none: what is used here is far below anything that was seen to be refused.
pub(crate) const ACTIONS: [Facts; 20] = [
    read(
        Action::DescribeSpotFleetRequests,
        "DescribeSpotFleetRequests",
        (50, 3),
        ["describe_fleets", "see target, state and policy of the Spot Fleets"],
    ),
    read(
        Action::DescribeSpotFleetInstances,
        "DescribeSpotFleetInstances",
        (100, 5),
        ["fleet_instances", "compare a Spot Fleet's own list and its opinion of their health with EC2's"],
    ),
    read(
        Action::DescribeSpotFleetRequestHistory,
        "DescribeSpotFleetRequestHistory",
        (100, 5),
        ["history", "learn which pools had nothing to give"],
    ),
    write(
        Action::ModifySpotFleetRequest,
        "ModifySpotFleetRequest",
        (50, 5),
        ["modify", "set a Spot Fleet's target, and the policy NoTermination with it"],
    ),
    read(
        Action::DescribeFleets,
        "DescribeFleets",
        (100, 20),
        ["describe_fleets", "see target, state and policy of the EC2 Fleets"],
    ),
    read(
        Action::DescribeFleetInstances,
        "DescribeFleetInstances",
        (100, 20),
        ["fleet_instances", "compare an EC2 Fleet's own list and its opinion of their health with EC2's"],
    ),
    read(
        Action::DescribeFleetHistory,
        "DescribeFleetHistory",
        (100, 5),
        ["history", "learn which pools had nothing to give"],
    ),
    write(
        Action::ModifyFleet,
        "ModifyFleet",
        (50, 5),
        ["modify", "set an EC2 Fleet's target, and the policy no-termination with it"],
    ),
    read(
        Action::DescribeInstances,
        "DescribeInstances",
        (100, 20),
        ["describe_instances", "see pool, age, size, address and state of the fleets' instances"],
    ),
    write(
        Action::TerminateInstances,
        "TerminateInstances",
        (100, 5),
        ["terminate", "end the very instance that was chosen; narrow it by a condition on the fleet's tag"],
    ),
    read(
        Action::DescribeSpotPriceHistory,
        "DescribeSpotPriceHistory",
        (100, 20),
        ["spot_prices", "know what each pool costs"],
    ),
    read(
        Action::DescribeSpotInstanceRequests,
        "DescribeSpotInstanceRequests",
        (100, 20),
        ["marks", "learn of interruptions that neither queue nor agent told of"],
    ),
    read(
        Action::DescribeInstanceStatus,
        "DescribeInstanceStatus",
        (100, 20),
        ["marks", "learn of scheduled events: reboots, stops and retirements"],
    ),
    read(
        Action::DescribeSubnets,
        "DescribeSubnets",
        (100, 20),
        ["describe_fleets", "tell the zone of an override that names only its subnet; may be withheld"],
    ),
    read(
        Action::DescribeLaunchTemplateVersions,
        "DescribeLaunchTemplateVersions",
        (100, 20),
        [
            "describe_fleets",
            "tell the type that a launch template without overrides launches; may be withheld",
        ],
    ),
    Facts {
        action: Action::GetMetricData,
        service: "cloudwatch",
        name: "GetMetricData",
        effect: Effect::Read,
        bucket: 50,
        refill: 50,
        used_by: "read",
        why: "read utilisation where no agent pushes it, and fill the history at the start",
    },
    Facts {
        action: Action::DescribeScalableTargets,
        service: "application-autoscaling",
        name: "DescribeScalableTargets",
        effect: Effect::Read,
        bucket: 10,
        refill: 2,
        used_by: "scalable_targets",
        why: "refuse a Spot Fleet that another autoscaler already writes to",
    },
    // What a lost answer had received comes again: that is how queues are.
    of_queue(
        Action::ReceiveMessage,
        "ReceiveMessage",
        ["receive", "hear EventBridge's notices from the queue"],
    ),
    of_queue(
        Action::DeleteMessageBatch,
        "DeleteMessageBatch",
        ["delete", "remove notices that are taken care of"],
    ),
    of_queue(Action::GetQueueAttributes, "GetQueueAttributes", ["depth", "show how much waits in the queue"]),
];

/// [`Action::facts`] relies on the order.
const _: () = {
    let mut index = 0;
    while index < ACTIONS.len() {
        assert!(ACTIONS[index].action.index() == index, "the table is not in the order of the actions");
        index += 1;
    }
};

/// A permission that muster needs in IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// As in a policy: `ec2:DescribeFleets`.
    pub name: String,
    /// The method of [`fleet::ports::Cloud`], [`fleet::ports::Metrics`] or [`fleet::ports::Queue`] that needs it.
    pub used_by: &'static str,
    /// What for.
    pub why: &'static str,
}

/// The permissions that muster needs, and no more.
pub fn permissions() -> impl Iterator<Item = Permission> {
    ACTIONS.iter().map(|Facts { service, name, used_by, why, .. }| Permission {
        // IAM has no names for SQS's batches: who may delete a message may delete ten.
        name: format!("{service}:{}", name.strip_suffix("Batch").unwrap_or(name)),
        used_by,
        why,
    })
}

impl Action {
    /// What is known of it.
    pub(crate) const fn facts(self) -> &'static Facts {
        &ACTIONS[self.index()]
    }
    /// Its place in [`ACTIONS`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
    /// Whether it changes something.
    pub(crate) const fn effect(self) -> Effect {
        self.facts().effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn actions_carry_their_own_names() {
        for facts in ACTIONS {
            assert_eq!(facts.name, format!("{:?}", facts.action));
        }
    }

    #[test]
    fn the_readme_lists_exactly_the_permissions_that_are_used() {
        let mut table = String::from("| Permission | Used by | What for |\n|---|---|---|\n");
        for Permission { name, used_by, why } in permissions() {
            writeln!(table, "| `{name}` | `{used_by}` | {why} |").expect("a string takes everything");
        }
        let readme = include_str!("../README.md");
        assert!(readme.contains(&table), "README.md of fleet-aws should contain\n{table}");
    }
}
