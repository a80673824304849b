//! What an agent sees on its instance, to what the real autoscaler does in real Nomad.

use fleet::InstanceId;
use muster_test_servers::{NomadOptions, wait_for};
use std::time::Duration;
use tests::agent::{Agent, daemon};
use tests::ground::{Daemon, Site};

const SMALLEST: u32 = 2;

/// Two instances, whose agents tell a daemon of their load.
fn told_of(site: &Site) -> (Daemon, [InstanceId; 2], [Agent; 2]) {
    // Load comes from agents alone.
    let policy = site.policy(SMALLEST);
    site.write("web.hcl", &policy.replace("source \"cloudwatch\" {}", "source \"push\" {}"));
    let daemon = daemon(site, "state");
    let living: [InstanceId; 2] = site.cloud.living().try_into().expect("two instances");
    let agents = [&living[0], &living[1]].map(|instance| Agent::start(site, instance, &daemon));

    // Both have proved who they are: else nothing of theirs were taken in.
    wait_for("load of the agents", || {
        let metrics = daemon.get("/metrics")?;
        let accepted =
            metrics.lines().find_map(|line| line.strip_prefix("muster_samples_accepted_total "))?;
        (accepted.parse::<f64>().ok()? >= 4.0).then_some(())
    });
    wait_for("a decision upon load", || daemon.get("/v1/ready"));
    assert!(living.iter().all(|instance| site.is_eligible(instance)));
    (daemon, living, agents)
}

#[test]
fn a_recommendation_and_an_event_that_agents_see_are_confirmed() {
    let site = Site::start(SMALLEST, SMALLEST, NomadOptions::default(), None);
    let (daemon, [recommended, planned], [mut first, mut second]) = told_of(&site);

    site.cloud.recommend(&recommended);
    first.wait_confirmed();
    wait_for("the node to be ineligible", || (!site.is_eligible(&recommended)).then_some(()));
    let words = first.status()["notices"].to_string();
    assert!(words.contains("rebalance recommendation"), "{words}");
    let metrics = daemon.get("/metrics").expect("it answers");
    let told = "muster_notices_total{kind=\"rebalance_recommendation\",source=\"agent\"} 1";
    assert!(metrics.contains(told), "nobody else tells of it here: {metrics}");

    site.cloud.plan_retirement(&planned, Duration::from_secs(3600));
    second.wait_confirmed();
    let words = second.status()["notices"].to_string();
    assert!(words.contains("scheduled event at "), "{words}");
    // EC2's own list has it, too: whoever was first, it is one.
    let metrics = daemon.get("/metrics").expect("it answers");
    let told = metrics.lines().filter_map(|line| {
        line.strip_prefix("muster_notices_total{kind=\"scheduled_event\"")?
            .rsplit_once(' ')?
            .1
            .parse::<f64>()
            .ok()
    });
    assert_eq!(told.sum::<f64>().to_string(), "1", "{metrics}");
    daemon.stop();
}

#[test]
fn an_interruption_that_an_agent_sees_is_confirmed_and_its_node_gets_no_more_work() {
    let site = Site::start(SMALLEST, SMALLEST, NomadOptions::default(), None);
    let (daemon, [victim, other], [mut agent, quiet]) = told_of(&site);

    site.cloud.interrupt(&victim);
    wait_for("the node to be ineligible", || (!site.is_eligible(&victim)).then_some(()));
    assert!(site.is_eligible(&other), "nobody else is meant");
    agent.wait_confirmed();
    let metrics = daemon.get("/metrics").expect("it answers");
    let told = "muster_notices_total{kind=\"spot_interruption\",source=\"agent\"} 1";
    assert!(metrics.contains(told), "by the agent, before anybody else: {metrics}");
    let words = agent.status()["notices"].to_string();
    assert!(words.contains("interruption"), "{words}");
    assert!(quiet.status()["notices"].is_null(), "{}", quiet.status());
    assert_eq!(site.node(&victim)["Status"], "ready", "its client stays: nobody asked it to leave");
    daemon.stop();
}
