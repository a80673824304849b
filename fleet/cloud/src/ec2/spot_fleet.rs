//! Spot Fleet: camelCase words.

use super::fleets::{self, ACTIVITIES, KINDS};
use super::page::page;
use super::relaunch;
use super::{
    SPOT_FLEET_EXCESS, Words, invalid, missing, optional, optional_time, required, tag_set, tags_of,
};
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{Data, map};
use fleet::{AllocationStrategy, Backend, FleetId, FleetKind, FleetView};
use fleet_sim::{Deletion, FleetRecord, FleetRequest, ModifyFleet, RecordType};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("RequestSpotFleet", request_spot_fleet),
    Operation::by_world("DescribeSpotFleetRequests", describe_spot_fleet_requests),
    Operation::by_world("DescribeSpotFleetInstances", describe_spot_fleet_instances),
    Operation::by_world("DescribeSpotFleetRequestHistory", describe_spot_fleet_request_history),
    Operation::by_world("ModifySpotFleetRequest", modify_spot_fleet_request),
    Operation::by_world("CancelSpotFleetRequests", cancel_spot_fleet_requests),
];

const STRATEGIES: Words<AllocationStrategy> = Words(&[
    (AllocationStrategy::LowestPrice, "lowestPrice"),
    (AllocationStrategy::Diversified, "diversified"),
    (AllocationStrategy::CapacityOptimized, "capacityOptimized"),
    (AllocationStrategy::CapacityOptimizedPrioritized, "capacityOptimizedPrioritized"),
    (AllocationStrategy::PriceCapacityOptimized, "priceCapacityOptimized"),
]);

fn request_spot_fleet(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let config = input.get("SpotFleetRequestConfig");
    required(config, "IamFleetRole")?;
    if !config.get("LaunchSpecifications").is_null() {
        return Err(fleets::unsupported("launch specifications; use launch template configurations").into());
    }
    let launch = fleets::launch_of(context, config.get("LaunchTemplateConfigs"))?;
    let word = |name: &str, default: &'static str| config.get(name).as_str().unwrap_or(default).to_owned();
    let (strategy, kind) = (word("AllocationStrategy", "lowestPrice"), word("Type", "maintain"));
    let excess = word("ExcessCapacityTerminationPolicy", "default");
    let request = FleetRequest {
        backend: Backend::SpotFleet,
        kind: KINDS
            .value(&kind)
            .filter(|kind| *kind != FleetKind::Instant)
            .ok_or_else(|| invalid(&kind, "Type"))?,
        target: fleets::target_of(config, "TargetCapacity")?.ok_or_else(|| missing("TargetCapacity"))?,
        on_demand_target: fleets::target_of(config, "OnDemandTargetCapacity")?.unwrap_or(0),
        strategy: STRATEGIES.value(&strategy).ok_or_else(|| invalid(&strategy, "AllocationStrategy"))?,
        excess: SPOT_FLEET_EXCESS
            .value_in_any_case(&excess)
            .ok_or_else(|| invalid(&excess, "ExcessCapacityTerminationPolicy"))?,
        capacity_rebalance: !config.get("SpotMaintenanceStrategies").get("CapacityRebalance").is_null(),
        overrides: launch.overrides,
        launch_template: launch.template,
        image: launch.image,
        tags: tags_of(config, "spot-fleet-request"),
        instance_tags: launch.instance_tags,
        valid_until: optional_time(config, "ValidUntil")?,
        terminate_on_expiry: optional(config, "TerminateInstancesWithExpiration", Data::as_bool)?
            .unwrap_or(false),
        detailed_monitoring: launch.detailed_monitoring,
    };
    let id = context.world().create_fleet(context.caller, request)?;
    Ok(map([("spotFleetRequestId", id.as_str().into())]))
}

fn describe_spot_fleet_requests(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids: Vec<FleetId> = input.get("SpotFleetRequestId").texts().into_iter().map(FleetId::from).collect();
    let mut world = context.world();
    let views = world.describe_fleets(context.caller, Backend::SpotFleet, &ids)?;
    let account = world.spec().account.clone();
    let shown = views.into_iter().map(|view| {
        let shown = shown(&view, world.deletion(&view.id), world.request_of(&view.id), &account);
        (view.id.to_string(), shown)
    });
    let page = page(input, 1..=1000, shown)?;
    Ok(map([("nextToken", page.next), ("spotFleetRequestConfigSet", Data::List(page.items))]))
}

fn shown(view: &FleetView, deletion: Option<Deletion>, asked: Option<&FleetRequest>, account: &str) -> Data {
    let asked = asked.cloned().unwrap_or_default();
    let rebalance = view
        .capacity_rebalance
        .then(|| map([("capacityRebalance", map([("replacementStrategy", "launch".into())]))]));
    let config = map([
        ("allocationStrategy", view.strategy.map(|strategy| STRATEGIES.word(strategy)).into()),
        ("onDemandAllocationStrategy", "lowestPrice".into()),
        ("spotMaintenanceStrategies", rebalance.into()),
        ("excessCapacityTerminationPolicy", SPOT_FLEET_EXCESS.word(view.excess).into()),
        ("fulfilledCapacity", view.fulfilled.get().into()),
        ("iamFleetRole", format!("arn:aws:iam::{account}:role/aws-ec2-spot-fleet-tagging-role").into()),
        ("launchTemplateConfigs", fleets::configs(view, &asked.launch_template)),
        ("targetCapacity", view.target.into()),
        ("onDemandTargetCapacity", view.on_demand_target.into()),
        ("terminateInstancesWithExpiration", asked.terminate_on_expiry.into()),
        ("type", KINDS.word(view.kind).into()),
        ("validFrom", view.created.into()),
        ("validUntil", view.valid_until.into()),
        ("replaceUnhealthyInstances", false.into()),
        ("instanceInterruptionBehavior", "terminate".into()),
    ]);
    map([
        ("spotFleetRequestId", view.id.as_str().into()),
        ("spotFleetRequestState", fleets::state_word(view, "cancelled", deletion).into()),
        ("activityStatus", view.activity.map(|activity| ACTIVITIES.word(activity)).into()),
        ("createTime", view.created.into()),
        ("spotFleetRequestConfig", config),
        ("tagSet", tag_set(&view.tags)),
    ])
}

fn describe_spot_fleet_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "SpotFleetRequestId")?);
    let instances = context.world().fleet_instances(context.caller, Backend::SpotFleet, &id)?;
    let page = page(input, 1..=1000, instances.iter().map(super::instances::active))?;
    Ok(map([
        ("activeInstanceSet", Data::List(page.items)),
        ("nextToken", page.next),
        ("spotFleetRequestId", id.as_str().into()),
    ]))
}

fn describe_spot_fleet_request_history(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "SpotFleetRequestId")?);
    let since = optional_time(input, "StartTime")?.ok_or_else(|| missing("StartTime"))?;
    let mut world = context.world();
    let records = world.history(context.caller, Backend::SpotFleet, &id, since)?;
    let page = page(input, 1..=1000, fleets::named_records(records, words, input.get("EventType").as_str()))?;
    Ok(map([
        ("historyRecordSet", Data::List(page.items)),
        ("lastEvaluatedTime", world.now().into()),
        ("nextToken", page.next),
        ("spotFleetRequestId", id.as_str().into()),
        ("startTime", since.into()),
    ]))
}

fn words(record: &FleetRecord) -> (&'static str, String) {
    let event_type = match record.record_type {
        RecordType::InstanceChange => "instanceChange",
        RecordType::FleetRequestChange => "fleetRequestChange",
        RecordType::Error => "error",
        RecordType::Information => "information",
    };
    (event_type, record.sub_type.to_owned())
}

fn modify_spot_fleet_request(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "SpotFleetRequestId")?);
    let launch = relaunch::version_of(context, input, Backend::SpotFleet, &id)?;
    let excess = match input.get("ExcessCapacityTerminationPolicy").as_str() {
        None => None,
        Some(word) => Some(
            SPOT_FLEET_EXCESS
                .value_in_any_case(word)
                .ok_or_else(|| invalid(word, "ExcessCapacityTerminationPolicy"))?,
        ),
    };
    let change = ModifyFleet {
        target: fleets::target_of(input, "TargetCapacity")?,
        on_demand_target: fleets::target_of(input, "OnDemandTargetCapacity")?,
        excess,
        launch,
    };
    context.world().modify_fleet(context.caller, Backend::SpotFleet, &id, change)?;
    Ok(map([("return", true.into())]))
}

fn cancel_spot_fleet_requests(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids = input.get("SpotFleetRequestId").texts();
    if ids.is_empty() {
        return Err(missing("SpotFleetRequestId").into());
    }
    let terminate =
        optional(input, "TerminateInstances", Data::as_bool)?.ok_or_else(|| missing("TerminateInstances"))?;
    let (mut successful, mut unsuccessful) = (Vec::new(), Vec::new());
    let mut world = context.world();
    let views = world.shown_fleets(Backend::SpotFleet);
    for id in ids.into_iter().map(FleetId::from) {
        let before = views.iter().find(|view| view.id == id);
        let before = before.map(|view| fleets::state_word(view, "cancelled", world.deletion(&id)));
        match world.delete_fleet(context.caller, Backend::SpotFleet, &id, terminate) {
            Ok(_) => {
                // The answer comes before anything has happened.
                let now = if terminate { "cancelled_terminating" } else { "cancelled_running" };
                successful.push(map([
                    ("currentSpotFleetRequestState", now.into()),
                    ("previousSpotFleetRequestState", before.into()),
                    ("spotFleetRequestId", id.as_str().into()),
                ]));
            }
            Err(error) if error.class == fleet::ErrorClass::NotFound => {
                let error =
                    map([("code", "fleetRequestIdDoesNotExist".into()), ("message", error.message.into())]);
                unsuccessful.push(map([("error", error), ("spotFleetRequestId", id.as_str().into())]));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(map([
        ("successfulFleetRequestSet", Data::List(successful)),
        ("unsuccessfulFleetRequestSet", Data::List(unsuccessful)),
    ]))
}
