//! What there is to be had: prices, types and zones.

use super::access::VPC;
use super::filter::Filters;
use super::fleets::{subnet_of, unsupported};
use super::instances::{cpu_options, is_arm};
use super::optional_time;
use super::page::page;
use crate::service::Operation;
use crate::shared::{Context, Failure};
use crate::wire::{AwsError, Data, map};
use fleet::{InstanceType, vcpus_by_size};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation::by_world("DescribeSpotPriceHistory", describe_spot_price_history),
    Operation::by_gate("DescribeInstanceTypes", describe_instance_types),
    Operation::by_gate("DescribeAvailabilityZones", describe_availability_zones),
    Operation::by_gate("DescribeInstanceTypeOfferings", describe_instance_type_offerings),
    Operation::by_gate("DescribeRegions", describe_regions),
    Operation::by_gate("DescribeVpcs", describe_vpcs),
    Operation::by_gate("DescribeSubnets", describe_subnets),
];

/// The one product that is simulated, under both of its names.
const PRODUCTS: &[&str] = &["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

/// Prices in this world stay as they are: the history is one price a pool, from the world's start on.
fn describe_spot_price_history(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] = &["availability-zone", "instance-type", "product-description", "spot-price"];
    let filters = Filters::read(input, FILTERS, false)?;
    let types: Vec<InstanceType> =
        input.get("InstanceType").texts().into_iter().map(InstanceType::from).collect();
    let zone = input.get("AvailabilityZone").as_str();
    let products = input.get("ProductDescription").texts();
    let ends = optional_time(input, "EndTime")?;
    let mut world = context.world();
    let offerings = world.spot_prices(context.caller, &types)?;
    let start = world.start();
    let none = BTreeMap::new();
    let found = offerings.iter().filter_map(|offering| {
        let (pool, price) = (&offering.pool, offering.price?.to_string());
        let passes = zone.is_none_or(|zone| zone == pool.zone.as_str())
            && (products.is_empty() || products.iter().any(|product| PRODUCTS.contains(product)))
            && ends.is_none_or(|ends| start <= ends)
            && filters.pass(&none, |filter| {
                Some(match filter {
                    "availability-zone" => pool.zone.to_string(),
                    "instance-type" => pool.instance_type.to_string(),
                    "product-description" => PRODUCTS[0].to_owned(),
                    _ => price.clone(),
                })
            });
        let shown = map([
            ("instanceType", pool.instance_type.as_str().into()),
            ("productDescription", PRODUCTS[0].into()),
            ("spotPrice", price.as_str().into()),
            ("timestamp", start.into()),
            ("availabilityZone", pool.zone.as_str().into()),
        ]);
        passes.then(|| (pool.to_string(), shown))
    });
    let page = page(input, 1..=1000, found)?;
    Ok(map([("spotPriceHistorySet", Data::List(page.items)), ("nextToken", page.next)]))
}

fn describe_instance_types(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["instance-type"], false)?;
    let wanted = input.get("InstanceType").texts();
    let world = context.world();
    let known: BTreeMap<&InstanceType, Option<u32>> =
        world.spec().pools.iter().map(|pool| (&pool.instance_type, pool.vcpus)).collect();
    let unknown: Vec<_> =
        wanted.iter().filter(|name| !known.keys().any(|known| known.as_str() == **name)).copied().collect();
    if !unknown.is_empty() {
        let message = format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
        return Err(AwsError::new("InvalidInstanceType", message).into());
    }
    let none = BTreeMap::new();
    let found = known
        .into_iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()))
        .filter(|(name, _)| filters.pass(&none, |_| Some(name.to_string())))
        .map(|(name, vcpus)| {
            let vcpus = vcpus.or_else(|| vcpus_by_size(name)).unwrap_or(2);
            (name.to_string(), instance_type(name.as_str(), vcpus))
        });
    let page = page(input, 5..=100, found)?;
    Ok(map([("instanceTypeSet", Data::List(page.items)), ("nextToken", page.next)]))
}

fn instance_type(name: &str, vcpus: u32) -> Data {
    let arm = is_arm(name);
    let cpu = cpu_options(vcpus, arm);
    map([
        ("instanceType", name.into()),
        ("currentGeneration", true.into()),
        ("supportedUsageClasses", Data::list(["on-demand", "spot"])),
        ("bareMetal", (name.split_once('.').is_some_and(|(_, size)| size.starts_with("metal"))).into()),
        (
            "processorInfo",
            map([("supportedArchitectures", Data::list([if arm { "arm64" } else { "x86_64" }]))]),
        ),
        (
            "vCpuInfo",
            map([
                ("defaultVCpus", vcpus.into()),
                ("defaultCores", cpu.get("coreCount").clone()),
                ("defaultThreadsPerCore", cpu.get("threadsPerCore").clone()),
            ]),
        ),
        // Four GiB a vCPU, as the general purpose families have: nothing here depends on it.
        ("memoryInfo", map([("sizeInMiB", (vcpus.saturating_mul(4096)).into())])),
        ("burstablePerformanceSupported", name.starts_with('t').into()),
    ])
}

fn describe_availability_zones(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["zone-name", "region-name", "state"], false)?;
    let wanted = input.get("ZoneName").texts();
    let world = context.world();
    let spec = world.spec();
    let region = spec.region.as_str();
    let zones: BTreeSet<&str> =
        spec.zones.iter().chain(spec.pools.iter().map(|pool| &pool.zone)).map(fleet::Zone::as_str).collect();
    if let Some(unknown) = wanted.iter().find(|zone| !zones.contains(*zone)) {
        let message = format!("Invalid availability zone: [{unknown}]");
        return Err(AwsError::new("InvalidParameterValue", message).into());
    }
    let none = BTreeMap::new();
    let shown = zones
        .iter()
        .enumerate()
        .filter(|(_, zone)| wanted.is_empty() || wanted.contains(zone))
        .filter(|(_, zone)| {
            filters.pass(&none, |filter| {
                Some(match filter {
                    "zone-name" => (**zone).to_owned(),
                    "region-name" => region.to_owned(),
                    _ => "available".to_owned(),
                })
            })
        })
        .map(|(index, zone)| {
            map([
                ("zoneName", (*zone).into()),
                ("zoneState", "available".into()),
                ("optInStatus", "opt-in-not-required".into()),
                ("messageSet", Data::List(vec![])),
                ("regionName", region.into()),
                ("zoneId", format!("{}-az{}", zone_prefix(region), index + 1).into()),
                ("groupName", region.into()),
                ("networkBorderGroup", region.into()),
                ("zoneType", "availability-zone".into()),
            ])
        });
    Ok(map([("availabilityZoneInfo", Data::list(shown))]))
}

/// Which zones have which types: those that have a pool of theirs, and every zone has each type that no pool is of.
fn describe_instance_type_offerings(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["instance-type", "location"], false)?;
    let by = input.get("LocationType").as_str().unwrap_or("region");
    let world = context.world();
    let spec = world.spec();
    let mut offered: BTreeSet<(String, String)> = BTreeSet::new();
    for pool in &spec.pools {
        let place = match by {
            "region" => spec.region.to_string(),
            "availability-zone" => pool.zone.to_string(),
            _ => return Err(unsupported("offerings by zone id").into()),
        };
        offered.insert((pool.instance_type.to_string(), place));
    }
    let asked = input.get("Filter").items().iter();
    let asked = asked.filter(|filter| filter.get("Name").as_str() == Some("instance-type"));
    for name in asked.flat_map(|filter| filter.get("Value").texts()) {
        if spec.pools.iter().all(|pool| pool.instance_type.as_str() != name) && !name.contains(['*', '?']) {
            let places = spec.zones.iter().map(ToString::to_string);
            let places: Vec<String> =
                if by == "region" { vec![spec.region.to_string()] } else { places.collect() };
            offered.extend(places.into_iter().map(|place| (name.to_owned(), place)));
        }
    }
    let none = BTreeMap::new();
    let found = offered
        .into_iter()
        .filter(|(name, place)| {
            filters
                .pass(&none, |filter| Some(if filter == "location" { place.clone() } else { name.clone() }))
        })
        .map(|(name, place)| {
            let shown = map([
                ("instanceType", name.as_str().into()),
                ("locationType", by.into()),
                ("location", place.as_str().into()),
            ]);
            (format!("{name} {place}"), shown)
        });
    let page = page(input, 5..=1000, found)?;
    Ok(map([("instanceTypeOfferingSet", Data::List(page.items)), ("nextToken", page.next)]))
}

fn describe_regions(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let wanted = input.get("RegionName").texts();
    let region = context.world().spec().region.to_string();
    if let Some(unknown) = wanted.iter().find(|name| **name != region) {
        let message = format!("Invalid region names: [{unknown}]");
        return Err(AwsError::new("InvalidParameterValue", message).into());
    }
    let shown = map([
        ("regionName", region.as_str().into()),
        ("regionEndpoint", format!("ec2.{region}.amazonaws.com").into()),
        ("optInStatus", "opt-in-not-required".into()),
    ]);
    Ok(map([("regionInfo", Data::List(vec![shown]))]))
}

/// The one VPC, which is the default.
fn describe_vpcs(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    let filters = Filters::read(input, &["vpc-id", "is-default", "isDefault", "state"], true)?;
    let wanted = input.get("VpcId").texts();
    if let Some(unknown) = wanted.iter().find(|id| **id != VPC) {
        let message = format!("The vpc ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidVpcID.NotFound", message).into());
    }
    let passes = filters.pass(&BTreeMap::new(), |filter| {
        Some(match filter {
            "vpc-id" => VPC.to_owned(),
            "state" => "available".to_owned(),
            _ => "true".to_owned(),
        })
    });
    let [a, b, ..] = context.shared.first_machine.octets();
    let shown = map([
        ("vpcId", VPC.into()),
        ("ownerId", context.world().spec().account.as_str().into()),
        ("state", "available".into()),
        ("cidrBlock", format!("{a}.{b}.0.0/16").into()),
        ("instanceTenancy", "default".into()),
        ("isDefault", true.into()),
    ]);
    Ok(map([("vpcSet", Data::List(if passes { vec![shown] } else { Vec::new() }))]))
}

/// One subnet a zone.
fn describe_subnets(context: &Context<'_>, input: &Data) -> Result<Data, Failure> {
    const FILTERS: &[&str] =
        &["subnet-id", "vpc-id", "availability-zone", "availabilityZone", "default-for-az", "state"];
    let filters = Filters::read(input, FILTERS, true)?;
    let wanted = input.get("SubnetId").texts();
    let world = context.world();
    let spec = world.spec();
    let all: Vec<(String, &fleet::Zone)> =
        spec.zones.iter().map(|zone| (subnet_of(spec, zone), zone)).collect();
    if let Some(unknown) = wanted.iter().find(|id| all.iter().all(|(known, _)| known != *id)) {
        let message = format!("The subnet ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidSubnetID.NotFound", message).into());
    }
    let none = BTreeMap::new();
    let found = all
        .into_iter()
        .filter(|(id, _)| wanted.is_empty() || wanted.contains(&id.as_str()))
        .filter(|(id, zone)| {
            filters.pass(&none, |filter| {
                Some(match filter {
                    "subnet-id" => id.clone(),
                    "vpc-id" => VPC.to_owned(),
                    "state" => "available".to_owned(),
                    "default-for-az" => "true".to_owned(),
                    _ => zone.to_string(),
                })
            })
        })
        .map(|(id, zone)| {
            let shown = map([
                ("subnetId", id.as_str().into()),
                ("state", "available".into()),
                ("vpcId", VPC.into()),
                ("availableIpAddressCount", 4000u32.into()),
                ("availabilityZone", zone.as_str().into()),
                ("defaultForAz", true.into()),
                ("ownerId", spec.account.as_str().into()),
                ("mapPublicIpOnLaunch", true.into()),
                ("tagSet", Data::List(vec![])),
            ]);
            (id, shown)
        });
    let page = page(input, 5..=1000, found)?;
    Ok(map([("subnetSet", Data::List(page.items)), ("nextToken", page.next)]))
}

/// `euw1` of `eu-west-1`.
fn zone_prefix(region: &str) -> String {
    let mut parts = region.split('-');
    let area = parts.next().unwrap_or_default().to_owned();
    area + &parts.map(|part| part.chars().next().map_or(String::new(), |c| c.to_string())).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_ids_have_their_regions_short_name() {
        assert_eq!(zone_prefix("eu-west-1"), "euw1");
        assert_eq!(zone_prefix("us-east-2"), "use2");
    }
}
