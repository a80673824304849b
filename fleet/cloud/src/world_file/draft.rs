//! What a world file says, before it is known to make sense.

use fleet::{Market, Pool, Timestamp, UsdPerHour};
use fleet_sim::{
    Delay, Demand, DepthWindow, FleetRequest, FleetSpec, PoolSpec, ScriptedInterruption, WorldSpec,
    override_of,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A file. Pools, fleets and scripts are put into the spec when all has been read.
#[derive(Clone, Debug)]
pub(super) struct WorldDraft {
    pub spec: WorldSpec,
    pub start: Option<Timestamp>,
    pub boot: DelayDraft,
    pub load: LoadDraft,
    pub pools: Vec<PoolDraft>,
    pub fleets: Vec<FleetDraft>,
    pub scripts: Vec<ScriptDraft>,
}

impl Default for WorldDraft {
    fn default() -> Self {
        let spec = WorldSpec {
            // Agents and metadata requests speak from their instance's own address, which on loopback lies here.
            first_address: Ipv4Addr::new(127, 16, 0, 4),
            zones: Vec::new(),
            ..WorldSpec::default()
        };
        Self {
            spec,
            start: None,
            boot: DelayDraft { median: Duration::from_secs(120), p95: None },
            load: LoadDraft::default(),
            pools: Vec::new(),
            fleets: Vec::new(),
            scripts: Vec::new(),
        }
    }
}

/// A delay: constant, or lognormal where a second number is given.
#[derive(Clone, Debug)]
pub(super) struct DelayDraft {
    pub median: Duration,
    pub p95: Option<Duration>,
}

impl DelayDraft {
    pub fn delay(&self) -> Delay {
        match self.p95 {
            Some(p95) => Delay::Lognormal { median: self.median, p95 },
            None => Delay::Constant(self.median),
        }
    }
}

/// What there is to serve: the same at all times, or a trace.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadDraft {
    pub demand: Option<f64>,
    pub trace: Option<String>,
    pub scale: Option<f64>,
}

#[derive(Clone, Debug)]
pub(super) struct PoolDraft {
    /// As the label has it: `m5.large/eu-west-1a`.
    pub name: String,
    pub spec: PoolSpec,
    pub windows: Vec<WindowDraft>,
}

impl PoolDraft {
    pub fn named(name: &str) -> Self {
        let pool = pool_of(name).unwrap_or_else(|| Pool::spot("", ""));
        let spec = PoolSpec {
            market: pool.market,
            ..PoolSpec::spot(pool.instance_type, pool.zone, UsdPerHour::default())
        };
        Self { name: name.to_owned(), spec, windows: Vec::new() }
    }
}

/// The pool of a name, `m5.large/eu-west-1a` or `m5.large/eu-west-1a/on-demand`.
pub(crate) fn pool_of(name: &str) -> Option<Pool> {
    let mut parts = name.splitn(3, '/');
    let (instance_type, zone) = (parts.next()?, parts.next()?);
    let market = match parts.next() {
        None => Market::Spot,
        Some("on-demand") => Market::OnDemand,
        Some(_) => return None,
    };
    let whole = !zone.is_empty() && instance_type.contains('.');
    whole.then(|| Pool { market, ..Pool::spot(instance_type, zone) })
}

#[derive(Clone, Debug)]
pub(super) struct WindowDraft {
    pub name: String,
    pub window: DepthWindow,
}

impl WindowDraft {
    pub fn named(name: &str) -> Self {
        let window = DepthWindow { from: Duration::ZERO, until: Duration::ZERO, depth: 0 };
        Self { name: name.to_owned(), window }
    }
}

#[derive(Clone, Debug)]
pub(super) struct FleetDraft {
    pub name: String,
    pub id: Option<String>,
    pub request: FleetRequest,
    pub initial: Option<u32>,
    pub weights: BTreeMap<String, f64>,
    pub load: LoadDraft,
}

impl FleetDraft {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: None,
            request: FleetRequest::default(),
            initial: None,
            weights: BTreeMap::new(),
            load: LoadDraft::default(),
        }
    }
    pub fn spec(self, load: Demand) -> FleetSpec {
        let mut request = self.request;
        request.overrides =
            self.weights.iter().map(|(of, weight)| override_of(of.as_str(), *weight)).collect();
        // So that `tag` finds the fleet by the name that it has in the file.
        request.tags.entry("Name".to_owned()).or_insert(self.name);
        FleetSpec { id: self.id.map(Into::into), request, initial: self.initial, load }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ScriptDraft {
    pub name: String,
    pub at: Duration,
    pub pool: String,
    pub count: Option<u32>,
}

impl ScriptDraft {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), at: Duration::ZERO, pool: String::new(), count: None }
    }
    pub fn script(&self) -> Option<ScriptedInterruption> {
        Some(ScriptedInterruption { at: self.at, pool: pool_of(&self.pool)?, count: self.count })
    }
}
