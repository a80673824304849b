//! Hundreds of worlds by chance: everything that can go wrong, at any time and together.

use fleet::wire::AgentSample;
use fleet::{ErrorClass, InstanceId};
use fleet_sim::{Delay, Demand, Effect, Fault, FleetSpec, WorldSpec, override_of};
use muster_worlds::chance::Chance;
use muster_worlds::harness::{Harness, ec2, fleet, minutes, secs, world};
use std::time::Duration;

/// How long things go wrong.
const TROUBLE: Duration = minutes(45);
/// How long they then have to come right again.
const PEACE: Duration = minutes(45);

/// Demand that wanders and jumps, and comes to rest when the trouble is over.
fn demand(chance: &mut Chance) -> Demand {
    let mut at = Duration::ZERO;
    let mut units = chance.within(1.0, 8.0);
    let mut points = vec![(at, units)];
    while at < TROUBLE {
        at += secs(chance.between(30, 900));
        units = if chance.happens(0.3) { chance.within(0.5, 13.0) } else { units * chance.within(0.8, 1.25) };
        points.push((at, units.clamp(0.5, 13.0)));
    }
    Demand::points(points)
}

fn some_fleet(chance: &mut Chance) -> FleetSpec {
    let load = demand(chance);
    let mut spec = fleet(u32::try_from(chance.between(2, 11)).expect("small"), load);
    if chance.happens(0.3) {
        spec.request.overrides =
            vec![override_of("m5.large", 1.0), override_of("c5.xlarge", 2.0), override_of("r5.large", 1.0)];
    }
    if chance.happens(0.3) { ec2(spec) } else { spec }
}

/// A time within the trouble, and how long something then goes wrong.
fn spell(chance: &mut Chance) -> (Duration, Option<Duration>) {
    let from = secs(chance.between(0, TROUBLE.as_secs()));
    let until = from + secs(chance.between(60, 1500));
    (from, Some(until.min(TROUBLE)))
}

fn faults(chance: &mut Chance) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..chance.between(0, 5) {
        let (from, until) = spell(chance);
        let refuse = |share, class, code: &'static str| Effect::Refuse {
            action: None,
            share,
            class,
            code: code.into(),
        };
        let effect = match chance.between(0, 7) {
            0 => Effect::throttle(chance.within(0.1, 0.9)),
            1 => refuse(chance.within(0.1, 0.9), ErrorClass::Transient, "InternalError"),
            2 => refuse(chance.within(0.1, 0.9), ErrorClass::Unclear, "RequestTimeout"),
            3 => Effect::LoseAnswer { action: None, share: chance.within(0.1, 1.0) },
            4 => Effect::StuckModifying,
            5 => Effect::NoCapacity { pool: None },
            _ => Effect::Slow { action: None, latency: secs(chance.between(1, 200)) },
        };
        faults.push(Fault { from, until, effect });
    }
    faults
}

fn some_world(chance: &mut Chance) -> WorldSpec {
    let fleets = (0..chance.between(1, 4)).map(|_| some_fleet(chance)).collect();
    let mut spec = WorldSpec { faults: faults(chance), ..world(fleets) };
    spec.pools.push(fleet_sim::PoolSpec {
        depth: 20,
        ..fleet_sim::PoolSpec::spot("c5.xlarge", "eu-west-1a", fleet::UsdPerHour::from_micros(80_000))
    });
    spec.timing.describe_lag = secs(if chance.happens(0.5) { 0 } else { chance.between(1, 31) });
    if chance.happens(0.5) {
        spec.timing.boot = Delay::Lognormal { median: secs(75), p95: secs(150) };
    }
    spec.service.noise = if chance.happens(0.5) { 0.05 } else { 0.0 };
    spec
}

/// Loses, repeats, mixes and spoils some of what agents send.
fn tamper(mut chance: Chance) -> impl FnMut(&mut Vec<(InstanceId, AgentSample)>) {
    let mut late: Vec<(InstanceId, AgentSample)> = Vec::new();
    move |samples| {
        let mut passed = Vec::new();
        for (instance, mut sample) in samples.drain(..) {
            match chance.between(0, 40) {
                0 => continue,
                1 => late.push((instance.clone(), sample)),
                2 => passed.push((instance.clone(), sample)),
                3 => sample.utilization = f64::NAN,
                4 => sample.utilization = 1.7,
                5 => sample.load_per_core = Some(-1.0),
                _ => {}
            }
            passed.push((instance, sample));
        }
        if chance.happens(0.2) {
            passed.append(&mut late);
            passed.reverse();
        }
        *samples = passed;
    }
}

/// Runs a world of chance. Complaints name the seed.
fn run(seed: u64) -> Harness {
    let root = Chance::new(seed);
    let mut chance = root.fork("world");
    let mut harness = Harness::new(some_world(&mut chance), seed);
    let mut chance = root.fork("trouble");
    if chance.happens(0.4) {
        harness.tamper = Some(Box::new(tamper(root.fork("samples"))));
    }
    if chance.happens(0.2) {
        harness = harness.cloudwatch_only();
    }
    let crashes = chance.happens(0.5);
    while harness.elapsed() < TROUBLE {
        if crashes && chance.happens(0.3) && harness.dies_at.is_none_or(|at| at <= harness.effects) {
            harness.dies_at = Some(harness.effects + chance.between(1, 60));
        }
        match chance.between(0, 30) {
            0 => harness.disk.full = true,
            1 | 2 => harness.disk.full = false,
            3 => {
                harness.wall_off += 1000 * i64::try_from(chance.between(0, 7200)).expect("small") - 3_600_000;
            }
            4 => harness.wall_off = 0,
            5 => harness.push = false,
            6 => harness.push = true,
            _ => {}
        }
        harness.run_until((harness.elapsed() + secs(chance.between(1, 240))).min(TROUBLE));
    }
    harness.disk.full = false;
    harness.wall_off = 0;
    harness.dies_at = None;
    harness.tamper = None;
    harness.push = harness.policies.iter().any(|policy| policy.sources.len() > 1);
    harness.run_until(TROUBLE + PEACE);
    harness
}

/// After some peace every fleet is what it asks for, serves its load, and is not much too large.
fn came_right(harness: &Harness) {
    for index in 0..harness.policies.len() {
        let truth = harness.truth_of(index);
        let capacity = harness.policies[index].base.capacity;
        assert!((capacity.min..=capacity.max).contains(&truth.target), "{truth:?}");
        assert!(truth.billed + 1e-6 >= f64::from(truth.target), "{truth:?}");
        let report = harness.status(index).decided.expect("it decides").report;
        let settled = report.removals.is_empty() && report.coming.get() == 0.0;
        assert!(!settled || truth.billed < f64::from(truth.target) + 2.0, "more than it asks for: {truth:?}");
        assert!(truth.utilization < 0.9 || truth.target == capacity.max, "{truth:?}\n{report:?}");
    }
}

/// Runs many worlds; says which went wrong, and how, when all are done.
fn worlds(seeds: std::ops::Range<u64>) {
    let wrong: Vec<(u64, String)> = seeds
        .filter_map(|seed| {
            let ended = std::panic::catch_unwind(|| {
                let mut harness = run(seed);
                harness.conclude();
                came_right(&harness);
            });
            let payload = ended.err()?;
            let words = payload.downcast_ref::<String>().cloned();
            Some((seed, words.unwrap_or_else(|| "panicked".to_owned())))
        })
        .collect();
    assert!(wrong.is_empty(), "{} worlds went wrong: {wrong:#?}", wrong.len());
}

// Several tests, so that they run side by side.

#[test]
fn in_worlds_by_chance_no_invariant_breaks_and_all_comes_right_part_1() {
    worlds(0..75);
}

#[test]
fn in_worlds_by_chance_no_invariant_breaks_and_all_comes_right_part_2() {
    worlds(75..150);
}

#[test]
fn in_worlds_by_chance_no_invariant_breaks_and_all_comes_right_part_3() {
    worlds(150..225);
}

#[test]
fn in_worlds_by_chance_no_invariant_breaks_and_all_comes_right_part_4() {
    worlds(225..300);
}
