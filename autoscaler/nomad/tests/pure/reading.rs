//! From Nomad's JSON to facts.

use crate::{alloc, node, seconds};
use autoscaler_nomad::facts::{self, BlockedFact, ConstraintFact, DrainFact, NodeFact, NodeStatus};
use autoscaler_nomad::wire;
use fleet::{InstanceId, Resources, Timestamp, WorkKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it is Nomad's JSON")
}

fn a_node() -> Value {
    json!({
        "ID": "8c1a", "Name": "one", "Datacenter": "dc1", "NodePool": "spot", "NodeClass": "", "Status": "ready",
        "SchedulingEligibility": "ineligible", "ModifyIndex": 7, "Meta": null,
        "Attributes": { "unique.platform.aws.instance-id": "i-0123", "kernel.name": "linux" },
        "NodeResources": {
            "Cpu": { "CpuShares": 4000 }, "Memory": { "MemoryMB": 2048 }, "Disk": { "DiskMB": 5000 },
            "Networks": [{ "Device": "lo" }]
        },
        "ReservedResources": {
            "Cpu": { "CpuShares": 500 }, "Memory": { "MemoryMB": 48 }, "Disk": { "DiskMB": 0 },
            "Networks": { "ReservedHostPorts": "22,8000-8002" }
        },
        "DrainStrategy": {
            "Deadline": 90_000_000_000_i64, "IgnoreSystemJobs": true,
            "ForceDeadline": "2026-03-01T00:01:30Z", "StartedAt": "2026-03-01T00:00:00Z"
        },
        "LastDrain": { "Status": "draining", "Meta": { "by": "muster", "reason": "spot-interruption" } }
    })
}

fn a_job() -> Value {
    let second = 1_000_000_000_i64;
    json!({
        "ID": "shop", "Namespace": "default", "Type": "service", "Priority": 70, "Version": 3,
        "Datacenters": ["*"], "Constraints": [{ "LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": "linux" }],
        "TaskGroups": [{
            "Name": "web", "Count": 2, "ShutdownDelay": 5 * second, "Constraints": null,
            "Migrate": { "MaxParallel": 2, "MinHealthyTime": 10 * second },
            "Networks": [{ "ReservedPorts": [{ "Label": "http", "Value": 8080 }], "DynamicPorts": null }],
            "Tasks": [
                { "Name": "main", "Leader": true, "ShutdownDelay": 0, "KillTimeout": 30 * second },
                { "Name": "log", "Leader": false, "ShutdownDelay": second, "KillTimeout": 4 * second },
                { "Name": "proxy", "Leader": false, "ShutdownDelay": 0, "KillTimeout": 2 * second }
            ]
        }]
    })
}

fn an_alloc() -> Value {
    json!({
        "ID": "f00d", "NodeID": "8c1a", "Namespace": "default", "JobID": "shop", "TaskGroup": "web",
        "DesiredStatus": "run", "ClientStatus": "running",
        "AllocatedResources": {
            "Shared": { "DiskMB": 300 },
            "Tasks": {
                "main": { "Cpu": { "CpuShares": 500 }, "Memory": { "MemoryMB": 256 }, "Devices": null },
                "log": { "Cpu": { "CpuShares": 100 }, "Memory": { "MemoryMB": 64 } }
            }
        }
    })
}

#[test]
fn a_node_is_read_with_what_is_left_of_it() {
    let named = BTreeSet::from(["${attr.kernel.name}".to_owned(), "${meta.rack}".to_owned()]);
    let node = facts::node(&read(a_node()), Vec::new(), &named);
    assert_eq!(node.instance, Some(InstanceId::from("i-0123")));
    assert_eq!((node.status, node.eligible), (NodeStatus::Ready, false));
    assert_eq!(node.capacity, Resources { cpu_mhz: 3500, memory_mib: 2000, disk_mib: 5000 });
    assert_eq!(node.reserved_ports, BTreeSet::from([22, 8000, 8001, 8002]));
    let properties = BTreeMap::from([("${attr.kernel.name}".to_owned(), "linux".to_owned())]);
    assert_eq!(node.properties, properties);
    let deadline = Timestamp::parse("2026-03-01T00:01:30Z").ok();
    assert_eq!(node.drain, Some(DrainFact { deadline, ignores_system_jobs: true }));
    assert_eq!(node.last_drain.expect("it had one").meta["reason"], "spot-interruption");
}

#[test]
fn gos_zero_time_is_no_deadline() {
    let mut node = a_node();
    node["DrainStrategy"]["ForceDeadline"] = json!("0001-01-01T00:00:00Z");
    let drain = facts::node(&read(node), Vec::new(), &BTreeSet::new()).drain;
    assert_eq!(drain.expect("it drains").deadline, None);
}

#[test]
fn a_forced_drain_is_due_since_it_began() {
    let mut node = a_node();
    node["DrainStrategy"]["Deadline"] = json!(-1);
    node["DrainStrategy"]["ForceDeadline"] = Value::Null;
    let drain = facts::node(&read(node), Vec::new(), &BTreeSet::new()).drain;
    assert_eq!(drain.expect("it drains").deadline, Timestamp::parse("2026-03-01T00:00:00Z").ok());
}

#[test]
fn an_allocation_is_read_with_its_job() {
    let fact = facts::alloc(&read(an_alloc()), Some(&read(a_job()))).expect("it runs");
    assert_eq!(fact.work.needs, Resources { cpu_mhz: 600, memory_mib: 320, disk_mib: 300 });
    assert_eq!((fact.work.kind, fact.work.priority), (WorkKind::Service, 70));
    assert_eq!(fact.work.ports, [8080]);
    assert_eq!((fact.max_parallel, fact.min_healthy_time), (2, seconds(10)));
    assert_eq!(fact.constraints.len(), 1);
    // Group 5 s, leader 30 s, then the longest of the others, 5 s.
    assert_eq!(fact.work.grace, seconds(40));
}

#[test]
fn a_job_is_of_one_node_pool_or_of_all() {
    for (pool, any, asked) in [
        ("default", false, Some("default")),
        ("gpu", false, Some("gpu")),
        ("all", true, None),
        ("", false, None),
    ] {
        let mut job = a_job();
        job["NodePool"] = json!(pool);
        let fact = facts::alloc(&read(an_alloc()), Some(&read(job.clone()))).expect("it runs");
        assert_eq!(fact.any_pool, any, "{pool}");
        let evaluations: Vec<wire::Evaluation> = read(json!([
            { "Namespace": "default", "JobID": "shop", "Status": "blocked", "FailedTGAllocs": { "web": {
                "NodesExhausted": 3, "DimensionExhausted": { "memory": 3 }, "CoalescedFailures": 2 } } }
        ]));
        let jobs = BTreeMap::from([(("default".to_owned(), "shop".to_owned()), read(job))]);
        assert_eq!(facts::blocked(&evaluations, &jobs)[0].pool.as_deref(), asked, "{pool}");
    }
}

#[test]
fn an_allocation_whose_job_is_not_known_is_on_its_node_and_fits_on_no_other() {
    let mut stub = an_alloc();
    stub["JobType"] = json!("batch");
    let mut renamed = a_job();
    renamed["TaskGroups"][0]["Name"] = json!("api");
    for job in [None, Some(read(renamed))] {
        let fact = facts::alloc(&read(stub.clone()), job.as_ref()).expect("it runs");
        assert_eq!(fact.work.needs, Resources { cpu_mhz: 600, memory_mib: 320, disk_mib: 300 });
        assert_eq!((fact.work.kind, &*fact.work.group), (WorkKind::Batch, "web"));
        assert_eq!((fact.work.grace, fact.work.stopping), (seconds(30), false));
        let views = facts::views(&[node("one", vec![fact]), node("two", Vec::new())]);
        let asks = &views[0].work[0].asks;
        assert!(asks.iter().any(|ask| views[1].refuses.contains(ask)), "{asks:?}");
    }
}

#[test]
fn ended_allocations_are_no_facts() {
    for status in ["complete", "failed", "lost"] {
        let mut ended = an_alloc();
        ended["ClientStatus"] = json!(status);
        assert_eq!(facts::alloc(&read(ended), Some(&read(a_job()))), None, "{status}");
    }
    let mut unknown = an_alloc();
    unknown["ClientStatus"] = json!("unknown");
    assert!(facts::alloc(&read(unknown), Some(&read(a_job()))).is_some());
}

#[test]
fn blocked_placements_are_counted_with_what_they_ask_for() {
    let mut job = a_job();
    job["TaskGroups"][0]["Tasks"][0]["Resources"] = json!({ "CPU": 500, "MemoryMB": 256, "Networks": null });
    job["TaskGroups"][0]["EphemeralDisk"] = json!({ "SizeMB": 300 });
    let evaluations: Vec<wire::Evaluation> = read(json!([
        { "Namespace": "default", "JobID": "shop", "Status": "blocked", "FailedTGAllocs": { "web": {
            "NodesExhausted": 3, "DimensionExhausted": { "memory": 3 }, "CoalescedFailures": 2 } } },
        { "Namespace": "default", "JobID": "gone", "Status": "blocked", "FailedTGAllocs": { "web": {
            "NodesExhausted": 0, "DimensionExhausted": null, "CoalescedFailures": 0 } } },
        { "Namespace": "default", "JobID": "done", "Status": "complete", "FailedTGAllocs": { "web": {} } }
    ]));
    let jobs = BTreeMap::from([(("default".to_owned(), "shop".to_owned()), read(job))]);
    let blocked = facts::blocked(&evaluations, &jobs);
    let seen: Vec<_> =
        blocked.iter().map(|one| (&*one.job, one.placements, one.needs, one.exhausted.len())).collect();
    let needs = Some(Resources { cpu_mhz: 500, memory_mib: 256, disk_mib: 300 });
    assert_eq!(seen, [("gone", 1, None, 0), ("shop", 3, needs, 1)]);
}

#[test]
fn what_waits_is_held_by_nodes_of_its_kind_that_are_large_enough() {
    let node = NodeFact {
        pool: "default".to_owned(),
        class: "web".to_owned(),
        datacenter: "eu-1".to_owned(),
        capacity: Resources { cpu_mhz: 2000, memory_mib: 4096, disk_mib: 10_000 },
        ..node("n", Vec::new())
    };
    let class = |operand: &str, right: &str| ConstraintFact {
        left: "${node.class}".to_owned(),
        operand: operand.to_owned(),
        right: right.to_owned(),
    };
    let waiting = BlockedFact {
        namespace: "default".to_owned(),
        job: "shop".to_owned(),
        group: "web".to_owned(),
        placements: 1,
        needs: Some(Resources { cpu_mhz: 500, memory_mib: 4096, disk_mib: 300 }),
        exhausted: BTreeSet::from(["memory".to_owned()]),
        pool: Some("default".to_owned()),
        datacenters: vec!["eu-*".to_owned()],
        constraints: vec![class("=", "web"), class("version", "> 1")],
    };
    assert!(node.could_hold(&waiting), "what nobody can work out may be met");
    assert!(node.could_hold(&BlockedFact { pool: None, datacenters: Vec::new(), ..waiting.clone() }));
    let memory_mib = 8192;
    for other in [
        BlockedFact { pool: Some("gpu".to_owned()), ..waiting.clone() },
        BlockedFact { datacenters: vec!["us-*".to_owned()], ..waiting.clone() },
        BlockedFact { constraints: vec![class("=", "batch")], ..waiting.clone() },
        BlockedFact { constraints: vec![class("!=", "web")], ..waiting.clone() },
        BlockedFact {
            needs: waiting.needs.map(|needs| Resources { memory_mib, ..needs }),
            ..waiting.clone()
        },
        BlockedFact { needs: None, ..waiting },
    ] {
        assert!(!node.could_hold(&other), "{other:?}");
    }
}

#[test]
fn facts_survive_a_journal() {
    let mut fact = facts::node(&read(a_node()), vec![alloc("a", 1, 2)], &BTreeSet::new());
    fact.allocs.extend(facts::alloc(&read(an_alloc()), Some(&read(a_job()))));
    let bytes = postcard::to_stdvec(&fact).expect("it is written");
    assert_eq!(postcard::from_bytes::<NodeFact>(&bytes).expect("it is read"), fact);
}
