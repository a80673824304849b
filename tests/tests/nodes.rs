//! The real process between the loopback cloud and real Nomad, whose clients are instances of the fleet: nodes are
//! emptied before they go, and notices are acted upon at once.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real processes are timed, and the figures shown"
)]

use fleet::ports::Clock;
use fleet::{FleetId, InstanceId, Timestamp};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{Delay, Demand, FleetRequest, FleetSpec, InstancePhase, TimingSpec, World, WorldSpec};
use muster_test_servers::{Nomad, NomadClient, NomadOptions, wait_for};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::programs::{Running, autoscaler};

/// What the Nomad job's identity may do in Nomad, and no more.
const RIGHTS: &str = include_str!("../../autoscaler/nomad/job/nomad-policy.hcl");
/// How many instances the fleet has at first, and how many its policy leaves it.
const FIRST: u32 = 4;
const SMALLEST: u32 = 3;

/// An account whose fleet has one more than its policy's least, and hardly any load.
fn account(now: Timestamp) -> World {
    let request = FleetRequest {
        target: FIRST,
        excess: fleet::ExcessCapacity::NoTermination,
        ..FleetRequest::default()
    };
    let fleet =
        FleetSpec { request, initial: Some(FIRST), load: Demand::constant(0.5), ..FleetSpec::default() };
    let timing = TimingSpec {
        modifying: Duration::from_secs(1),
        fulfilment: Delay::Constant(Duration::from_secs(1)),
        pending: Duration::from_secs(1),
        boot: Delay::Constant(Duration::from_secs(5)),
        ..TimingSpec::default()
    };
    let spec = WorldSpec { fleets: vec![fleet], timing, ..WorldSpec::default() };
    let mut world = World::new(spec, 5, now - Duration::from_secs(2 * 3600));
    world.advance(now);
    world
}

/// A cloud, Nomad, and the autoscaler on both.
struct Ground {
    runtime: tokio::runtime::Runtime,
    world: Arc<Mutex<World>>,
    fleet: FleetId,
    server: CloudServer,
    nomad: Nomad,
    directory: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = Arc::new(Mutex::new(account(clock.wall())));
        let fleet = world.lock().expect("whole").fleets()[0].id.clone();
        let config = CloudConfig { speed: Some(1.0), ..CloudConfig::new(Arc::clone(&world), clock) };
        let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
        let instances = world.lock().expect("whole").instance_truths(&fleet);
        let clients = instances.iter().map(|instance| client(&instance.id)).collect();
        let nomad = Nomad::start(NomadOptions { clients, acl: true, ..NomadOptions::default() });
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("token"), nomad.new_token(RIGHTS)).expect("a token");
        let policy = format!(
            "fleet \"web\" {{\n  id = \"{fleet}\"\n  region = \"eu-west-1\"\n  boot = \"5s\"\n  source \"cloudwatch\" {{}}\n  \
             capacity {{\n    min = {SMALLEST}\n  }}\n  \
             drain {{\n    by = \"nomad\"\n    deadline = \"1m\"\n  }}\n  \
             workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
        );
        std::fs::write(directory.path().join("web.hcl"), policy).expect("a policy");
        Self { runtime, world, fleet, server, nomad, directory }
    }

    fn start(&self) -> Running {
        let endpoint = self.server.endpoint();
        let queue = format!("{endpoint}/123456789012/muster-events");
        let mut command = autoscaler();
        command.args(["run", "--policy", "web.hcl", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args([
            "--state",
            "state",
            "--endpoint",
            &endpoint,
            "--queue-url",
            &queue,
            "--region",
            "eu-west-1",
        ]);
        command.args(["--nomad-address", &self.nomad.address(), "--nomad-token-file", "token"]);
        command.env("AWS_ACCESS_KEY_ID", "muster").env("AWS_SECRET_ACCESS_KEY", "muster-secret");
        Running::start(command.current_dir(self.directory.path()))
    }

    fn living(&self) -> Vec<InstanceId> {
        let instances = self.world.lock().expect("whole").instance_truths(&self.fleet);
        let living = instances.into_iter().filter(|instance| instance.phase != InstancePhase::Gone);
        living.map(|instance| instance.id).collect()
    }
    fn target(&self) -> u32 {
        self.world.lock().expect("whole").truth(&self.fleet).expect("it is there").target
    }

    fn nodes(&self) -> Vec<Value> {
        self.nomad.call("GET", "/v1/nodes", &Value::Null).as_array().expect("a list").clone()
    }
    /// The node of an instance, whose client has its name.
    fn node(&self, instance: &InstanceId) -> Value {
        let named = |node: &Value| node["Name"] == instance.as_str();
        self.nodes().into_iter().find(named).unwrap_or_else(|| panic!("no node of {instance}"))
    }
    fn is_eligible(&self, instance: &InstanceId) -> bool {
        self.node(instance)["SchedulingEligibility"] == "eligible"
    }
    /// The ids of the nodes that allocations of `web` run on.
    fn places_of_work(&self) -> Vec<String> {
        let allocations = self.nomad.call("GET", "/v1/job/web/allocations", &Value::Null);
        let running = |one: &&Value| one["ClientStatus"] == "running" && one["DesiredStatus"] == "run";
        let allocations = allocations.as_array().expect("a list");
        let places = allocations.iter().filter(running).filter_map(|one| one["NodeID"].as_str());
        places.map(str::to_owned).collect()
    }
}

fn client(instance: &InstanceId) -> NomadClient {
    NomadClient {
        name: instance.to_string(),
        instance_id: Some(instance.to_string()),
        ..NomadClient::default()
    }
}

/// A service of as many allocations as there are nodes at first; two fit on a node.
fn work() -> Value {
    json!({
        "ID": "web", "Name": "web", "Type": "service", "Datacenters": ["*"],
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "TaskGroups": [{
            "Name": "web", "Count": FIRST,
            "Migrate": {
                "MaxParallel": 1, "HealthCheck": "task_states",
                "MinHealthyTime": 1_000_000_000_u64, "HealthyDeadline": 30_000_000_000_u64
            },
            "Tasks": [{
                "Name": "web", "Driver": "raw_exec",
                "Config": { "command": "/bin/sleep", "args": ["3600"] },
                "KillTimeout": 1_000_000_000,
                "Resources": { "CPU": 500, "MemoryMB": 64 }
            }]
        }]
    })
}

/// When each write of a removal was begun: (operation, the log's time).
fn writes(running: &mut Running) -> Vec<(String, Timestamp)> {
    let lines = running.lines().iter();
    lines
        .filter(|line| line.contains("\"began a write\""))
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let operation = text(&line["operation"]).or_else(|| text(&line["fields"]["operation"]));
            let at = text(&line["timestamp"]).expect("a line has a time");
            (operation.expect("a write has a name"), Timestamp::parse(&at).expect("a time"))
        })
        .collect()
}

#[test]
fn nodes_are_emptied_before_they_go_and_what_is_interrupted_is_replaced_at_once_and_once() {
    let mut ground = Ground::new();
    ground.nomad.register(&work());
    wait_for("the work to run", || (ground.places_of_work().len() == 4).then_some(()));
    let mut running = ground.start();
    a_node_is_drained_before_the_target_is_lowered(&ground, &mut running);
    let (ineligible, raised) = an_interrupted_one_is_replaced_once(&mut ground);
    println!(
        "ineligible after {:.3} s, raised after {:.3} s",
        ineligible.as_secs_f64(),
        raised.as_secs_f64()
    );
    running.signal("TERM");
    assert!(running.end().0.success());
    let Ground { runtime, server, .. } = ground;
    runtime.block_on(server.stop());
}

fn a_node_is_drained_before_the_target_is_lowered(ground: &Ground, running: &mut Running) {
    let before = ground.living();
    wait_for("one to be gone", || (ground.living().len() == 3).then_some(()));
    let living = ground.living();
    let gone = before.into_iter().find(|one| !living.contains(one)).expect("one is gone");
    assert_eq!(ground.target(), SMALLEST);
    let writes = wait_for("the steps to be told", || {
        let writes = writes(running);
        writes.iter().any(|(operation, _)| operation == "terminate").then_some(writes)
    });
    let first = |name: &str| {
        let found = writes.iter().find(|(operation, _)| operation == name);
        found.unwrap_or_else(|| panic!("no {name} among {writes:?}")).1
    };
    let node = ground.node(&gone);
    assert_eq!(node["LastDrain"]["Status"], "complete", "{node}");
    let drained = node["LastDrain"]["UpdatedAt"].as_str().expect("a time");
    let drained = Timestamp::parse(drained).expect("a time");
    println!(
        "drain {}, drained {drained}, modify {}, terminate {}",
        first("drain"),
        first("modify"),
        first("terminate")
    );
    assert!(first("drain") <= drained && drained <= first("modify"));
    assert!(first("modify") <= first("terminate"));
    let place = node["ID"].as_str().expect("a node has an id").to_owned();
    let places = ground.places_of_work();
    assert!(places.len() == 4 && !places.contains(&place), "the work runs on those that stay");
}

/// Interrupts an instance of the fleet, and waits until another has taken its place.
///
/// * returns: how long after the notice its node was ineligible, and the target raised.
fn an_interrupted_one_is_replaced_once(ground: &mut Ground) -> (Duration, Duration) {
    let before = ground.living();
    let victim = before[0].clone();
    let noticed = Instant::now();
    assert!(ground.world.lock().expect("whole").interrupt(&victim), "it runs");
    ground.server.world_moved();
    let (mut ineligible, mut raised) = (None, None);
    wait_for("the notice to be acted upon", || {
        if raised.is_none() && ground.target() == SMALLEST + 1 {
            raised = Some(noticed.elapsed());
        }
        if ineligible.is_none() && !ground.is_eligible(&victim) {
            ineligible = Some(noticed.elapsed());
        }
        ineligible.zip(raised)
    });
    let new = wait_for("the replacement", || {
        ground.living().into_iter().find(|instance| !before.contains(instance))
    });
    ground.nomad.add_client(client(&new));
    // A minute before its two are over the target comes down again, and then it goes.
    wait_for("the target to be as before", || (ground.target() == SMALLEST).then_some(()));
    wait_for("the doomed one to be gone", || (!ground.living().contains(&victim)).then_some(()));
    let living = ground.living();
    assert!(living.len() == 3 && living.contains(&new), "replaced once: {living:?}");
    ineligible.zip(raised).expect("both were seen")
}
