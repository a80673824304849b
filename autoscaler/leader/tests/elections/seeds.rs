//! Seeded faults, in any number and order. A seed that fails tells its story.

use crate::chance::Chance;
use crate::world::{Fault, Link, SECOND, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Two minutes with up to twelve faults, and calm at the end.
fn live_through(seed: u64, places: usize) -> World {
    let mut world = World::new(seed, places);
    let mut chance = Chance::new(seed ^ 0xfa_017);
    for _ in 0..chance.between(2, 13) {
        let at = Duration::from_millis(chance.between(0, 110_000));
        let lasts = Duration::from_millis(chance.between(100, 25_000));
        let place = usize::try_from(chance.between(0, places as u64)).expect("a few");
        let (begins, ends) = match chance.between(0, 10) {
            0 | 1 => (Fault::Freeze(place), Some(Fault::Thaw(place))),
            2 => (Fault::Kill(place), Some(Fault::Start(place))),
            3 => (Fault::Resign(place), Some(Fault::Start(place))),
            4 => (Fault::Link(place, Link::Cut), Some(Fault::Link(place, Link::Up))),
            5 => (Fault::Link(place, Link::Hole), Some(Fault::Link(place, Link::Up))),
            6 => (Fault::Link(place, Link::Slow), Some(Fault::Link(place, Link::Up))),
            7 => (Fault::EndSessions(place), None),
            8 => (Fault::ForgetCheck(place), None),
            _ => (Fault::Lag(Duration::from_millis(chance.between(0, 1000))), None),
        };
        world.fault_in(at, begins);
        if let Some(ends) = ends {
            world.fault_in(at + lasts, ends);
        }
    }
    // Consul itself goes away, for all at once, and may come back without what its agents knew.
    if chance.happens(0.3) {
        let at = Duration::from_millis(chance.between(5000, 90_000));
        let lasts = Duration::from_millis(chance.between(100, 20_000));
        let forgets = chance.happens(0.5);
        for place in 0..places {
            world.fault_in(at, Fault::Link(place, Link::Cut));
            world.fault_in(at + lasts, Fault::Link(place, Link::Up));
            if forgets {
                world.fault_in(at + lasts, Fault::ForgetCheck(place));
            }
        }
    }
    world.run_for(120 * SECOND);
    for place in 0..places {
        world.fault_in(SECOND, Fault::Link(place, Link::Up));
        world.fault_in(SECOND, Fault::Thaw(place));
        world.fault_in(2 * SECOND, Fault::Start(place));
    }
    world.run_for(30 * SECOND);
    world
}

fn all_of(seeds: std::ops::Range<u64>, places: usize) {
    for seed in seeds {
        let lived = catch_unwind(AssertUnwindSafe(|| live_through(seed, places)));
        let world = lived.unwrap_or_else(|_| panic!("seed {seed} with {places} processes failed as above"));
        assert_eq!(world.writers().len(), 1, "seed {seed}: one leads at the end");
        assert!(!world.elections.is_empty(), "seed {seed}");
    }
}

#[test]
fn of_two_never_both_may_write_and_one_leads_within_fifteen_seconds() {
    all_of(0..2000, 2);
}

#[test]
fn of_three_never_two_may_write_and_one_leads_within_fifteen_seconds() {
    all_of(10_000..11_500, 3);
}

#[test]
fn one_alone_leads_whenever_consul_can_be_had() {
    all_of(20_000..20_500, 1);
}

#[test]
fn the_same_seed_is_the_same_story() {
    assert_eq!(live_through(77, 3).trail, live_through(77, 3).trail);
}
