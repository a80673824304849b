//! The real process, killed in the middle of what it does.

use fleet::ports::Clock;
use fleet::{FleetId, Timestamp};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, Credential, FaultKind, HttpFault};
use fleet_sim::{Demand, FleetRequest, FleetSpec, InstancePhase, TimingSpec, World, WorldSpec};
use muster_test_servers::wait_for;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tests::programs::{Running, autoscaler, run};

const KEY: (&str, &str) = ("muster", "muster-secret");
const HISTORY: Duration = Duration::from_secs(2 * 3600);

/// An account whose fleet has eight instances where four would do; too few reasons yet to let all go at once.
fn account(now: Timestamp) -> World {
    let request =
        FleetRequest { target: 8, excess: fleet::ExcessCapacity::NoTermination, ..FleetRequest::default() };
    let fleet = FleetSpec { request, initial: Some(8), load: Demand::constant(2.5), ..FleetSpec::default() };
    let modifying = Duration::from_secs(2);
    let spec = WorldSpec {
        fleets: vec![fleet],
        timing: TimingSpec { modifying, ..TimingSpec::default() },
        ..WorldSpec::default()
    };
    let mut world = World::new(spec, 5, now - HISTORY);
    world.advance(now);
    world
}

fn policy(fleet: &FleetId) -> String {
    format!(
        "fleet \"web\" {{\n  id = \"{fleet}\"\n  region = \"eu-west-1\"\n  source \"cloudwatch\" {{}}\n  \
         workload {{\n    kind = \"spreads\"\n  }}\n}}\n"
    )
}

fn daemon(endpoint: &str, directory: &Path) -> Command {
    let mut command = autoscaler();
    command.args(["run", "--policy", "web.hcl", "--state", "state", "--listen", "127.0.0.1:0"]);
    command.args(["--endpoint", endpoint, "--log-format", "json"]).current_dir(directory);
    command.env("AWS_ACCESS_KEY_ID", KEY.0).env("AWS_SECRET_ACCESS_KEY", KEY.1);
    command
}

/// Waits until a step of this kind has taken effect.
fn carried_out(running: &mut Running, operation: &str) {
    running.wait_for(operation, |line| {
        (line.contains("carried a step out") && line.to_lowercase().contains(operation)).then_some(())
    });
}

/// An account with its cloud, and the directory of whoever scales it.
struct Ground {
    runtime: tokio::runtime::Runtime,
    server: CloudServer,
    world: Arc<Mutex<World>>,
    fleet: FleetId,
    directory: TempDir,
}

impl Ground {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = Arc::new(Mutex::new(account(clock.wall())));
        let fleet = world.lock().expect("whole").fleets()[0].id.clone();
        let config = CloudConfig {
            speed: Some(1.0),
            credentials: vec![Credential::new(KEY.0, KEY.1)],
            ..CloudConfig::new(Arc::clone(&world), clock)
        };
        let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("web.hcl"), policy(&fleet)).expect("a policy");
        Self { runtime, server, world, fleet, directory }
    }

    fn daemon(&self) -> Running {
        Running::start(&mut daemon(&self.server.endpoint(), self.directory.path()))
    }

    /// Starts it once more, and sees that it ends with what was planned, and nothing else.
    fn ends_well(self, what: &str) {
        let mut running = self.daemon();
        let held = || (living(&self.world.lock().expect("whole"), &self.fleet) == 4).then_some(());
        wait_for(&format!("the removals to come to their end: {what}"), held);
        running.wait_for("a decision", |line| line.contains("\"decided to").then_some(()));
        running.signal("TERM");
        assert!(running.end().0.success(), "{what}");
        let journal = self.directory.path().join("state");
        let (code, out, err) = run(["replay", "--journal", journal.to_str().expect("text")]);
        assert_eq!(code, 0, "{what}: {out}{err}");
        self.runtime.block_on(self.server.stop());
        let world = self.world.lock().expect("whole");
        assert_eq!(world.truth(&self.fleet).expect("it is there").target, 4, "{what}");
        assert_eq!(living(&world, &self.fleet), 4, "{what}");
        let all = world.instance_truths(&self.fleet).len();
        assert_eq!(all, 8, "{what}: none was bought in the place of another");
    }
}

#[test]
fn killed_after_each_step_of_a_removal_it_ends_with_exactly_what_was_planned() {
    let ground = Ground::start();
    // A write that was only begun may have been sent or not: that is waited out for 90 s, which the engine's worlds do in
    // virtual time.
    for operation in ["modify", "terminate"] {
        let mut running = ground.daemon();
        carried_out(&mut running, operation);
        running.signal("KILL");
        running.end();
    }
    ground.ends_well("after each");
}

#[test]
fn killed_in_a_write_whatever_became_of_that_it_ends_with_exactly_what_was_planned() {
    // Begun, and not done or not told; done, and the answer lost.
    let fates = [None, Some(FaultKind::CloseBefore), Some(FaultKind::CloseAfter)];
    let writes = [("modify", "ModifySpotFleetRequest"), ("terminate", "TerminateInstances")];
    // Each waits for most of its time.
    thread::scope(|scope| {
        for (operation, action) in writes {
            for fate in &fates {
                scope.spawn(move || {
                    let ground = Ground::start();
                    let fault = fate.clone().map(|kind| HttpFault::new(kind, &[action]));
                    ground.server.set_faults(fault.into_iter().collect());
                    let mut running = ground.daemon();
                    running.wait_for(operation, |line| {
                        let begun = line.contains("began a write") && line.to_lowercase().contains(operation);
                        begun.then_some(())
                    });
                    if fate == &Some(FaultKind::CloseAfter) {
                        let done = || {
                            let world = ground.world.lock().expect("whole");
                            let lowered = world.truth(&ground.fleet).expect("it is there").target == 4;
                            let is_done = if operation == "modify" {
                                lowered
                            } else {
                                living(&world, &ground.fleet) < 8
                            };
                            is_done.then_some(())
                        };
                        wait_for(&format!("{operation} to be done"), done);
                    }
                    running.signal("KILL");
                    running.end();
                    ground.server.set_faults(Vec::new());
                    ground.ends_well(&format!("{operation}, {fate:?}"));
                });
            }
        }
    });
}

fn living(world: &World, fleet: &FleetId) -> usize {
    let instances = world.instance_truths(fleet);
    instances.iter().filter(|instance| instance.phase != InstancePhase::Gone).count()
}
