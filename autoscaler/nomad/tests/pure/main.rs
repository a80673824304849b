//! What follows from Nomad's answers, without a Nomad.

mod asks;
mod reading;

use autoscaler_nomad::facts::{AllocFact, NodeFact, NodeStatus};
use fleet::{InstanceId, NodeId, Resources, Work, WorkKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A ready node of 2,000 MHz and 1,024 MiB.
fn node(id: &str, allocs: Vec<AllocFact>) -> NodeFact {
    NodeFact {
        id: NodeId::from(id),
        instance: Some(InstanceId::new(format!("i-{id}"))),
        name: id.to_owned(),
        pool: "default".to_owned(),
        class: String::new(),
        datacenter: "dc1".to_owned(),
        status: NodeStatus::Ready,
        eligible: true,
        unproved: false,
        drain: None,
        last_drain: None,
        capacity: Resources { cpu_mhz: 2000, memory_mib: 1024, disk_mib: 10_000 },
        reserved_ports: BTreeSet::new(),
        properties: BTreeMap::new(),
        allocs,
    }
}

/// One of a service's group that runs and needs this much of CPU and memory.
fn alloc(id: &str, cpu_mhz: u64, memory_mib: u64) -> AllocFact {
    AllocFact {
        id: id.to_owned(),
        work: Work {
            namespace: "default".to_owned(),
            job: format!("job-{id}"),
            group: "web".to_owned(),
            kind: WorkKind::Service,
            priority: 50,
            needs: Resources { cpu_mhz, memory_mib, disk_mib: 300 },
            ports: Vec::new(),
            asks: Vec::new(),
            distinct_hosts: false,
            grace: seconds(5),
            stopping: false,
        },
        running: true,
        devices: false,
        any_pool: false,
        datacenters: vec!["*".to_owned()],
        constraints: Vec::new(),
        max_parallel: 1,
        min_healthy_time: seconds(10),
    }
}
