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
    CreateLaunchTemplateVersion,
    GetMetricData,
    DescribeAlarms,
    DescribeScalableTargets,
    ReceiveMessage,
    DeleteMessageBatch,
    GetQueueAttributes,
    DescribeImages,
    DescribeImageAttribute,
    ModifyImageAttribute,
    EnableImageDeprecation,
    DeregisterImage,
    DescribeSnapshots,
    DeleteSnapshot,
    CreateTags,
    DescribeLaunchTemplates,
    DescribeTags,
    DeleteLaunchTemplate,
    DeleteKeyPair,
    DeleteSecurityGroup,
    GetParameter,
    GetParametersByPath,
    PutParameter,
    DeleteParameter,
}

/// Who calls an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `muster-autoscaler` alone.
    Autoscaler,
    /// `muster-image` alone.
    Image,
    /// Both; what is said of the use is the autoscaler's.
    Both,
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
    /// Whose it is.
    pub of: Program,
    /// Which method of the ports, or which command of `muster-image`, needs it.
    pub used_by: &'static str,
    /// What for: the reason that stands beside the permission.
    pub why: &'static str,
    /// The same two of `muster-image`, where the action is both programs'.
    image: [&'static str; 2],
}

/// What `muster-image` calls the actions for that the autoscaler calls, too.
const OF_REFERENCES: [&str; 2] = ["janitor", "see what still names an image"];

const fn read(action: Action, name: &'static str, rate: (u32, u32), use_: [&'static str; 2]) -> Facts {
    let [used_by, why] = use_;
    let (bucket, refill) = rate;
    Facts {
        action,
        service: "ec2",
        name,
        effect: Effect::Read,
        bucket,
        refill,
        of: Program::Autoscaler,
        used_by,
        why,
        image: OF_REFERENCES,
    }
}

const fn write(action: Action, name: &'static str, rate: (u32, u32), use_: [&'static str; 2]) -> Facts {
    Facts { effect: Effect::Write, ..read(action, name, rate, use_) }
}

/// SQS sets no limit on a standard queue's calls. This is far above what reading fast needs, and bounds a bug.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const fn of_queue(action: Action, name: &'static str, use_: [&'static str; 2]) -> Facts {
    Facts { service: "sqs", ..read(action, name, (1000, 1000), use_) }
}

/// What `muster-image` calls of EC2. Writes among it have the same effect however often they are sent.
const fn of_image(action: Action, name: &'static str, rate: (u32, u32), use_: [&'static str; 2]) -> Facts {
    Facts { of: Program::Image, ..read(action, name, rate, use_) }
}

/// SSM's rates: reads 40 a second, writes 3 a second, without a setting that costs.
/// <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
const fn of_ssm(action: Action, name: &'static str, refill: u32, use_: [&'static str; 2]) -> Facts {
    Facts { service: "ssm", ..of_image(action, name, (refill * 4, refill), use_) }
}

const fn for_both(facts: Facts) -> Facts {
    Facts { of: Program::Both, ..facts }
}

/// The actions in the order of [`Action`].
///
/// EC2's rates: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>. The page gives none for
/// `DescribeFleetHistory`: it is taken to be as scarce as its Spot Fleet sibling. CloudWatch's rate:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html>. Application Auto
/// Scaling publishes none: what is used here is far below anything that was seen to be refused.
pub(crate) const ACTIONS: [Facts; 39] = [
    for_both(read(
        Action::DescribeSpotFleetRequests,
        "DescribeSpotFleetRequests",
        (50, 3),
        ["describe_fleets", "see target, state and policy of the Spot Fleets"],
    )),
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
    for_both(read(
        Action::DescribeFleets,
        "DescribeFleets",
        (100, 20),
        ["describe_fleets", "see target, state and policy of the EC2 Fleets"],
    )),
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
    for_both(read(
        Action::DescribeInstances,
        "DescribeInstances",
        (100, 20),
        ["describe_instances", "see pool, age, size, address and state of the fleets' instances"],
    )),
    Facts {
        image: ["bake", "end the machine"],
        ..for_both(write(
            Action::TerminateInstances,
            "TerminateInstances",
            (100, 5),
            [
                "terminate",
                "end the very instance that was chosen; narrow it by a condition on the fleet's tag",
            ],
        ))
    },
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
    for_both(read(
        Action::DescribeLaunchTemplateVersions,
        "DescribeLaunchTemplateVersions",
        (100, 20),
        [
            "describe_fleets",
            "tell the type that a launch template without overrides launches; may be withheld",
        ],
    )),
    write(
        Action::CreateLaunchTemplateVersion,
        "CreateLaunchTemplateVersion",
        // As for all that change something and have no rate of their own.
        (50, 5),
        ["make_version", "roll an image out; may be withheld where roll-outs name versions"],
    ),
    Facts {
        action: Action::GetMetricData,
        service: "cloudwatch",
        name: "GetMetricData",
        effect: Effect::Read,
        bucket: 50,
        refill: 50,
        of: Program::Autoscaler,
        used_by: "read",
        why: "read utilisation where no agent pushes it, and fill the history at the start",
        image: OF_REFERENCES,
    },
    Facts {
        service: "cloudwatch",
        ..read(
            Action::DescribeAlarms,
            "DescribeAlarms",
            (9, 9),
            ["alarms", "halt a roll-out when an alarm that it watches goes off"],
        )
    },
    Facts {
        action: Action::DescribeScalableTargets,
        service: "application-autoscaling",
        name: "DescribeScalableTargets",
        effect: Effect::Read,
        bucket: 10,
        refill: 2,
        of: Program::Autoscaler,
        used_by: "scalable_targets",
        why: "refuse a Spot Fleet that another autoscaler already writes to",
        image: OF_REFERENCES,
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
    Facts {
        image: ["all", "see the account's images: whether they can be launched, and their age"],
        ..for_both(read(
            Action::DescribeImages,
            "DescribeImages",
            (100, 20),
            [
                "look_up_images",
                "refuse to roll out an image that cannot be launched; may be withheld where roll-outs name versions",
            ],
        ))
    },
    of_image(
        Action::DescribeImageAttribute,
        "DescribeImageAttribute",
        (50, 10),
        ["janitor", "see with whom an image is shared, whose instances cannot be seen"],
    ),
    of_image(
        Action::ModifyImageAttribute,
        "ModifyImageAttribute",
        (50, 5),
        ["publish", "let other accounts launch an image"],
    ),
    of_image(
        Action::EnableImageDeprecation,
        "EnableImageDeprecation",
        (50, 5),
        ["janitor", "say that nobody is to start from an image any more"],
    ),
    of_image(
        Action::DeregisterImage,
        "DeregisterImage",
        (50, 5),
        ["janitor", "remove an image that nothing refers to"],
    ),
    of_image(
        Action::DescribeSnapshots,
        "DescribeSnapshots",
        (100, 20),
        ["janitor", "see snapshots of images that are gone"],
    ),
    of_image(
        Action::DeleteSnapshot,
        "DeleteSnapshot",
        (100, 5),
        ["janitor", "remove the snapshots of an image that was removed"],
    ),
    of_image(Action::CreateTags, "CreateTags", (100, 10), ["publish", "say on an image where it stands"]),
    of_image(
        Action::DescribeLaunchTemplates,
        "DescribeLaunchTemplates",
        (100, 20),
        ["janitor", "see which images launch templates name"],
    ),
    of_image(
        Action::DescribeTags,
        "DescribeTags",
        (100, 20),
        ["bake", "see what a bake that did not end well has left"],
    ),
    of_image(Action::DeleteLaunchTemplate, "DeleteLaunchTemplate", (50, 5), ["bake", "remove the template"]),
    of_image(Action::DeleteKeyPair, "DeleteKeyPair", (50, 5), ["bake", "remove the key"]),
    of_image(Action::DeleteSecurityGroup, "DeleteSecurityGroup", (50, 5), ["bake", "remove the group"]),
    of_ssm(Action::GetParameter, "GetParameter", 40, ["channels", "see what a channel's parameter says"]),
    of_ssm(
        Action::GetParametersByPath,
        "GetParametersByPath",
        40,
        ["channels", "list the channels, and read a channel's journal"],
    ),
    Facts {
        effect: Effect::Write,
        ..of_ssm(
            Action::PutParameter,
            "PutParameter",
            3,
            ["promote", "write the next entry of a channel's journal, then its parameter"],
        )
    },
    of_ssm(
        Action::DeleteParameter,
        "DeleteParameter",
        5,
        ["promote", "drop the oldest entries of a channel's journal"],
    ),
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

/// The permissions that the autoscaler needs, and no more.
pub fn permissions() -> impl Iterator<Item = Permission> {
    of(&[Program::Autoscaler, Program::Both])
}

/// The permissions that `muster-image` needs for channels, the janitor, and what a bake has left, and no more. What Packer needs is
/// Packer's.
pub fn image_permissions() -> impl Iterator<Item = Permission> {
    let both = ACTIONS.iter().filter(|facts| facts.of == Program::Both).map(|facts| {
        let [used_by, why] = facts.image;
        permission(&Facts { used_by, why, ..*facts })
    });
    both.chain(of(&[Program::Image]))
}

fn of(programs: &'static [Program]) -> impl Iterator<Item = Permission> {
    let theirs = ACTIONS.iter().filter(|facts| programs.contains(&facts.of));
    theirs.map(permission)
}

fn permission(Facts { service, name, used_by, why, .. }: &Facts) -> Permission {
    // IAM has no names for SQS's batches: who may delete a message may delete ten.
    let name = format!("{service}:{}", name.strip_suffix("Batch").unwrap_or(name));
    Permission { name, used_by, why }
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
        let readme = include_str!("../README.md");
        let check = |head: &str, permissions: &mut dyn Iterator<Item = Permission>| {
            let mut table = format!("| {head} | What for |\n|---|---|---|\n");
            for Permission { name, used_by, why } in permissions {
                writeln!(table, "| `{name}` | `{used_by}` | {why} |").expect("a string takes everything");
            }
            table.push('\n');
            assert!(readme.contains(&table), "README.md of fleet-aws should contain\n{table}");
        };
        check("Permission | Used by", &mut permissions());
        check("Permission | Command", &mut image_permissions());
    }
}
