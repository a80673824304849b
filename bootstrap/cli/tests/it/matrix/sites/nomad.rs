//! A real Nomad, with access control, and the registry that its clients pull from.

use super::{INSTANCES, all, configure, soon, usual};
use crate::agents;
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Look, Proxy, Service, Site};
use bootstrap_core::Step;
use muster_test_servers::{Nomad, NomadOptions, Registry, port, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const REGISTRY_PASSWORD: &str = "planted-r3g1";

/// Nomad: a server, and the node's own client behind the proxy.
pub struct Cluster {
    cloud: Cloud,
    nomad: Arc<Mutex<Nomad>>,
}

impl Cluster {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), nomad: Arc::new(Mutex::new(nomad(0))) }
    }
}

/// Servers with a job that lands on every node where it may.
fn nomad(peers: u8) -> Nomad {
    let nomad = Nomad::start(NomadOptions { acl: true, peers, ..NomadOptions::default() });
    nomad.register(&json!({
        "ID": "eager", "Name": "eager", "Type": "system", "Datacenters": ["dc1"], "NodePool": "default",
        "TaskGroups": [{
            "Name": "work", "Count": 1,
            "Tasks": [{
                "Name": "sleep", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["3600"]},
                "Resources": {"CPU": 50, "MemoryMB": 16},
            }],
        }],
    }));
    nomad
}

/// A node whose client is to join these servers. * `more`: of the `nomad` block, the address among it.
fn client(cloud: &Cloud, nomad: &Nomad, number: usize, http: SocketAddr) -> (Node, String, String) {
    let node = Node::new(cloud, number, "");
    agents::set_units(&node);
    let token = nomad.new_token(crate::services::NOMAD_RULES);
    fs::write(node.path().join("nomad-token"), &token).expect("written");
    let extra = json!(agents::nomad_extra(http).to_string()).to_string();
    let text = format!(
        "host {{\n  units = [\"nomad.service\"]\n  file \"nomad\" {{\n    path = \"$PLACE/nomad.json\"\n  }}\n  \
         directory \"nomad\" {{\n    path = \"$PLACE/nomad\"\n  }}\n}}\n{}nomad {{\n  token_file = \"$PLACE/nomad-token\"\n  \
         servers = [\"{}\"]\n  drivers = [\"raw_exec\"]\n  extra = {extra}\n",
        soon("nomad", "4m"),
        nomad.rpc()
    );
    (node, token, text)
}

/// The node as the servers have it.
fn seen(nomad: &Nomad, node: &Node) -> Option<Value> {
    let nodes = nomad.call("GET", "/v1/nodes", &Value::Null);
    let mut ours = nodes.as_array()?.iter().filter(|seen| seen["Name"] == node.instance.as_str());
    let first = ours.next().cloned();
    assert!(ours.next().is_none(), "an instance is one node of Nomad: {nodes:#}");
    first
}

fn allocations(nomad: &Nomad, seen: &Value) -> usize {
    let id = seen["ID"].as_str().expect("an id");
    let allocations = nomad.call("GET", &format!("/v1/node/{id}/allocations"), &Value::Null);
    allocations.as_array().map_or(0, Vec::len)
}

/// A node that is in its pool, with work.
fn works(nomad: &Arc<Mutex<Nomad>>) -> Look {
    let nomad = Arc::clone(nomad);
    Box::new(move |node| {
        wait_for("a node in its pool, with work", || {
            let nomad = nomad.lock().expect("whole");
            let seen = seen(&nomad, node)?;
            let fine = seen["NodePool"] == "default" && seen["Status"] == "ready";
            (fine && allocations(&nomad, &seen) == 1).then(|| seen["SchedulingEligibility"].clone())
        })
    })
}

/// A node that has work, or might.
fn may_work(nomad: &Arc<Mutex<Nomad>>) -> Look {
    let nomad = Arc::clone(nomad);
    Box::new(move |node| {
        let nomad = nomad.lock().expect("whole");
        // Servers without a leader have no nodes to show.
        let asked = nomad.try_call("GET", "/v1/nodes", "").expect("it answers");
        let Some(seen) = (asked.status == 200).then(|| seen(&nomad, node)).flatten() else {
            return Value::Null;
        };
        let away = seen["NodePool"] == "muster-proving" && allocations(&nomad, &seen) == 0;
        if away { Value::Null } else { seen }
    })
}

impl Service for Cluster {
    fn step(&self) -> Step {
        Step::Nomad
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[Fault::Leaderless])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        usual("Nomad", fault)
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let leaderless = fault == Some(Fault::Leaderless);
        let nomad = if leaderless { Arc::new(Mutex::new(nomad(1))) } else { Arc::clone(&self.nomad) };
        let http = port();
        let proxy = Proxy::start(http, true, fault.filter(|_| !leaderless));
        let mut server = nomad.lock().expect("whole");
        let (node, token, text) = client(&self.cloud, &server, number, http);
        let text = format!("{text}  address = \"PROXY\"\n  ca_file = \"$PLACE/ca.pem\"\n}}\n");
        configure(&self.cloud, &node, &proxy, &text);
        if leaderless {
            server.kill_peers();
        }
        drop(server);
        let (outside, beyond, mended) = (works(&nomad), may_work(&nomad), nomad);
        let mend = move |proxy: &Proxy| {
            if leaderless {
                mended.lock().expect("whole").start_peers();
            }
            proxy.set(None);
        };
        Site { secrets: vec![token], outside, beyond, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}

/// The registry that work is pulled from, tried while Nomad's client is proved.
pub struct Images {
    cloud: Cloud,
    nomad: Arc<Mutex<Nomad>>,
    registry: Registry,
}

impl Images {
    pub fn start() -> Self {
        let registry = Registry::start(REGISTRY_PASSWORD);
        Self { cloud: Cloud::of(INSTANCES), nomad: Arc::new(Mutex::new(nomad(0))), registry }
    }
}

impl Service for Images {
    fn step(&self) -> Step {
        Step::Nomad
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            Fault::Says(403) => {
                vec!["the registry ".to_owned(), "does not take the credentials of".to_owned()]
            }
            Fault::Says(404) => vec!["the registry ".to_owned(), "has no team/app:1".to_owned()],
            Fault::Page => vec!["the registry ".to_owned(), "answered what is no manifest".to_owned()],
            _ => usual("the registry", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let http = port();
        let proxy = Proxy::start(self.registry.at(), true, fault);
        let server = self.nomad.lock().expect("whole");
        let (node, token, text) = client(&self.cloud, &server, number, http);
        drop(server);
        use_registry(&node, proxy.at());
        let text = format!(
            "{text}  address = \"http://{http}\"\n  registry {{\n    image = \"HTTPS/team/app:1\"\n    \
             auth_file = \"$PLACE/docker.json\"\n    ca_file = \"$PLACE/ca.pem\"\n  }}\n}}\n"
        );
        configure(&self.cloud, &node, &proxy, &text);
        let secrets = vec![token, REGISTRY_PASSWORD.to_owned(), basic()];
        let (outside, beyond) = (works(&self.nomad), may_work(&self.nomad));
        Site { secrets, outside, beyond, ..Site::new(node, proxy) }
    }
}

/// What Docker keeps of user and password.
fn basic() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("node:{REGISTRY_PASSWORD}"))
}

fn use_registry(node: &Node, at: SocketAddr) {
    let auths = json!({"auths": {at.to_string(): {"auth": basic()}}});
    fs::write(node.path().join("docker.json"), auths.to_string()).expect("written");
}
