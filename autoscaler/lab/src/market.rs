//! Where spot capacity comes from, and what AWS takes back.

use crate::packed::opened;
use fleet_sim::Rng;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use thiserror::Error;

/// The pools of a world with interruptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    /// They, at least one.
    pub pools: Vec<MarketPool>,
}

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

/// A recording of a pool: instances that could be had, one figure a tick. It begins again when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Seconds between two ticks; more than 0 where there are any.
    pub gap_seconds: u32,
    /// How many were asked for; more than 0 where there are any ticks.
    pub asked: u32,
    /// How many could be had, tick by tick.
    pub available: Vec<u32>,
    /// Seconds that it is ahead of the world.
    pub ahead: u64,
}

/// Why a recording of a pool cannot be read.
#[derive(Debug, Error)]
pub enum RecordedError {
    /// It cannot be read at all.
    #[error("read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is longer than any recording of a pool.
    #[error("read {file}: it has more than {most} MiB of text; expected one pool's recording")]
    TooLong {
        /// The file.
        file: String,
        /// The most that is read, in MiB.
        most: u64,
    },
    /// It is not JSON of the expected form.
    #[error("read {file} as {{\"metadata\": {{\"gap_seconds\": N}}, \"data\": [...]}}")]
    Malformed {
        /// The file.
        file: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It says nothing.
    #[error("use {file}: it has no ticks, or they are 0 seconds apart")]
    Empty {
        /// The file.
        file: String,
    },
}

/// The most text that is read of a recording.
const LARGEST_MIB: u64 = 32;
/// Zones of the market that is made up.
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];
/// Its instance types, and the share of each that is interrupted in a month: the middle of the band that the Spot Advisor
/// showed for it in eu-west-1 in July 2025, which were below 5 % and from 5 to 10 %. It knows bands by region, not by zone.
const TYPES: [(&str, f64); 4] =
    [("m5.large", 0.075), ("m6i.large", 0.025), ("c5.large", 0.025), ("r5.large", 0.075)];
/// How far types that share a recording are apart in it: far enough that they do not fall together.
const APART: u64 = 7 * 3600;
/// What chance is forked for.
const FAILING: u64 = 4;
/// What is made up lasts so long, in minutes.
const MADE_UP: usize = 28 * 1440;
/// Mean time between shocks of a zone and of a pool, and how long they last, in minutes.
const ZONE_SHOCKS: (f64, f64) = (720.0, 40.0);
const POOL_SHOCKS: (f64, f64) = (480.0, 30.0);
/// The share of a zone's pools that a shock of it hits, and how often it hits another zone, too.
const HIT: f64 = 0.7;
const SPREADS: f64 = 0.45;
/// The size of a fleet whose pools could give nothing less: depth is counted in this many instances.
const DEEP: u32 = 20;

impl Market {
    /// 3 zones x 4 types that always have enough, and interrupt what their bands say.
    pub fn made_up() -> Self {
        let pool = |zone: &str, (instance_type, monthly_interruptions): (&str, f64)| MarketPool {
            instance_type: instance_type.to_owned(),
            zone: zone.to_owned(),
            monthly_interruptions,
            recorded: Recorded::default(),
        };
        Self { pools: ZONES.iter().flat_map(|zone| TYPES.map(move |kind| pool(zone, kind))).collect() }
    }

    /// The same, each pool being down now and then by itself, which is made up from a seed: it gives nothing meanwhile.
    pub fn failing(seed: u64) -> Self {
        let mut market = Self::made_up();
        let mut chance = Rng::new(seed).fork(FAILING, 0);
        for pool in &mut market.pools {
            let mut down = vec![false; MADE_UP];
            pool.fail(&mut chance, &mut down);
        }
        market
    }

    /// The same with shocks made up from a seed, for those who have no recordings: of single pools, of zones (most of
    /// their pools at once) and of several zones together.
    pub fn shaken(seed: u64) -> Self {
        let mut market = Self::made_up();
        let mut chance = Rng::new(seed);
        let mut down = vec![vec![false; MADE_UP]; market.pools.len()];
        for zone in 0..ZONES.len() {
            for (from, until) in shocks(&mut chance, ZONE_SHOCKS) {
                let zones = (0..ZONES.len()).filter(|other| *other == zone || chance.chance(SPREADS));
                for shaken in zones.collect::<Vec<_>>() {
                    for pool in down.iter_mut().skip(shaken * TYPES.len()).take(TYPES.len()) {
                        if chance.chance(HIT) {
                            pool[from..until].fill(true);
                        }
                    }
                }
            }
        }
        for (pool, down) in market.pools.iter_mut().zip(&mut down) {
            pool.fail(&mut chance, down);
        }
        market
    }

    /// Pools that do as recordings say: 4 in each zone, whose recordings are used in turn, and again some hours ahead
    /// where there are fewer.
    ///
    /// * `recordings`: (zone, recording); zones of one region and time fall together as they did.
    ///
    /// Without any recording: as [`Market::made_up`].
    pub fn replaying(recordings: &[(String, Recorded)]) -> Self {
        let mut zones: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
        for (zone, recorded) in recordings {
            zones.entry(zone).or_default().push(recorded);
        }
        let pool = |(zone, recorded): (&str, &[&Recorded]), place: usize| {
            let again = crate::number::wide(place / recorded.len());
            let recorded = recorded[place % recorded.len()].clone();
            MarketPool {
                instance_type: TYPES[place].0.to_owned(),
                zone: zone.to_owned(),
                monthly_interruptions: TYPES[place].1,
                recorded: Recorded { ahead: recorded.ahead + again * APART, ..recorded },
            }
        };
        let zones = zones.iter().map(|(zone, recorded)| (*zone, recorded.as_slice()));
        let pools: Vec<_> =
            zones.flat_map(|zone| (0..TYPES.len()).map(move |place| pool(zone, place))).collect();
        if pools.is_empty() { Self::made_up() } else { Self { pools } }
    }
}

/// Times at which something is shaken, in minutes.
fn shocks(chance: &mut Rng, (apart, last): (f64, f64)) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    let minutes = |mean: f64, chance: &mut Rng| {
        usize::try_from(crate::number::units(mean * chance.exponential())).unwrap_or(MADE_UP).max(1)
    };
    loop {
        at += minutes(apart, chance);
        let until = at + minutes(last, chance);
        if until >= MADE_UP {
            return found;
        }
        found.push((at, until));
        at = until;
    }
}

impl MarketPool {
    /// Its name: type and zone.
    pub fn name(&self) -> String {
        format!("{}/{}", self.instance_type, self.zone)
    }

    /// Lets it be down now and then by itself, besides the minutes in which it is already.
    fn fail(&mut self, chance: &mut Rng, down: &mut [bool]) {
        for (from, until) in shocks(chance, POOL_SHOCKS) {
            down[from..until].fill(true);
        }
        let available = down.iter().map(|down| u32::from(!down)).collect();
        self.recorded = Recorded { gap_seconds: 60, asked: 1, available, ahead: 0 };
    }
}

impl Recorded {
    /// Reads a recording: `{"metadata": {"gap_seconds": N}, "data": [available instances, one a tick]}`, plain or gzip;
    /// at most 32 MiB of text, which are 15 years of minutes.
    ///
    /// * `asked`: how many instances were asked for; the highest figure of the recording where that is more.
    pub fn read(file: &str, reader: impl BufRead, asked: u32) -> Result<Self, RecordedError> {
        let unreadable = |source| RecordedError::Unreadable { file: file.to_owned(), source };
        let mut text = String::new();
        let most = LARGEST_MIB << 20;
        // A byte more than is read tells whether there was more.
        opened(reader).map_err(unreadable)?.take(most + 1).read_to_string(&mut text).map_err(unreadable)?;
        if crate::number::wide(text.len()) > most {
            return Err(RecordedError::TooLong { file: file.to_owned(), most: LARGEST_MIB });
        }
        let file_of: File = serde_json::from_str(&text)
            .map_err(|source| RecordedError::Malformed { file: file.to_owned(), source })?;
        let (gap_seconds, available) = (file_of.metadata.gap_seconds, file_of.data);
        let highest = available.iter().copied().max().unwrap_or(0);
        if available.is_empty() || gap_seconds == 0 {
            return Err(RecordedError::Empty { file: file.to_owned() });
        }
        Ok(Self { gap_seconds, asked: asked.max(highest).max(1), available, ahead: 0 })
    }

    /// How many instances the pool can have given out at a second of the world; `None`: as many as are wanted.
    pub(crate) fn depth(&self, second: u64) -> Option<u32> {
        let ticks = crate::number::wide(self.available.len());
        let tick = (second + self.ahead).checked_div(u64::from(self.gap_seconds))?.checked_rem(ticks)?;
        let available = *self.available.get(usize::try_from(tick).ok()?)?;
        (available < self.asked).then(|| available * DEEP / self.asked.max(1))
    }
}

#[derive(Deserialize)]
struct File {
    metadata: Metadata,
    data: Vec<u32>,
}

#[derive(Deserialize)]
struct Metadata {
    gap_seconds: u32,
}
