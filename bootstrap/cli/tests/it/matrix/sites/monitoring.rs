//! A real exporter.

use super::{INSTANCES, configure, soon, usual};
use crate::agents;
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Proxy, Service, Site};
use bootstrap_core::Step;
use muster_test_servers::port;

/// node_exporter.
pub struct Exporter {
    cloud: Cloud,
}

impl Exporter {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES) }
    }
}

impl Service for Exporter {
    fn step(&self) -> Step {
        Step::Monitoring
    }
    fn faults(&self) -> Vec<Fault> {
        Fault::PLAIN.to_vec()
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            Fault::Page => vec!["has no series node_cpu_seconds_total".to_owned()],
            _ => usual("the exporter", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let node = Node::new(&self.cloud, number, "");
        let at = port();
        let proxy = Proxy::start(at, false, fault);
        agents::set_exporter(&node);
        let text = format!(
            "host {{\n  units = [\"prometheus-node-exporter.service\"]\n  file \"node_exporter\" {{\n    \
             path = \"$PLACE/node_exporter.env\"\n    mode = \"0644\"\n  }}\n}}\nmonitoring {{\n  \
             address = \"PROXY/metrics\"\n  arguments = [\"--web.listen-address={at}\"]\n}}\n{}",
            soon("monitoring", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        Site::new(node, proxy)
    }
}
