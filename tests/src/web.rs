//! A service behind a health check, and somebody who asks it all the time.
#![expect(
    clippy::missing_panics_doc,
    reason = "whatever goes wrong in here fails the test that asked, in words"
)]

use crate::ground::get;
use crate::programs::on_path;
use muster_test_servers::{address, request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// So many web servers that stay for three seconds after they are no longer to be found.
pub fn web(count: usize) -> Value {
    let python = on_path("python3", "apt-get install python3");
    let address = address().to_string();
    let second = 1_000_000_000_u64;
    json!({
        "ID": "web", "Name": "web", "Type": "service", "Datacenters": ["*"],
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "TaskGroups": [{
            "Name": "web", "Count": count,
            "Networks": [{ "Mode": "host", "DynamicPorts": [{ "Label": "http" }] }],
            "ShutdownDelay": 3 * second,
            "Migrate": {
                "MaxParallel": 1, "HealthCheck": "checks",
                "MinHealthyTime": second, "HealthyDeadline": 30 * second
            },
            "Services": [{
                "Name": "web", "PortLabel": "http", "Provider": "consul", "Address": address,
                "Checks": [{ "Type": "http", "Path": "/", "Interval": second, "Timeout": 5 * second }]
            }],
            "Tasks": [{
                "Name": "web", "Driver": "raw_exec",
                "Config": {
                    "command": python,
                    "args": ["-m", "http.server", "--bind", address, "--directory", "local", "${NOMAD_PORT_http}"]
                },
                "KillSignal": "SIGTERM", "KillTimeout": 10 * second,
                "Resources": { "CPU": 500, "MemoryMB": 64 }
            }]
        }]
    })
}

/// Where the service is, as far as its health checks pass.
pub fn healthy(consul: SocketAddr) -> Vec<SocketAddr> {
    let body = get(consul, "/v1/health/service/web?passing").unwrap_or_default();
    let entries: Value = serde_json::from_str(&body).unwrap_or_default();
    let entries = entries.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let service = &entry["Service"];
            format!("{}:{}", service["Address"].as_str()?, service["Port"]).parse().ok()
        })
        .collect()
}

/// Somebody who asks all the time: the healthy ones in turn, looked up anew for each request.
pub struct Asker {
    stop: Sender<()>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Asker {
    /// Begins to ask where Consul says that `web` is healthy.
    pub fn start(consul: SocketAddr) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut asked, mut failed) = (0, Vec::new());
            // A hundred requests a second at the most.
            while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
                let places = healthy(consul);
                asked += 1;
                let Some(place) = places.get(asked % places.len().max(1)) else {
                    failed.push("nobody is healthy".to_owned());
                    continue;
                };
                match request(*place, "GET", "/", &[], "") {
                    Ok(answer) if answer.status == 200 => {}
                    other => failed.push(format!("{place}: {other:?}")),
                }
            }
            (asked, failed)
        });
        Self { stop, thread }
    }

    /// Ends it. * returns: how many requests there were.
    pub fn end(self) -> usize {
        drop(self.stop);
        let (asked, failed) = self.thread.join().expect("it does not panic");
        assert!(failed.is_empty(), "{} of {asked} failed: {failed:?}", failed.len());
        asked
    }
}
