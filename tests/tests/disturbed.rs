//! A drain in real Nomad, and what comes between: load that comes back, a token that is lost, servers that are gone.
#![expect(clippy::print_stdout, reason = "the figures are shown")]

use fleet::InstanceId;
use muster_test_servers::{Consul, ConsulOptions, NomadOptions, wait_for};
use tests::ground::{Daemon, RIGHTS, Site};
use tests::job::CONSUL_RIGHTS;
use tests::work::service;

const FIRST: u32 = 3;
const SMALLEST: u32 = 2;

/// Waits until the work runs, all of it.
fn runs(site: &Site, count: usize) {
    wait_for("the work to run", || (site.places("web").len() == count).then_some(()));
}

/// Waits until one instance is being drained.
fn drained(site: &Site) -> InstanceId {
    wait_for("a drain", || site.drained())
}

/// Waits until an instance is gone, and sees that no other is, and that its work had left before.
fn goes_alone(site: &Site, victim: &InstanceId) {
    wait_for("the victim to be gone", || {
        let gone = !site.cloud.living().contains(victim);
        assert!(!gone || site.left("web", victim).is_some(), "nothing goes before its work has left");
        gone.then_some(())
    });
    assert_eq!((site.cloud.living().len(), site.cloud.target()), (2, SMALLEST));
}

#[test]
fn load_that_comes_back_cancels_a_drain_and_nothing_is_terminated() {
    let site = Site::start(FIRST, SMALLEST, NomadOptions::default(), None);
    let before = site.cloud.living();
    // Shorter than the drain's deadline.
    site.nomad.register(&service("web", FIRST, 500, 100));
    runs(&site, 3);
    let mut daemon = site.daemon("state", &[]);
    let victim = drained(&site);
    // The two that stay have no room for all of that.
    site.nomad.register(&service("more", 3, 1500, 1));
    wait_for("the drain to be cancelled", || {
        (site.is_eligible(&victim) && !site.drains(&victim)).then_some(())
    });
    wait_for("the reason", || (daemon.said("\"decision\":\"keep\"") > 0).then_some(()));
    assert_eq!(site.cloud.living(), before);
    assert_eq!((daemon.began("modify"), daemon.began("terminate")), (0, 0));
    assert_eq!(site.cloud.target(), FIRST);
    daemon.stop();
}

#[test]
fn a_nomad_token_that_is_lost_is_told_and_a_good_one_is_gone_on_with_by_itself() {
    let site = Site::start(SMALLEST, SMALLEST, NomadOptions::default(), None);
    site.nomad.register(&service("web", 2, 500, 1));
    runs(&site, 2);
    let daemon = site.daemon("state", &[]);
    wait_for("a first decision", || daemon.get("/v1/ready"));
    // A secret that Nomad has never heard of.
    site.write("nomad-token", "00000000-0000-4000-8000-000000000000");
    let denied = "muster_engine_alarm{alarm=\"denied\"}";
    wait_for("the alarm in the metrics", || daemon.measures(denied).then_some(()));
    let alarms = daemon.status()["alarms"].to_string();
    assert!(alarms.contains("nodes") && alarms.contains("denied"), "{alarms}");
    let victim = site.cloud.living()[0].clone();
    let noticed = site.cloud.interrupt(&victim);
    wait_for("the target to be raised", || (site.cloud.target() == SMALLEST + 1).then_some(()));
    assert!(site.is_eligible(&victim), "nobody may touch it");
    site.write("nomad-token", &site.nomad.new_token(RIGHTS));
    wait_for("the node to be ineligible", || (!site.is_eligible(&victim)).then_some(()));
    wait_for("the alarm to be over", || (!daemon.measures(denied)).then_some(()));
    let left = wait_for("the work to leave", || site.left("web", &victim));
    println!("the work had left {:.1} s after the notice", left.since(noticed).as_secs_f64());
    daemon.stop();
}

#[test]
fn nothing_goes_while_nomad_has_no_leader_and_a_drain_goes_on_when_it_has_one() {
    let mut site = Site::start(FIRST, SMALLEST, NomadOptions { peers: 2, ..NomadOptions::default() }, None);
    site.nomad.register(&service("web", FIRST, 500, 20));
    runs(&site, 3);
    let daemon = site.daemon("state", &[]);
    let victim = drained(&site);
    site.nomad.kill_peers();
    // Raised after a minute: what was seen of the nodes is too old by then to be acted upon.
    let unreachable = "muster_engine_alarm{alarm=\"unreachable\"}";
    wait_for("the alarm", || daemon.measures(unreachable).then_some(()));
    let alarms = daemon.status()["alarms"].to_string();
    assert!(alarms.contains("nodes") && alarms.contains("No cluster leader"), "{alarms}");
    assert_eq!((site.cloud.living().len(), site.cloud.target()), (3, FIRST));
    assert_eq!(site.cloud.writes(), 0);
    site.nomad.start_peers();
    goes_alone(&site, &victim);
    daemon.stop();
}

/// The daemon that leads, of two.
fn leader(daemons: &[Daemon]) -> Option<usize> {
    let leads: Vec<usize> =
        (0..daemons.len()).filter(|one| daemons[*one].status()["leads"] == true).collect();
    assert!(leads.len() < 2, "two lead");
    leads.first().copied()
}

#[test]
fn without_consul_nobody_writes_and_when_it_is_back_one_leads_and_finishes_the_drain() {
    let mut consul = Consul::start(&ConsulOptions { acl: true, ..ConsulOptions::default() });
    let site = Site::start(FIRST, SMALLEST, NomadOptions::default(), None);
    site.write("consul-token", &consul.new_token(CONSUL_RIGHTS));
    site.nomad.register(&service("web", FIRST, 500, 40));
    runs(&site, 3);
    let at = consul.address();
    let arguments = ["--consul-address", at.as_str(), "--consul-token-file", "consul-token"];
    let mut daemons = [site.daemon("east", &arguments), site.daemon("west", &arguments)];
    let victim = drained(&site);
    let leading = leader(&daemons).expect("who drains leads");
    consul.kill();
    wait_for("nobody to lead", || leader(&daemons).is_none().then_some(()));
    wait_for("the leader to say so", || {
        (daemons[leading].said("could not prove leadership") > 0).then_some(())
    });
    // It is empty, and everybody sees that; who may not write leaves it at that.
    wait_for("the work to leave", || site.left("web", &victim));
    for daemon in &daemons {
        let decided = || daemon.status()["fleets"][0]["decided"]["at"].clone();
        let (before, name) = (decided(), daemon.name);
        wait_for(&format!("{name} to go on deciding"), || (decided() != before).then_some(()));
    }
    assert_eq!((site.cloud.writes(), site.cloud.living().len()), (0, 3));
    consul.start_again();
    wait_for("one to lead", || leader(&daemons));
    goes_alone(&site, &victim);
    let writes: usize = daemons.iter_mut().map(|one| one.began("modify") + one.began("terminate")).sum();
    assert_eq!(writes, 2, "one modification, one termination");
    for daemon in daemons {
        daemon.stop();
    }
}
