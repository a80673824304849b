//! Two real processes, one fleet, real Consul: one leads and the other stands by, and what ends the leader, however
//! it ends, makes the other lead.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real processes are timed, and the figures shown"
)]

use fleet::ports::Clock;
use fleet::{FleetId, InstanceId, Timestamp};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer};
use fleet_sim::{Action, Demand, FleetRequest, FleetSpec, TimingSpec, World, WorldSpec};
use muster_test_servers::{Consul, ConsulOptions, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::ground::get;
use tests::job::CONSUL_RIGHTS;
use tests::programs::{Running, autoscaler, run};

const SMALLEST: u32 = 4;
/// What the next leader may take to write, from the last sign of life of the one before.
const WITHIN: Duration = Duration::from_secs(15);

/// An account whose fleet has as much as it needs: it grows when its policy says so, and not otherwise.
fn account(now: Timestamp) -> World {
    let request = FleetRequest { target: SMALLEST, ..FleetRequest::default() };
    let fleet =
        FleetSpec { request, initial: Some(SMALLEST), load: Demand::constant(1.0), ..FleetSpec::default() };
    let modifying = Duration::from_secs(1);
    let spec = WorldSpec {
        fleets: vec![fleet],
        timing: TimingSpec { modifying, ..TimingSpec::default() },
        ..WorldSpec::default()
    };
    let start = now - Duration::from_secs(3600);
    let mut world = World::new(spec, 5, start);
    world.advance(now);
    world
}

/// A cloud, Consul, and the processes on both.
struct Ground {
    world: Arc<Mutex<World>>,
    fleet: FleetId,
    server: CloudServer,
    consul: Consul,
    directory: tempfile::TempDir,
    min: u32,
}

/// One more way to the same account.
fn cloud_of(runtime: &tokio::runtime::Runtime, world: &Arc<Mutex<World>>) -> CloudServer {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = CloudConfig { speed: Some(1.0), ..CloudConfig::new(Arc::clone(world), clock) };
    runtime.block_on(CloudServer::start(config)).expect("the cloud starts")
}

impl Ground {
    fn new(runtime: &tokio::runtime::Runtime) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = Arc::new(Mutex::new(account(clock.wall())));
        let fleet = world.lock().expect("whole").fleets()[0].id.clone();
        let server = cloud_of(runtime, &world);
        let consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("token"), consul.new_token(CONSUL_RIGHTS)).expect("a token");
        let ground = Self { world, fleet, server, consul, directory, min: SMALLEST };
        ground.write_policy();
        ground
    }

    fn write_policy(&self) {
        let (fleet, min) = (&self.fleet, self.min);
        let text = format!(
            "fleet \"web\" {{\n  id = \"{fleet}\"\n  region = \"eu-west-1\"\n  source \"cloudwatch\" {{}}\n  \
             capacity {{\n    min = {min}\n  }}\n  scale_in {{\n    enabled = false\n  }}\n  \
             workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
        );
        let place = self.directory.path();
        // Renamed, so that nobody reads half of it.
        std::fs::write(place.join("new"), text).expect("a policy");
        std::fs::rename(place.join("new"), place.join("web.hcl")).expect("a policy");
    }

    /// Makes one more instance wanted; whoever of these runs is told so at once.
    fn want_one_more(&mut self, of: &[&Process]) {
        self.min += 1;
        self.write_policy();
        for process in of {
            process.running.signal("HUP");
        }
    }

    fn start(&self, name: &'static str) -> Process {
        self.start_at(name, &self.server.endpoint())
    }

    /// The same with the cloud at another endpoint.
    fn start_at(&self, name: &'static str, endpoint: &str) -> Process {
        let mut command = autoscaler();
        command.args(["run", "--policy", "web.hcl", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(["--own-instance", self.instance_of(name).as_str()]);
        command.args(["--state", name, "--advertise", name, "--consul-token-file", "token"]);
        command.args(["--endpoint", endpoint, "--consul-address", &self.consul.address()]);
        command.env("AWS_ACCESS_KEY_ID", "muster").env("AWS_SECRET_ACCESS_KEY", "muster-secret");
        let mut running = Running::start(command.current_dir(self.directory.path()));
        let address = running.address();
        Process { name, running, address }
    }

    /// On which of the fleet's instances a process says that it runs.
    fn instance_of(&self, name: &str) -> InstanceId {
        let shown = self.world.lock().expect("whole").shown_instances();
        let mut ids: Vec<InstanceId> = shown.into_iter().map(|instance| instance.id).collect();
        ids.sort();
        ids.swap_remove(usize::from(name != "east"))
    }

    /// Waits until the fleet's target is what the policy asks for at least.
    fn wait_for_target(&self) -> Instant {
        wait_for("the target to be raised", || {
            let world = self.world.lock().expect("whole");
            let truth = world.truth(&self.fleet).expect("it is there");
            (truth.target == self.min).then(Instant::now)
        })
    }

    /// How many modifications and terminations the cloud was asked for, by anybody.
    fn writes_of_all(&self) -> usize {
        let world = self.world.lock().expect("whole");
        let writes = [Action::MODIFY_SPOT_FLEET_REQUEST, Action::TERMINATE_INSTANCES];
        let of = |(_, action, count): (&str, Action, fleet_sim::CallCount)| {
            if writes.contains(&action) { count.calls } else { 0 }
        };
        usize::try_from(world.calls().iter().map(of).sum::<u64>()).expect("a few")
    }

    /// Whom Consul's lock names.
    fn holder(&self) -> Option<String> {
        let answer = self.consul.try_call("GET", "/v1/kv/muster-autoscaler/leader", "").ok()?;
        let entry = (answer.status == 200).then(|| answer.json())?;
        entry[0]["Session"].as_str()?;
        let raw = self.consul.try_call("GET", "/v1/kv/muster-autoscaler/leader?raw", "").ok()?;
        Some(raw.body)
    }
}

/// A `muster-autoscaler run`.
struct Process {
    name: &'static str,
    running: Running,
    address: SocketAddr,
}

impl Process {
    /// How often it has said this.
    fn said(&mut self, what: &str) -> usize {
        self.running.lines().iter().filter(|line| line.contains(what)).count()
    }
    fn status(&self) -> Value {
        let body = wait_for("the status", || get(self.address, "/v1/fleets"));
        serde_json::from_str(&body).expect("JSON")
    }
    fn fleet(&self) -> Value {
        self.status()["fleets"][0].take()
    }
    /// What its status says of who leads.
    fn leadership(&self) -> Value {
        let status = self.status();
        assert_eq!(status["leads"], status["leadership"]["role"]["is"] == "leader", "{status}");
        status["leadership"].clone()
    }
    fn writes(&mut self) -> usize {
        self.said("\"began a write\"")
    }
    /// Waits until it has said this once more than `before`.
    fn says(&mut self, what: &str, before: usize) {
        let name = self.name;
        wait_for(&format!("{name} to say {what}"), || (self.said(what) > before).then_some(()));
    }
}

/// Waits until one of the two leads, and gives that one first.
fn leader_of(ground: &Ground, mut one: Process, mut other: Process) -> (Process, Process) {
    let holder = wait_for("a leader", || {
        let leads = one.said("\"began to lead\"") + other.said("\"began to lead\"") > 0;
        ground.holder().filter(|_| leads)
    });
    if holder.contains(one.name) { (one, other) } else { (other, one) }
}

#[test]
fn one_leads_and_however_it_ends_the_other_writes_within_fifteen_seconds() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut ground = Ground::new(&runtime);
    let (mut leader, mut standby) = leader_of(&ground, ground.start("east"), ground.start("west"));
    standby.says("\"stood by\"", 0);
    both_say_who_leads(&leader, &standby);
    each_protects_where_either_runs(&ground, [&leader, &standby]);
    one_writes_and_the_other_only_plans(&mut ground, &mut leader, &mut standby);

    // Killed.
    let before = leader.writes();
    let killed = Instant::now();
    leader.running.signal("KILL");
    ground.want_one_more(&[&standby]);
    let took = ground.wait_for_target().duration_since(killed);
    println!("killed: the other wrote after {:.1} s", took.as_secs_f64());
    assert!(took < WITHIN, "{took:?}");
    assert_eq!(ground.writes_of_all(), before + standby.writes());
    let name = leader.name;
    leader.running.end();

    // Frozen, and awake again.
    let (mut leader, mut standby) = (standby, ground.start(name));
    standby.says("\"stood by\"", 0);
    let before = ground.writes_of_all();
    let frozen = Instant::now();
    leader.running.signal("STOP");
    ground.want_one_more(&[&standby]);
    let took = ground.wait_for_target().duration_since(frozen);
    println!("frozen: the other wrote after {:.1} s", took.as_secs_f64());
    assert!(took < WITHIN, "{took:?}");
    let begun = leader.writes();
    leader.running.signal("CONT");
    let (mut frozen, mut leader) = (leader, standby);
    wait_for("the frozen one to know better", || {
        (frozen.said("could not prove leadership") + frozen.said("\"stood by\"") > 0).then_some(())
    });
    ground.want_one_more(&[&frozen, &leader]);
    ground.wait_for_target();
    assert_eq!(frozen.writes(), begun, "who was frozen begins no write");
    assert_eq!(ground.writes_of_all(), before + leader.writes());

    // Told to stop.
    let mut standby = frozen;
    let before = standby.said("\"began to lead\"");
    wait_for("the other to stand by", || ground.holder().filter(|holder| holder.contains(leader.name)));
    let stopped = Instant::now();
    leader.running.signal("TERM");
    standby.says("\"began to lead\"", before);
    println!("told to stop: the other led after {:.1} s", stopped.elapsed().as_secs_f64());
    ground.want_one_more(&[&standby]);
    let took = ground.wait_for_target().duration_since(stopped);
    println!("told to stop: the other wrote after {:.1} s", took.as_secs_f64());
    assert!(took < WITHIN, "{took:?}");
    assert!(leader.running.end().0.success());
    standby.running.signal("TERM");
    assert!(standby.running.end().0.success());
    assert!(ground.holder().is_none(), "the last one gives the lock back");
    runtime.block_on(ground.server.stop());
}

fn both_say_who_leads(leader: &Process, standby: &Process) {
    let leads = leader.leadership();
    assert_eq!(leads["role"]["is"], "leader", "{leads}");
    assert!(leads["lease_seconds"].as_f64().is_some_and(|left| left > 0.0 && left <= 4.0), "{leads}");
    assert_eq!(leads["troubles"].as_array().map(Vec::len), Some(0), "{leads}");
    // Who has only just begun to stand by has not seen the lock yet.
    let named = |leadership: &Value| {
        leadership["role"]["leader"].as_str().is_some_and(|named| named.contains(leader.name))
    };
    let stands_by = wait_for("the leader's name", || Some(standby.leadership()).filter(named));
    assert_eq!(stands_by["role"]["is"], "standby", "{stands_by}");
    assert!(stands_by["lease_seconds"].is_null(), "{stands_by}");
    let measured = |process: &Process, line: &str| {
        let text = get(process.address, "/metrics").expect("metrics");
        assert!(text.lines().any(|one| one == line), "no {line} in {text}");
    };
    measured(leader, "muster_leader 1.0");
    measured(standby, "muster_leader 0.0");
    measured(standby, "muster_leader_role{role=\"standby\"} 1.0");
}

fn each_protects_where_either_runs(ground: &Ground, processes: [&Process; 2]) {
    let both: BTreeSet<String> =
        processes.iter().map(|process| ground.instance_of(process.name).to_string()).collect();
    assert_eq!(both.len(), 2);
    for process in processes {
        wait_for(&format!("{} to protect both", process.name), || {
            let status: Value = serde_json::from_str(&get(process.address, "/v1/fleets")?).ok()?;
            let instances = status["fleets"][0]["instances"].as_array()?;
            let protected = instances.iter().filter(|instance| instance["protected"] == true);
            let ids: BTreeSet<String> =
                protected.filter_map(|i| Some(i["id"].as_str()?.to_owned())).collect();
            (ids == both).then_some(())
        });
    }
}

/// Its way to AWS ends, and nothing else: it says so, and the other one leads and writes.
#[test]
fn a_leader_that_aws_does_not_answer_gives_way_to_one_that_it_does() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut ground = Ground::new(&runtime);
    let own = cloud_of(&runtime, &ground.world);
    let mut leader = ground.start_at("east", &own.endpoint());
    leader.says("\"began to lead\"", 0);
    let mut standby = ground.start("west");
    standby.says("\"stood by\"", 0);
    let cut_off = Instant::now();
    runtime.block_on(own.stop());
    // It looks before it writes. That it cannot has to last for a minute and a half.
    ground.want_one_more(&[&leader]);
    leader.says("\"let go of the lock", 0);
    standby.says("\"began to lead\"", 0);
    println!("cut off from AWS: the other led after {:.1} s", cut_off.elapsed().as_secs_f64());
    ground.want_one_more(&[&standby]);
    ground.wait_for_target();
    assert!(standby.writes() > 0);
    assert_eq!(leader.leadership()["role"]["is"], "standby");
    for process in [leader, standby] {
        process.running.signal("TERM");
        assert!(process.running.end().0.success());
    }
    runtime.block_on(ground.server.stop());
}

#[test]
fn who_loses_consul_says_since_when_it_cannot_prove_its_lease_and_leads_again_when_it_is_back() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ground = Ground::new(&runtime);
    let leader = ground.start("east");
    let is = |role: &str| {
        wait_for(&format!("it to be {role}"), || {
            Some(leader.leadership()).filter(|is| is["role"]["is"] == role)
        })
    };
    is("leader");
    ground.consul.signal("STOP");
    let lost = is("lost");
    assert!(lost["role"]["since"].is_u64() && lost["lease_seconds"].is_null(), "{lost}");
    let trouble = wait_for("what fails", || leader.leadership()["troubles"].get(0).cloned());
    assert!(trouble["failures"].as_u64() > Some(0) && trouble["message"] != "", "{trouble}");
    let (code, shown, said) = run(["status", "--address", &format!("http://{}", leader.address)]);
    assert_eq!(code, 0, "{said}");
    assert!(shown.contains("! cannot prove its lease since ") && shown.contains("! Consul: "), "{shown}");
    ground.consul.signal("CONT");
    is("leader");
    wait_for("Consul to answer everything", || {
        (leader.leadership()["troubles"].as_array().map(Vec::len) == Some(0)).then_some(())
    });
    leader.running.signal("TERM");
    assert!(leader.running.end().0.success());
    runtime.block_on(ground.server.stop());
}

fn one_writes_and_the_other_only_plans(ground: &mut Ground, leader: &mut Process, standby: &mut Process) {
    let holder = ground.holder().expect("somebody leads");
    assert!(holder.contains(leader.name) && !holder.contains(standby.name), "{holder}");
    ground.want_one_more(&[leader, standby]);
    ground.wait_for_target();
    // Whether it has seen what the leader wrote or not: it plans on, by the policy that is in force now.
    let seen = standby.fleet()["decided"]["at"].as_u64();
    let fleet = wait_for("the other to plan, too", || {
        let fleet = standby.fleet();
        let is_newer = fleet["decided"]["at"].as_u64() > seen && fleet["min"] == ground.min;
        is_newer.then_some(fleet)
    });
    assert_eq!(fleet["decided"]["withheld"], "standby", "{fleet}");
    assert!(leader.writes() > 0);
    assert_eq!(standby.writes(), 0, "who stands by begins no write");
    assert_eq!(ground.writes_of_all(), leader.writes(), "and nobody else wrote");
}
