//! A service behind a health check on nodes of the fleet: whoever asks it sees nothing of a node that is taken away.
#![expect(clippy::print_stdout, reason = "the figures are shown")]

use fleet::{InstanceId, Timestamp};
use muster_test_servers::{Consul, ConsulOptions, NomadOptions, wait_for};
use std::time::Duration;
use tests::ground::Site;
use tests::web::{Asker, healthy, web};

const SMALLEST: u32 = 3;
/// How many there are of the service: more than one on a node.
const COUNT: usize = 4;
/// An interruption's two minutes, less what the policy keeps back of them.
const IN_TIME: Duration = Duration::from_secs(120 - 15);

#[test]
fn who_asks_a_service_all_the_time_sees_nothing_of_interruptions_and_the_deadline_is_kept() {
    let consul = Consul::start(&ConsulOptions::default());
    let at = consul.agent().address;
    let nomad = NomadOptions { consul: Some(consul.agent()), ..NomadOptions::default() };
    let mut site = Site::start(SMALLEST, SMALLEST, nomad, Some(&consul));
    site.nomad.register(&web(COUNT));
    wait_for("the service to be healthy", || (healthy(at).len() == 4).then_some(()));
    let daemon = site.daemon("state", &[]);
    wait_for("a first decision", || daemon.get("/v1/ready"));
    let asker = Asker::start(at);

    let before = site.cloud.living();
    let victim = busy(&site);
    let noticed = site.cloud.interrupt(&victim);
    let new = wait_for("the replacement", || {
        site.cloud.living().into_iter().find(|instance| !before.contains(instance))
    });
    site.add_node(&new, Some(&consul));
    kept(&site, &victim, noticed, "replaced");
    wait_for("the doomed one to be gone", || (!site.cloud.living().contains(&victim)).then_some(()));

    assert_eq!(site.cloud.living().len(), 3, "replaced once");

    // Nobody to take its place: its work stays as long as it is safe.
    site.cloud.run_dry();
    let victim = busy(&site);
    let noticed = site.cloud.interrupt(&victim);
    kept(&site, &victim, noticed, "nobody in its place");

    wait_for("the service to be whole", || (healthy(at).len() == 4).then_some(()));
    println!("{} requests, none failed", asker.end());
    daemon.stop();
}

/// An instance on which the service runs.
fn busy(site: &Site) -> InstanceId {
    let places =
        wait_for("all of the service to run", || Some(site.places("web")).filter(|places| places.len() == 4));
    let living = site.cloud.living();
    living.into_iter().find(|instance| places.contains(&instance.to_string())).expect("it runs somewhere")
}

/// Waits until the work has left an interrupted instance: in time, and less the margin.
fn kept(site: &Site, victim: &InstanceId, noticed: Timestamp, how: &str) {
    let left = wait_for("the work to leave", || site.left("web", victim));
    let after = left.since(noticed);
    println!("{how}: the work had left {:.1} s after the notice", after.as_secs_f64());
    assert!(after <= IN_TIME, "{after:?}");
}
