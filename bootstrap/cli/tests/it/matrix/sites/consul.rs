//! A real Consul, with access control.

use super::{INSTANCES, all, configure, soon, usual};
use crate::agents;
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Look, Proxy, Service, Site};
use bootstrap_core::Step;
use muster_test_servers::{Consul, ConsulOptions, port, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};

/// Consul: a server, and the node's own agent behind the proxy.
pub struct Catalogue {
    cloud: Cloud,
    consul: Arc<Mutex<Consul>>,
}

impl Catalogue {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES), consul: Arc::new(Mutex::new(consul(0))) }
    }
}

fn consul(peers: u32) -> Consul {
    Consul::start(&ConsulOptions { acl: true, peers, ..ConsulOptions::default() })
}

impl Service for Catalogue {
    fn step(&self) -> Step {
        Step::Consul
    }
    fn faults(&self) -> Vec<Fault> {
        all(&[Fault::Leaderless])
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        usual("Consul", fault)
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let leaderless = fault == Some(Fault::Leaderless);
        let consul = if leaderless { Arc::new(Mutex::new(consul(1))) } else { Arc::clone(&self.consul) };
        let mut server = consul.lock().expect("whole");
        let node = Node::new(&self.cloud, number, "");
        let http = port();
        let proxy = Proxy::start(http, true, fault.filter(|_| !leaderless));
        agents::set_units(&node);
        let rules = crate::services::CONSUL_RULES.replace("INSTANCE", node.instance.as_str());
        let token = server.new_token(&rules);
        fs::write(node.path().join("consul-token"), &token).expect("written");
        let extra = json!(agents::consul_extra(http, server.token()).to_string()).to_string();
        let text = format!(
            "host {{\n  units = [\"consul.service\"]\n  file \"consul\" {{\n    path = \"$PLACE/consul.json\"\n  }}\n  \
             directory \"consul\" {{\n    path = \"$PLACE/consul\"\n  }}\n}}\nconsul {{\n  address = \"PROXY\"\n  \
             ca_file = \"$PLACE/ca.pem\"\n  token_file = \"$PLACE/consul-token\"\n  join = [\"{}\"]\n  extra = {extra}\n}}\n{}",
            server.gossip(),
            soon("consul", "110s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        if leaderless {
            server.kill_peers();
        }
        let secrets = vec![token, server.token().expect("access control").to_owned()];
        drop(server);
        let (shown, mended) = (Arc::clone(&consul), consul);
        let mend = move |proxy: &Proxy| {
            if leaderless {
                mended.lock().expect("whole").start_peers();
            }
            proxy.set(None);
        };
        let outside: Look = Box::new(move |node| {
            let path = format!("/v1/health/node/{}", node.instance);
            wait_for("Consul to call the node good", || {
                let checks = shown.lock().expect("whole").call("GET", &path, &Value::Null);
                let of_node = |id: &str| {
                    let id = format!("{id}:ready").replace("INSTANCE", node.instance.as_str());
                    checks.as_array()?.iter().find(|check| check["CheckID"] == id.as_str()).cloned()
                };
                of_node("muster-node-INSTANCE").filter(|check| check["Status"] == "passing").map(|_| ())
            });
            let path = format!("/v1/catalog/node/{}", node.instance);
            let seen = shown.lock().expect("whole").call("GET", &path, &Value::Null);
            let services = seen["Services"].as_object().expect("services").values();
            services.map(|service| service["Service"].clone()).collect()
        });
        Site { secrets, outside, mend: Box::new(mend), ..Site::new(node, proxy) }
    }
}
