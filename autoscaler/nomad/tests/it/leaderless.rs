//! A server that is gone for a while.

use crate::cluster::{client, id, ours, until};
use autoscaler_nomad::{Heard, Nomad, Options};
use fleet::{ErrorClass, NodeId};
use fleet_clock::SystemClock;
use muster_test_servers::NomadOptions;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_calls_are_transient_and_work_again_when_it_is_back() {
    let clients = vec![client("one", "i-one")];
    let mut cluster = muster_test_servers::Nomad::start(NomadOptions { clients, ..NomadOptions::default() });
    let nomad = ours(&cluster);
    let node = id(&cluster, "one");
    let through_a_client = through(&cluster, &node);
    let mut follower = nomad.follow(Arc::new(SystemClock::new()));
    assert!(matches!(follower.next().await, Heard::Began));

    cluster.kill_server();
    assert_eq!(nomad.nodes().await.expect_err("nobody is there").class(), ErrorClass::Transient);
    let write = nomad.set_eligible(&node, false).await.expect_err("nobody is there");
    assert_eq!(write.class(), ErrorClass::Transient, "{write:?}");
    // A client's agent is there, and has nobody to ask.
    let read = through_a_client.nodes().await.expect_err("it has no server");
    assert_eq!(read.class(), ErrorClass::Transient, "{read:?}");
    let ended = async { while !matches!(follower.next().await, Heard::Ended(_)) {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the stream breaks");

    cluster.start_server();
    until("a server that answers", async || nomad.nodes().await.ok()).await;
    let changed = until("a change", async || nomad.set_eligible(&node, false).await.ok()).await;
    let heard = async {
        let mut began = false;
        loop {
            match follower.next().await {
                Heard::Began => began = true,
                Heard::Node(event) if event.index >= changed => return (began, event),
                _ => {}
            }
        }
    };
    let (began, event) =
        tokio::time::timeout(Duration::from_secs(60), heard).await.expect("it is heard again");
    assert!(began, "that something may have been missed is said first");
    assert_eq!((event.node, event.eligible, event.index), (node, false, changed));
}

/// A client of the cluster's client, which forwards what it is asked to the server.
fn through(cluster: &muster_test_servers::Nomad, node: &NodeId) -> Nomad {
    let node = cluster.call("GET", &format!("/v1/node/{node}"), &Value::Null);
    let address = format!("http://{}", node["HTTPAddr"].as_str().expect("it has an address"));
    let timeout = Duration::from_secs(30);
    Nomad::new(Options { addresses: vec![address], timeout, ..Options::default() }).expect("good options")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_leader_says_so_and_a_write_does_not_wait_for_that() {
    let options = NomadOptions { leaderless: true, ..NomadOptions::default() };
    let cluster = muster_test_servers::Nomad::start(options);
    let address = cluster.address();
    let timeout = Duration::from_secs(30);
    let nomad =
        Nomad::new(Options { addresses: vec![address], timeout, ..Options::default() }).expect("good");
    let node = NodeId::from("00000000-0000-0000-0000-000000000000");
    // It waits some seconds for a leader before it gives up, longer than a write may take: both at once.
    let (read, write) = tokio::join!(nomad.nodes(), nomad.set_eligible(&node, false));
    let (read, write) = (read.expect_err("there is no leader"), write.expect_err("there is no leader"));
    assert_eq!(read.class(), ErrorClass::Transient, "{read:?}");
    assert!(read.to_string().contains("No cluster leader"), "{read}");
    // It might have found a leader just then: nobody knows what came of it.
    assert_eq!(write.class(), ErrorClass::Unclear, "{write:?}");
}
