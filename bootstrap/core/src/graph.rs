//! The graph of the boot.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A step of the boot. The order is one in which they can be done one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Which instance this is, proved by AWS's signature.
    Identity,
    /// The clock is right: what is signed with a wrong one is refused.
    Time,
    /// What this node is to be: files, then parameters, then tags.
    Configuration,
    /// A token of Vault, and the secrets on disk that others need.
    Vault,
    /// The post-configuration by AWX, and its job's success.
    Awx,
    /// The exporter of this node's metrics.
    Monitoring,
    /// The Consul agent, and what it is told of this node.
    Consul,
    /// The Nomad client, proved before work can land on it.
    Nomad,
    /// Everybody is told that the node is good.
    Ready,
}

impl Step {
    /// All of them, each after those that it needs.
    pub const ALL: [Self; 9] = [
        Self::Identity,
        Self::Time,
        Self::Configuration,
        Self::Vault,
        Self::Awx,
        Self::Monitoring,
        Self::Consul,
        Self::Nomad,
        Self::Ready,
    ];

    /// What must stand before this step begins. What is not named does not wait: AWX's job and Consul's join, the two
    /// long ones, run side by side.
    pub const fn after(self) -> &'static [Self] {
        match self {
            Self::Identity | Self::Time => &[],
            // Parameters are asked for in this instance's region, with a signature that bears the time.
            Self::Configuration => &[Self::Identity, Self::Time],
            Self::Vault => &[Self::Configuration],
            // AWX's key and the tokens of Consul may be secrets of Vault.
            Self::Awx | Self::Consul => &[Self::Vault],
            // AWX's playbook may be what configures it.
            Self::Monitoring => &[Self::Awx],
            Self::Nomad => &[Self::Monitoring, Self::Consul],
            Self::Ready => &[Self::Nomad],
        }
    }

    /// Those that need it, or one that does; in their order.
    pub fn behind(self) -> Vec<Self> {
        let mut behind = vec![self];
        for later in Self::ALL {
            if later.after().iter().any(|needed| behind.contains(needed)) {
                behind.push(later);
            }
        }
        behind.remove(0);
        behind
    }

    /// Its name in configuration, in files and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Time => "time",
            Self::Configuration => "configuration",
            Self::Vault => "vault",
            Self::Awx => "awx",
            Self::Monitoring => "monitoring",
            Self::Consul => "consul",
            Self::Nomad => "nomad",
            Self::Ready => "ready",
        }
    }

    /// The step of a name; `None` where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_stands_after_those_that_it_needs() {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            for needed in step.after() {
                assert!(Step::ALL[..place].contains(needed), "{step} needs {needed}");
            }
            assert_eq!(Step::named(step.name()), Some(step));
        }
        assert_eq!(Step::named("identitie"), None);
    }

    #[test]
    fn behind_a_step_stand_those_that_need_it_however_far() {
        assert_eq!(Step::Awx.behind(), [Step::Monitoring, Step::Nomad, Step::Ready]);
        assert_eq!(Step::Identity.behind(), Step::ALL[2..]);
        assert!(Step::Ready.behind().is_empty());
    }
}
