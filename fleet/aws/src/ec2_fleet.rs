//! EC2 Fleet (`fleet-…`): EC2's newer fleet service.

use crate::action::Action;
use crate::client::InRegion;
use crate::governor::Toll;
use crate::launch::{Draft, Template, Want};
use crate::spot_fleet::{accepted, member, targets};
use crate::{errors, relaunch, words};
use aws_sdk_ec2::types::{
    DefaultTargetCapacityType, FleetData, FleetExcessCapacityTerminationPolicy, FleetLaunchTemplateConfig,
    FleetLaunchTemplateOverrides, TargetCapacitySpecification, TargetCapacitySpecificationRequest,
};
use fleet::ports::Change;
use fleet::{ApiError, Backend, CapacityUnits, ErrorClass, FleetId, FleetView, Health, InstanceId};
use std::sync::PoisonError;

/// Every EC2 Fleet of the region (`instant` ones are not listed by EC2). Not by ids, as with Spot Fleet.
pub(crate) async fn describe(region: &InRegion) -> Result<Vec<Draft>, ApiError> {
    let send = |token| region.ec2.describe_fleets().max_results(1000).set_next_token(token).send();
    let fleets = region.pages(Action::DescribeFleets, usize::MAX, send, |page| {
        (page.fleets.unwrap_or_default(), page.next_token)
    });
    let fleets = fleets.await?;
    remember_default_markets(region, &fleets);
    Ok(fleets.iter().filter_map(draft).collect())
}

fn remember_default_markets(region: &InRegion, fleets: &[FleetData]) {
    let defaults = fleets.iter().filter_map(|fleet| {
        let market = fleet.target_capacity_specification()?.default_target_capacity_type()?;
        Some((FleetId::new(fleet.fleet_id()?), market.clone()))
    });
    // A panic elsewhere leaves nothing half done in here.
    region.known.lock().unwrap_or_else(PoisonError::into_inner).default_markets = defaults.collect();
}

/// `None` without an id: nothing can be done with such a fleet.
fn draft(data: &FleetData) -> Option<Draft> {
    let id = FleetId::new(data.fleet_id()?);
    let options = data.spot_options();
    let strategies = options.and_then(|options| options.maintenance_strategies());
    let capacity = data.target_capacity_specification();
    let view = FleetView {
        id,
        backend: Backend::Ec2Fleet,
        state: words::fleet_state(data.fleet_state()),
        activity: words::activity(data.activity_status()),
        kind: words::fleet_kind(data.r#type()),
        target: words::capacity(capacity.and_then(TargetCapacitySpecification::total_target_capacity)),
        on_demand_target: capacity.map_or(0, on_demand_target),
        fulfilled: CapacityUnits::new(data.fulfilled_capacity().unwrap_or(0.0)),
        excess: words::excess(data.excess_capacity_termination_policy()),
        strategy: words::strategy(options.and_then(|options| options.allocation_strategy())),
        capacity_rebalance: strategies.is_some_and(|strategies| strategies.capacity_rebalance().is_some()),
        overrides: Vec::new(),
        launch: relaunch::launch_of(
            data.launch_template_configs()
                .iter()
                .map(FleetLaunchTemplateConfig::launch_template_specification),
        ),
        tags: words::tags(data.tags()),
        created: words::time(data.create_time()),
        valid_until: data.valid_until().map(|time| words::time(Some(time))),
    };
    Some(Draft { view, wants: wants(data, capacity) })
}

/// What is not said to be spot or on demand is of the fleet's default market.
fn on_demand_target(capacity: &TargetCapacitySpecification) -> u32 {
    let total = words::capacity(capacity.total_target_capacity());
    let by_default = capacity.default_target_capacity_type().map(|market| words::plain(market.as_str()));
    match (capacity.on_demand_target_capacity(), capacity.spot_target_capacity()) {
        (Some(on_demand), _) => words::capacity(Some(on_demand)),
        (None, Some(spot)) => total.saturating_sub(words::capacity(Some(spot))),
        (None, None) if by_default.as_deref() == Some("ondemand") => total,
        (None, None) => 0,
    }
}

/// The shopping list; empty for a fleet that counts vCPUs or memory instead of units: what its instances
/// weigh is not known then, and it cannot be held.
fn wants(data: &FleetData, capacity: Option<&TargetCapacitySpecification>) -> Vec<Want> {
    let unit = capacity.and_then(|capacity| capacity.target_capacity_unit_type());
    if unit.is_some_and(|unit| words::plain(unit.as_str()) != "units") {
        return Vec::new();
    }
    data.launch_template_configs().iter().flat_map(of_template).collect()
}

fn of_template(config: &FleetLaunchTemplateConfig) -> Vec<Want> {
    let template = config.launch_template_specification().and_then(Template::from_sdk);
    if config.overrides().is_empty() {
        return vec![Want { template, ..Want::default() }];
    }
    // Requirements in place of a type ("any with 4 vCPUs") cannot be listed.
    let listed = config.overrides().iter().filter(|line| line.instance_requirements().is_none());
    let want = |line: &FleetLaunchTemplateOverrides| Want {
        instance_type: line.instance_type().map(|name| name.as_str().to_owned()),
        template: template.clone(),
        zone: line.availability_zone().map(str::to_owned),
        subnet: line.subnet_id().map(str::to_owned),
        weight: line.weighted_capacity(),
    };
    listed.map(want).collect()
}

/// The fleet's own list of its instances.
pub(crate) async fn instances(
    region: &InRegion,
    fleet: &FleetId,
) -> Result<Vec<(InstanceId, Health)>, ApiError> {
    let call = || region.ec2.describe_fleet_instances().fleet_id(fleet.as_str());
    let send = |token| call().max_results(1000).set_next_token(token).send();
    let list = region.pages(Action::DescribeFleetInstances, usize::MAX, send, |page| {
        (page.active_instances.unwrap_or_default(), page.next_token)
    });
    Ok(list.await?.iter().filter_map(member).collect())
}

/// Sets the target, and the policy with it.
///
/// Total, on demand and spot always go together, and the default market as it was: what is left out, EC2 fills
/// in by its own lights.
pub(crate) async fn modify(region: &InRegion, fleet: &FleetId, change: Change) -> Result<(), ApiError> {
    let action = Action::ModifyFleet;
    let (total, on_demand) = targets(action, change)?;
    let capacity = TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(total)
        .on_demand_target_capacity(on_demand)
        .spot_target_capacity(total - on_demand)
        .default_target_capacity_type(default_market(region, fleet).await?)
        .build();
    let configs = match change.launch {
        Some(version) => Some(relaunch::ec2_fleet(region, fleet, version).await?),
        None => None,
    };
    let send = || {
        let call = region.ec2.modify_fleet().fleet_id(fleet.as_str());
        call.set_launch_template_configs(configs.clone())
            .target_capacity_specification(capacity.clone())
            .excess_capacity_termination_policy(FleetExcessCapacityTerminationPolicy::NoTermination)
            .send()
    };
    let answer = region.call(action, Toll::None, send).await?;
    accepted(action, answer.r#return())
}

/// What the fleet buys by default, as it was last described; described now when it never was.
async fn default_market(region: &InRegion, fleet: &FleetId) -> Result<DefaultTargetCapacityType, ApiError> {
    let known = || {
        // A panic elsewhere leaves nothing half done in here.
        let known = region.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.default_markets.get(fleet).cloned()
    };
    if let Some(market) = known() {
        return Ok(market);
    }
    let fleets = describe(region).await?;
    let exists = fleets.iter().any(|draft| draft.view.id == *fleet);
    match known() {
        Some(market) => Ok(market),
        // EC2's own default.
        None if exists => Ok(DefaultTargetCapacityType::OnDemand),
        None => Err(errors::local(ErrorClass::NotFound, Action::ModifyFleet, "no such fleet")),
    }
}
