//! A process that dies between any two effects, and a disk that takes nothing: what was begun is finished, once.

use autoscaler_engine::{Alarm, Event, Record, Withheld};
use fleet_sim::{Action, Demand, Effect, Fault, InstancePhase, WorldSpec};
use muster_worlds::harness::{Harness, fleet, minutes, secs, world};
use std::time::Duration;

/// When the policy's maximum falls below what runs.
const SHRINKS: Duration = minutes(10);

/// A fleet of six that may be of five only, from the tenth minute on: one has to go.
struct Shrinking(Harness);

impl Shrinking {
    fn new(faults: Vec<Fault>) -> Self {
        let mut spec = WorldSpec { faults, ..world(vec![fleet(6, Demand::constant(2.0))]) };
        spec.timing.describe_lag = secs(3);
        let bounds = |policy: &mut autoscaler_core::Policy| {
            policy.capacity.min = 6;
            policy.capacity.max = 6;
        };
        let mut harness = Harness::new(spec, 2).policy(bounds);
        harness.truth.bounds = Some((5, 6));
        Self(harness)
    }

    fn run_until(&mut self, until: Duration) -> &mut Harness {
        let Self(harness) = self;
        if harness.elapsed() < SHRINKS && until >= SHRINKS {
            harness.run_until(SHRINKS);
            for policy in &mut harness.policies {
                policy.base.capacity.min = 5;
                policy.base.capacity.max = 5;
            }
            harness.happen(Event::PoliciesLoaded(harness.policies.clone()));
        }
        harness.run_until(until);
        harness
    }
}

/// The effects of the minutes in which the instance is given back.
fn effects_of_the_removal(faults: &[Fault]) -> std::ops::Range<u64> {
    let mut shrinking = Shrinking::new(faults.to_vec());
    let from = shrinking.run_until(SHRINKS.saturating_sub(secs(10))).effects;
    let mut until = SHRINKS;
    while shrinking.0.truth.terminations.is_empty() {
        until += secs(1);
        shrinking.run_until(until);
        assert!(until < minutes(60), "nothing was terminated");
    }
    from..shrinking.run_until(until + secs(40)).effects
}

/// Exactly one instance less, none bought, nothing left over.
fn one_less(harness: &mut Harness, what: &str) {
    let members = harness.world.instance_truths(&harness.id(0));
    let alive = members.iter().filter(|member| member.phase != InstancePhase::Gone).count();
    let truth = harness.truth_of(0);
    assert_eq!((members.len(), alive, truth.target), (6, 5, 5), "{what}: {truth:?}");
    assert_eq!(harness.truth.terminations.len(), 1, "{what}: one victim, whoever asks");
    let memory = &harness.disk_state(0).memory;
    assert!(memory.removals.is_empty(), "{what}: {:?}", memory.removals);
    harness.conclude();
}

#[test]
fn whenever_the_process_dies_exactly_one_instance_goes() {
    let lost = |action| Fault::lasting(Effect::LoseAnswer { action: Some(action), share: 1.0 });
    for faults in
        [Vec::new(), vec![lost(Action::MODIFY_SPOT_FLEET_REQUEST), lost(Action::TERMINATE_INSTANCES)]]
    {
        let effects = effects_of_the_removal(&faults);
        assert!(effects.end - effects.start > 20, "{effects:?}");
        for dies_at in effects {
            let mut shrinking = Shrinking::new(faults.clone());
            shrinking.0.dies_at = Some(dies_at);
            let harness = shrinking.run_until(minutes(25));
            assert_eq!(harness.crashes, 1);
            one_less(harness, &format!("died before effect {dies_at}"));
        }
    }
}

#[test]
fn a_process_that_dies_again_and_again_still_gets_there() {
    for every in [7, 23, 60, 171] {
        let mut shrinking = Shrinking::new(Vec::new());
        shrinking.0.dies_every = Some(every);
        let harness = shrinking.run_until(minutes(30));
        (harness.dies_at, harness.dies_every) = (None, None);
        let harness = shrinking.run_until(minutes(45));
        assert!(harness.crashes >= 2, "every {every}: {} crashes", harness.crashes);
        one_less(harness, &format!("died every {every} effects"));
    }
}

#[test]
fn what_is_bought_is_bought_once_whenever_the_process_dies() {
    let load = Demand::points([(minutes(8), 3.0), (minutes(9), 6.0)]);
    let run = |dies_at: Option<u64>| {
        let mut harness = Harness::new(world(vec![fleet(6, load.clone())]), 2);
        harness.dies_at = dies_at;
        harness.run_until(minutes(30));
        harness.conclude();
        let effects = harness.effects;
        (harness.truth_of(0).target, effects, harness)
    };
    let (target, _, undisturbed) = run(None);
    assert!(target > 6);
    let near = undisturbed.truth.modifications.len();
    assert!(near > 0);
    for dies_at in (300..700).step_by(9) {
        let (other, ..) = run(Some(dies_at));
        assert!(other.abs_diff(target) <= 2, "died before effect {dies_at}: {other} in place of {target}");
    }
}

#[test]
fn a_restart_knows_what_the_process_before_it_knew() {
    let mut harness = Harness::new(world(vec![fleet(8, Demand::constant(5.9))]), 4);
    harness.run_until(minutes(90));
    let before = harness.status(0);
    harness.die();
    harness.run_until(minutes(90) + secs(3));
    let after = harness.status(0);
    let serving = |status: &autoscaler_engine::FleetStatus| {
        status.instances.iter().map(|i| (i.id.clone(), i.phase, i.since)).collect::<Vec<_>>()
    };
    assert_eq!(serving(&before), serving(&after));
    let report = |status: &autoscaler_engine::FleetStatus| status.decided.clone().expect("it decides").report;
    assert_eq!(report(&before).needed, report(&after).needed, "it is not blind");
    harness.conclude();
}

#[test]
fn with_a_full_disk_capacity_is_still_bought_and_nothing_is_given_back() {
    let load =
        Demand::points([(minutes(20), 3.0), (minutes(21), 8.0), (minutes(60), 8.0), (minutes(61), 2.0)]);
    let mut harness = Harness::new(world(vec![fleet(5, load)]), 9);
    harness.run_until(minutes(18));
    harness.disk.full = true;
    harness.run_until(minutes(50));
    assert!(harness.truth_of(0).in_service >= 10, "{:?}", harness.truth_of(0));
    assert!(harness.raised().iter().any(|alarm| matches!(alarm, Alarm::JournalFailing { .. })));
    let terminated = harness.truth.terminations.len();
    let target = harness.truth_of(0).target;
    harness.run_until(minutes(240));
    assert_eq!(harness.truth.terminations.len(), terminated);
    assert_eq!(harness.truth_of(0).target, target);
    let decided = harness.status(0).decided.expect("it decides");
    assert_eq!(decided.withheld, Some(Withheld::JournalFailing), "{}", decided.report);
    // There is room again: what the journal missed is in a checkpoint, and the fleet comes down.
    harness.disk.full = false;
    harness.run_until(minutes(420));
    assert!(!harness.raised().iter().any(|alarm| matches!(alarm, Alarm::JournalFailing { .. })));
    assert!(harness.truth_of(0).target <= 6, "{:?}", harness.truth_of(0));
    harness.conclude();
    harness.die();
    harness.run_until(minutes(430));
    harness.conclude();
}

#[test]
fn a_termination_that_was_refused_for_certain_is_told_again_soon() {
    let refused = Effect::Refuse {
        action: Some(Action::TERMINATE_INSTANCES),
        share: 1.0,
        class: fleet::ErrorClass::Transient,
        code: "InternalError".into(),
    };
    let fault = Fault { from: SHRINKS, until: Some(SHRINKS + secs(25)), effect: refused };
    let mut shrinking = Shrinking::new(vec![fault]);
    let harness = shrinking.run_until(SHRINKS + secs(55));
    assert!((2..=4).contains(&harness.truth.termination_calls), "{}", harness.truth.termination_calls);
    assert_eq!(harness.truth_of(0).in_service, 5, "sooner than a victim that does not listen is told again");
    let harness = shrinking.run_until(minutes(20));
    one_less(harness, "refused at first");
}

#[test]
fn a_termination_whose_outcome_is_unclear_is_told_again_when_describes_show_that_it_did_not_happen() {
    let unclear = Effect::Refuse {
        action: Some(Action::TERMINATE_INSTANCES),
        share: 1.0,
        class: fleet::ErrorClass::Unclear,
        code: "RequestTimeout".into(),
    };
    let fault = Fault { from: SHRINKS, until: Some(SHRINKS + secs(60)), effect: unclear };
    let mut shrinking = Shrinking::new(vec![fault]);
    let harness = shrinking.run_until(minutes(20));
    one_less(harness, "unclear at first");
    assert!((2..=3).contains(&harness.truth.termination_calls), "{}", harness.truth.termination_calls);
}

/// A shrinking fleet at the moment at which the write is sent.
fn when_the_target_is_lowered() -> Harness {
    let mut shrinking = Shrinking::new(Vec::new());
    let mut until = SHRINKS;
    while shrinking.0.truth.modifications.is_empty() {
        until += Duration::from_millis(1);
        shrinking.run_until(until);
    }
    shrinking.0
}

#[test]
fn a_removal_that_was_begun_is_finished_though_the_disk_is_full() {
    let mut harness = when_the_target_is_lowered();
    harness.disk.full = true;
    harness.run_until(minutes(20));
    assert_eq!(harness.truth.terminations.len(), 1);
    assert_eq!(harness.truth_of(0).in_service, 5);
    harness.truth.assert_clean();
}

#[test]
fn a_removal_whose_intent_cannot_be_written_does_not_begin() {
    let mut shrinking = Shrinking::new(Vec::new());
    shrinking.run_until(SHRINKS.saturating_sub(Duration::from_millis(1)));
    // Nobody knows yet that the disk is full: the intent itself finds out.
    shrinking.0.disk.full = true;
    let harness = shrinking.run_until(minutes(14));
    assert!(harness.truth.modifications.is_empty() && harness.truth.terminations.is_empty());
    let not_journaled = |record: &Record| {
        matches!(record, Record::Outcome { outcome: autoscaler_engine::Outcome::NotJournaled, .. })
    };
    harness.disk.full = false;
    harness.run_until(minutes(20));
    assert!(
        !harness.disk.entries().any(|entry| entry.records.iter().any(not_journaled)),
        "a gap has no details"
    );
    one_less(harness, "written after all");
}

#[test]
fn the_journal_holds_the_intent_before_the_write_is_begun() {
    let harness = when_the_target_is_lowered();
    // The write is on its way, its answer is not there yet: the disk already knows.
    let last = harness.disk.entries().last().expect("it was written");
    let intent = last.records.iter().any(|record| match record {
        Record::Cycle(cycle) => cycle.withheld.is_none() && !cycle.plan.actions.is_empty(),
        _ => false,
    });
    assert!(intent, "{last:?}");
    assert_eq!(harness.disk_state(0).memory.removals.len(), 1);
}
