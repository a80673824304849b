//! The agent of a node, from its first boot on: what `bootstrap-core` decides is done here.
//!
//! * [`drive`]: the loop in which everything that happens becomes an event of the boot.
//! * [`node`]: this node, what is known of it, and whom its steps ask.
//! * [`steps`]: how each step is looked at and made so.
//! * [`host`]: what needs root, asked of the one who has it.
//! * [`progress`]: what survives a crash.
//! * [`watch`]: notices, load, Consul's check, and what failed steps mean for the node.
//! * [`status`], [`metrics`]: what people and Prometheus are told.

pub mod drive;
pub mod host;
pub mod http;
pub mod imds;
mod left;
pub mod metrics;
#[cfg(test)]
mod no_aws;
pub mod node;
pub mod progress;
pub mod seal;
pub mod status;
pub mod steps;
pub mod units;
pub mod watch;
mod whole;

/// Readers of outside bytes, for whoever gives them anything.
#[doc(hidden)]
pub mod readers {
    /// What Nomad's agent and servers say of this node, and its words for times.
    pub fn nomad(body: &[u8]) {
        crate::steps::reads_nomad(body);
    }
    /// What AWX says of jobs, and a playbook's last task of its own.
    pub fn awx(body: &[u8]) {
        crate::steps::reads_awx(body);
    }
    /// What Consul's agent says of itself, of services and of keys.
    pub fn consul(body: &[u8]) {
        crate::steps::reads_consul(body);
    }
    /// What an exporter shows, and what time the metadata service says that it is.
    pub fn shown(text: &str) {
        crate::steps::reads_exporter(text);
        let _ = crate::imds::parse_date(text);
    }
    /// The metadata service's list of this instance's tags. * returns: the keys that are asked for.
    pub fn tags(listed: &str) -> Vec<&str> {
        crate::steps::tag_keys(listed).collect()
    }
    /// What an agent of this boot has left for the next one: which instance this is, and what parameters and tags said.
    ///
    /// * returns: whether it proves an instance.
    pub fn left(body: &[u8]) -> bool {
        crate::steps::reads_said(body);
        crate::steps::reads_kept(body)
    }
    /// Docker's `config.json`, a registry's manifest, challenge and token.
    pub fn registry(text: &str) {
        crate::steps::reads_registry(text);
    }
}

/// A number that is an instance's own, the same at every start.
pub(crate) fn seed_of(instance: &str) -> u64 {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(instance.as_bytes());
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
