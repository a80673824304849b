//! Work for the nodes of a fleet.

use serde_json::{Value, json};

/// A service that spreads over all nodes, and does nothing.
///
/// * `job`: its name; that of its group is `web`. * `count`: how many there are. * `mhz`: of each; a node has 2,000.
/// * `stays`: for how long, in seconds, each runs on once it is told to go.
pub fn service(job: &str, count: u32, mhz: u32, stays: u64) -> Value {
    let second = 1_000_000_000_u64;
    json!({
        "ID": job, "Name": job, "Type": "service", "Datacenters": ["*"],
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "TaskGroups": [{
            "Name": "web", "Count": count,
            "Migrate": {
                "MaxParallel": 1, "HealthCheck": "task_states",
                "MinHealthyTime": second, "HealthyDeadline": 30 * second
            },
            "Tasks": [{
                "Name": "web", "Driver": "raw_exec",
                "Config": { "command": "/bin/sleep", "args": ["3600"] },
                "ShutdownDelay": stays * second, "KillTimeout": second,
                "Resources": { "CPU": mhz, "MemoryMB": 64 }
            }]
        }]
    })
}
