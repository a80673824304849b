//! What goes wrong on demand.

use crate::bench::{Bench, ME, fleet_of, one_pool, secs};
use fleet::{Activity, Backend, ErrorClass, ExcessCapacity, FleetState};
use fleet_sim::{Action, Effect, Fault, ModifyFleet};

const KEEP: ExcessCapacity = ExcessCapacity::NoTermination;

#[test]
fn more_calls_than_the_documented_rate_are_throttled() {
    let mut bench = Bench::simple(1);
    let answers: Vec<_> = (0..60).map(|_| bench.world.describe_fleets(ME, Backend::SpotFleet, &[])).collect();
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 10, "a burst of 50");
    assert_eq!(refused[0].class, ErrorClass::Throttled { retry_after: None });
    assert_eq!(refused[0].code.as_deref(), Some("RequestLimitExceeded"));
    let count = bench.world.calls().of(ME, Action::DESCRIBE_SPOT_FLEET_REQUESTS);
    assert_eq!((count.calls, count.throttled, count.failed), (60, 10, 0));
    bench.pass(1);
    assert!(bench.world.describe_fleets(ME, Backend::SpotFleet, &[]).is_ok());
}

#[test]
fn throttling_can_be_switched_off() {
    let mut spec = one_pool();
    spec.throttling = false;
    let mut bench = Bench::new(spec, fleet_of(1));
    assert!((0..1000).all(|_| bench.world.describe_fleets(ME, Backend::SpotFleet, &[]).is_ok()));
}

#[test]
fn a_share_of_the_calls_can_be_refused_for_a_while() {
    let mut spec = one_pool();
    spec.throttling = false;
    spec.faults = vec![Fault { from: secs(100), until: Some(secs(200)), effect: Effect::throttle(0.3) }];
    let mut bench = Bench::new(spec, fleet_of(1));
    let refused = |bench: &mut Bench| {
        (0..1000).filter(|_| bench.world.describe_fleets(ME, Backend::SpotFleet, &[]).is_err()).count()
    };
    assert_eq!(refused(&mut bench), 0);
    bench.pass(100);
    let during = refused(&mut bench);
    assert!((250..350).contains(&during), "{during} of 1000");
    bench.pass(100);
    assert_eq!(refused(&mut bench), 0);
}

#[test]
fn a_refused_call_has_no_effect() {
    let mut bench = Bench::simple(2);
    let effect = Effect::Refuse {
        action: Some(Action::MODIFY_SPOT_FLEET_REQUEST),
        share: 1.0,
        class: ErrorClass::Transient,
        code: "InternalError".into(),
    };
    let fault = bench.world.inject(Fault::lasting(effect));
    let fleet = bench.fleet.clone();
    let change = ModifyFleet { target: Some(5), ..ModifyFleet::default() };
    let error = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, change).expect_err("refused");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Transient, Some("InternalError")));
    assert_eq!(bench.view().target, 2);
    bench.world.clear(fault);
    bench.modify(5, KEEP);
    assert_eq!(bench.view().target, 5);
}

#[test]
fn a_lost_answer_leaves_its_effect() {
    let mut bench = Bench::simple(2);
    bench
        .world
        .inject(Fault::lasting(Effect::LoseAnswer { action: Some(Action::TERMINATE_INSTANCES), share: 1.0 }));
    let victim = bench.serving()[0].clone();
    let error =
        bench.world.terminate_instances(ME, std::slice::from_ref(&victim)).expect_err("no answer came");
    assert_eq!((error.class, error.code), (ErrorClass::Unclear, None));
    assert!(!bench.serving().contains(&victim), "it took effect");
    assert_eq!(bench.world.calls().of(ME, Action::TERMINATE_INSTANCES).failed, 1);
}

#[test]
fn a_stuck_fleet_stays_in_modifying_and_does_nothing() {
    let mut bench = Bench::simple(3);
    bench.world.inject(Fault { from: secs(0), until: Some(secs(1200)), effect: Effect::StuckModifying });
    bench.modify(5, KEEP);
    let victim = bench.serving()[0].clone();
    bench.terminate(&[victim]);
    bench.pass(1199);
    assert_eq!((bench.view().state, bench.view().target), (FleetState::Modifying, 5));
    assert_eq!(bench.sizes(), (0, 0, 2));
    let fleet = bench.fleet.clone();
    let error = bench.world.modify_fleet(ME, Backend::SpotFleet, &fleet, ModifyFleet::default());
    assert_eq!(error.expect_err("still modifying").class, ErrorClass::Conflict);
    bench.pass(1);
    assert_eq!((bench.view().state, bench.sizes()), (FleetState::Active, (3, 0, 2)));
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 5));
}

#[test]
fn a_fleet_that_gets_stuck_while_it_is_modified_comes_down_afterwards() {
    let mut bench = Bench::simple(3);
    bench.world.inject(Fault { from: secs(0), until: Some(secs(60)), effect: Effect::StuckModifying });
    bench.modify(1, ExcessCapacity::Termination);
    bench.pass(50);
    assert_eq!(bench.warned(), []);
    bench.pass(15);
    assert_eq!(bench.warned().len(), 2);
}

#[test]
fn withheld_capacity_never_comes_and_nothing_is_said() {
    let mut bench = Bench::simple(2);
    let fault = bench.world.inject(Fault::lasting(Effect::NoCapacity { pool: None }));
    bench.set(4, KEEP);
    bench.pass(3600);
    assert_eq!((bench.sizes(), bench.view().activity), ((2, 0, 2), Some(Activity::PendingFulfillment)));
    assert!(!bench.history().iter().any(|(kind, _)| kind.starts_with("spotFleetRequest")));
    let billed = bench.world.scores(&bench.fleet).expect("scores").cost_unit_hours;
    bench.world.clear(fault);
    bench.pass(5);
    assert_eq!(bench.sizes(), (0, 2, 2));
    let added = bench.world.scores(&bench.fleet).expect("scores").cost_unit_hours - billed;
    assert!(added < 0.1, "waiting is not billed: {added}");
    bench.pass(120);
    assert_eq!(bench.sizes(), (0, 0, 4));
}

#[test]
fn a_slow_action_says_how_slow_it_is() {
    let mut bench = Bench::simple(1);
    let effect = Effect::Slow { action: Some(Action::DESCRIBE_INSTANCES), latency: secs(7) };
    bench.world.inject(Fault { from: secs(10), until: None, effect });
    assert_eq!(bench.world.latency(Action::DESCRIBE_INSTANCES), secs(0));
    bench.pass(10);
    assert_eq!(bench.world.latency(Action::DESCRIBE_INSTANCES), secs(7));
    assert_eq!(bench.world.latency(Action::DESCRIBE_FLEETS), secs(0));
}
