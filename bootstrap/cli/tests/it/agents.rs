//! What the units of a node run, and what its agents of Consul and Nomad are told beside what the agent says.

use crate::ground::{Node, Program};
use muster_test_servers::{address, metadata, port, program};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub fn on_path(name: &str, package: &str) -> PathBuf {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().map(|place| Path::new(place).join(name));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"))
}

/// Sets the units of Consul, Nomad and the exporter, which read `consul.json`, `nomad.json` and `node_exporter.env`.
pub fn set_units(node: &Node) {
    let place = node.path();
    // A Nomad that asks the loopback cloud would find nothing: its metadata service is beneath a path.
    let metadata = metadata(node.instance.as_str());
    let agent = |name: &str, argument: &str| Program {
        path: program(name),
        arguments: vec![
            "agent".to_owned(),
            format!("{argument}={}", place.join(format!("{name}.json")).display()),
        ],
        environment: vec![
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), metadata.clone()),
            ("NO_PROXY".to_owned(), "*".to_owned()),
        ],
    };
    node.units.set("consul.service", agent("consul", "-config-file"));
    node.units.set("nomad.service", agent("nomad", "-config"));
    set_exporter(node);
}

/// Sets the unit of the exporter alone.
pub fn set_exporter(node: &Node) {
    set_exporter_at(node, &on_path("prometheus-node-exporter", "prometheus-node-exporter"));
}

/// The same, with a program of its own.
pub fn set_exporter_at(node: &Node, exporter: &Path) {
    let file = node.path().join("node_exporter.env");
    let script = format!(". {}; exec {} $ARGS", file.display(), exporter.display());
    let arguments = vec!["-c".to_owned(), script];
    let shell = Program { path: "/bin/sh".into(), arguments, environment: Vec::new() };
    node.units.set("prometheus-node-exporter.service", shell);
}

/// Consul's agent on loopback. * `token`: its own, where there is access control.
pub fn consul_extra(http: SocketAddr, token: Option<&str>) -> Value {
    let mut extra = json!({
        "bind_addr": address().to_string(), "client_addr": address().to_string(), "retry_interval": "1s",
        "disable_update_check": true, "leave_on_terminate": false,
        "ports": {
            "http": http.port(), "server": port().port(), "serf_lan": port().port(),
            "serf_wan": port().port(), "dns": -1, "grpc": -1, "grpc_tls": -1,
        },
    });
    if let Some(token) = token {
        extra["acl"] = json!({"enabled": true, "default_policy": "deny", "tokens": {"agent": token}});
    }
    extra
}

/// Nomad's client on loopback, with access control.
pub fn nomad_extra(http: SocketAddr) -> Value {
    let at = address().to_string();
    json!({
        "bind_addr": at, "disable_update_check": true,
        "ports": {"http": http.port(), "rpc": port().port(), "serf": port().port()},
        "advertise": {"http": at, "rpc": at, "serf": at},
        "acl": {"enabled": true},
        "consul": {"auto_advertise": false, "client_auto_join": false, "server_auto_join": false},
        "client": {
            "network_interface": "lo", "cpu_total_compute": 2000, "memory_total_mb": 1024,
            "options": {
                "driver.allowlist": "raw_exec",
                "fingerprint.denylist": "consul,vault,env_gce,env_azure,env_digitalocean,bridge,cni",
            },
        },
        "plugin": {"raw_exec": {"config": {"enabled": true}}},
    })
}
