//! EC2 Fleet: kebab-case words.

use super::filter::Filters;
use super::fleets::{self, ACTIVITIES, KINDS};
use super::page::page;
use super::relaunch;
use super::{EC2_FLEET_EXCESS, Words, invalid, missing, optional, optional_time, required, tag_set, tags_of};
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{AwsError, Data, map};
use fleet::{AllocationStrategy, Backend, FleetId, FleetView};
use fleet_sim::{FleetRecord, FleetRequest, ModifyFleet, RecordType};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("CreateFleet", create_fleet),
    Operation::by_world("DescribeFleets", describe_fleets),
    Operation::by_world("DescribeFleetInstances", describe_fleet_instances),
    Operation::by_world("DescribeFleetHistory", describe_fleet_history),
    Operation::by_world("ModifyFleet", modify_fleet),
    Operation::by_world("DeleteFleets", delete_fleets),
];

const STRATEGIES: Words<AllocationStrategy> = Words(&[
    (AllocationStrategy::LowestPrice, "lowest-price"),
    (AllocationStrategy::Diversified, "diversified"),
    (AllocationStrategy::CapacityOptimized, "capacity-optimized"),
    (AllocationStrategy::CapacityOptimizedPrioritized, "capacity-optimized-prioritized"),
    (AllocationStrategy::PriceCapacityOptimized, "price-capacity-optimized"),
]);

/// The total target and the on-demand part of it, as `TargetCapacitySpecification` says.
pub(super) fn targets_of(specification: &Data) -> Result<(u32, u32), AwsError> {
    let total = fleets::target_of(specification, "TotalTargetCapacity")?
        .ok_or_else(|| missing("TargetCapacitySpecification.TotalTargetCapacity"))?;
    let on_demand = fleets::target_of(specification, "OnDemandTargetCapacity")?;
    let spot = fleets::target_of(specification, "SpotTargetCapacity")?;
    if on_demand.unwrap_or(0).saturating_add(spot.unwrap_or(0)) > total {
        let message =
            "The sum of OnDemandTargetCapacity and SpotTargetCapacity must not exceed TotalTargetCapacity";
        return Err(AwsError::new("InvalidParameterCombination", message));
    }
    // What neither part claims is of the default type.
    let default_on_demand = specification.get("DefaultTargetCapacityType").as_str() == Some("on-demand");
    let on_demand = if default_on_demand { total - spot.unwrap_or(0) } else { on_demand.unwrap_or(0) };
    Ok((total, on_demand))
}

fn create_fleet(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    if input.get("Type").as_str() == Some("instant") {
        return super::instant::create(context, input);
    }
    let launch = fleets::launch_of(context, input.get("LaunchTemplateConfigs"))?;
    let (target, on_demand_target) = targets_of(input.get("TargetCapacitySpecification"))?;
    let spot = input.get("SpotOptions");
    let strategy = spot.get("AllocationStrategy").as_str().unwrap_or("lowest-price");
    let kind = input.get("Type").as_str().unwrap_or("maintain");
    let kind = KINDS.value(kind).ok_or_else(|| invalid(kind, "Type"))?;
    let excess = input.get("ExcessCapacityTerminationPolicy").as_str().unwrap_or("termination");
    let mut instance_tags = launch.instance_tags;
    instance_tags.extend(tags_of(input, "instance"));
    let request = FleetRequest {
        backend: Backend::Ec2Fleet,
        kind,
        target,
        on_demand_target,
        strategy: STRATEGIES.value(strategy).ok_or_else(|| invalid(strategy, "AllocationStrategy"))?,
        excess: EC2_FLEET_EXCESS
            .value(excess)
            .ok_or_else(|| invalid(excess, "ExcessCapacityTerminationPolicy"))?,
        capacity_rebalance: !spot.get("MaintenanceStrategies").get("CapacityRebalance").is_null(),
        overrides: launch.overrides,
        launch_template: launch.template,
        image: launch.image,
        tags: tags_of(input, "fleet"),
        instance_tags,
        valid_until: optional_time(input, "ValidUntil")?,
        terminate_on_expiry: optional(input, "TerminateInstancesWithExpiration", Data::as_bool)?
            .unwrap_or(false),
        detailed_monitoring: launch.detailed_monitoring,
    };
    let id = context.world().create_fleet(context.caller, request)?;
    Ok(map([("fleetId", id.as_str().into())]))
}

fn describe_fleets(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] =
        &["activity-status", "excess-capacity-termination-policy", "fleet-state", "type"];
    let ids: Vec<FleetId> = input.get("FleetId").texts().into_iter().map(FleetId::from).collect();
    let filters = Filters::read(input, FILTERS, true)?;
    let mut world = context.world();
    let views = world.describe_fleets(context.caller, Backend::Ec2Fleet, &ids)?;
    let state = |view: &FleetView| fleets::state_word(view, "deleted", world.deletion(&view.id));
    let passing = views.iter().filter(|view| {
        filters.pass(&view.tags, |name| {
            Some(match name {
                "activity-status" => ACTIVITIES.word(view.activity?).to_owned(),
                "excess-capacity-termination-policy" => EC2_FLEET_EXCESS.word(view.excess).to_owned(),
                "fleet-state" => state(view),
                _ => KINDS.word(view.kind).to_owned(),
            })
        })
    });
    let shown =
        passing.map(|view| (view.id.to_string(), shown(view, state(view), world.request_of(&view.id))));
    let page = page(input, 1..=1000, shown)?;
    Ok(map([("nextToken", page.next), ("fleetSet", Data::List(page.items))]))
}

fn shown(view: &FleetView, state: String, asked: Option<&FleetRequest>) -> Data {
    let asked = asked.cloned().unwrap_or_default();
    let targets = map([
        ("totalTargetCapacity", view.target.into()),
        ("onDemandTargetCapacity", view.on_demand_target.into()),
        ("spotTargetCapacity", view.target.saturating_sub(view.on_demand_target).into()),
        ("defaultTargetCapacityType", "spot".into()),
    ]);
    let rebalance = view
        .capacity_rebalance
        .then(|| map([("capacityRebalance", map([("replacementStrategy", "launch".into())]))]));
    let spot = map([
        ("allocationStrategy", view.strategy.map(|strategy| STRATEGIES.word(strategy)).into()),
        ("maintenanceStrategies", rebalance.into()),
        ("instanceInterruptionBehavior", "terminate".into()),
    ]);
    map([
        ("fleetId", view.id.as_str().into()),
        ("fleetState", state.into()),
        ("activityStatus", view.activity.map(|activity| ACTIVITIES.word(activity)).into()),
        ("createTime", view.created.into()),
        ("excessCapacityTerminationPolicy", EC2_FLEET_EXCESS.word(view.excess).into()),
        ("fulfilledCapacity", view.fulfilled.get().into()),
        ("launchTemplateConfigs", fleets::configs(view, &asked.launch_template)),
        ("targetCapacitySpecification", targets),
        ("terminateInstancesWithExpiration", asked.terminate_on_expiry.into()),
        ("type", KINDS.word(view.kind).into()),
        ("validFrom", view.created.into()),
        ("validUntil", view.valid_until.into()),
        ("replaceUnhealthyInstances", false.into()),
        ("spotOptions", spot),
        ("onDemandOptions", map([("allocationStrategy", "lowest-price".into())])),
        ("tagSet", tag_set(&view.tags)),
    ])
}

fn describe_fleet_instances(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "FleetId")?);
    let filters = Filters::read(input, &["instance-type"], false)?;
    let mut instances = context.world().fleet_instances(context.caller, Backend::Ec2Fleet, &id)?;
    instances
        .retain(|instance| filters.pass(&instance.tags, |_| Some(instance.pool.instance_type.to_string())));
    let page = page(input, 1..=1000, instances.iter().map(super::instances::active))?;
    Ok(map([
        ("activeInstanceSet", Data::List(page.items)),
        ("nextToken", page.next),
        ("fleetId", id.as_str().into()),
    ]))
}

fn describe_fleet_history(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "FleetId")?);
    let since = optional_time(input, "StartTime")?.ok_or_else(|| missing("StartTime"))?;
    let mut world = context.world();
    let records = world.history(context.caller, Backend::Ec2Fleet, &id, since)?;
    let page = page(input, 1..=1000, fleets::named_records(records, words, input.get("EventType").as_str()))?;
    Ok(map([
        ("historyRecordSet", Data::List(page.items)),
        ("lastEvaluatedTime", world.now().into()),
        ("nextToken", page.next),
        ("fleetId", id.as_str().into()),
        ("startTime", since.into()),
    ]))
}

/// EC2 Fleet has three types where Spot Fleet has four, and says `deleted` where Spot Fleet says `cancelled`.
fn words(record: &FleetRecord) -> (&'static str, String) {
    let event_type = match record.record_type {
        RecordType::InstanceChange => "instance-change",
        RecordType::FleetRequestChange => "fleet-change",
        RecordType::Error | RecordType::Information => "service-error",
    };
    (event_type, record.sub_type.replace("cancelled", "deleted"))
}

fn modify_fleet(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let id = FleetId::from(required(input, "FleetId")?);
    let launch = relaunch::version_of(context, input, Backend::Ec2Fleet, &id)?;
    let excess = match input.get("ExcessCapacityTerminationPolicy").as_str() {
        None => None,
        Some(word) => Some(
            EC2_FLEET_EXCESS.value(word).ok_or_else(|| invalid(word, "ExcessCapacityTerminationPolicy"))?,
        ),
    };
    let targets = match input.get("TargetCapacitySpecification") {
        Data::Null => None,
        specification => Some(targets_of(specification)?),
    };
    let change = ModifyFleet {
        target: targets.map(|(total, _)| total),
        on_demand_target: targets.map(|(_, on_demand)| on_demand),
        excess,
        launch,
    };
    context.world().modify_fleet(context.caller, Backend::Ec2Fleet, &id, change)?;
    Ok(map([("return", true.into())]))
}

fn delete_fleets(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let ids = input.get("FleetId").texts();
    if ids.is_empty() {
        return Err(missing("FleetId").into());
    }
    let terminate =
        optional(input, "TerminateInstances", Data::as_bool)?.ok_or_else(|| missing("TerminateInstances"))?;
    let (mut successful, mut unsuccessful) = (Vec::new(), Vec::new());
    let mut world = context.world();
    let views = world.shown_fleets(Backend::Ec2Fleet);
    for id in ids.into_iter().map(FleetId::from) {
        let before = views.iter().find(|view| view.id == id);
        let before = before.map(|view| fleets::state_word(view, "deleted", world.deletion(&id)));
        match world.delete_fleet(context.caller, Backend::Ec2Fleet, &id, terminate) {
            Ok(_) => {
                // The answer comes before anything has happened.
                let now = if terminate { "deleted_terminating" } else { "deleted_running" };
                successful.push(map([
                    ("currentFleetState", now.into()),
                    ("previousFleetState", before.into()),
                    ("fleetId", id.as_str().into()),
                ]));
            }
            Err(error) if error.class == fleet::ErrorClass::NotFound => {
                let error = map([("code", "fleetIdDoesNotExist".into()), ("message", error.message.into())]);
                unsuccessful.push(map([("error", error), ("fleetId", id.as_str().into())]));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(map([
        ("successfulFleetDeletionSet", Data::List(successful)),
        ("unsuccessfulFleetDeletionSet", Data::List(unsuccessful)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_part_of_a_target_claims_is_of_the_default_type() {
        let targets = |total: &str, on_demand: Option<&str>, spot: Option<&str>, default: Option<&str>| {
            targets_of(&map([
                ("TotalTargetCapacity", total.into()),
                ("OnDemandTargetCapacity", on_demand.into()),
                ("SpotTargetCapacity", spot.into()),
                ("DefaultTargetCapacityType", default.into()),
            ]))
            .map_err(|error| error.code)
        };
        assert_eq!(targets("10", Some("2"), Some("8"), None), Ok((10, 2)));
        assert_eq!(targets("10", Some("2"), None, None), Ok((10, 2)));
        assert_eq!(targets("10", None, None, Some("spot")), Ok((10, 0)));
        assert_eq!(targets("10", None, None, Some("on-demand")), Ok((10, 10)));
        assert_eq!(targets("10", None, Some("4"), Some("on-demand")), Ok((10, 6)));
        assert_eq!(targets("10", Some("2"), Some("9"), None), Err("InvalidParameterCombination".into()));
        assert_eq!(targets("10001", None, None, None), Err("InvalidParameterValue".into()));
    }
}
