//! Utilisation, always together with the capacity that produced it.

use crate::{Power, Timestamp, Utilization};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Where a sample comes from, in the order in which they are usually preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Pushed by the nodes' agents: 10 s means, seconds old.
    Push,
    /// Amazon CloudWatch: 1 or 5 min means, as late as they are long.
    Cloudwatch,
    /// A Prometheus server.
    Prometheus,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Push => "push",
            Self::Cloudwatch => "cloudwatch",
            Self::Prometheus => "prometheus",
        })
    }
}

/// What is known beyond utilisation, which cannot show more than 100 %. Only agents see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// Runnable work per core over the period, mean over the instances: 1.0 = every core just busy. Work that
    /// waits raises it above 1 in proportion.
    pub load_per_core: Option<f64>,
    /// PSI `cpu some`: share of the period in which some task waited for a CPU, 0..=1.
    pub psi: Option<f64>,
    /// Share of the reporting instances above 95 % busy, 0..=1.
    pub saturated_share: Option<f64>,
}

/// What a fleet did in one period: utilisation and the capacity that produced it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Where it comes from.
    pub source: Source,
    /// The end of the period.
    pub end: Timestamp,
    /// Its length.
    pub period: Duration,
    /// Mean utilisation, weighted by power.
    pub utilization: Utilization,
    /// The power of the instances that served in the period: never of those that serve now.
    pub power: Power,
    /// How many instances the mean is made of; 0 where the source does not say.
    pub instances: u32,
    /// What is known beyond utilisation.
    pub saturation: Saturation,
}

impl Sample {
    /// The work that was served: utilisation x the power that served it. A lower bound of demand when the fleet
    /// was saturated.
    pub fn served(&self) -> Power {
        Power::new(self.utilization.get() * self.power.get())
    }
}
