//! Spot Fleet (`sfr-…`): EC2's older fleet service, and what most fleets still are.

use crate::action::Action;
use crate::client::InRegion;
use crate::governor::Toll;
use crate::launch::{Draft, Template, Want};
use crate::{errors, relaunch, words};
use aws_sdk_ec2::types::{
    ActiveInstance, ExcessCapacityTerminationPolicy, LaunchTemplateConfig, SpotFleetLaunchSpecification,
    SpotFleetRequestConfig, SpotFleetRequestConfigData,
};
use fleet::ports::Change;
use fleet::{
    ApiError, Backend, CapacityUnits, ErrorClass, FleetId, FleetView, Health, InstanceId, LaunchTemplate,
};

/// Every Spot Fleet of the region. Not by ids: one unknown id would make the call fail for all.
pub(crate) async fn describe(region: &InRegion) -> Result<Vec<Draft>, ApiError> {
    let send =
        |token| region.ec2.describe_spot_fleet_requests().max_results(1000).set_next_token(token).send();
    let action = Action::DescribeSpotFleetRequests;
    let fleets = region.pages(action, usize::MAX, send, |page| {
        (page.spot_fleet_request_configs.unwrap_or_default(), page.next_token)
    });
    Ok(fleets.await?.iter().filter_map(draft).collect())
}

/// `None` without an id: nothing can be done with such a fleet.
fn draft(request: &SpotFleetRequestConfig) -> Option<Draft> {
    let id = FleetId::new(request.spot_fleet_request_id()?);
    let absent = SpotFleetRequestConfigData::builder().build();
    let config = request.spot_fleet_request_config().unwrap_or(&absent);
    let rebalance =
        config.spot_maintenance_strategies().and_then(|strategies| strategies.capacity_rebalance());
    let view = FleetView {
        id,
        backend: Backend::SpotFleet,
        state: words::fleet_state(request.spot_fleet_request_state()),
        activity: words::activity(request.activity_status()),
        kind: words::fleet_kind(config.r#type()),
        target: words::capacity(config.target_capacity()),
        on_demand_target: words::capacity(config.on_demand_target_capacity()),
        fulfilled: CapacityUnits::new(config.fulfilled_capacity().unwrap_or(0.0)),
        excess: words::excess(config.excess_capacity_termination_policy()),
        strategy: words::strategy(config.allocation_strategy()),
        capacity_rebalance: rebalance.is_some(),
        overrides: Vec::new(),
        launch: launch_of(config),
        tags: words::tags(request.tags()),
        created: words::time(request.create_time()),
        valid_until: config.valid_until().map(|time| words::time(Some(time))),
    };
    Some(Draft { view, wants: wants(config) })
}

/// What it launches from: nothing that could be changed where launch specifications say it.
fn launch_of(config: &SpotFleetRequestConfigData) -> Option<LaunchTemplate> {
    let configs = config.launch_template_configs().iter();
    relaunch::launch_of(configs.map(LaunchTemplateConfig::launch_template_specification))
}

/// The shopping list; empty for a fleet that counts vCPUs or memory instead of units: what its instances
/// weigh is not known then, and it cannot be held.
fn wants(config: &SpotFleetRequestConfigData) -> Vec<Want> {
    let unit = config.target_capacity_unit_type().map(|unit| words::plain(unit.as_str()));
    if unit.is_some_and(|unit| unit != "units") {
        return Vec::new();
    }
    let by_template = config.launch_template_configs().iter().flat_map(of_template);
    let by_specification = config.launch_specifications().iter().flat_map(of_specification);
    by_template.chain(by_specification).collect()
}

fn of_template(config: &LaunchTemplateConfig) -> Vec<Want> {
    let template = config.launch_template_specification().and_then(Template::from_sdk);
    if config.overrides().is_empty() {
        return vec![Want { template, ..Want::default() }];
    }
    // Requirements in place of a type ("any with 4 vCPUs") cannot be listed.
    let listed = config.overrides().iter().filter(|line| line.instance_requirements().is_none());
    let want = |line: &aws_sdk_ec2::types::LaunchTemplateOverrides| Want {
        instance_type: line.instance_type().map(|name| name.as_str().to_owned()),
        template: template.clone(),
        zone: line.availability_zone().map(str::to_owned),
        subnet: line.subnet_id().map(str::to_owned),
        weight: line.weighted_capacity(),
    };
    listed.map(want).collect()
}

/// A launch specification may name several zones or subnets in one text, with commas.
fn of_specification(specification: &SpotFleetLaunchSpecification) -> Vec<Want> {
    let Some(instance_type) = specification.instance_type() else { return Vec::new() };
    let want = Want {
        instance_type: Some(instance_type.as_str().to_owned()),
        weight: specification.weighted_capacity(),
        ..Want::default()
    };
    let zones = list(specification.placement().and_then(|placement| placement.availability_zone()));
    let interfaces = specification.network_interfaces().iter().filter_map(|interface| interface.subnet_id());
    let subnets = list(specification.subnet_id()).into_iter().chain(interfaces.map(str::to_owned));
    let by_zone = zones.into_iter().map(|zone| Want { zone: Some(zone), ..want.clone() });
    let by_subnet = subnets.map(|subnet| Want { subnet: Some(subnet), ..want.clone() });
    let wants: Vec<Want> = by_zone.chain(by_subnet).collect();
    if wants.is_empty() { vec![want] } else { wants }
}

fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The fleet's own list of its instances.
pub(crate) async fn instances(
    region: &InRegion,
    fleet: &FleetId,
) -> Result<Vec<(InstanceId, Health)>, ApiError> {
    let call = || region.ec2.describe_spot_fleet_instances().spot_fleet_request_id(fleet.as_str());
    let send = |token| call().max_results(1000).set_next_token(token).send();
    let list = region.pages(Action::DescribeSpotFleetInstances, usize::MAX, send, |page| {
        (page.active_instances.unwrap_or_default(), page.next_token)
    });
    Ok(list.await?.iter().filter_map(member).collect())
}

/// `None` without an id.
pub(crate) fn member(instance: &ActiveInstance) -> Option<(InstanceId, Health)> {
    let health = words::health(instance.instance_health());
    Some((InstanceId::new(instance.instance_id()?), health))
}

/// Sets the target, and the policy with it.
pub(crate) async fn modify(region: &InRegion, fleet: &FleetId, change: Change) -> Result<(), ApiError> {
    let action = Action::ModifySpotFleetRequest;
    let (target, on_demand) = targets(action, change)?;
    let configs = match change.launch {
        Some(version) => Some(relaunch::spot_fleet(region, fleet, version).await?),
        None => None,
    };
    let send = || {
        let call = region.ec2.modify_spot_fleet_request().spot_fleet_request_id(fleet.as_str());
        call.target_capacity(target)
            .on_demand_target_capacity(on_demand)
            .excess_capacity_termination_policy(ExcessCapacityTerminationPolicy::NoTermination)
            .set_launch_template_configs(configs.clone())
            .send()
    };
    let answer = region.call(action, Toll::None, send).await?;
    accepted(action, answer.r#return())
}

/// The change in AWS's numbers.
pub(crate) fn targets(action: Action, change: Change) -> Result<(i32, i32), ApiError> {
    let Change { target, on_demand_target, launch: _ } = change;
    match (i32::try_from(target), i32::try_from(on_demand_target)) {
        (Ok(total), Ok(on_demand)) if on_demand <= total => Ok((total, on_demand)),
        _ => {
            let message = format!("not sent: a target of {target} with {on_demand_target} of it on demand");
            Err(errors::local(ErrorClass::Malformed, action, &message))
        }
    }
}

/// EC2 answers a modification with a `true`, and errors otherwise. A `false` is not documented.
pub(crate) fn accepted(action: Action, answer: Option<bool>) -> Result<(), ApiError> {
    match answer {
        Some(false) => Err(errors::local(ErrorClass::Unclear, action, "answered return=false")),
        Some(true) | None => Ok(()),
    }
}
