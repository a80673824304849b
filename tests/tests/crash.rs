//! The real process, killed in the middle of what it does.

use fleet::ports::Clock;
use fleet::{FleetId, Timestamp};
use fleet_clock::SystemClock;
use fleet_cloud::{CloudConfig, CloudServer, Credential};
use fleet_sim::{Demand, FleetRequest, FleetSpec, InstancePhase, TimingSpec, World, WorldSpec};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
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

#[test]
fn killed_after_each_step_of_a_removal_it_ends_with_exactly_what_was_planned() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let world = Arc::new(Mutex::new(account(clock.wall())));
    let id = world.lock().expect("whole").fleets()[0].id.clone();
    let config = CloudConfig {
        speed: Some(1.0),
        credentials: vec![Credential::new(KEY.0, KEY.1)],
        ..CloudConfig::new(Arc::clone(&world), clock)
    };
    let server = runtime.block_on(CloudServer::start(config)).expect("the cloud starts");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("web.hcl"), policy(&id)).expect("a policy");
    // A write that was only begun may have been sent or not: that is waited out for 90 s, which the engine's worlds do in
    // virtual time.
    for operation in ["modify", "terminate"] {
        let mut running = Running::start(&mut daemon(&server.endpoint(), directory.path()));
        carried_out(&mut running, operation);
        running.signal("KILL");
        running.end();
    }
    let mut running = Running::start(&mut daemon(&server.endpoint(), directory.path()));
    let held = || living(&world.lock().expect("whole"), &id) == 4;
    runtime.block_on(async {
        let patience = tokio::time::timeout(Duration::from_secs(120), async {
            let mut looks = tokio::time::interval(Duration::from_millis(200));
            while !held() {
                looks.tick().await;
            }
        });
        patience.await.expect("the removals come to their end");
    });
    running.wait_for("a decision", |line| line.contains("\"decided to").then_some(()));
    running.signal("TERM");
    assert!(running.end().0.success());

    let journal = directory.path().join("state");
    let (code, out, err) = run(["replay", "--journal", journal.to_str().expect("text")]);
    assert_eq!(code, 0, "{out}{err}");
    runtime.block_on(server.stop());
    let world = world.lock().expect("whole");
    assert_eq!(world.truth(&id).expect("it is there").target, 4);
    assert_eq!(living(&world, &id), 4);
    assert_eq!(world.instance_truths(&id).len(), 8, "none was bought in the place of another");
}

fn living(world: &World, fleet: &FleetId) -> usize {
    let instances = world.instance_truths(fleet);
    instances.iter().filter(|instance| instance.phase != InstancePhase::Gone).count()
}
