//! What work asks of nodes, as the planner is told.

use crate::{alloc, node};
use autoscaler_nomad::facts::{AllocFact, ConstraintFact, NodeFact, NodeStatus, views};
use fleet::NodeView;

fn asking(mut one: AllocFact, left: &str, operand: &str, right: &str) -> AllocFact {
    let [left, operand, right] = [left, operand, right].map(str::to_owned);
    one.constraints.push(ConstraintFact { left, operand, right });
    one
}

fn having(mut node: NodeFact, name: &str, value: &str) -> NodeFact {
    node.properties.insert(name.to_owned(), value.to_owned());
    node
}

/// Whether the first node's only work may go to another, as the views say.
fn accepted(views: &[NodeView], other: usize) -> bool {
    let work = &views[0].work[0];
    work.asks.iter().all(|asked| !views[other].refuses.contains(asked))
}

#[test]
fn what_all_nodes_give_is_not_told() {
    let busy = node("a", vec![asking(alloc("x", 100, 100), "${attr.kernel.name}", "=", "linux")]);
    let nodes = [busy, node("b", Vec::new())].map(|node| having(node, "${attr.kernel.name}", "linux"));
    for view in views(&nodes) {
        assert_eq!(view.refuses, [""; 0]);
        assert!(view.work.iter().all(|work| work.asks.is_empty()), "{view:?}");
    }
}

/// What Nomad asks of a node by itself for a task with a signal, Vault and Consul.
#[test]
fn sets_are_compared_in_whatever_order_and_versions_by_what_is_asked() {
    const SIGNALS: &str = "${attr.os.signals}";
    const VERSION: &str = "${attr.consul.version}";
    let cases = [
        (SIGNALS, "set_contains", "SIGTERM", "SIGHUP,SIGTERM,SIGINT", "SIGINT,SIGHUP,SIGTERM", true),
        (SIGNALS, "set_contains", "SIGTERM, SIGINT", "SIGTERM,SIGINT", "SIGINT,SIGTERM,SIGHUP", true),
        (SIGNALS, "set_contains_all", "SIGTERM,SIGINT", "SIGTERM,SIGINT", "SIGTERM", false),
        (SIGNALS, "set_contains_any", "SIGTERM,SIGINT", "SIGTERM,SIGINT", "SIGINT", true),
        (SIGNALS, "set_contains_any", "SIGTERM,SIGINT", "SIGTERM,SIGINT", "SIGHUP", false),
        (VERSION, "semver", ">= 1.8.0", "1.21.0", "1.20.3", true),
        (VERSION, "semver", ">= 1.7.0-a", "1.10.5", "1.10.6", true),
        (VERSION, "semver", ">= 1.8.0", "1.21.0", "1.7.9", false),
        (VERSION, "semver", ">= 1.8.0", "1.21.0", "of today", false),
        (VERSION, "regexp", "^1", "1.21.0", "1.20.3", false),
    ];
    for (name, operand, asked, here, there, taken) in cases {
        let busy = node("a", vec![asking(alloc("x", 100, 100), name, operand, asked)]);
        let nodes = [having(busy, name, here), having(node("b", Vec::new()), name, there)];
        assert_eq!(accepted(&views(&nodes), 1), taken, "{operand} {asked}: {there}");
        assert!(
            accepted(&views(&[nodes[0].clone(), having(node("c", Vec::new()), name, here)]), 1),
            "the same"
        );
    }
}

#[test]
fn a_node_takes_the_work_whose_asks_it_meets() {
    const CLASS: &str = "${attr.platform.aws.instance-type}";
    const VAULT: &str = "${attr.vault.version}";
    let plain = || alloc("x", 100, 100);
    let mut in_dc2 = plain();
    in_dc2.datacenters = vec!["dc2".to_owned(), "eu-*".to_owned()];
    let mut with_devices = plain();
    with_devices.devices = true;
    let mut anywhere = plain();
    anywhere.any_pool = true;
    let works = [
        (plain(), "bare eu same other"),
        (anywhere, "bare pool eu same other"),
        (in_dc2, "eu"),
        (with_devices, ""),
        (asking(plain(), CLASS, "=", "m5.large"), "same"),
        (asking(plain(), CLASS, "!=", "c5.large"), "bare eu same"),
        (asking(plain(), CLASS, "is_set", ""), "same other"),
        (asking(plain(), VAULT, "semver", ">= 0.6.1"), "same other"),
        (asking(plain(), "${node.datacenter}", "distinct_property", "1"), ""),
    ];
    let mut elsewhere = node("pool", Vec::new());
    elsewhere.pool = "gpu".to_owned();
    let mut eu = node("eu", Vec::new());
    eu.datacenter = "eu-west".to_owned();
    let others = [
        node("bare", Vec::new()),
        elsewhere,
        eu,
        having(having(node("same", Vec::new()), CLASS, "m5.large"), VAULT, "1.15.2"),
        having(having(node("other", Vec::new()), CLASS, "c5.large"), VAULT, "1.16.0"),
    ];
    for (work, taken_by) in works {
        let on = having(having(node("on", vec![work]), CLASS, "m5.large"), VAULT, "1.15.2");
        let nodes: Vec<NodeFact> = [on].into_iter().chain(others.iter().cloned()).collect();
        let views = views(&nodes);
        let takers = (0..others.len()).filter(|index| accepted(&views, index + 1));
        let takers: Vec<&str> = takers.map(|index| &*others[index].name).collect();
        assert_eq!(takers.join(" "), taken_by, "{:?}", nodes[0].allocs);
    }
}

#[test]
fn one_of_a_job_a_host_is_told_and_reserved_ports_are() {
    let mut first = node("a", vec![asking(alloc("x", 100, 100), "", "distinct_hosts", "")]);
    first.reserved_ports.insert(22);
    let shared = asking(alloc("y", 100, 100), "", "distinct_hosts", "false");
    let mut down = node("c", Vec::new());
    down.status = NodeStatus::Down;
    let views = views(&[first, node("b", vec![shared]), down]);
    assert_eq!(views.len(), 2, "one that is down is none");
    assert_eq!((views[0].work[0].distinct_hosts, views[1].work[0].distinct_hosts), (true, false));
    assert_eq!(views[0].reserved_ports, [22]);
}
