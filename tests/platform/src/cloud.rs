//! The account: a loopback cloud in real time with a fleet that is sized for a laptop.

use fleet::ports::Clock;
use fleet::{ExcessCapacity, FleetId, InstanceId, UsdPerHour};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, ImageSpec, OidcProvider};
use fleet_sim::{Delay, FleetRequest, FleetSpec, InstancePhase, PoolSpec, TimingSpec, World, WorldSpec};
use muster_test_servers::Nomad;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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

/// The account.
pub struct Cloud {
    // Before the runtime, which it ends on.
    server: CloudServer,
    _runtime: tokio::runtime::Runtime,
    world: Arc<Mutex<World>>,
    fleet: FleetId,
}

impl Cloud {
    /// Starts it on this host's address in the machines' network, with a fleet of nobody yet.
    ///
    /// * `first`: the address of the first machine.
    /// * `image`: what the fleet's machines boot.
    pub fn start(here: Ipv4Addr, first: Ipv4Addr, image: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut world = World::new(spec(first, image), 5, clock.wall());
        world.advance(clock.wall());
        let fleet = world.fleets()[0].id.clone();
        let world = Arc::new(Mutex::new(world));
        let listen = SocketAddr::from((here, PORT));
        let config = CloudConfig { listen, speed: Some(1.0), ..CloudConfig::new(Arc::clone(&world), clock) };
        let server = runtime.block_on(CloudServer::start(config)).unwrap_or_else(|error| panic!("{error}"));
        let also = server.listen_also(SocketAddr::from((METADATA, 80)));
        runtime.block_on(also).unwrap_or_else(|error| panic!("{error}"));
        Self { server, _runtime: runtime, world, fleet }
    }

    /// The world itself.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("whole")
    }
    /// The fleet.
    pub const fn fleet(&self) -> &FleetId {
        &self.fleet
    }
    /// Where AWS is: `http://…`.
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }
    /// The queue of the account's events.
    pub fn queue(&self) -> String {
        format!("{}/123456789012/muster-events", self.endpoint())
    }
    /// The instances that have a machine by now.
    pub fn launched(&self) -> Vec<Launched> {
        let world = self.world();
        let phases: Vec<_> = world.phases(&self.fleet).map(|(id, phase)| (id.clone(), phase)).collect();
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
    /// Puts an image there that nobody made.
    pub fn put_image(&self, name: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.server.put_image(&ImageSpec { name: name.to_owned(), tags, ..ImageSpec::default() });
    }
    /// Marks an instance for interruption: it has two minutes.
    pub fn interrupt(&self, instance: &InstanceId) {
        assert!(self.world().interrupt(instance), "it runs");
        self.server.world_moved();
    }
    /// Has the account's roles trust the identities that Nomad gives a job for AWS, as an OpenID Connect provider does.
    pub fn trust(&self, nomad: &Nomad, job: &str) {
        let keys = nomad.call("GET", "/.well-known/jwks.json", &Value::Null);
        self.server.trust(OidcProvider {
            keys: serde_json::from_value(keys).expect("keys"),
            audience: "sts.amazonaws.com".to_owned(),
            subject: format!("global:default:{job}:*"),
        });
    }
    /// The certificate that its identity documents are signed with.
    pub fn certificate(&self) -> String {
        self.server.identity_certificate().unwrap_or_else(|error| panic!("{error}"))
    }
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
