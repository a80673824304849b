//! The account: a loopback cloud in real time with a fleet that is sized for a laptop.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fleet::{FleetId, InstanceId, UsdPerHour};
use fleet_sim::{Delay, InstancePhase, PoolSpec, TimingSpec, World, WorldSpec};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use tests::ground::Cloud;
use tests::machine::succeed;

/// Where every instance of EC2 finds its metadata service.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where the region's services are, to whom names no other place.
const PORT: u16 = 4566;
/// The account of those whose image Packer's template of the base starts from.
const DEBIAN: &str = "136693071363";
/// What the fleet may be of: instance type, zone, price in millionths of a dollar an hour.
const POOLS: [(&str, &str, u64); 3] = [
    ("m5.large", "eu-west-1a", 41_000),
    ("c5.large", "eu-west-1a", 37_500),
    ("r5.large", "eu-west-1b", 44_800),
];

/// An instance that has a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Its id.
    pub id: InstanceId,
    /// Its private address.
    pub address: Ipv4Addr,
    /// The image that it boots.
    pub image: String,
}

/// Starts it on this host's address in the machines' network. It has no fleet yet.
///
/// * `first`, `bakes`: the addresses of the fleet's first machine, and of the first one that an image is made of.
pub fn start(here: Ipv4Addr, first: Ipv4Addr, bakes: Ipv4Addr) -> Cloud {
    let cloud = Cloud::serve(SocketAddr::from((here, PORT)), bakes, |now| {
        let mut world = World::new(spec(first), 5, now);
        world.advance(now);
        world
    });
    cloud.listen_also(SocketAddr::from((METADATA, 80)));
    cloud
}

/// Debian's own image, as AWS's own client finds it.
pub fn debian(cloud: &Cloud) -> String {
    let named = ["--filters", "Name=name,Values=debian-12-amd64-*", "--query", "Images[].ImageId"];
    let found = aws(cloud, &[&["ec2", "describe-images", "--owners", DEBIAN], &named[..]].concat());
    assert!(found.starts_with("ami-") && !found.contains(char::is_whitespace), "one image: {found}");
    found
}

/// One command of AWS's own client, as whoever has no Terraform gives it. * returns: what it printed.
fn aws(cloud: &Cloud, words: &[&str]) -> String {
    let bin = tests::tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}"));
    let mut aws = Command::new(bin.join("aws"));
    aws.args(["--endpoint-url", &cloud.endpoint(), "--region", "eu-west-1", "--output", "text"]).args(words);
    aws.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("NO_PROXY", "*");
    aws.env("AWS_ACCESS_KEY_ID", "muster").env("AWS_SECRET_ACCESS_KEY", "muster-secret");
    succeed(&mut aws).trim().to_owned()
}

/// Writes what the fleet's nodes are told into Parameter Store: name, text.
pub fn put_parameters(cloud: &Cloud, parameters: &[(String, String)]) {
    for (name, text) in parameters {
        aws(cloud, &["ssm", "put-parameter", "--type", "String", "--name", name, "--value", text]);
    }
}

/// Requests the fleet, with two machines.
///
/// * `image`: what they boot. * `user_data`: what they find in their metadata.
pub fn request_fleet(cloud: &Cloud, image: &str, user_data: &str) {
    let data = json!({
        "ImageId": image, "InstanceType": POOLS[0].0, "Monitoring": { "Enabled": true },
        "UserData": BASE64.encode(user_data),
    })
    .to_string();
    let template = ["ec2", "create-launch-template", "--launch-template-name", "web"];
    let asked = ["--launch-template-data", &data, "--query", "LaunchTemplate.LaunchTemplateId"];
    let template = aws(cloud, &[&template[..], &asked].concat());
    let overrides = POOLS
        .map(|(instance_type, zone, _)| json!({ "InstanceType": instance_type, "AvailabilityZone": zone }));
    let account = cloud.world().spec().account.clone();
    let config = json!({
        "IamFleetRole": format!("arn:aws:iam::{account}:role/aws-ec2-spot-fleet-tagging-role"),
        "AllocationStrategy": "priceCapacityOptimized", "ExcessCapacityTerminationPolicy": "noTermination",
        "TargetCapacity": 2, "Type": "maintain",
        "LaunchTemplateConfigs": [{
            "LaunchTemplateSpecification": { "LaunchTemplateId": template, "Version": "1" }, "Overrides": overrides,
        }],
    })
    .to_string();
    let fleet = ["ec2", "request-spot-fleet", "--spot-fleet-request-config", &config];
    let fleet = aws(cloud, &[&fleet[..], &["--query", "SpotFleetRequestId"]].concat());
    cloud.holds(FleetId::from(fleet.as_str()));
}

/// The instances that have a machine by now.
pub fn launched(cloud: &Cloud) -> Vec<Launched> {
    let fleet = cloud.fleet().clone();
    let world = cloud.world();
    let phases: Vec<_> = world.phases(&fleet).map(|(id, phase)| (id.clone(), phase)).collect();
    let lives = |phase| !matches!(phase, InstancePhase::Requested | InstancePhase::Gone);
    let shown = world.shown_instances();
    let launched = shown.into_iter().filter_map(|instance| {
        let known = phases.iter().any(|(id, phase)| *id == instance.id && lives(*phase));
        let image = world.image_of(&instance)?.to_owned();
        let Some(std::net::IpAddr::V4(address)) = instance.private_ip else { return None };
        known.then_some(Launched { id: instance.id, address, image })
    });
    launched.collect()
}

fn spec(first_address: Ipv4Addr) -> WorldSpec {
    let pool = |instance_type: &str, zone: &str, micros| PoolSpec {
        depth: 4,
        ..PoolSpec::spot(instance_type, zone, UsdPerHour::from_micros(micros))
    };
    // What EC2 itself takes: the rest of a boot is the machine's own.
    let timing = TimingSpec {
        modifying: Duration::from_secs(1),
        fulfilment: Delay::Constant(Duration::from_secs(1)),
        pending: Duration::from_secs(1),
        boot: Delay::Constant(Duration::from_secs(5)),
        shutting_down: Duration::from_secs(2),
        ..TimingSpec::default()
    };
    WorldSpec {
        pools: POOLS.map(|(instance_type, zone, micros)| pool(instance_type, zone, micros)).into(),
        fleets: Vec::new(),
        timing,
        first_address,
        ..WorldSpec::default()
    }
}
