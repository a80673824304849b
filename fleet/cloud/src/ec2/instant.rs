//! CreateFleet of type `instant`: machines at once, and no fleet that would hold them.

use super::ec2_fleet::targets_of;
use super::machines::{self, Wanted};
use super::{missing, tags_of};
use crate::shared::{Context, Failure, locked};
use crate::sigv4::hmac;
use crate::wire::{Data, map};
use fleet::Market;

/// Launches machines. The call is counted here, as the world counts those of other fleets.
pub(super) fn create(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let (spec, now) = {
        let mut world = context.world();
        world.admit(context.caller, fleet_sim::Action("CreateFleet"))?;
        (world.spec().clone(), world.now())
    };
    let (target, on_demand) = targets_of(input.get("TargetCapacitySpecification"))?;
    let configs = input.get("LaunchTemplateConfigs").items();
    let config = configs.first().ok_or_else(|| missing("LaunchTemplateConfigs"))?;
    let version = {
        let mut templates = locked(&context.shared.templates);
        templates.know_those_of(&spec, now);
        templates.resolve(config.get("LaunchTemplateSpecification"))?.clone()
    };
    // The first is taken: machines that no fleet holds cost nothing here.
    let first = config.get("Overrides").items().first();
    let of_first = |name: &str| first.and_then(|first| first.get(name).as_str());
    let instance_type = of_first("InstanceType").or(version.instance_type());
    let instance_type = instance_type.ok_or_else(|| missing("InstanceType"))?;
    let subnet = of_first("SubnetId").or(version.subnet());
    let of_subnet = subnet.and_then(|subnet| machines::zone_of(&spec, subnet));
    let mut tags = version.instance_tags();
    tags.extend(tags_of(input, "instance"));
    let spot = on_demand == 0 || version.spot();
    let wanted = Wanted {
        image: version.image(),
        key: version.key(),
        instance_type,
        zone: of_first("AvailabilityZone").or(of_subnet).or(version.zone()),
        market: if spot { Market::Spot } else { Market::OnDemand },
        groups: version.groups(),
        tags,
        volume_tags: version.volume_tags(),
        devices: version.devices(),
    };
    let ids = machines::launch(context, &wanted, target)?;
    let name = ids.first().map(String::as_str).unwrap_or_default();
    let fleet = hex::encode(hmac(b"instant-fleet", name));
    let fleet = format!(
        "fleet-{}-{}-{}-{}-{}",
        &fleet[..8],
        &fleet[8..12],
        &fleet[12..16],
        &fleet[16..20],
        &fleet[20..32]
    );
    let launched = map([
        ("lifecycle", if spot { "spot" } else { "on-demand" }.into()),
        ("instanceType", instance_type.into()),
        ("instanceIds", Data::list(ids)),
    ]);
    Ok(map([
        ("fleetId", fleet.into()),
        ("errorSet", Data::List(vec![])),
        ("fleetInstanceSet", Data::List(vec![launched])),
    ]))
}
