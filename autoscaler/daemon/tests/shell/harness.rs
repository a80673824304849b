//! A daemon, a world, and the driver that moves their time on: only while the daemon is idle.

use autoscaler::{Connect, Daemon, DaemonConfig, Handle, RegionPorts};
use fleet::ports::{Answer, Change, Clock, Cloud, MetricQuery, Metrics, Series};
use fleet::wire::{AgentSample, SampleBatch, VERSION};
use fleet::{
    AlarmView, Backend, FleetId, FleetRef, FleetView, Health, HistoryEvent, ImageId, ImageView, Instance,
    InstanceId, InstanceState, InstanceType, Notice, Offering, Region, Timestamp,
};
use fleet_clock::SteppedClock;
use fleet_sim::port::SimCloud;
use fleet_sim::{Demand, FleetRequest, FleetSpec, Scores, World, WorldSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
/// The distance of agents' samples.
const STEP: Duration = Duration::from_secs(10);

pub fn fleet_id(number: usize) -> FleetId {
    FleetId::new(format!("sfr-00000000-0000-4000-8000-{number:012}"))
}

/// A world of one fleet, `web`, with a load.
pub fn world(load: &Demand) -> World {
    fleets(1, load)
}

/// A world of many fleets with the same load.
pub fn fleets(count: usize, load: &Demand) -> World {
    let fleet = |number| FleetSpec {
        id: Some(fleet_id(number)),
        request: FleetRequest::default(),
        initial: None,
        load: load.clone(),
    };
    let mut spec = WorldSpec { fleets: (0..count).map(fleet).collect(), ..WorldSpec::default() };
    for pool in &mut spec.pools {
        pool.depth = 1_000_000;
    }
    let start = Timestamp::parse("2026-03-02T00:00:00Z").expect("a time");
    World::new(spec, 7, start)
}

/// A load that goes up and down once a day, between these.
pub fn daily(low: f64, high: f64) -> Demand {
    let hour = |hour: u32| {
        let share = (1.0 - (f64::from(hour) / 24.0 * std::f64::consts::TAU).cos()) / 2.0;
        (HOUR * hour, low + (high - low) * share)
    };
    Demand::points((0..=72).map(hour))
}

/// A daemon in a world.
pub struct Stage {
    pub clock: SteppedClock,
    pub cloud: SimCloud,
    pub root: TempDir,
    pub config: DaemonConfig,
    pub daemon: Option<Daemon>,
    /// How long a call takes, on the world's clock.
    pub latency: Duration,
    /// Set: calls that change the target never end, and tell of themselves here.
    pub hung: Option<Arc<Notify>>,
    /// The region that the surroundings name.
    pub default_region: Option<Region>,
    /// Whether agents push.
    pub agents: bool,
    pushed_until: Timestamp,
    sequences: BTreeMap<InstanceId, u64>,
}

impl Stage {
    /// A world with a policy for each of its fleets; no daemon yet.
    pub fn new(world: World) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let names = world.fleets();
        let start = world.now();
        let config = DaemonConfig {
            policies: vec![root.path().join("policies")],
            state: Some(root.path().join("state")),
            engine: autoscaler_engine::Config {
                region: Some(Region::new("eu-west-1")),
                ..autoscaler_engine::Config::default()
            },
            ..DaemonConfig::default()
        };
        let stage = Self {
            clock: SteppedClock::new(start),
            cloud: SimCloud::new(world, "muster"),
            root,
            config,
            daemon: None,
            latency: Duration::ZERO,
            hung: None,
            default_region: None,
            agents: true,
            pushed_until: start,
            sequences: BTreeMap::new(),
        };
        let policy = |(number, fleet): (usize, &FleetRef)| {
            let name = if names.len() == 1 { "web".to_owned() } else { format!("web{number:04}") };
            format!("fleet \"{name}\" {{\n  id = \"{}\"\n}}\n", fleet.id)
        };
        stage.write_policies(&names.iter().enumerate().map(policy).collect::<String>());
        stage
    }

    pub fn policy_file(&self) -> PathBuf {
        self.root.path().join("policies/fleets.hcl")
    }

    /// Writes the policy file as careful editors do: beside it, then over it.
    pub fn write_policies(&self, text: &str) {
        let path = self.policy_file();
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        let new = path.with_extension("new");
        std::fs::write(&new, text).expect("policies are written");
        std::fs::rename(new, path).expect("policies are in place");
    }

    pub fn state(&self) -> &Path {
        self.config.state.as_deref().expect("it has one")
    }

    pub async fn start(&mut self) {
        let clock = Arc::new(self.clock.clone());
        let started = Daemon::start(self.config.clone(), Arc::new(self.ports()), clock).await;
        self.daemon = Some(started.expect("the daemon starts"));
    }

    pub fn ports(&self) -> SimPorts {
        let Self { cloud, latency, hung, default_region, .. } = self;
        let (cloud, hung, default_region) = (cloud.clone(), hung.clone(), default_region.clone());
        SimPorts { cloud, latency: *latency, hung, default_region }
    }

    pub fn handle(&self) -> Handle {
        self.daemon.as_ref().expect("it runs").handle()
    }

    /// Lets the daemon die between two steps, whatever it is about.
    pub async fn crash(&mut self) {
        self.daemon.take().expect("it runs").kill().await;
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Moves time on by `length`, event by event.
    pub async fn run(&mut self, length: Duration) {
        let end = self.elapsed() + length;
        while self.step(end).await {}
    }

    /// Moves time on to the next thing that happens, at most to `end`. * returns: whether that is still ahead.
    pub async fn step(&mut self, end: Duration) -> bool {
        let handle = self.daemon.as_ref().map(Daemon::handle);
        if let Some(handle) = &handle {
            handle.idle().await;
        }
        let now = self.elapsed();
        if now >= end {
            return false;
        }
        // Agents send a second after the end of each step.
        let whole =
            u32::try_from(now.saturating_sub(SECOND).as_secs() / STEP.as_secs()).expect("days, not years");
        let next_push = STEP * (whole + u32::from(now >= SECOND)) + SECOND;
        let next = self.clock.next_wake().map_or(end, |wake| wake.min(end)).min(next_push).max(now);
        let start = self.cloud.world().start();
        self.cloud.world().advance(start + next);
        self.clock.advance_to(next);
        if self.agents && next == next_push {
            self.push().await;
        }
        true
    }

    /// Sends what the agents have measured since the last time.
    async fn push(&mut self) {
        let mut samples: Vec<(InstanceId, AgentSample)> = Vec::new();
        self.cloud.world().agent_samples(self.pushed_until, &mut samples);
        let mut batches: BTreeMap<InstanceId, Vec<AgentSample>> = BTreeMap::new();
        for (instance, sample) in samples {
            self.pushed_until = self.pushed_until.max(sample.end_ms);
            batches.entry(instance).or_default().push(sample);
        }
        let Some(handle) = self.daemon.as_ref().map(Daemon::handle) else { return };
        for (instance, samples) in batches {
            let peer = self.cloud.world().private_address(&instance).expect("it has one");
            let sequence = self.sequences.entry(instance.clone()).or_default();
            let batch = SampleBatch { version: VERSION, instance, sequence: *sequence, samples };
            *sequence += 1;
            // A batch that is refused is lost, as an agent's would be.
            let _ = handle.samples(peer, batch).await.expect("the daemon answers");
        }
    }

    pub fn scores(&self, number: usize) -> Scores {
        self.cloud.world().scores(&fleet_id(number)).expect("the fleet is there")
    }
}

/// The world as ports; each call sleeps on the daemon's clock first, as adapters do that keep to a budget.
pub struct SimPorts {
    cloud: SimCloud,
    latency: Duration,
    hung: Option<Arc<Notify>>,
    default_region: Option<Region>,
}

impl Connect for SimPorts {
    fn connect<'a>(&'a self, _: &'a Region, clock: Arc<dyn Clock>) -> Answer<'a, RegionPorts> {
        let Self { cloud, latency, hung, default_region: _ } = self;
        let ports = Arc::new(Paced { cloud: cloud.clone(), latency: *latency, hung: hung.clone(), clock });
        Box::pin(std::future::ready(Ok(RegionPorts { cloud: Arc::<Paced>::clone(&ports), metrics: ports })))
    }
    fn default_region(&self) -> Answer<'_, Option<Region>> {
        Box::pin(std::future::ready(Ok(self.default_region.clone())))
    }
}

struct Paced {
    cloud: SimCloud,
    latency: Duration,
    hung: Option<Arc<Notify>>,
    clock: Arc<dyn Clock>,
}

impl Paced {
    /// Sleeps, then asks: a world's answer is as old as the end of the wait.
    fn paced<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a SimCloud) -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            if !self.latency.is_zero() {
                self.clock.sleep_until(self.clock.monotonic() + self.latency).await;
            }
            // The world of the moment, not of the last event.
            call(&self.cloud).await
        })
    }
}

impl Cloud for Paced {
    fn describe_fleets<'a>(&'a self, backends: &'a [Backend]) -> Answer<'a, Vec<FleetView>> {
        self.paced(|cloud| cloud.describe_fleets(backends))
    }
    fn describe_instances<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<Instance>> {
        self.paced(|cloud| cloud.describe_instances(fleets))
    }
    fn fleet_instances<'a>(&'a self, fleet: &'a FleetRef) -> Answer<'a, Vec<(InstanceId, Health)>> {
        self.paced(|cloud| cloud.fleet_instances(fleet))
    }
    fn modify<'a>(&'a self, fleet: &'a FleetRef, change: Change) -> Answer<'a, ()> {
        if let Some(hung) = &self.hung {
            hung.notify_one();
            return Box::pin(std::future::pending());
        }
        self.paced(move |cloud| cloud.modify(fleet, change))
    }
    fn terminate<'a>(&'a self, instances: &'a [InstanceId]) -> Answer<'a, Vec<(InstanceId, InstanceState)>> {
        self.paced(|cloud| cloud.terminate(instances))
    }
    fn make_version<'a>(
        &'a self,
        template: &'a str,
        source: u64,
        image: &'a ImageId,
        token: &'a str,
    ) -> Answer<'a, u64> {
        self.paced(move |cloud| cloud.make_version(template, source, image, token))
    }
    fn image_of<'a>(&'a self, template: &'a str, version: u64) -> Answer<'a, Option<ImageId>> {
        self.paced(move |cloud| cloud.image_of(template, version))
    }
    fn look_up_images<'a>(&'a self, images: &'a [ImageId]) -> Answer<'a, Vec<ImageView>> {
        self.paced(|cloud| cloud.look_up_images(images))
    }
    fn history<'a>(&'a self, fleet: &'a FleetRef, since: Timestamp) -> Answer<'a, Vec<HistoryEvent>> {
        self.paced(move |cloud| cloud.history(fleet, since))
    }
    fn scalable_targets<'a>(&'a self, fleets: &'a [FleetRef]) -> Answer<'a, Vec<FleetRef>> {
        self.paced(|cloud| cloud.scalable_targets(fleets))
    }
    fn spot_prices<'a>(&'a self, types: &'a [InstanceType]) -> Answer<'a, Vec<Offering>> {
        self.paced(|cloud| cloud.spot_prices(types))
    }
    fn marks(&self) -> Answer<'_, Vec<Notice>> {
        self.paced(|cloud| cloud.marks())
    }
}

impl Metrics for Paced {
    fn read<'a>(
        &'a self,
        queries: &'a [MetricQuery],
        from: Timestamp,
        to: Timestamp,
    ) -> Answer<'a, Vec<Series>> {
        self.paced(move |cloud| cloud.read(queries, from, to))
    }
    fn alarms<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<AlarmView>> {
        self.paced(|cloud| cloud.alarms(names))
    }
}
