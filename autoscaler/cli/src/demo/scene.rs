//! The world that the demo plays in: what the fleet may buy, when pools run dry, and the policy that holds it.

use fleet::{Backend, FleetId, Pool, Timestamp, UsdPerHour};
use fleet_sim::{Delay, Demand, DepthWindow, FleetRequest, FleetSpec, PoolSpec, World, WorldSpec};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The demo's fleet, as EC2 would name it.
pub const FLEET: &str = "sfr-5d0f8c3e-6d1b-4c58-9a3e-0b7c2f1a9e44";
/// The demo's fleet, as its operator names it.
pub const NAME: &str = "web";
/// Where it runs.
pub const REGION: &str = "eu-west-1";

/// A Monday at midnight: the demo always plays the same day.
const START: Timestamp = Timestamp::from_secs(1_772_409_600);

/// What is played.
pub struct Scene {
    /// How the trace is called.
    pub title: String,
    /// Demand over time.
    pub demand: Demand,
    /// How long it is played.
    pub length: Duration,
    /// From request to serving.
    pub boot: Duration,
    /// What chance is made of.
    pub seed: u64,
}

impl Scene {
    /// When the demo's world begins.
    pub const fn start() -> Timestamp {
        START
    }

    /// The world: four pools of three families in two zones. One runs dry for four hours, another for three,
    /// each at a time when the fleet is likely to grow.
    pub fn world(&self) -> World {
        let mut pools = vec![
            pool("m5.large", "eu-west-1a", 41_000, 107_000),
            pool("m5.large", "eu-west-1b", 40_200, 107_000),
            pool("c5.large", "eu-west-1a", 37_500, 96_000),
            pool("r5.large", "eu-west-1b", 44_800, 141_000),
        ];
        for (index, [from, until]) in self.dry_times() {
            pools[index].windows.push(DepthWindow { from, until, depth: 0 });
        }
        let mut spec = WorldSpec {
            pools,
            // Agents speak from their instance's own address, which on loopback lies in here.
            first_address: Ipv4Addr::new(127, 16, 0, 4),
            fleets: vec![FleetSpec {
                id: Some(FleetId::new(FLEET)),
                request: FleetRequest { backend: Backend::SpotFleet, ..FleetRequest::default() },
                initial: None,
                load: self.demand.clone(),
            }],
            ..WorldSpec::default()
        };
        spec.timing.boot = Delay::Constant(self.boot);
        World::new(spec, self.seed, START)
    }

    /// Which pools (by index) run dry, and when: at a third and at two thirds of the time.
    fn dry_times(&self) -> [(usize, [Duration; 2]); 2] {
        let share = |parts: u32| self.length * parts / 24;
        [(2, [share(6), share(10)]), (1, [share(16), share(19)])]
    }

    /// The pools that run dry, and when.
    pub fn dry(&self) -> Vec<(Pool, Duration, Duration)> {
        let pools = [("c5.large", "eu-west-1a"), ("m5.large", "eu-west-1b")];
        let times = self.dry_times();
        pools
            .iter()
            .zip(times)
            .map(|((kind, zone), (_, [from, until]))| (Pool::spot(*kind, *zone), from, until))
            .collect()
    }

    /// The policy, as an operator would write it.
    pub fn policy() -> String {
        format!(
            "fleet \"{NAME}\" {{\n  id     = \"{FLEET}\"\n  region = \"{REGION}\"\n\n  workload {{ kind = \"spreads\" }}\n}}\n"
        )
    }
}

fn pool(instance_type: &str, zone: &str, spot: u64, on_demand: u64) -> PoolSpec {
    PoolSpec {
        on_demand_price: Some(UsdPerHour::from_micros(on_demand)),
        depth: 12,
        ..PoolSpec::spot(instance_type, zone, UsdPerHour::from_micros(spot))
    }
}
