//! What the failure of a step means for the node, as others see it.

use crate::ground::Program;
use crate::services::Site;
use bootstrap_core::{Condition, State, Step};
use muster_test_servers::wait_for;

#[test]
fn an_unhealthy_node_is_critical_to_consul_until_its_step_stands() {
    let more = "step \"monitoring\" {\n  attempt = \"4s\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"5s\"\n  \
                on_failure = \"unhealthy\"\n}\n";
    let mut site = Site::new("\"raw_exec\"", more);
    site.node.start();
    site.node.wait_done();
    wait_for("Consul to call it good", || site.check_of_node().filter(|check| check == "passing"));
    // The exporter cannot be started any more.
    let unit = "prometheus-node-exporter.service";
    site.node.units.set(unit, Program { path: "/bin/false".into(), ..Program::default() });
    site.node.units.kill(unit);
    site.node.verify();
    site.node.wait_state(Step::Monitoring, State::Failed);
    wait_for("Consul to call it bad", || site.check_of_node().filter(|check| check == "critical"));
    assert!(!site.node.path().join("run/ready").exists());
    // Somebody mends it.
    site.prepare();
    site.node.wait_until("everything to stand", |status| status.report.condition == Condition::Done);
    wait_for("Consul to call it good again", || site.check_of_node().filter(|check| check == "passing"));
}
