//! What runs on the fleet, and what keeps it.

use crate::site::Site;
use serde_json::{Value, json};
use std::path::Path;
use tests::ground::Cloud;
use tests::job;

/// The policy: two machines at least, four at most, each of which runs one of the service.
pub fn policy(cloud: &Cloud) -> String {
    format!(
        r#"fleet "web" {{
  id     = "{fleet}"
  region = "eu-west-1"
  boot   = "40s"
  source "push" {{}}
  capacity {{
    min   = 2
    max   = 4
    surge = 1
  }}
  scale_in {{
    hold = "30s"
  }}
  drain {{
    by       = "nomad"
    deadline = "1m"
  }}
  workload {{
    kind   = "service"
    groups = ["web/web"]
  }}
  rollout {{
    canary       = "50%"
    canary_for   = "10s"
    ready_within = "5m"
  }}
}}
"#,
        fleet = cloud.fleet(),
    )
}

/// Submits the autoscaler as the job that it ships with.
///
/// * `program`: the plain program. * `identity`: a directory with the account's certificate. * `operators`: the file of their token.
pub fn submit(site: &Site, cloud: &Cloud, program: &Path, identity: &Path, operators: &Path) {
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let values = json!({
        "policy": policy(cloud),
        "node_pool": "core",
        "driver": "raw_exec",
        "command": path(program),
        "consul_address": site.consul.address(),
        "queue_url": cloud.queue(),
        "role_arn": format!("arn:aws:iam::{}:role/muster-autoscaler", cloud.world().spec().account),
        "extra_args": [
            "--endpoint", cloud.endpoint(), "--log-format", "json", "--identity-certificates", path(identity),
            "--identity-account", cloud.world().spec().account, "--operator-token-file", path(operators)
        ]
    });
    job::register(&site.nomad, &values);
}

/// The service: a container from the private registry, with a secret of Vault's, behind a health check.
pub fn web(image: &str) -> Value {
    let second = 1_000_000_000_u64;
    json!({
        "ID": "web", "Name": "web", "Type": "service", "Datacenters": ["*"], "NodePool": "default",
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "Update": {
            "MaxParallel": 1, "Canary": 1, "AutoPromote": true, "AutoRevert": true, "HealthCheck": "checks",
            "MinHealthyTime": 2 * second, "HealthyDeadline": 120 * second, "ProgressDeadline": 600 * second
        },
        "TaskGroups": [{
            "Name": "web", "Count": 2,
            "Networks": [{ "Mode": "host", "DynamicPorts": [{ "Label": "http" }] }],
            "ShutdownDelay": 6 * second,
            "Migrate": {
                "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": second, "HealthyDeadline": 60 * second
            },
            "Services": [{
                "Name": "web", "PortLabel": "http", "Provider": "consul",
                "Checks": [{ "Type": "http", "Path": "/health", "Interval": second, "Timeout": 5 * second }]
            }],
            "Tasks": [{
                "Name": "web", "Driver": "docker",
                "Config": { "image": image, "network_mode": "host", "args": ["${NOMAD_PORT_http}"] },
                "Vault": { "Role": "nomad-workloads", "ChangeMode": "noop" },
                "Templates": [{
                    "EmbeddedTmpl": "{{ with secret \"kv/data/default/web/config\" }}{{ .Data.data.word }}{{ end }}\n",
                    "DestPath": "secrets/word", "ChangeMode": "noop"
                }],
                "KillSignal": "SIGTERM", "KillTimeout": 10 * second,
                "Resources": { "CPU": 300, "MemoryMB": 64 }
            }]
        }]
    })
}
