//! How long a real Nomad takes from "ineligible and drained" to showing it: by a read, and on the event stream.
//!
//! `cargo run -p autoscaler-nomad --example ineligible [rounds]`: a server and a client on this machine.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use autoscaler_nomad::facts::{DrainDeadline, NodeFact};
use autoscaler_nomad::{Drain, Heard, Nomad, Options};
use fleet::NodeId;
use fleet::ports::Clock as _;
use fleet_clock::SystemClock;
use muster_test_servers::{NomadClient, NomadOptions};
use std::sync::Arc;
use std::time::Duration;

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).map_or(200, |text| text.parse().expect("a number of rounds"));
    let instance_id = Some("i-0123456789abcdef0".to_owned());
    let client = NomadClient { name: "one".to_owned(), instance_id, ..NomadClient::default() };
    let cluster =
        muster_test_servers::Nomad::start(NomadOptions { clients: vec![client], ..NomadOptions::default() });
    let options = Options { addresses: vec![cluster.address()], ..Options::default() };
    let nomad = Nomad::new(options).expect("good options");
    let node = NodeId::new(cluster.node_id("one"));
    let clock = SystemClock::new();
    let mut follower = nomad.follow(Arc::new(clock));
    // Something to wait for, so that the drain stays under way.
    cluster.register(&holding());

    let (mut answered, mut read, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let drain = Drain {
            deadline: DrainDeadline::Within(Duration::from_secs(60)),
            ignore_system_jobs: true,
            reason: "measurement".to_owned(),
        };
        let began = clock.monotonic();
        let index = nomad.drain(&node, &drain).await.expect("a drain");
        answered.push(clock.monotonic().saturating_sub(began));
        let shown = |nodes: Vec<NodeFact>| nodes.iter().any(|one| one.id == node && one.eligible);
        while shown(nomad.nodes().await.expect("nodes")) {}
        read.push(clock.monotonic().saturating_sub(began));
        loop {
            if matches!(follower.next().await, Heard::Node(event) if event.index >= index && !event.eligible)
            {
                break;
            }
        }
        heard.push(clock.monotonic().saturating_sub(began));
        nomad.cancel_drain(&node).await.expect("eligible again");
    }
    println!("drain -> ineligible on real Nomad, {rounds} rounds, ms:     p50     p99     max");
    for (what, mut times) in [("answered", answered), ("shown by a read", read), ("heard after it", heard)] {
        times.sort();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
        println!("{what:<53} {:7.1} {:7.1} {:7.1}", at(50), at(99), at(100));
    }
}

fn holding() -> serde_json::Value {
    serde_json::json!({
        "ID": "holding", "Name": "holding", "Type": "batch", "Datacenters": ["*"],
        "TaskGroups": [{ "Name": "one", "Count": 1, "EphemeralDisk": { "SizeMB": 20 }, "Tasks": [{
            "Name": "main", "Driver": "raw_exec", "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 5 },
            "Config": { "command": "/bin/sleep", "args": ["100000"] },
            "Resources": { "CPU": 100, "MemoryMB": 64 }
        }] }]
    })
}
