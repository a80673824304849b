//! A service behind a health check on nodes of the fleet: whoever asks it sees nothing of a node that is taken away.
#![expect(clippy::print_stdout, reason = "the figures are shown")]

use fleet::{InstanceId, Timestamp};
use muster_test_servers::{Consul, ConsulOptions, NomadOptions, address, request, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use tests::ground::{Site, get};
use tests::programs::on_path;

const SMALLEST: u32 = 3;
/// How many there are of the service: more than one on a node.
const COUNT: u32 = 4;
/// An interruption's two minutes, less what the policy keeps back of them.
const IN_TIME: Duration = Duration::from_secs(120 - 15);

/// A web server that stays for three seconds after it is no longer to be found.
fn web() -> Value {
    let python = on_path("python3", "apt-get install python3");
    let address = address().to_string();
    let second = 1_000_000_000_u64;
    json!({
        "ID": "web", "Name": "web", "Type": "service", "Datacenters": ["*"],
        "Spreads": [{ "Attribute": "${node.unique.id}", "Weight": 100 }],
        "TaskGroups": [{
            "Name": "web", "Count": COUNT,
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
fn healthy(consul: SocketAddr) -> Vec<SocketAddr> {
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
struct Asker {
    stop: Sender<()>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Asker {
    fn start(consul: SocketAddr) -> Self {
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
    fn end(self) -> usize {
        drop(self.stop);
        let (asked, failed) = self.thread.join().expect("it does not panic");
        assert!(failed.is_empty(), "{} of {asked} failed: {failed:?}", failed.len());
        asked
    }
}

#[test]
fn who_asks_a_service_all_the_time_sees_nothing_of_interruptions_and_the_deadline_is_kept() {
    let consul = Consul::start(&ConsulOptions::default());
    let at = consul.agent().address;
    let nomad = NomadOptions { consul: Some(consul.agent()), ..NomadOptions::default() };
    let mut site = Site::start(SMALLEST, SMALLEST, nomad, Some(&consul));
    site.nomad.register(&web());
    wait_for("the service to be healthy", || (healthy(at).len() == 4).then_some(()));
    let daemon = site.daemon("state", &[]);
    wait_for("a first decision", || daemon.get("/v1/ready"));
    let asker = Asker::start(at);

    let before = site.cloud.living();
    let victim = busy(&site);
    let noticed = site.cloud.interrupt(&victim);
    let new = wait_for("the replacement", || {
        site.cloud.living().into_iter().find(|instance| !before.contains(instance))
    });
    site.add_node(&new, Some(&consul));
    kept(&site, &victim, noticed, "replaced");
    wait_for("the doomed one to be gone", || (!site.cloud.living().contains(&victim)).then_some(()));

    assert_eq!(site.cloud.living().len(), 3, "replaced once");

    // Nobody to take its place: its work stays as long as it is safe.
    site.cloud.run_dry();
    let victim = busy(&site);
    let noticed = site.cloud.interrupt(&victim);
    kept(&site, &victim, noticed, "nobody in its place");

    wait_for("the service to be whole", || (healthy(at).len() == 4).then_some(()));
    println!("{} requests, none failed", asker.end());
    daemon.stop();
}

/// An instance on which the service runs.
fn busy(site: &Site) -> InstanceId {
    let places =
        wait_for("all of the service to run", || Some(site.places("web")).filter(|places| places.len() == 4));
    let living = site.cloud.living();
    living.into_iter().find(|instance| places.contains(&instance.to_string())).expect("it runs somewhere")
}

/// Waits until the work has left an interrupted instance: in time, and less the margin.
fn kept(site: &Site, victim: &InstanceId, noticed: Timestamp, how: &str) {
    let left = wait_for("the work to leave", || site.left("web", victim));
    let after = left.since(noticed);
    println!("{how}: the work had left {:.1} s after the notice", after.as_secs_f64());
    assert!(after <= IN_TIME, "{after:?}");
}
