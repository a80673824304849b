//! Application Auto Scaling: who else may be scaling a fleet. It registers targets, and scales nothing.

use crate::service::Operation;
use crate::shared::{Context, Failure, locked};
use crate::wire::{AwsError, Data, map};
use fleet::{Backend, FleetId, Timestamp};
use std::collections::BTreeMap;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("DescribeScalableTargets", describe_scalable_targets),
    Operation::by_gate("RegisterScalableTarget", register_scalable_target),
];

/// The one dimension by which a Spot Fleet is scaled.
const SPOT_FLEET_DIMENSION: &str = "ec2:spot-fleet-request:TargetCapacity";
const SPOT_FLEET_PREFIX: &str = "spot-fleet-request/";

/// What was registered beyond the world's knowledge that a fleet is a target.
#[derive(Debug, Default)]
pub(crate) struct ScalableTargets {
    by_resource: BTreeMap<String, Target>,
}

#[derive(Clone, Debug)]
struct Target {
    min: u32,
    max: u32,
    role: Option<String>,
    at: Timestamp,
}

fn validation(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationException", message)
}

fn namespace_of(input: &Data) -> Result<&str, AwsError> {
    let named = input.get("ServiceNamespace").as_str();
    named.ok_or_else(|| validation("1 validation error detected: Value at 'serviceNamespace' failed to satisfy constraint: Member must not be null"))
}

fn describe_scalable_targets(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let namespace = namespace_of(input)?;
    let (fleets, start, account, region) = {
        let mut world = context.world();
        let fleets = world.scalable_targets(context.caller)?;
        (fleets, world.start(), world.spec().account.clone(), world.spec().region.clone())
    };
    let wanted = input.get("ResourceIds").texts();
    let dimension = input.get("ScalableDimension").as_str();
    let known = locked(&context.shared.targets);
    let targets = fleets
        .iter()
        .filter(|fleet| namespace == "ec2" && fleet.backend == Backend::SpotFleet)
        .filter(|_| dimension.is_none_or(|dimension| dimension == SPOT_FLEET_DIMENSION))
        .map(|fleet| format!("{SPOT_FLEET_PREFIX}{}", fleet.id))
        .filter(|resource| wanted.is_empty() || wanted.contains(&resource.as_str()))
        .map(|resource| {
            let target = known.by_resource.get(&resource);
            let role = "aws-service-role/ec2.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_EC2SpotFleetRequest";
            let role = target
                .and_then(|target| target.role.clone())
                .unwrap_or_else(|| format!("arn:aws:iam::{account}:role/{role}"));
            map([
                ("ServiceNamespace", "ec2".into()),
                ("ScalableTargetARN", arn(region.as_str(), &account, &resource).into()),
                ("ResourceId", resource.into()),
                ("ScalableDimension", SPOT_FLEET_DIMENSION.into()),
                ("MinCapacity", target.map_or(1, |target| target.min).into()),
                ("MaxCapacity", target.map_or(20, |target| target.max).into()),
                ("RoleARN", role.into()),
                ("CreationTime", target.map_or(start, |target| target.at).into()),
                ("SuspendedState", suspended_state()),
            ])
        })
        .collect();
    Ok(map([("ScalableTargets", Data::List(targets))]))
}

fn register_scalable_target(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let namespace = namespace_of(input)?;
    let resource = input.get("ResourceId").as_str().unwrap_or_default();
    let dimension = input.get("ScalableDimension").as_str().unwrap_or_default();
    let fleet = resource.strip_prefix(SPOT_FLEET_PREFIX).map(FleetId::from);
    let (Some(fleet), "ec2", SPOT_FLEET_DIMENSION) = (fleet, namespace, dimension) else {
        let message = format!(
            "Unsupported service namespace, resource type or scalable dimension: {namespace}, {resource}, {dimension}"
        );
        return Err(validation(message).into());
    };
    let mut world = context.world();
    if !world.fleets().iter().any(|known| known.id == fleet) {
        let message = format!("No scalable target found: {resource} does not exist");
        return Err(AwsError::new("ObjectNotFoundException", message).into());
    }
    let mut targets = locked(&context.shared.targets);
    let known = targets.by_resource.get(resource).cloned();
    let bound = |name: &str, known: Option<u32>| {
        input
            .get(name)
            .as_u32()
            .or(known)
            .ok_or_else(|| validation(format!("{name} is needed for a new target")))
    };
    let target = Target {
        min: bound("MinCapacity", known.as_ref().map(|known| known.min))?,
        max: bound("MaxCapacity", known.as_ref().map(|known| known.max))?,
        role: input.get("RoleARN").as_str().map(str::to_owned),
        at: known.map_or(world.now(), |known| known.at),
    };
    world.register_scalable_target(&fleet);
    let arn = arn(world.spec().region.as_str(), &world.spec().account, resource);
    targets.by_resource.insert(resource.to_owned(), target);
    Ok(map([("ScalableTargetARN", arn.into())]))
}

fn arn(region: &str, account: &str, resource: &str) -> String {
    let id = &hex::encode(crate::sigv4::hmac(b"scalable-target", resource))[..28];
    format!("arn:aws:application-autoscaling:{region}:{account}:scalable-target/{id}")
}

fn suspended_state() -> Data {
    map([
        ("DynamicScalingInSuspended", false.into()),
        ("DynamicScalingOutSuspended", false.into()),
        ("ScheduledScalingSuspended", false.into()),
    ])
}
