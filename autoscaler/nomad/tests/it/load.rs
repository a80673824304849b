//! Load that moves: what fits, what waits for room, what is scaled along.

use crate::cluster::{all_running, drain, id, job, of, ours, running, shared, surveyed, tidy, until};
use crate::planner::lets_go;
use autoscaler_nomad::Nomad;
use autoscaler_nomad::facts::DrainDeadline;
use fleet::{ErrorClass, Resources, WorkKind};
use serde_json::json;

/// Scales as soon as no deployment is in the way.
async fn scaled(nomad: &Nomad, count: u32) {
    until("no deployment in the way", async || {
        match nomad.scale("default", "scaled/web", "web", count, "the fleet has three nodes").await {
            Ok(()) => Some(()),
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::Conflict, "{error:?}");
                None
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_scaled_and_counted() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    cluster.register(&job("scaled/web", "service", 1));
    until("a count of one", async || {
        let counts = nomad.group_counts("default", "scaled/web").await.ok()?;
        (counts.get("web")?.running == 1).then_some(())
    })
    .await;
    scaled(&nomad, 3).await;
    surveyed(&nomad, "three of them", |nodes| all_running(nodes, "scaled/web") == 3).await;
    let counts = nomad.group_counts("default", "scaled/web").await.expect("counts");
    assert_eq!((counts["web"].desired, counts["web"].placed), (3, 3));
    // Again: set, not added.
    scaled(&nomad, 3).await;
    assert_eq!(nomad.group_counts("default", "scaled/web").await.expect("counts")["web"].desired, 3);

    let missing = nomad.scale("default", "nothing", "web", 3, "").await.expect_err("no such job");
    assert_eq!(missing.class(), ErrorClass::NotFound, "{missing:?}");
    let missing = nomad.scale("default", "scaled/web", "nothing", 3, "").await.expect_err("no such group");
    assert_eq!(missing.class(), ErrorClass::Malformed, "{missing:?}");
    tidy(cluster, &nomad, &["scaled%2Fweb"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placements_that_wait_for_room_are_seen_with_what_they_ask_for() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    assert_eq!(nomad.blocked().await.expect("blocked"), []);
    let mut large = job("large", "service", 5);
    large["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = json!(600);
    cluster.register(&large);
    let blocked = until("two that wait", async || {
        let blocked = nomad.blocked().await.ok()?;
        (blocked.first()?.placements == 2).then_some(blocked)
    })
    .await;
    assert_eq!((blocked.len(), &*blocked[0].job, &*blocked[0].group), (1, "large", "web"));
    assert_eq!(blocked[0].needs, Some(Resources { cpu_mhz: 100, memory_mib: 600, disk_mib: 20 }));
    assert_eq!(blocked[0].exhausted.iter().collect::<Vec<_>>(), ["memory"]);
    tidy(cluster, &nomad, &["large"]).await;
    until("none that wait", async || nomad.blocked().await.ok()?.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_planner_finds_room_for_is_what_nomad_places() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    // One on each node, on a port that each node has once: no node can take another's.
    let mut with_port = job("with-port", "service", 3);
    with_port["TaskGroups"][0]["Networks"] =
        json!([{ "ReservedPorts": [{ "Label": "http", "Value": 18080 }] }]);
    cluster.register(&with_port);
    let nodes = surveyed(&nomad, "one on each node", |nodes| {
        nodes.iter().all(|node| running(node, "with-port") == 1)
    })
    .await;
    let victim = id(cluster, "one");
    assert!(!lets_go(&nodes, &victim));

    // Without a port it fits: and so it is when the node is drained.
    cluster.purge("with-port");
    let mut free = job("free", "service", 3);
    free["Constraints"] = json!([{ "LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": "linux" }]);
    cluster.register(&free);
    let nodes = surveyed(&nomad, "three without a port", |nodes| {
        all_running(nodes, "free") == 3 && all_running(nodes, "with-port") == 0
    })
    .await;
    let victim = nodes.iter().find(|node| running(node, "free") > 0).expect("it runs somewhere");
    assert!(lets_go(&nodes, &victim.id));
    let victim = victim.id.clone();
    nomad.drain(&victim, &drain(DrainDeadline::AtOnce)).await.expect("a drain");
    surveyed(&nomad, "all on the others", |nodes| {
        all_running(nodes, "free") == 3 && running(of(nodes, &victim), "free") == 0
    })
    .await;
    nomad.set_eligible(&victim, true).await.expect("eligible");
    tidy(cluster, &nomad, &["free"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_purged_and_registered_again_with_other_groups_is_seen_as_what_it_is_now() {
    let cluster = &*shared().await;
    let nomad = ours(cluster);
    cluster.register(&job("renamed", "service", 2));
    surveyed(&nomad, "two of it", |nodes| all_running(nodes, "renamed") == 2).await;
    cluster.purge("renamed");
    let mut again = job("renamed", "batch", 2);
    again["TaskGroups"][0]["Name"] = json!("api");
    cluster.register(&again);
    let nodes = surveyed(&nomad, "two of what it is now", |nodes| {
        let allocs =
            || nodes.iter().flat_map(|node| &node.allocs).filter(|alloc| alloc.work.job == "renamed");
        allocs().filter(|alloc| alloc.work.group == "api" && alloc.running).count() == 2
            && allocs().all(|alloc| alloc.work.group == "api")
    })
    .await;
    for alloc in nodes.iter().flat_map(|node| &node.allocs) {
        assert_eq!((alloc.work.kind, alloc.devices, alloc.work.grace.as_secs()), (WorkKind::Batch, false, 5));
    }
    tidy(cluster, &nomad, &["renamed"]).await;
}
