//! A real Prometheus that scrapes what Consul has. Debian's cannot ask Consul by itself: it is told by files.

use crate::agent::Agent;
use crate::ground::{Ground, port};
use crate::http::request;
use crate::{Consul, ConsulAgent, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often Consul is asked.
const LOOK: Duration = Duration::from_secs(1);

/// A running server. Dropped, it ends.
#[derive(Debug)]
pub struct Prometheus {
    // Before the ground: the server ends first.
    _server: Agent,
    at: SocketAddr,
    ends: Arc<AtomicBool>,
    finder: Option<JoinHandle<()>>,
    _ground: Ground,
}

impl Prometheus {
    /// Starts one that scrapes services of Consul every two seconds, and waits until it answers. Needs Debian's `prometheus`.
    pub fn start(consul: &Consul, services: &[&'static str]) -> Self {
        let (ground, at) = (Ground::new(), port());
        let place = ground.path().display();
        let job = |service: &&str| {
            let file = format!("{place}/{service}.json");
            format!(
                "- job_name: {service}\n  file_sd_configs:\n  - files: [{file}]\n    refresh_interval: 2s\n"
            )
        };
        let jobs: String = services.iter().map(job).collect();
        let text = format!("global:\n  scrape_interval: 2s\n  scrape_timeout: 2s\nscrape_configs:\n{jobs}");
        let file = ground.path().join("prometheus.yml");
        std::fs::write(&file, text).expect("a configuration");
        let program = Path::new("/usr/bin/prometheus");
        assert!(program.is_file(), "prometheus is missing: apt-get install prometheus");
        let arguments = vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={place}/data"),
            format!("--web.listen-address={at}"),
            "--log.level=warn".to_owned(),
        ];
        let mut server = Agent::start(program.to_owned(), arguments, Vec::new(), ground.path());
        server.wait_for("Prometheus", || {
            request(at, "GET", "/-/ready", &[], "").ok().filter(|answer| answer.status == 200)
        });
        let ends = Arc::new(AtomicBool::new(false));
        let (ended, agent, place) = (Arc::clone(&ends), consul.agent(), ground.path().to_owned());
        let services = services.to_vec();
        let finder = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for service in &services {
                    find(&agent, service, &place);
                }
                thread::sleep(LOOK);
            }
        });
        Self { _server: server, at, ends, finder: Some(finder), _ground: ground }
    }

    /// What an instant query gives: each series' labels and value.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let escaped: String = query
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let path = format!("/api/v1/query?query={escaped}");
        let answer = wait_for("an answer of Prometheus", || {
            request(self.at, "GET", &path, &[], "").ok().filter(|answer| answer.status == 200)
        });
        let all = answer.json()["data"]["result"].clone();
        let of = |one: &Value| Some((one["metric"].clone(), one["value"][1].as_str()?.parse().ok()?));
        all.as_array().into_iter().flatten().filter_map(of).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(finder) = self.finder.take() {
            let _ = finder.join();
        }
    }
}

/// Writes where a service is, with the instance that it is on. Who cannot be asked leaves what stood there.
fn find(consul: &ConsulAgent, service: &str, place: &Path) {
    let token = consul.token.as_deref().unwrap_or_default();
    let path = format!("/v1/catalog/service/{service}");
    let Ok(answer) = request(consul.address, "GET", &path, &[("X-Consul-Token", token)], "") else { return };
    let all: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let target = |one: &Value| {
        let own = one["ServiceAddress"].as_str().filter(|own| !own.is_empty());
        let address = own.or_else(|| one["Address"].as_str())?;
        let labels = json!({ "node": one["Node"] });
        Some(json!({ "targets": [format!("{address}:{}", one["ServicePort"])], "labels": labels }))
    };
    let targets: Vec<Value> = all.as_array().into_iter().flatten().filter_map(target).collect();
    let (new, file): (PathBuf, PathBuf) =
        (place.join(format!("{service}.new")), place.join(format!("{service}.json")));
    let written =
        std::fs::write(&new, json!(targets).to_string()).and_then(|()| std::fs::rename(&new, &file));
    // Its directory goes with the server.
    let _ = written;
}
