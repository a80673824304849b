//! Pools: where capacity comes from.

use crate::{InstanceType, UsdPerHour, Zone};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How an instance is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// Interruptible, at the spot price.
    Spot,
    /// At the list price, kept until given back.
    OnDemand,
}

/// Instance type x zone x market: what has a price, a depth and a history of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// Such as `m5.large`.
    pub instance_type: InstanceType,
    /// Such as `eu-west-1a`.
    pub zone: Zone,
    /// Spot or on demand.
    pub market: Market,
}

/// The part of an instance type before the dot: `m5` of `m5.large`. Diversity is counted in these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Family(String);

impl Family {
    /// The family of an instance type; the whole text where there is no dot.
    pub fn of(instance_type: &InstanceType) -> Self {
        let text = instance_type.as_str();
        Self(text.split_once('.').map_or(text, |(family, _)| family).to_owned())
    }
    /// The text, such as `m5`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Pool {
    /// A spot pool.
    pub fn spot(instance_type: impl Into<InstanceType>, zone: impl Into<Zone>) -> Self {
        Self { instance_type: instance_type.into(), zone: zone.into(), market: Market::Spot }
    }
    /// The pool's family.
    pub fn family(&self) -> Family {
        Family::of(&self.instance_type)
    }
}

impl fmt::Display for Pool {
    /// `m5.large/eu-west-1a`, with `/on-demand` behind it where that is so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance_type, zone, market } = self;
        match market {
            Market::Spot => f.pad(&format!("{instance_type}/{zone}")),
            Market::OnDemand => f.pad(&format!("{instance_type}/{zone}/on-demand")),
        }
    }
}

/// A pool with what is known of it: its price now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offering {
    /// The pool.
    pub pool: Pool,
    /// Its price, `None` where nobody has said.
    pub price: Option<UsdPerHour>,
}

/// vCPUs of an instance type by its size suffix: the fallback for types that no instance has shown us yet.
///
/// * returns: `None` where the suffix says nothing (`metal`, unknown families of names).
///
/// The sizes of current x86 and Graviton families; `medium` is 1 (Graviton) and burstable ones differ, which is
/// why what EC2 itself says of a running instance comes first.
pub fn vcpus_by_size(instance_type: &InstanceType) -> Option<u32> {
    let (_, size) = instance_type.as_str().split_once('.')?;
    match size {
        "nano" | "micro" | "small" | "medium" => Some(1),
        "large" => Some(2),
        "xlarge" => Some(4),
        _ => {
            let times: u32 = size.strip_suffix("xlarge")?.parse().ok()?;
            (times <= 1024).then(|| times * 4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_sizes_come_from_the_name() {
        assert_eq!(Pool::spot("c6g.2xlarge", "eu-west-1a").family().as_str(), "c6g");
        assert_eq!(Pool::spot("c6g.2xlarge", "eu-west-1a").to_string(), "c6g.2xlarge/eu-west-1a");
        for (name, vcpus) in
            [("m5.large", Some(2)), ("m5.24xlarge", Some(96)), ("m5.metal", None), ("odd", None)]
        {
            assert_eq!(vcpus_by_size(&name.into()), vcpus, "{name}");
        }
    }
}
