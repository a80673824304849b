//! What fits where.

use crate::{alloc, node};
use autoscaler_nomad::facts::{AllocFact, ConstraintFact, Fit, Misfit, NodeFact, NodeStatus, fits};
use fleet::{Resources, WorkKind};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn why(fit: &Fit) -> Vec<(&str, &Misfit)> {
    fit.stuck.iter().map(|stuck| (&*stuck.alloc, &stuck.why)).collect()
}

fn asking(mut one: AllocFact, left: &str, operand: &str, right: &str) -> AllocFact {
    let [left, operand, right] = [left, operand, right].map(str::to_owned);
    one.constraints.push(ConstraintFact { left, operand, right });
    one
}

fn having(mut node: NodeFact, name: &str, value: &str) -> NodeFact {
    node.properties.insert(name.to_owned(), value.to_owned());
    node
}

#[test]
fn the_largest_go_first_so_that_the_small_fill_what_is_left() {
    let victim = node("v", vec![alloc("a", 100, 300), alloc("b", 100, 400), alloc("c", 100, 724)]);
    let others = [node("m", vec![alloc("x", 100, 300)]), node("n", vec![alloc("y", 100, 324)])];
    let fit = fits(&victim, &others);
    assert!(fit.fits(), "{fit:?}");
    let moves: Vec<_> = fit.moves.iter().map(|to| (&*to.alloc, to.to.as_str())).collect();
    assert_eq!(moves, [("c", "m"), ("b", "n"), ("a", "n")]);
}

#[test]
fn what_does_not_fit_is_named_with_what_is_missing() {
    let victim = node("v", vec![alloc("a", 1500, 300)]);
    let fit = fits(&victim, &[node("m", vec![alloc("x", 1000, 800)])]);
    let missing = Resources { cpu_mhz: 500, memory_mib: 76, disk_mib: 0 };
    assert_eq!(why(&fit), [("a", &Misfit::Resources { missing })]);
}

#[test]
fn disk_is_room_as_memory_is() {
    let mut large = alloc("a", 100, 100);
    large.work.needs.disk_mib = 9_800;
    let victim = node("v", vec![large]);
    let fit = fits(&victim, &[node("m", vec![alloc("x", 100, 100)])]);
    let missing = Resources { cpu_mhz: 0, memory_mib: 0, disk_mib: 100 };
    assert_eq!(why(&fit), [("a", &Misfit::Resources { missing })]);
}

#[test]
fn nodes_that_take_no_work_have_no_room() {
    let victim = node("v", vec![alloc("a", 100, 100)]);
    let mut ineligible = node("m", Vec::new());
    ineligible.eligible = false;
    let mut down = node("n", Vec::new());
    down.status = NodeStatus::Down;
    let fit = fits(&victim, [&victim, &ineligible, &down]);
    assert_eq!(why(&fit), [("a", &Misfit::NoNode)]);
    assert!(fits(&victim, [&node("o", Vec::new())]).fits());
}

#[test]
fn a_static_port_is_had_once_a_node() {
    let with_port = |id: &str| {
        let mut one = alloc(id, 100, 100);
        one.work.ports = vec![8080];
        one
    };
    let victim = node("v", vec![with_port("a"), with_port("b")]);
    let others = [node("m", vec![with_port("x")]), node("n", Vec::new())];
    assert_eq!(why(&fits(&victim, &others)), [("b", &Misfit::Port(8080))]);
    let mut reserved = node("o", Vec::new());
    reserved.reserved_ports.insert(8080);
    assert!(!fits(&victim, others.iter().chain([&reserved])).fits());
    let free = node("p", Vec::new());
    assert!(fits(&victim, others.iter().chain([&free])).fits());
}

#[test]
fn what_is_on_its_way_out_needs_no_place_but_holds_its_own() {
    let mut leaving = alloc("a", 100, 800);
    leaving.work.stopping = true;
    assert!(fits(&node("v", vec![leaving.clone()]), &[]).fits());
    let victim = node("v", vec![alloc("b", 100, 500)]);
    assert!(!fits(&victim, &[node("m", vec![leaving])]).fits());
}

#[test]
fn system_jobs_need_no_place() {
    let mut system = alloc("a", 100, 100);
    system.work.kind = WorkKind::System;
    assert!(fits(&node("v", vec![system]), &[]).fits());
}

#[test]
fn another_pool_or_datacenter_is_elsewhere() {
    let mut one = alloc("a", 100, 100);
    one.datacenters = vec!["us-*-a".to_owned(), "dc1".to_owned()];
    let victim = node("v", vec![one]);
    let mut pool = node("m", Vec::new());
    pool.pool = "gpu".to_owned();
    let mut place = node("n", Vec::new());
    place.datacenter = "us-east-b".to_owned();
    assert_eq!(why(&fits(&victim, [&pool, &place])), [("a", &Misfit::Elsewhere)]);
    place.datacenter = "us-east-a".to_owned();
    assert!(fits(&victim, [&pool, &place]).fits());
    assert_eq!(why(&fits(&victim, [&pool])), [("a", &Misfit::Elsewhere)]);
    let mut anywhere = victim.clone();
    anywhere.allocs[0].any_pool = true;
    assert!(fits(&anywhere, [&pool]).fits(), "its job is of every pool");
}

#[test]
fn a_constraint_holds_wherever_it_reads_the_same() {
    let kernel = "${attr.kernel.version}";
    let victim = having(node("v", vec![asking(alloc("a", 1, 1), kernel, "version", ">= 5")]), kernel, "6.1");
    let same = having(node("m", Vec::new()), kernel, "6.1");
    let other = having(node("n", Vec::new()), kernel, "6.2");
    assert!(fits(&victim, [&other, &same]).fits());
    // Nomad would take it: what cannot be told counts as not met.
    assert!(matches!(why(&fits(&victim, [&other]))[..], [("a", Misfit::Constraint(_))]));
}

#[test]
fn simple_constraints_are_worked_out_where_nodes_differ() {
    let on = |operand: &str, right: &str, value: Option<&str>| {
        let class = "${meta.class}";
        let victim = having(node("v", vec![asking(alloc("a", 1, 1), class, operand, right)]), class, "web");
        let mut other = node("m", Vec::new());
        other.properties =
            value.map(|value| (class.to_owned(), value.to_owned())).into_iter().collect::<BTreeMap<_, _>>();
        fits(&victim, [&other]).fits()
    };
    assert!(!on("=", "web", Some("db")));
    assert!(!on("=", "web", None));
    assert!(on("!=", "db", Some("api")));
    assert!(!on("!=", "db", Some("db")));
    assert!(on("is_set", "", Some("db")));
    assert!(!on("is_set", "", None));
    assert!(!on("regexp", "w|d", Some("db")));
}

#[test]
fn distinct_hosts_keeps_a_job_off_a_node_that_has_it() {
    let shop = |id: &str| {
        let mut one = asking(alloc(id, 1, 1), "", "distinct_hosts", "true");
        one.work.job = "shop".to_owned();
        one
    };
    let victim = node("v", vec![shop("a"), shop("b")]);
    let others = [node("m", vec![shop("x")]), node("n", Vec::new())];
    let fit = fits(&victim, &others);
    assert_eq!(fit.moves.len(), 1);
    assert!(matches!(why(&fit)[..], [("b", Misfit::Constraint(_))]));
}

#[test]
fn devices_are_not_counted_on() {
    let mut one = alloc("a", 1, 1);
    one.devices = true;
    assert_eq!(why(&fits(&node("v", vec![one]), &[node("m", Vec::new())])), [("a", &Misfit::Devices)]);
}

fn allocs(prefix: &'static str) -> impl Strategy<Value = Vec<AllocFact>> {
    let one = (1u64..1200, 1u64..700, prop::option::of(80u16..83));
    prop::collection::vec(one, 0..8).prop_map(move |sizes| {
        let make = |(number, (cpu, memory, port)): (usize, (u64, u64, Option<u16>))| {
            let mut one = alloc(&format!("{prefix}{number}"), cpu, memory);
            one.work.ports = port.into_iter().collect();
            one
        };
        sizes.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    #[test]
    fn no_node_is_given_more_than_it_has(victim in allocs("v"), there in prop::collection::vec(allocs("x"), 0..4)) {
        let victim = node("v", victim);
        let others: Vec<_> = there.into_iter().enumerate().map(|(n, on)| node(&format!("n{n}"), on)).collect();
        let fit = fits(&victim, &others);
        prop_assert_eq!(fit.moves.len() + fit.stuck.len(), victim.allocs.len());
        for other in &others {
            let moved = fit.moves.iter().filter(|to| to.to == other.id);
            let moved: Vec<_> = moved.filter_map(|to| victim.allocs.iter().find(|one| one.id == to.alloc)).collect();
            if moved.is_empty() {
                continue;
            }
            let all: Vec<_> = other.allocs.iter().chain(moved.iter().copied()).collect();
            prop_assert!(all.iter().map(|one| one.work.needs.cpu_mhz).sum::<u64>() <= 2000);
            prop_assert!(all.iter().map(|one| one.work.needs.memory_mib).sum::<u64>() <= 1024);
            for one in moved {
                for port in &one.work.ports {
                    prop_assert_eq!(all.iter().filter(|other| other.work.ports.contains(port)).count(), 1);
                }
            }
        }
        // One more node helps or changes nothing.
        let more = node("z", Vec::new());
        prop_assert!(fits(&victim, others.iter().chain([&more])).stuck.len() <= fit.stuck.len());
    }
}
