//! What AWS answers, by the loopback cloud.

use super::{INSTANCES, configure, soon, usual};
use crate::ground::{Cloud, Node};
use crate::matrix::{Fault, Look, Proxy, Service, Site};
use bootstrap_core::Step;
use serde_json::json;
use std::sync::Arc;

/// The metadata service.
pub struct Metadata {
    cloud: Cloud,
}

impl Metadata {
    pub fn start() -> Self {
        Self { cloud: Cloud::of(INSTANCES) }
    }
}

impl Service for Metadata {
    fn step(&self) -> Step {
        Step::Identity
    }
    fn faults(&self) -> Vec<Fault> {
        Fault::PLAIN.to_vec()
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        match fault {
            // A page is a token as good as any; it is no document.
            Fault::Page => vec!["the identity document is not AWS's".to_owned()],
            Fault::Says(403) => vec!["the metadata service is switched off for this instance".to_owned()],
            _ => usual("the metadata service", fault),
        }
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(self.cloud.server.addr(), false, fault);
        let metadata = format!("{}/_imds/{}", proxy.address(), node.instance);
        node.configure(&metadata, &format!("{}{}", soon("identity", "30s"), soon("time", "30s")));
        Site::new(node, proxy)
    }
}

/// SSM's Parameter Store.
pub struct Parameters {
    cloud: Arc<Cloud>,
    tls: bool,
}

impl Parameters {
    pub fn start() -> Self {
        let cloud = Cloud::of(INSTANCES);
        cloud.put_parameter("/muster/web/ready", "String", "ready {\n  tag = \"muster:state\"\n}\n");
        Self { cloud: Arc::new(cloud), tls: false }
    }
    /// By HTTPS: signed by whom the host trusts.
    pub fn by_tls() -> Self {
        Self { tls: true, ..Self::start() }
    }
}

impl Service for Parameters {
    fn step(&self) -> Step {
        Step::Configuration
    }
    fn faults(&self) -> Vec<Fault> {
        if self.tls { super::all(&[]) } else { Fault::PLAIN.to_vec() }
    }
    fn words(&self, fault: Fault) -> Vec<String> {
        let words = match fault {
            Fault::Expired => "certificate expired",
            // Of the same name as the one that is known: it did not sign this.
            Fault::Stranger => "invalid peer certificate: BadSignature",
            Fault::Refused => "refused",
            Fault::Hangs | Fault::Trickles => "timeout",
            Fault::Cut => "end of file before message length reached",
            Fault::Garbage => "invalid HTTP",
            Fault::Page => "the answer is not in AWS's form",
            Fault::Echoes => "400",
            Fault::Says(status) | Fault::ComeBack(status, _) => {
                return vec!["SSM".to_owned(), status.to_string()];
            }
            Fault::Sealed | Fault::Leaderless => unreachable!("it is neither"),
        };
        vec!["could not read the parameters beneath /muster/web in SSM: ".to_owned(), words.to_owned()]
    }
    fn site(&self, number: usize, fault: Option<Fault>) -> Site {
        let mut node = Node::new(&self.cloud, number, "");
        let proxy = Proxy::start(self.cloud.server.addr(), self.tls, fault);
        if self.tls {
            let trusted = node.path().join("ca.pem").display().to_string();
            node.environment.push(("SSL_CERT_FILE".to_owned(), trusted));
        }
        let ec2 = self.cloud.server.endpoint();
        let text = format!(
            "parameters {{\n  path = \"/muster/web\"\n  endpoint = \"PROXY\"\n}}\nready {{\n  ec2_endpoint = \"{ec2}\"\n}}\n{}",
            soon("configuration", "60s")
        );
        configure(&self.cloud, &node, &proxy, &text);
        let tag = |cloud: &Arc<Cloud>| -> Look {
            let cloud = Arc::clone(cloud);
            Box::new(move |node| {
                let shown = cloud.world().shown_instances();
                let shown = shown.into_iter().find(|shown| shown.id == node.instance).expect("it runs");
                json!(shown.tags.get("muster:state"))
            })
        };
        let secrets = self.cloud.session_keys(&node.instance).to_vec();
        Site { secrets, outside: tag(&self.cloud), beyond: tag(&self.cloud), ..Site::new(node, proxy) }
    }
}
