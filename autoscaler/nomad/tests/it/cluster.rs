//! The cluster, its jobs, and how to wait.

use autoscaler_nomad::facts::{DrainDeadline, NodeFact};
use autoscaler_nomad::{Drain, Nomad, Options};
use fleet::{InstanceId, NodeId};
use muster_test_servers::{NomadClient, NomadOptions};
use serde_json::{Value, json};
use std::ops::Deref;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client on an instance.
pub fn client(name: &str, instance: &str) -> NomadClient {
    NomadClient { name: name.to_owned(), instance_id: Some(instance.to_owned()), ..NomadClient::default() }
}

/// Starts a server and three clients on instances `i-one`, `i-two`, `i-three`.
fn three_clients() -> muster_test_servers::Nomad {
    let clients = ["one", "two", "three"].map(|name| client(name, &format!("i-{name}"))).to_vec();
    muster_test_servers::Nomad::start(NomadOptions { clients, ..NomadOptions::default() })
}

/// The shared cluster, for as long as one test has it.
pub struct Lease(MutexGuard<'static, Option<muster_test_servers::Nomad>>);

impl Deref for Lease {
    type Target = muster_test_servers::Nomad;
    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it was started")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever comes next starts afresh.
            *self.0 = None;
        }
    }
}

/// The cluster that tests share, one after the other. Each leaves it as it was: no jobs, all nodes eligible.
pub async fn shared() -> Lease {
    static CLUSTER: Mutex<Option<muster_test_servers::Nomad>> = Mutex::const_new(None);
    let mut cluster = CLUSTER.lock().await;
    cluster.get_or_insert_with(three_clients);
    Lease(cluster)
}

/// Our client of it.
pub fn ours(cluster: &muster_test_servers::Nomad) -> Nomad {
    Nomad::new(Options { addresses: vec![cluster.address()], ..Options::default() }).expect("good options")
}

/// A job of one group `web` whose tasks run until they are stopped, and end at once then.
pub fn job(id: &str, kind: &str, count: u32) -> Value {
    let second = 1_000_000_000_i64;
    let script = "trap 'exit 0' TERM INT; while :; do sleep 0.1 & wait $!; done";
    let task = json!({
        "Name": "main", "Driver": "raw_exec", "KillTimeout": 5 * second,
        "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 5 },
        "Config": { "command": "/bin/sh", "args": ["-c", script] },
        "Resources": { "CPU": 100, "MemoryMB": 64 }
    });
    let group = json!({
        "Name": "web", "Count": count, "Tasks": [task],
        "EphemeralDisk": { "SizeMB": 20 },
        "RestartPolicy": { "Attempts": 0, "Mode": "fail" },
        "Migrate": { "MaxParallel": 1, "HealthCheck": "task_states", "MinHealthyTime": second / 10, "HealthyDeadline": 60 * second }
    });
    let mut job = json!({ "ID": id, "Name": id, "Type": kind, "Datacenters": ["*"], "TaskGroups": [group] });
    if kind != "service" {
        job["TaskGroups"][0].as_object_mut().expect("a group").remove("Migrate");
    }
    if kind == "system" {
        job["TaskGroups"][0].as_object_mut().expect("a group").remove("Count");
    }
    job
}

/// A drain without a deadline that matters, that leaves system jobs alone.
pub fn drain(deadline: DrainDeadline) -> Drain {
    let reason = "spot-interruption".to_owned();
    Drain { deadline, ignore_system_jobs: true, reason }
}

pub fn instance(name: &str) -> InstanceId {
    InstanceId::new(format!("i-{name}"))
}

pub fn id(cluster: &muster_test_servers::Nomad, name: &str) -> NodeId {
    NodeId::new(cluster.node_id(name))
}

/// Looks until there is something; panics with what was seen last when nothing comes.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let found = async {
        loop {
            interval.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// Waits until a survey is as it should be, and gives it.
pub async fn surveyed(nomad: &Nomad, what: &str, good: impl Fn(&[NodeFact]) -> bool) -> Vec<NodeFact> {
    until(what, async || nomad.survey().await.ok().filter(|nodes| good(nodes))).await
}

/// How many allocations of a job run on a node.
pub fn running(node: &NodeFact, job: &str) -> usize {
    node.allocs.iter().filter(|alloc| alloc.work.job == job && alloc.running && !alloc.work.stopping).count()
}

pub fn all_running(nodes: &[NodeFact], job: &str) -> usize {
    nodes.iter().map(|node| running(node, job)).sum()
}

pub fn of<'a>(nodes: &'a [NodeFact], id: &NodeId) -> &'a NodeFact {
    nodes.iter().find(|node| node.id == *id).expect("the node is there")
}

/// Leaves the cluster as it was found.
pub async fn tidy(cluster: &muster_test_servers::Nomad, nomad: &Nomad, jobs: &[&str]) {
    for job in jobs {
        cluster.purge(job);
    }
    for node in nomad.nodes().await.expect("nodes") {
        nomad.cancel_drain(&node.id).await.expect("an eligible node");
    }
    let empty = |nodes: &[NodeFact]| nodes.iter().all(|node| node.takes_work() && node.allocs.is_empty());
    surveyed(nomad, "an empty cluster", empty).await;
}
