//! The AWS adapter against moto: real HTTP, and someone else's idea of EC2.
//!
//! What moto lacks is said by the tests themselves, so that a moto that learns it is noticed: it neither shows a
//! fleet's type nor its excess-capacity policy, has no ModifyFleet, no history and no health for Spot Fleets,
//! never is `modifying`, never replaces an instance, and does not speak CloudWatch's CBOR. All that is proved
//! against the loopback cloud, in `loopback.rs`.

use fleet::ports::{Change, Cloud as _, MetricQuery, Metrics as _};
use fleet::{
    Backend, ErrorClass, ExcessCapacity, FleetKind, FleetRef, FleetState, Instance, InstanceState, Market,
    Zone,
};
use fleet_aws::{Aws, AwsConfig, Credentials, Endpoints, Secret};
use fleet_clock::SystemClock;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// moto's server, gone when dropped.
struct Moto {
    process: Child,
    url: String,
}

impl Moto {
    /// Starts a server on a free port and waits until it says which.
    fn start(bin: &Path) -> Self {
        let mut process = Command::new(bin.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto_server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let url = loop {
            let line = lines.next().expect("moto_server says where it listens").expect("readable text");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        // Read on, so that the server never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url }
    }
}

/// The one server that tests share while they run; each has a region of its own on it.
fn shared(bin: &Path) -> Arc<Moto> {
    static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let moto = Arc::new(Moto::start(bin));
        *shared = Arc::downgrade(&moto);
        moto
    })
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Nothing is left to do where it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server with both fleets, and the adapter on it.
struct World {
    _moto: Arc<Moto>,
    aws: Aws,
    spot_fleet: FleetRef,
    ec2_fleet: FleetRef,
}

impl World {
    async fn new(region: &str) -> Self {
        let bin = tests::tools::aws_clients().unwrap_or_else(|missing| panic!("{missing}"));
        let moto = shared(&bin);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/moto/request_fleets.py");
        let output = Command::new(bin.join("python"))
            .args([script, &moto.url, region])
            .output()
            .expect("python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ids: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).expect("ids as JSON");
        let mut config = AwsConfig::new(region.into());
        config.endpoints = Endpoints::all(&moto.url);
        config.credentials =
            Credentials::Static { access_key_id: "test".into(), secret_access_key: Secret::new("test") };
        let aws = Aws::connect(config, Arc::new(SystemClock::new())).await;
        Self {
            _moto: moto,
            aws,
            spot_fleet: FleetRef { backend: Backend::SpotFleet, id: ids["spot_fleet"].as_str().into() },
            ec2_fleet: FleetRef { backend: Backend::Ec2Fleet, id: ids["ec2_fleet"].as_str().into() },
        }
    }
    async fn instances(&self, fleet: &FleetRef) -> Vec<Instance> {
        self.aws.describe_instances(std::slice::from_ref(fleet)).await.expect("moto lists instances")
    }
}

#[tokio::test]
async fn both_fleets_are_described_with_their_shopping_lists() {
    let world = World::new("eu-west-1").await;
    let both = [Backend::SpotFleet, Backend::Ec2Fleet];
    let fleets = world.aws.describe_fleets(&both).await.expect("moto describes both");
    let [web, batch] = &fleets[..] else { panic!("{fleets:#?}") };

    assert_eq!(web.fleet_ref(), world.spot_fleet);
    assert_eq!(
        (web.state, web.kind, web.target, web.fulfilled.get()),
        (FleetState::Active, FleetKind::Maintain, 6, 6.0)
    );
    assert_eq!(web.tags.get("service").map(String::as_str), Some("web"));
    let list: Vec<_> =
        web.overrides.iter().map(|o| (o.instance_type.as_str(), o.zone.clone(), o.weight.get())).collect();
    let zone = |name: &str| Some(Zone::from(name));
    // The zones come from the subnets.
    assert_eq!(list, [("m5.large", zone("eu-west-1a"), 1.0), ("c5.xlarge", zone("eu-west-1b"), 2.0)]);

    assert_eq!(batch.fleet_ref(), world.ec2_fleet);
    assert_eq!((batch.target, batch.on_demand_target, batch.kind), (3, 1, FleetKind::Maintain));
    assert_eq!(batch.excess, ExcessCapacity::Termination);
    assert_eq!(batch.overrides.len(), 1);
}

#[tokio::test]
async fn instances_are_found_by_tag_and_agree_with_the_fleet_s_own_list() {
    let world = World::new("eu-west-2").await;
    for (fleet, count) in [(&world.spot_fleet, 4..=5), (&world.ec2_fleet, 3..=3)] {
        let instances = world.instances(fleet).await;
        assert!(count.contains(&instances.len()), "{} instances", instances.len());
        for instance in &instances {
            assert_eq!((&instance.fleet, instance.state), (&fleet.id, InstanceState::Running));
            assert!(instance.private_ip.is_some(), "{instance:?}");
        }
        let mut own: Vec<_> = world
            .aws
            .fleet_instances(fleet)
            .await
            .expect("moto has the list")
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let mut tagged: Vec<_> = instances.into_iter().map(|instance| instance.id).collect();
        own.sort();
        tagged.sort();
        assert_eq!(own, tagged);
    }
    let batch = world.instances(&world.ec2_fleet).await;
    let on_demand = batch.iter().filter(|instance| instance.pool.market == Market::OnDemand).count();
    assert_eq!(on_demand, 1, "one of three is bought on demand");
}

#[tokio::test]
async fn a_spot_fleet_s_target_is_set_and_moto_forgets_the_policy() {
    let world = World::new("eu-west-3").await;
    let change = Change::of_target(9, 0);
    world.aws.modify(&world.spot_fleet, change).await.expect("moto modifies Spot Fleets");
    let fleets = world.aws.describe_fleets(&[Backend::SpotFleet]).await.expect("moto describes");
    assert_eq!((fleets[0].target, fleets[0].state), (9, FleetState::Active));
    assert_eq!(fleets[0].excess, ExcessCapacity::Termination, "moto has learned to show NoTermination");
}

#[tokio::test]
async fn an_instance_that_is_terminated_leaves_and_an_unknown_one_is_not_found() {
    let world = World::new("eu-central-1").await;
    let victim = world.instances(&world.spot_fleet).await[0].id.clone();
    let left = world.aws.terminate(std::slice::from_ref(&victim)).await.expect("moto terminates");
    assert_eq!(left[0].0, victim);
    assert!(matches!(left[0].1, InstanceState::ShuttingDown | InstanceState::Terminated), "{left:?}");
    let rest = world.instances(&world.spot_fleet).await;
    let is_gone = |instance: &Instance| instance.id != victim || instance.state == InstanceState::Terminated;
    assert!(rest.iter().all(is_gone), "{rest:?}");
    let error = world.aws.terminate(&["i-0123456789abcdef0".into()]).await.expect_err("nobody has it");
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::NotFound, Some("InvalidInstanceID.NotFound"))
    );
}

#[tokio::test]
async fn another_autoscaler_on_the_fleet_is_seen_and_prices_are_read() {
    let world = World::new("us-west-2").await;
    let fleets = [world.spot_fleet.clone(), world.ec2_fleet.clone()];
    let targets = world.aws.scalable_targets(&fleets).await.expect("moto knows scalable targets");
    assert_eq!(targets, std::slice::from_ref(&world.spot_fleet));
    let prices = world.aws.spot_prices(&["m5.large".into()]).await.expect("moto has prices");
    let zones: Vec<_> = prices.iter().map(|offering| offering.pool.zone.as_str()).collect();
    assert_eq!(zones, ["us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d"]);
    assert!(prices.iter().all(|offering| offering.price.is_some()));
}

#[tokio::test]
async fn what_moto_lacks_fails_in_the_way_that_callers_can_tell() {
    let world = World::new("us-east-2").await;
    // A server that breaks on a write leaves it unclear whether it took effect.
    let change = Change::of_target(4, 1);
    let error = world.aws.modify(&world.ec2_fleet, change).await.expect_err("moto has learned ModifyFleet");
    assert_eq!(error.class, ErrorClass::Unclear, "{error}");
    // CloudWatch speaks CBOR on a path that moto does not know: repeating will not help.
    let query = [MetricQuery::FleetCpu(world.spot_fleet.clone())];
    let now = fleet::ports::Clock::wall(&SystemClock::new());
    let error =
        world.aws.read(&query, now - Duration::from_secs(600), now).await.expect_err("moto has learned CBOR");
    assert_eq!(error.class, ErrorClass::Malformed, "{error}");
    // A read that breaks is repeated, and ends as transient.
    let error = world.aws.history(&world.spot_fleet, now).await.expect_err("moto has learned history");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}
