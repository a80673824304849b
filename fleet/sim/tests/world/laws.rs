//! What holds in every world: nothing is lost, nothing is doubled, and the same seed is the same world.

use crate::bench::{Bench, ME, START, pool, secs};
use fleet::{Backend, ExcessCapacity, Market};
use fleet_sim::{
    Delay, Demand, DepthWindow, Effect, Fault, FleetRequest, FleetSpec, Hazard, InstancePhase, ModifyFleet,
    PoolSpec, Replaced, World, WorldSpec,
};
use proptest::prelude::*;
use std::time::Duration;

/// Something that is done to a world.
#[derive(Clone, Debug)]
enum Deed {
    Pass(u64),
    Modify(u32, u32, bool),
    Terminate(usize),
    Interrupt(usize),
    Drain(usize),
    Load(f64),
    Depth(usize, u32),
    Describe,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => (1_u64..400).prop_map(Deed::Pass),
        4 => (0_u32..12, 0_u32..4, any::<bool>()).prop_map(|(t, o, c)| Deed::Modify(t, o.min(t), c)),
        2 => (0_usize..12).prop_map(Deed::Terminate),
        2 => (0_usize..12).prop_map(Deed::Interrupt),
        1 => (0_usize..12).prop_map(Deed::Drain),
        2 => (0.0_f64..15.0).prop_map(Deed::Load),
        1 => (0_usize..4, 0_u32..8).prop_map(|(pool, depth)| Deed::Depth(pool, depth)),
        1 => Just(Deed::Describe),
    ];
    prop::collection::vec(deed, 1..60)
}

/// A world in which everything that can differ does.
fn stormy(replaced: Replaced) -> WorldSpec {
    let mut spec = WorldSpec {
        pools: vec![
            PoolSpec { depth: 6, ..pool("m5.large", 41_000) },
            PoolSpec { depth: 5, ..pool("c5.xlarge", 75_000) },
            PoolSpec { depth: 8, ..pool("r5.large", 44_800) },
            PoolSpec { depth: 9, market: Market::OnDemand, ..pool("m5.large", 107_000) },
        ],
        throttling: false,
        ..WorldSpec::default()
    };
    for pool in &mut spec.pools {
        pool.monthly_interruptions = 200.0;
    }
    spec.pools[1].windows = vec![DepthWindow { from: secs(1000), until: secs(3000), depth: 1 }];
    spec.service.noise = 0.2;
    spec.timing.boot = Delay::Lognormal { median: secs(75), p95: secs(150) };
    spec.interruptions.hazard = Hazard::Band;
    spec.interruptions.replaced = replaced;
    spec.interruptions.notice_lost = 0.1;
    spec.faults = vec![
        Fault { from: secs(2000), until: Some(secs(2600)), effect: Effect::StuckModifying },
        Fault { from: secs(4000), until: Some(secs(4500)), effect: Effect::NoCapacity { pool: None } },
    ];
    let overrides = [("m5.large", 1.0), ("c5.xlarge", 1.75), ("r5.large", 1.0)];
    let overrides = overrides.map(|(kind, weight)| fleet_sim::override_of(kind, weight)).into();
    let request = FleetRequest { overrides, on_demand_target: 1, target: 4, ..FleetRequest::default() };
    spec.fleets = vec![FleetSpec { request, initial: Some(4), load: Demand::constant(3.0), id: None }];
    spec
}

fn perform(bench: &mut Bench, deed: &Deed) {
    let fleet = bench.fleet.clone();
    let nth = |bench: &Bench, n: usize| {
        let mut alive = bench.world.instance_truths(&bench.fleet);
        alive.retain(|i| !matches!(i.phase, InstancePhase::Gone | InstancePhase::Requested));
        alive.get(n).map(|instance| instance.id.clone())
    };
    match deed {
        Deed::Pass(seconds) => bench.pass(*seconds),
        Deed::Modify(target, on_demand, cut) => {
            let excess = if *cut { ExcessCapacity::Termination } else { ExcessCapacity::NoTermination };
            let change = ModifyFleet {
                target: Some(*target),
                on_demand_target: Some(*on_demand),
                excess: Some(excess),
                launch: None,
            };
            // Refused while another one is carried out: that is part of the game.
            let _ = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, change);
        }
        Deed::Terminate(n) => {
            if let Some(id) = nth(bench, *n) {
                bench.terminate(&[id]);
            }
        }
        Deed::Interrupt(n) => {
            if let Some(id) = nth(bench, *n) {
                bench.world.interrupt(&id);
            }
        }
        Deed::Drain(n) => {
            if let Some(id) = nth(bench, *n) {
                bench.world.drain(&id);
            }
        }
        Deed::Load(units) => bench.world.set_load(&fleet, Demand::constant(*units)),
        Deed::Depth(n, depth) => {
            let pool = bench.world.spec().pools[*n].pool();
            bench.world.set_depth(&pool, *depth);
        }
        Deed::Describe => {
            bench.view();
            bench.shown();
        }
    }
}

fn check_laws(bench: &mut Bench) -> Result<(), TestCaseError> {
    let truth = bench.world.truth(&bench.fleet).expect("known");
    // Work that came was served, waits or was dropped.
    let accounted = truth.served + truth.queue + truth.dropped;
    prop_assert!((truth.offered - accounted).abs() < 1e-6 * truth.offered.max(1.0), "{truth:?}");
    prop_assert!((0.0..=1.0 + 1e-9).contains(&truth.utilization));
    // Capacity is what serves, and what is billed is what lives.
    let truths = bench.world.instance_truths(&bench.fleet);
    let serving = truths.iter().filter(|i| i.phase == InstancePhase::InService);
    prop_assert!((truth.capacity - serving.map(|i| i.power).sum::<f64>()).abs() < 1e-9);
    let lives = |phase| !matches!(phase, InstancePhase::Gone | InstancePhase::Requested);
    let alive: f64 = truths.iter().filter(|i| lives(i.phase)).map(|i| i.weight.get()).sum();
    prop_assert!((truth.billed - alive).abs() < 1e-9);
    // What is fulfilled is what lives, less what no longer counts.
    let fulfilled = bench.view().fulfilled.get();
    prop_assert!(fulfilled <= alive + 1e-9);
    let marked: f64 =
        truths.iter().filter(|i| i.interruption.is_some() && lives(i.phase)).map(|i| i.weight.get()).sum();
    prop_assert!(fulfilled >= alive - marked - 1e-9, "{fulfilled} of {alive}, {marked} marked");
    // No two instances share an id or an address.
    let ids: std::collections::BTreeSet<_> = truths.iter().map(|i| &i.id).collect();
    prop_assert_eq!(ids.len(), truths.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_laws_hold_whatever_is_done(deeds in deeds(), seed in any::<u64>(), marking in any::<bool>()) {
        let replaced = if marking { Replaced::AtMarking } else { Replaced::AtDeath };
        let mut bench = Bench::of(World::new(stormy(replaced), seed, START));
        for deed in &deeds {
            perform(&mut bench, deed);
            check_laws(&mut bench)?;
        }
        // Left alone, a fleet reaches its target again where its pools can give that much.
        for place in 0..4 {
            let pool = bench.world.spec().pools[place].pool();
            bench.world.set_depth(&pool, 100);
        }
        bench.pass(4600);
        let view = bench.view();
        let truth = bench.world.truth(&bench.fleet).expect("known");
        let on_its_way = truth.requested + truth.booting > 0 || view.fulfilled.get() >= f64::from(view.target);
        prop_assert!(on_its_way, "{view:?} {truth:?}");
    }

    #[test]
    fn the_bill_is_the_sum_of_the_lifetimes(deeds in deeds(), seed in any::<u64>()) {
        let mut spec = stormy(Replaced::AtDeath);
        // Nothing is forgotten, so that every life can be looked at in the end.
        spec.timing.terminated_visible = secs(1_000_000);
        let mut bench = Bench::of(World::new(spec, seed, START));
        for deed in &deeds {
            perform(&mut bench, deed);
        }
        bench.pass(60);
        let now = bench.world.now();
        let unit_seconds: f64 = bench.world.instance_truths(&bench.fleet).iter().filter_map(|instance| {
            let from = instance.billed_from?;
            let lived = instance.ended.unwrap_or(now).since(from).max(secs(60));
            let lived = if lived.subsec_nanos() > 0 { secs(lived.as_secs() + 1) } else { lived };
            Some(lived.as_secs_f64() * instance.weight.get())
        }).sum();
        let billed = bench.world.scores(&bench.fleet).expect("scores").cost_unit_hours;
        prop_assert!((billed - unit_seconds / 3600.0).abs() < 1e-6, "{billed} for {}", unit_seconds / 3600.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_world_to_the_bit(deeds in deeds(), seed in any::<u64>()) {
        let play = |seed| {
            let mut bench = Bench::of(World::new(stormy(Replaced::AtDeath), seed, START));
            for deed in &deeds {
                perform(&mut bench, deed);
            }
            bench.pass(10);
            bench.world.state_hash()
        };
        prop_assert_eq!(play(seed), play(seed));
        prop_assert_ne!(play(seed), play(seed.wrapping_add(1)));
    }

    #[test]
    fn it_makes_no_difference_in_how_many_moves_a_time_is_passed(
        moves in prop::collection::vec(1_u64..120_000, 1..60), seed in any::<u64>(),
    ) {
        let total: u64 = moves.iter().sum();
        let mut at_once = World::new(stormy(Replaced::AtDeath), seed, START);
        at_once.advance(START + Duration::from_millis(total));
        let mut in_moves = World::new(stormy(Replaced::AtDeath), seed, START);
        for millis in moves {
            let to = in_moves.now() + Duration::from_millis(millis);
            in_moves.advance(to);
        }
        prop_assert_eq!(at_once.state_hash(), in_moves.state_hash());
        let mut by_events = World::new(stormy(Replaced::AtDeath), seed, START);
        while let Some(next) = by_events.next_event().filter(|next| *next <= at_once.now()) {
            by_events.advance(next);
        }
        by_events.advance(at_once.now());
        prop_assert_eq!(at_once.state_hash(), by_events.state_hash());
    }
}

/// A change of this number is a change of every recorded run: it must be meant.
#[test]
fn a_stormy_day_is_the_same_on_every_machine() {
    let mut world = World::new(stormy(Replaced::AtDeath), 42, START);
    world.advance(START + secs(86_400));
    let fleet = world.fleets()[0].id.clone();
    let scores = world.scores(&fleet).expect("scores");
    let digest = (
        fleet.to_string(),
        scores.interruptions,
        scores.cost_unit_hours.to_bits(),
        scores.mean_utilization.to_bits(),
    );
    assert_eq!(
        digest,
        (
            "sfr-018eacd0-d727-1d43-49c2-fa96c80aec6a".to_owned(),
            28,
            4_636_456_109_581_026_372,
            4_604_954_484_639_815_190
        )
    );
}

#[test]
fn time_does_not_run_backwards() {
    let mut bench = Bench::simple(1);
    bench.pass(100);
    bench.world.advance(START);
    assert_eq!(bench.world.now(), START + secs(100));
}

#[test]
fn an_empty_world_waits_for_nothing() {
    let mut world = World::new(WorldSpec::default(), 1, START);
    assert_eq!(world.next_event(), None);
    world.advance(START + secs(1_000_000_000));
    let fleet =
        world.create_fleet(ME, FleetRequest { target: 1, ..FleetRequest::default() }).expect("created");
    let to = world.now() + secs(200);
    world.advance(to);
    assert_eq!(world.truth(&fleet).expect("known").in_service, 1);
    assert!(world.next_event().is_some_and(|next| next <= to + secs(10)));
}
