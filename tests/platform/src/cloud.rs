//! The account: a loopback cloud in real time with a fleet that is sized for a laptop.

use fleet::{ExcessCapacity, InstanceId, UsdPerHour};
use fleet_sim::{Delay, FleetRequest, FleetSpec, InstancePhase, PoolSpec, TimingSpec, World, WorldSpec};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tests::ground::Cloud;

/// Where every instance of EC2 finds its metadata service.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// Where the region's services are, to whom names no other place.
const PORT: u16 = 4566;

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

/// Starts it on this host's address in the machines' network, with a fleet of nobody yet.
///
/// * `first`: the address of the first machine.
/// * `image`: what the fleet's machines boot.
pub fn start(here: Ipv4Addr, first: Ipv4Addr, image: &str) -> Cloud {
    let cloud = Cloud::serve(SocketAddr::from((here, PORT)), |now| {
        let mut world = World::new(spec(first, image), 5, now);
        world.advance(now);
        world
    });
    cloud.put_image(image, false);
    cloud.listen_also(SocketAddr::from((METADATA, 80)));
    cloud
}

/// The instances that have a machine by now.
pub fn launched(cloud: &Cloud) -> Vec<Launched> {
    let world = cloud.world();
    let phases: Vec<_> = world.phases(cloud.fleet()).map(|(id, phase)| (id.clone(), phase)).collect();
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

fn spec(first_address: Ipv4Addr, image: &str) -> WorldSpec {
    let pool = |instance_type: &str, zone: &str, micros| PoolSpec {
        depth: 4,
        ..PoolSpec::spot(instance_type, zone, UsdPerHour::from_micros(micros))
    };
    let request = FleetRequest {
        target: 2,
        excess: ExcessCapacity::NoTermination,
        image: image.to_owned(),
        ..FleetRequest::default()
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
        pools: vec![
            pool("m5.large", "eu-west-1a", 41_000),
            pool("c5.large", "eu-west-1a", 37_500),
            pool("r5.large", "eu-west-1b", 44_800),
        ],
        fleets: vec![FleetSpec { request, initial: Some(0), ..FleetSpec::default() }],
        timing,
        first_address,
        ..WorldSpec::default()
    }
}
