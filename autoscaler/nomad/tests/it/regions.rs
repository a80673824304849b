//! A cluster of another region, asked by way of one's own.

use crate::cluster::{all_running, client, drain, instance, job, of, running, surveyed};
use autoscaler_nomad::facts::DrainDeadline;
use autoscaler_nomad::{Heard, Nomad, Options};
use fleet::ErrorClass;
use fleet_clock::SystemClock;
use muster_test_servers::NomadOptions;
use std::sync::Arc;
use std::time::Duration;

/// A region with clients on these instances.
fn region(name: &str, instances: &[&str]) -> muster_test_servers::Nomad {
    let clients = instances.iter().map(|instance| client(instance, &format!("i-{instance}"))).collect();
    let region = Some(name.to_owned());
    muster_test_servers::Nomad::start(NomadOptions { clients, region, ..NomadOptions::default() })
}

/// Our client of a region by way of the servers of another.
fn ours(through: &muster_test_servers::Nomad, region: &str) -> Nomad {
    let (addresses, region) = (vec![through.address()], Some(region.to_owned()));
    Nomad::new(Options { addresses, region, ..Options::default() }).expect("good options")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_another_region_are_found_drained_and_heard_of_and_no_others() {
    let (near, far) = (region("near", &["here"]), region("far", &["there", "other"]));
    near.federate(&far);
    let nomad = ours(&near, "far");
    let nodes = nomad.nodes().await.expect("nodes");
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    assert!(nodes.iter().all(|node| node.instance != Some(instance("here"))), "{nodes:?}");
    let victim = nodes.iter().find(|node| node.instance == Some(instance("there")));
    let victim = victim.unwrap_or_else(|| panic!("no such node: {nodes:?}")).id.clone();

    far.register(&job("moved", "service", 2));
    surveyed(&nomad, "the job to run", |nodes| all_running(nodes, "moved") == 2).await;
    let mut events = nomad.follow(Arc::new(SystemClock::new()));
    assert!(matches!(events.next().await, Heard::Began));
    let minute = DrainDeadline::Within(Duration::from_secs(60));
    let begun = nomad.drain(&victim, &drain(minute)).await.expect("a drain");
    let heard = async {
        loop {
            match events.next().await {
                Heard::Node(event) if event.node == victim && event.index >= begun => return,
                Heard::Ended(error) => panic!("{error:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(crate::cluster::PATIENCE, heard).await.expect("the far region's events");
    let nodes = surveyed(&nomad, "the service to move", |nodes| {
        running(of(nodes, &victim), "moved") == 0 && all_running(nodes, "moved") == 2
    })
    .await;
    assert!(!of(&nodes, &victim).eligible);
    let near = ours(&near, "near").nodes().await.expect("nodes");
    assert!(near.iter().all(|node| node.eligible && node.last_drain.is_none()), "{near:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_nobody_knows_is_told_as_such() {
    let cluster = region("near", &[]);
    let error = ours(&cluster, "nowhere").nodes().await.expect_err("there is none");
    assert_eq!(error.class(), ErrorClass::Transient, "it may be joined yet: {error:?}");
    assert!(error.to_string().contains("No path to region"), "{error}");
}
