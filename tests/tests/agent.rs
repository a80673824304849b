//! What an agent sees on its instance, to what the real autoscaler does in real Nomad.

use muster_test_servers::{NomadOptions, wait_for};
use tests::agent::{Agent, daemon};
use tests::ground::Site;

const SMALLEST: u32 = 2;

#[test]
fn an_interruption_that_an_agent_sees_is_confirmed_and_its_node_gets_no_more_work() {
    let site = Site::start(SMALLEST, SMALLEST, NomadOptions::default(), None);
    // Load comes from agents alone.
    let policy = site.policy(SMALLEST);
    site.write("web.hcl", &policy.replace("source \"cloudwatch\" {}", "source \"push\" {}"));
    let daemon = daemon(&site, "state");
    let living = site.cloud.living();
    let [victim, other] = living.as_slice() else { panic!("two instances: {living:?}") };
    let mut agents = [victim, other].map(|instance| Agent::start(&site, instance, &daemon));

    // Both have proved who they are: else nothing of theirs were taken in.
    wait_for("load of the agents", || {
        let metrics = daemon.get("/metrics")?;
        let accepted =
            metrics.lines().find_map(|line| line.strip_prefix("muster_samples_accepted_total "))?;
        (accepted.parse::<f64>().ok()? >= 4.0).then_some(())
    });
    wait_for("a decision upon load", || daemon.get("/v1/ready"));
    assert!(site.is_eligible(victim) && site.is_eligible(other));

    site.cloud.interrupt(victim);
    wait_for("the node to be ineligible", || (!site.is_eligible(victim)).then_some(()));
    assert!(site.is_eligible(other), "nobody else is meant");
    let [agent, quiet] = &mut agents;
    agent.running.wait_for("the autoscaler's word", |line| {
        (line.contains("told the autoscaler") && line.contains("confirmed=1") && line.contains("leader=true"))
            .then_some(())
    });
    let metrics = daemon.get("/metrics").expect("it answers");
    let told = "muster_notices_total{kind=\"spot_interruption\",source=\"agent\"} 1";
    assert!(metrics.contains(told), "by the agent, before anybody else: {metrics}");
    let words = agent.status()["notices"].to_string();
    assert!(words.contains("interruption"), "{words}");
    assert!(quiet.status()["notices"].is_null(), "{}", quiet.status());
    assert_eq!(site.node(victim)["Status"], "ready", "its client stays: nobody asked it to leave");
    daemon.stop();
}
