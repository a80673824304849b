//! The services: real ones, but for AWS and AWX.

mod aws;
mod awx;
mod consul;
mod monitoring;
mod nomad;
mod vault;

pub use aws::{Metadata, Parameters};
pub use awx::Callback;
pub use consul::Catalogue;
pub use monitoring::Exporter;
pub use nomad::{Cluster, Images};
pub use vault::Secrets;

use super::{Fault, Proxy};
use crate::ground::{Cloud, Node};
use std::fs;

/// Instances of a cloud: one a fault, and one that nothing disturbs.
pub(super) const INSTANCES: u32 = 17;

/// A step that is tried again soon. * `attempt`: how long each may take.
fn soon(step: &str, attempt: &str) -> String {
    format!(
        "step \"{step}\" {{\n  attempt = \"{attempt}\"\n  pause = \"1s\"\n  most_pause = \"1s\"\n  deadline = \"30m\"\n}}\n"
    )
}

/// What is said of a fault of a service that is asked in the usual way.
pub(super) fn usual(service: &str, fault: Fault) -> Vec<String> {
    let what = match fault {
        Fault::Refused => "cannot be reached: ",
        Fault::Hangs | Fault::Trickles => "timed out",
        Fault::Cut | Fault::Garbage => "took the request and gave no whole answer",
        Fault::Page => "answered what is no such JSON",
        Fault::Echoes => "400",
        Fault::Says(status) | Fault::ComeBack(status, _) => {
            return vec![service.to_owned(), status.to_string()];
        }
        Fault::Expired => "is not trusted: its certificate has expired",
        Fault::Stranger => {
            "is not trusted: its certificate was signed by an authority that is not known here"
        }
        Fault::Sealed => "is sealed",
        Fault::Leaderless => "leader",
    };
    vec![service.to_owned(), what.to_owned()]
}

pub(super) fn all(more: &[Fault]) -> Vec<Fault> {
    Fault::PLAIN.into_iter().chain(Fault::TLS).chain(more.iter().copied()).collect()
}

/// A configuration with the proxy's address, and who signed its certificate as `ca.pem`.
pub(super) fn configure(cloud: &Cloud, node: &Node, proxy: &Proxy, text: &str) {
    let text = text.replace("PROXY", &proxy.address()).replace("HTTPS", &proxy.at().to_string());
    if proxy.address().starts_with("https") {
        fs::write(node.path().join("ca.pem"), proxy.pem()).expect("written");
    }
    node.configure(&cloud.metadata(&node.instance), &text);
}
