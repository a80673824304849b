//! Drains: what moves, what is cut short, what stays, and what is heard of it.

use crate::cluster::{
    all_running, client, drain, id, instance, job, of, ours, running, shared, surveyed, tidy,
};
use autoscaler_nomad::facts::{DrainDeadline, NodeFact, NodeStatus};
use autoscaler_nomad::{Drain, Heard, NodeEvent, Nomad, Options};
use fleet::{ErrorClass, NodeId};
use fleet_clock::SystemClock;
use muster_test_servers::NomadOptions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: DrainDeadline = DrainDeadline::Within(Duration::from_secs(60));

/// A node on which one of the job runs.
async fn busy_node(nomad: &Nomad, name: &str, count: usize) -> NodeId {
    let nodes = surveyed(nomad, "the job to run", |nodes| all_running(nodes, name) == count).await;
    nodes.iter().find(|node| running(node, name) > 0).expect("it runs somewhere").id.clone()
}

/// A node as it is now.
async fn look_at(nomad: &Nomad, id: &NodeId) -> NodeFact {
    of(&nomad.survey().await.expect("a survey"), id).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_on_which_instance_it_is_and_one_that_is_missing_cannot_be_drained() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    let nodes = nomad.nodes().await.expect("nodes");
    assert_eq!(nodes.len(), 3);
    let node = of(&nodes, &id(cluster, "two"));
    assert_eq!(node.instance, Some(instance("two")));
    assert_eq!((&*node.name, node.status, node.eligible), ("two", NodeStatus::Ready, true));
    assert_eq!((node.capacity.cpu_mhz, node.capacity.memory_mib), (2000, 1024));
    let missing = NodeId::from("00000000-0000-0000-0000-000000000000");
    let drained = nomad.drain(&missing, &drain(MINUTE)).await.expect_err("there is none");
    assert_eq!(drained.class(), ErrorClass::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_moves_what_runs_and_leaves_system_jobs_alone() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    cluster.register(&job("moved", "service", 3));
    cluster.register(&job("agent", "system", 1));
    let victim = busy_node(&nomad, "moved", 3).await;
    surveyed(&nomad, "the system job to run", |nodes| all_running(nodes, "agent") == 3).await;

    let index = nomad.drain(&victim, &drain(MINUTE)).await.expect("a drain");
    assert!(index > 0);
    let nodes = surveyed(&nomad, "the service to move", |nodes| {
        let left = of(nodes, &victim);
        left.drain.is_none() && running(left, "moved") == 0 && all_running(nodes, "moved") == 3
    })
    .await;
    let left = of(&nodes, &victim);
    assert!(!left.eligible);
    assert_eq!(running(left, "agent"), 1, "the system job stays");
    let last = left.last_drain.as_ref().expect("it was drained");
    assert_eq!((&*last.status, &*last.meta[Drain::BY]), ("complete", Drain::MUSTER));
    assert_eq!(last.meta[Drain::REASON], "spot-interruption");

    // Asked to, it ends them as well.
    let all = Drain { ignore_system_jobs: false, ..drain(DrainDeadline::AtOnce) };
    nomad.drain(&victim, &all).await.expect("a drain");
    surveyed(&nomad, "the node to be empty", |nodes| of(nodes, &victim).allocs.is_empty()).await;
    tidy(cluster, &nomad, &["moved", "agent"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_what_would_wait() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    // A drain waits for a batch job to end by itself, and this one never does.
    cluster.register(&job("endless", "batch", 1));
    let victim = busy_node(&nomad, "endless", 1).await;
    let before = look_at(&nomad, &victim).await;
    assert_eq!(before.allocs[0].work.grace, Duration::from_secs(5));

    nomad.drain(&victim, &drain(MINUTE)).await.expect("a drain");
    let node = look_at(&nomad, &victim).await;
    let deadline = node.drain.expect("it drains").deadline.expect("by then");
    assert_eq!(running(&node, "endless"), 1, "it is waited for");
    // Sent again, it counts anew.
    nomad.drain(&victim, &drain(DrainDeadline::Within(Duration::from_secs(1)))).await.expect("a drain");
    let sooner = look_at(&nomad, &victim).await.drain.and_then(|drain| drain.deadline);
    assert!(sooner.is_none_or(|sooner| sooner < deadline), "{sooner:?} {deadline:?}");
    surveyed(&nomad, "the deadline to end it here and begin it elsewhere", |nodes| {
        of(nodes, &victim).allocs.is_empty() && all_running(nodes, "endless") == 1
    })
    .await;
    tidy(cluster, &nomad, &["endless"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_will_not_end_is_seen_to_have_been_told_to_when_its_drain_is_over() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    let mut deaf = job("deaf", "batch", 1);
    let script = "trap '' INT; while :; do sleep 1; done";
    deaf["TaskGroups"][0]["Tasks"][0]["Config"] = json!({ "command": "/bin/sh", "args": ["-c", script] });
    deaf["TaskGroups"][0]["Tasks"][0]["KillTimeout"] = json!(20_000_000_000_u64);
    cluster.register(&deaf);
    let victim = busy_node(&nomad, "deaf", 1).await;
    assert!(
        of(&nomad.survey().await.expect("a survey"), &victim).allocs.iter().all(|one| !one.work.stopping)
    );

    nomad.drain(&victim, &drain(DrainDeadline::Within(Duration::from_secs(1)))).await.expect("a drain");
    surveyed(&nomad, "the drain to be over, and the work not", |nodes| {
        let node = of(nodes, &victim);
        let told = node.movable(true).filter(|alloc| alloc.running && alloc.work.stopping).count();
        node.drain.is_none() && !node.eligible && told == 1
    })
    .await;
    surveyed(&nomad, "the kill", |nodes| of(nodes, &victim).movable(true).next().is_none()).await;
    tidy(cluster, &nomad, &["deaf"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drain_keeps_the_work_and_makes_eligible() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    cluster.register(&job("kept", "batch", 1));
    let victim = busy_node(&nomad, "kept", 1).await;
    let alloc = look_at(&nomad, &victim).await.allocs[0].id.clone();

    nomad.drain(&victim, &drain(MINUTE)).await.expect("a drain");
    let conflict = nomad.set_eligible(&victim, true).await.expect_err("it drains");
    assert_eq!(conflict.class(), ErrorClass::Conflict, "{conflict:?}");
    nomad.cancel_drain(&victim).await.expect("no drain");
    // Once more: nothing to do, and no error.
    nomad.cancel_drain(&victim).await.expect("no drain");
    let node = look_at(&nomad, &victim).await;
    assert!(node.takes_work());
    assert_eq!((&node.allocs[0].id, node.allocs[0].running), (&alloc, true));
    assert_eq!(node.last_drain.expect("it had one").status, "canceled");

    nomad.set_eligible(&victim, false).await.expect("ineligible");
    let node = look_at(&nomad, &victim).await;
    assert!(!node.eligible && node.drain.is_none() && running(&node, "kept") == 1);
    tidy(cluster, &nomad, &["kept"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_in_a_namespace_that_is_not_named_keeps_its_node_from_being_empty() {
    let cluster = &*shared().await;
    cluster.add_namespace("other");
    let options = Options {
        addresses: vec![cluster.address()],
        namespaces: vec!["default".to_owned()],
        ..Options::default()
    };
    let nomad = Nomad::new(options).expect("good options");
    let mut elsewhere = job("elsewhere", "batch", 1);
    elsewhere["Namespace"] = json!("other");
    cluster.register(&elsewhere);
    let victim = busy_node(&nomad, "elsewhere", 1).await;

    // A drain waits for it to end, and so does whoever asks whether the node is empty.
    nomad.drain(&victim, &drain(MINUTE)).await.expect("a drain");
    let nodes = nomad.survey().await.expect("a survey");
    let left = of(&nodes, &victim);
    assert_eq!((left.movable(true).count(), left.drain.is_some()), (1, true));
    assert_eq!(left.movable(true).next().map(|alloc| &*alloc.work.namespace), Some("other"));
    cluster.call("DELETE", "/v1/job/elsewhere?purge=true&namespace=other", &Value::Null);
    tidy(cluster, &nomad, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_nodes_are_heard_at_once() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    let node = id(cluster, "three");
    let mut follower = nomad.follow(Arc::new(SystemClock::new()));
    assert!(matches!(follower.next().await, Heard::Began));
    let mut heard = async |index: u64| -> NodeEvent {
        let wanted = async {
            loop {
                match follower.next().await {
                    Heard::Node(event) if event.node == node && event.index >= index => return event,
                    Heard::Ended(error) => panic!("{error:?}"),
                    _ => {}
                }
            }
        };
        // It takes some milliseconds; a machine that is busy may take more.
        tokio::time::timeout(Duration::from_secs(20), wanted).await.expect("it is heard")
    };
    let index = nomad.set_eligible(&node, false).await.expect("ineligible");
    let event = heard(index).await;
    assert_eq!((event.instance, event.index), (Some(instance("three")), index));
    assert!(!event.eligible && !event.draining);
    nomad.set_eligible(&node, true).await.expect("eligible");
    cluster.register(&job("holding", "system", 1));
    surveyed(&nomad, "one on each node", |nodes| all_running(nodes, "holding") == 3).await;
    let everything = Drain { ignore_system_jobs: false, ..drain(MINUTE) };
    let index = nomad.drain(&node, &everything).await.expect("a drain");
    let event = heard(index).await;
    assert!(!event.eligible && event.draining);
    tidy(cluster, &nomad, &["holding"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_on_one_instance_are_told() {
    // The second claims to be on the first one's instance.
    let clients = vec![client("two", "i-two"), client("four", "i-two")];
    let cluster = muster_test_servers::Nomad::start(NomadOptions { clients, ..NomadOptions::default() });
    let nomad = ours(&cluster);
    let nodes = nomad.nodes().await.expect("nodes");
    let on_two = nodes.iter().filter(|node| node.instance == Some(instance("two")));
    let mut found: Vec<NodeId> = on_two.map(|node| node.id.clone()).collect();
    found.sort();
    let mut ids = vec![id(&cluster, "two"), id(&cluster, "four")];
    ids.sort();
    assert_eq!(found, ids);
    assert_eq!(json!(nodes).as_array().map(Vec::len), Some(2));
}
