//! Where spot capacity comes from, and what AWS takes back.

/// A pool of a world with interruptions.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketPool {
    /// The instance type.
    pub instance_type: String,
    /// The zone.
    pub zone: String,
    /// Share of its instances that are interrupted in a month: its Spot Advisor band.
    pub monthly_interruptions: f64,
    /// How many instances it had to give when, of those that were asked for; empty: always enough.
    pub recorded: Recorded,
}

/// A recording of a pool: instances that could be had, one figure a tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Seconds between two ticks; more than 0 where there are any.
    pub gap_seconds: u32,
    /// How many were asked for.
    pub asked: u32,
    /// How many could be had, tick by tick.
    pub available: Vec<u32>,
}

/// The pools of a world with interruptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    /// They, at least one.
    pub pools: Vec<MarketPool>,
}
