//! Loads to test with.

use autoscaler_lab::Trace;
use fleet::Timestamp;
use fleet_sim::Rng;
use proptest::prelude::*;
use std::path::Path;

/// A trace of these demands, one a step, from midnight on.
pub fn of(demand: Vec<f64>) -> Trace {
    Trace { name: "made up".to_owned(), start: Timestamp::EPOCH, demand }
}

/// A load that changes at certain seconds: (from, units), the first from 0; up to `seconds`.
pub fn stairs(stairs: &[(u32, f64)], seconds: u32) -> Trace {
    let at =
        |second: u32| stairs.iter().rev().find(|(from, _)| *from <= second).map_or(0.0, |(_, units)| *units);
    of((0..seconds / Trace::STEP).map(|step| at(step * Trace::STEP)).collect())
}

/// A wandering load with jumps, of so many steps.
pub fn wild(seed: u64, steps: usize) -> Trace {
    let mut chance = Rng::new(seed);
    let mut level: f64 = 4.0;
    let mut step = || {
        if chance.chance(0.01) {
            level = 0.5 + 12.0 * chance.share();
        }
        level = (level + 0.1 * chance.normal()).clamp(0.2, 16.0);
        level
    };
    of((0..steps).map(|_| step()).collect())
}

/// One of the recordings that the project ships.
pub fn sample(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(format!("{name}.csv.gz"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Trace::read(name, std::io::BufReader::new(file)).expect("a sample")
}

/// Short loads of few units, which can be tried out one by one.
pub fn short() -> impl Strategy<Value = Trace> {
    prop::collection::vec(0.0..2.6_f64, 1..40).prop_map(of)
}
