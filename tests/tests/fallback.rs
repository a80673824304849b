//! On-demand capacity in place of spot that does not come, from end to end: the daemon, the AWS SDK, and the loopback
//! cloud, in stepped time.

mod sdk;

use autoscaler::{Daemon, DaemonConfig, Handle};
use autoscaler_core::Decision;
use fleet::ports::Clock;
use fleet::{Backend, FleetId, InstanceId, Market, Timestamp, UsdPerHour};
use fleet_clock::SteppedClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{
    Action, Demand, FleetRequest, FleetSpec, InstancePhase, InstanceTruth, PoolSpec, World, WorldSpec,
};
use sdk::Loopback;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;

const FIRST: u32 = 4;
/// What is needed, by the policy.
const NEEDED: u32 = 8;
const LIMIT: u32 = 3;
/// What m5.large costs on demand, in millionths of a dollar an hour.
const PRICE: u64 = 107_000;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Spot has what runs and no more; on demand there is plenty.
fn account(backend: Backend, start: Timestamp) -> World {
    let load = Demand::constant(2.0);
    let request = FleetRequest { backend, target: FIRST, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(FIRST), load, ..FleetSpec::default() };
    let mut spec = WorldSpec { fleets: vec![fleet], ..WorldSpec::default() };
    spec.pools.iter_mut().for_each(|pool| pool.depth = 1);
    let of_list = PoolSpec::spot("m5.large", "eu-west-1a", UsdPerHour::from_micros(PRICE));
    spec.pools.push(PoolSpec { market: Market::OnDemand, depth: 20, ..of_list });
    World::new(spec, 1, start)
}

/// An account, its cloud, and the daemon that holds its fleet.
struct Stage {
    world: Arc<Mutex<World>>,
    fleet: FleetId,
    clock: SteppedClock,
    cloud: CloudServer,
    daemon: Daemon,
    start: Timestamp,
    directory: TempDir,
    /// The fewest that served at a time.
    fewest: u32,
}

impl Stage {
    async fn new(backend: Backend) -> Self {
        let start = Timestamp::parse("2026-03-02T00:00:00Z").expect("a time");
        let world = account(backend, start);
        let fleet = world.fleets()[0].id.clone();
        let world = Arc::new(Mutex::new(world));
        let clock = SteppedClock::new(start);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let cloud = CloudServer::start(CloudConfig::new(Arc::clone(&world), Arc::clone(&shared)));
        let cloud = cloud.await.expect("the cloud starts");
        let directory = tempfile::tempdir().expect("a directory");
        write_policy(directory.path(), &fleet);
        let config = DaemonConfig {
            policies: vec![directory.path().join("web.hcl")],
            state: Some(directory.path().join("state")),
            watch_every: Duration::ZERO,
            ..DaemonConfig::default()
        };
        let connect = Arc::new(Loopback { endpoint: cloud.endpoint() });
        let daemon = Daemon::start(config, connect, shared).await.expect("the daemon starts");
        Self { world, fleet, clock, cloud, daemon, start, directory, fewest: u32::MAX }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("whole")
    }

    fn handle(&self) -> Handle {
        self.daemon.handle()
    }

    /// Lets time pass up to so long after the start, from event to event, whenever the daemon has nothing left to do.
    async fn play_until(&mut self, end: Duration) {
        let handle = self.handle();
        handle.idle().await;
        loop {
            let world = self.world().next_event().map(|at| at.since(self.start));
            let next = [world, self.clock.next_wake()].into_iter().flatten().min().unwrap_or(end);
            // What is due already still needs a step of time.
            let next = next.max(self.clock.monotonic() + Duration::from_millis(1));
            if next > end {
                return;
            }
            self.world().advance(self.start + next);
            self.cloud.world_moved();
            self.clock.advance_to(next);
            handle.idle().await;
            let serves = self.world().truth(&self.fleet).expect("it is there").in_service;
            self.fewest = self.fewest.min(serves);
        }
    }

    fn instances(&self, market: Market) -> Vec<InstanceTruth> {
        let all = self.world().instance_truths(&self.fleet).into_iter();
        all.filter(|instance| instance.pool.market == market).collect()
    }

    fn living(&self, market: Market) -> usize {
        let lives = |instance: &&InstanceTruth| instance.phase != InstancePhase::Gone;
        self.instances(market).iter().filter(lives).count()
    }

    fn calls(&self, of: Action) -> u64 {
        let world = self.world();
        world.calls().iter().filter(|(_, action, _)| *action == of).map(|(_, _, count)| count.calls).sum()
    }

    /// The changes of the on-demand part, in order.
    async fn shifts(&self) -> Vec<(u32, u32)> {
        let decisions = self.handle().decisions("web".into()).await.expect("an answer").expect("it is held");
        let shift = |decision: &Decision| match decision {
            Decision::Shift { from, to } => Some((*from, *to)),
            _ => None,
        };
        let mut shifts: Vec<_> = decisions.iter().filter_map(|one| shift(&one.report.decision)).collect();
        shifts.dedup();
        shifts
    }

    /// Whom the hook has emptied.
    fn emptied(&self) -> BTreeSet<InstanceId> {
        let text = std::fs::read_to_string(self.directory.path().join("emptied")).unwrap_or_default();
        text.lines().map(InstanceId::from).collect()
    }
}

fn write_policy(directory: &Path, fleet: &FleetId) {
    let emptied = directory.join("emptied");
    let (price, emptied) = (PRICE / 1000, emptied.display());
    let text = format!(
        r#"fleet "web" {{
  id = "{fleet}"
  region = "eu-west-1"
  source "cloudwatch" {{}}
  capacity {{
    min = {NEEDED}
    max = {NEEDED}
  }}
  workload {{
    kind = "spreads"
  }}
  on_demand {{
    fallback = {LIMIT}
    after = "1m"
    keep = "40m"
    prices = {{ "m5.large" = 0.{price} }}
  }}
  drain {{
    by = "hook"
  }}
  drain_hook {{
    command = ["/bin/sh", "-c", "echo $MUSTER_INSTANCE >> {emptied}"]
  }}
}}
"#
    );
    std::fs::write(directory.join("web.hcl"), text).expect("a policy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_demand_stands_in_for_spot_and_is_given_back_one_for_one_once_spot_serves() {
    autoscaler::tls::install_provider();
    for (backend, modifies) in
        [(Backend::SpotFleet, Action::MODIFY_SPOT_FLEET_REQUEST), (Backend::Ec2Fleet, Action::MODIFY_FLEET)]
    {
        let mut stage = Stage::new(backend).await;
        // Spot gives nothing more.
        stage.play_until(minutes(30)).await;
        let limit = LIMIT as usize;
        assert_eq!(stage.living(Market::OnDemand), limit, "{backend:?}: within its limit");
        assert_eq!(stage.living(Market::Spot), FIRST as usize);
        assert_eq!(stage.shifts().await, [(0, LIMIT)], "{backend:?}");
        assert_eq!(stage.calls(modifies), 2, "{backend:?}: once for the target, once for its part");
        let status = stage.handle().fleet("web".into()).await.expect("an answer").expect("it is held");
        let shown = status.fallback.expect("something stands in");
        assert_eq!((shown.units, shown.tried), (LIMIT, None));
        assert_eq!(shown.cost, Some(UsdPerHour::from_micros(u64::from(LIMIT) * PRICE)), "{shown:?}");
        assert!(shown.extra.is_some_and(|extra| extra > UsdPerHour::from_micros(0)), "{shown:?}");
        assert_eq!((stage.calls(Action::TERMINATE_INSTANCES), stage.emptied().len()), (0, 0));

        // It has plenty again, and is asked when on demand has been kept for long enough.
        let pools: Vec<_> = stage.world().spec().pools.iter().map(PoolSpec::pool).collect();
        for pool in pools.iter().filter(|pool| pool.market == Market::Spot) {
            stage.world().set_depth(pool, 20);
        }
        stage.fewest = u32::MAX;
        stage.play_until(minutes(90)).await;
        assert_eq!(stage.shifts().await, [(0, LIMIT), (LIMIT, 0)], "{backend:?}");
        let on_demand: BTreeSet<InstanceId> =
            stage.instances(Market::OnDemand).into_iter().map(|instance| instance.id).collect();
        assert_eq!((on_demand.len(), stage.living(Market::OnDemand)), (limit, 0), "{backend:?}");
        assert_eq!(stage.emptied(), on_demand, "{backend:?}: each was emptied, and nobody else");
        assert_eq!(stage.living(Market::Spot), NEEDED as usize, "{backend:?}");
        assert!(stage.fewest >= FIRST + LIMIT, "{backend:?}: {} served at one time", stage.fewest);
        let status = stage.handle().fleet("web".into()).await.expect("an answer").expect("it is held");
        assert_eq!(status.fallback, None);
        stage.daemon.stop().await;
        stage.cloud.stop().await;
    }
}
