//! The world that a policy is tried in.

use crate::market::Market;
use autoscaler_policy::Schedule;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How utilisation is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// 10 s means with load per core and PSI, 1 s after their end.
    #[serde(rename = "push")]
    Push,
    /// 60 s means, 60 s after their end.
    #[default]
    #[serde(rename = "cloudwatch-1m")]
    Cloudwatch1m,
    /// 300 s means, 300 s after their end.
    #[serde(rename = "cloudwatch-5m")]
    Cloudwatch5m,
}

/// What AWS takes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interruptions {
    /// Nothing.
    #[default]
    None,
    /// By each pool's Spot Advisor band.
    Band,
    /// As recorded availability of spot pools has it.
    Stress,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Runner {
    /// Our own policy.
    #[serde(rename = "muster")]
    Muster,
    /// AWS target tracking by one-minute alarms.
    #[serde(rename = "aws-tt")]
    AwsTt,
    /// The same on five-minute periods.
    #[serde(rename = "aws-tt-5m")]
    AwsTt5m,
    /// The same on ten-second periods.
    #[serde(rename = "aws-tt-10s")]
    AwsTt10s,
    /// Target tracking of an Auto Scaling group: warm-up in place of cooldowns.
    #[serde(rename = "aws-asg-tt")]
    AwsAsgTt,
    /// Nomad Autoscaler's target-value strategy.
    #[serde(rename = "nomad-tv")]
    NomadTv,
    /// As Kubernetes' horizontal pod autoscaler.
    #[serde(rename = "hpa")]
    Hpa,
    /// Enough for the highest demand, all the time.
    #[serde(rename = "static-peak")]
    StaticPeak,
    /// What demand needed three minutes ago, and one unit more.
    #[serde(rename = "lag-3+1")]
    Lag,
}

impl Runner {
    /// Everybody, ours first.
    pub const ALL: [Self; 9] = [
        Self::Muster,
        Self::AwsTt,
        Self::AwsTt5m,
        Self::AwsTt10s,
        Self::AwsAsgTt,
        Self::NomadTv,
        Self::Hpa,
        Self::StaticPeak,
        Self::Lag,
    ];
}

/// A world's rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting {
    /// From request to serving, in seconds; a multiple of the step.
    pub boot: u32,
    /// How utilisation is seen.
    pub metric: Channel,
    /// What AWS takes back.
    pub interruptions: Interruptions,
    /// Whether boots and drains vary by chance, and pools are down now and then and give nothing.
    pub stochastic: bool,
    /// Standard deviation of the lognormal factor on the demand of each step; 0 or more.
    pub noise: f64,
    /// Of everything that is left to chance.
    pub seed: u64,
    /// The pools of a world with interruptions or chance; `None`: 3 zones x 4 types that are made up.
    #[serde(skip)]
    pub market: Option<Arc<Market>>,
    /// Hours at which our own policy is to hold more, at the times that the trace is of. The rivals and the oracles
    /// know nothing of them, and nothing is scored by them.
    #[serde(skip)]
    pub schedules: Vec<Schedule>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            boot: 120,
            metric: Channel::default(),
            interruptions: Interruptions::default(),
            stochastic: false,
            noise: 0.0,
            seed: 0,
            market: None,
            schedules: Vec::new(),
        }
    }
}
