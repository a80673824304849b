//! What AWS takes back, what is heard of it, and what the fleet does about it.

use crate::bench::{Bench, ME, START, fleet_of, one_pool, pool, secs};
use fleet::{Backend, ExcessCapacity, InstanceId, InstanceState, Market, Pool};
use fleet_sim::{
    EventKind, FleetRequest, FleetSpec, Hazard, InstancePhase, ModifyFleet, Notices, PoolSpec, Replaced,
    ScriptedInterruption, WorldSpec,
};

const KEEP: ExcessCapacity = ExcessCapacity::NoTermination;

fn replaced(replaced: Replaced) -> WorldSpec {
    let mut spec = one_pool();
    spec.interruptions.replaced = replaced;
    spec
}

#[test]
fn a_notice_comes_two_minutes_before_the_end() {
    let mut bench = Bench::simple(2);
    bench.pass(55);
    let victim = bench.serving()[0].clone();
    assert_eq!(bench.world.notices(&victim), Some(Notices::default()));
    assert!(bench.world.interrupt(&victim));
    assert!(!bench.world.interrupt(&victim), "once is enough");
    let deadline = START + secs(175);
    assert_eq!(
        bench.world.notices(&victim),
        Some(Notices { terminate_at: Some(deadline), ..Notices::default() })
    );
    assert_eq!(bench.warned(), std::slice::from_ref(&victim));
    bench.pass(119);
    assert_eq!(bench.state_of(&victim), Some(InstanceState::Running));
    assert_eq!(bench.sizes(), (0, 0, 2), "it serves to its end");
    bench.pass(1);
    assert_eq!(bench.state_of(&victim), Some(InstanceState::ShuttingDown));
    assert_eq!(bench.world.notices(&victim), None);
    assert_eq!(bench.world.scores(&bench.fleet).expect("scores").interruptions, 1);
}

#[test]
fn both_worlds_replace_what_was_taken_back_each_at_its_time() {
    for (world, at_marking) in [(Replaced::AtMarking, 1), (Replaced::AtDeath, 0)] {
        let mut bench = Bench::new(replaced(world), fleet_of(3));
        let victim = bench.serving()[0].clone();
        bench.world.interrupt(&victim);
        assert_eq!(bench.sizes(), (at_marking, 0, 3), "{world:?}");
        bench.pass(120);
        assert_eq!(bench.sizes(), (1 - at_marking, 0, 2 + at_marking), "{world:?}");
        bench.pass(120);
        assert_eq!(bench.sizes(), (0, 0, 3), "{world:?}: replaced once");
    }
}

#[test]
fn a_surge_that_is_taken_back_before_the_death_replaces_exactly_once() {
    for world in [Replaced::AtMarking, Replaced::AtDeath] {
        let mut bench = Bench::new(replaced(world), fleet_of(3));
        let victim = bench.serving()[0].clone();
        bench.world.interrupt(&victim);
        bench.set(4, KEEP);
        bench.pass(90);
        bench.set(3, KEEP);
        bench.pass(600);
        let kept = bench.serving().len();
        // Where the fleet replaced it by itself, the surge is one instance too many, and stays.
        assert_eq!(kept, if world == Replaced::AtMarking { 4 } else { 3 }, "{world:?}");
    }
}

#[test]
fn a_surge_that_is_taken_back_after_the_death_has_bought_two() {
    let mut bench = Bench::new(replaced(Replaced::AtDeath), fleet_of(3));
    let victim = bench.serving()[0].clone();
    bench.world.interrupt(&victim);
    bench.set(4, KEEP);
    bench.pass(120);
    bench.set(3, KEEP);
    bench.pass(600);
    assert_eq!(bench.serving().len(), 4);
}

#[test]
fn a_rebalance_recommendation_has_no_deadline() {
    let mut bench = Bench::simple(1);
    let instance = bench.serving()[0].clone();
    assert!(bench.world.recommend_rebalance(&instance));
    assert!(!bench.world.recommend_rebalance(&instance), "once is enough");
    assert_eq!(
        bench.world.notices(&instance),
        Some(Notices { rebalance: Some(START), ..Notices::default() })
    );
    let carried = |kind: &EventKind| matches!(kind, EventKind::RebalanceRecommendation { instance: of, .. } if *of == instance);
    assert!(bench.world.events_since(0).any(|event| carried(&event.kind)));
    bench.pass(7200);
    assert_eq!(bench.sizes(), (0, 0, 1));
}

#[test]
fn on_demand_instances_are_never_taken_back() {
    let mut spec = one_pool();
    spec.pools[0].market = Market::OnDemand;
    spec.pools[0].monthly_interruptions = 1000.0;
    spec.interruptions.hazard = Hazard::Band;
    let request = FleetRequest { target: 2, on_demand_target: 2, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, ..fleet_of(2) });
    let instance = bench.serving()[0].clone();
    assert!(!bench.world.interrupt(&instance));
    bench.pass(30 * 86_400);
    assert_eq!(bench.world.scores(&bench.fleet).expect("scores").interruptions, 0);
}

#[test]
fn a_script_takes_the_oldest_of_a_pool_or_all_of_it() {
    let mut spec =
        WorldSpec { pools: vec![pool("m5.large", 30_000), pool("c5.large", 40_000)], ..WorldSpec::default() };
    let scripted = |at, kind: &str, count| ScriptedInterruption {
        at: secs(at),
        pool: Pool::spot(kind, "eu-west-1a"),
        count,
    };
    spec.interruptions.script = vec![scripted(60, "m5.large", Some(1)), scripted(600, "c5.large", None)];
    let request =
        FleetRequest { strategy: fleet::AllocationStrategy::Diversified, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, ..fleet_of(6) });
    let oldest = bench.serving()[0].clone();
    bench.pass(60);
    assert_eq!(bench.warned(), [oldest]);
    bench.pass(540);
    assert_eq!(bench.warned().len(), 4, "and all three of the other pool");
}

#[test]
fn notices_may_be_late_or_never_come() {
    for (lost, late, heard_at) in [(1.0, 0.0, None), (0.0, 1.0, Some(60)), (0.0, 0.0, Some(0))] {
        let mut spec = one_pool();
        (spec.interruptions.notice_lost, spec.interruptions.notice_late) = (lost, late);
        let mut bench = Bench::new(spec, fleet_of(1));
        let victim = bench.serving()[0].clone();
        bench.world.interrupt(&victim);
        let heard = |bench: &Bench, id: &InstanceId| {
            bench.world.notices(id).is_some_and(|n| n.terminate_at.is_some())
        };
        let heard_after = (0..120).find(|_| {
            let heard = heard(&bench, &victim);
            if !heard {
                bench.pass(1);
            }
            heard
        });
        assert_eq!(heard_after, heard_at);
        bench.world.advance(START + secs(120));
        assert_eq!(bench.in_phase(InstancePhase::Gone).len(), 1, "it goes all the same");
    }
}

/// By the band, a share of a pool's instances is interrupted each month; half of the risk is the instance's own.
#[test]
fn a_band_interrupts_its_share_of_instances() {
    let months = 10;
    let mut spec = WorldSpec {
        pools: (0..20).map(|n| PoolSpec { depth: 10, ..pool(&format!("m{n}.large"), 30_000) }).collect(),
        event_queue: 1_000_000,
        ..WorldSpec::default()
    };
    for pool in &mut spec.pools {
        pool.monthly_interruptions = 0.15;
    }
    spec.interruptions.hazard = Hazard::Band;
    let request =
        FleetRequest { strategy: fleet::AllocationStrategy::Diversified, ..FleetRequest::default() };
    let mut bench = Bench::new(spec, FleetSpec { request, ..fleet_of(200) });
    bench.pass(months * 730 * 3600);
    let warnings: Vec<_> = bench
        .world
        .events_since(0)
        .filter_map(|event| match &event.kind {
            EventKind::InterruptionWarning { pool, .. } => Some((event.at, pool.clone())),
            _ => None,
        })
        .collect();
    // 200 instances for ten months, 15 % of them a month; pools fall as a whole, so the spread is wide.
    assert!((200..400).contains(&warnings.len()), "{} interruptions, 300 expected", warnings.len());
    let alone = warnings.iter().filter(|w| warnings.iter().filter(|other| other == w).count() == 1).count();
    let share = f64::from(u32::try_from(alone).expect("few"))
        / f64::from(u32::try_from(warnings.len()).expect("few"));
    assert!((0.3..0.7).contains(&share), "{share} of them alone, half expected");
    let foretold =
        bench.world.events_since(0).filter(|e| matches!(e.kind, EventKind::RebalanceRecommendation { .. }));
    let foretold = f64::from(u32::try_from(foretold.count()).expect("few"))
        / f64::from(u32::try_from(warnings.len()).expect("few"));
    assert!((0.3..0.7).contains(&foretold), "{foretold} of them foretold, half expected");
}

#[test]
fn the_notice_of_what_the_fleet_gives_back_is_never_lost() {
    let mut spec = one_pool();
    spec.interruptions.notice_lost = 1.0;
    let mut bench = Bench::new(spec, fleet_of(3));
    bench.set(1, ExcessCapacity::Termination);
    assert_eq!(bench.warned().len(), 2);
}

#[test]
fn what_the_fleet_gives_back_is_not_counted_as_taken_back() {
    let mut bench = Bench::simple(3);
    let fleet = bench.fleet.clone();
    let change = ModifyFleet {
        target: Some(1),
        on_demand_target: None,
        excess: Some(ExcessCapacity::Termination),
        launch: None,
    };
    bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, change).expect("modified");
    bench.pass(300);
    assert_eq!((bench.sizes(), bench.warned().len()), ((0, 0, 1), 2));
    assert_eq!(bench.world.scores(&fleet).expect("scores").interruptions, 0);
}
