//! The checker refuses what breaks an invariant, by whomever it was planned.

use crate::support::scene::{NOON, POOLS, Scene, member, seconds};
use autoscaler_core::{
    Action, Budget, DrainCause, Expected, Invariant, Memory, Phase, Plan, Removal, RemovalStep, check,
};
use fleet::ports::Change;
use fleet::{CapacityUnits, FleetState, InstanceId};

const BUDGET: Budget = Budget { writes_last_minute: 0, writes_per_minute: 10 };

fn broken(scene: &Scene, after: &Memory, actions: Vec<Action>) -> Vec<Invariant> {
    let plan = Plan { actions };
    let found = check(&scene.policy, &scene.seen, &scene.memory, after, &plan, BUDGET, scene.now);
    let mut invariants: Vec<Invariant> = found.into_iter().map(|b| b.invariant).collect();
    invariants.dedup();
    invariants
}

fn set(scene: &mut Scene, target: u32) -> Action {
    let view = scene.view();
    let change = Change { target, on_demand_target: 0 };
    Action::Modify { fleet: view.fleet_ref(), from: view.target, change }
}

fn terminate(scene: &mut Scene, ids: &[&str]) -> Action {
    let fleet = scene.view().fleet_ref();
    Action::Terminate { fleet, instances: ids.iter().map(|id| InstanceId::from(*id)).collect() }
}

fn with_removals(memory: &Memory, step: RemovalStep, ids: &[&str]) -> Memory {
    let mut memory = memory.clone();
    for id in ids {
        let removal = Removal { step, ..Removal::of(&member(0, POOLS[0], NOON), DrainCause::ScaleIn, NOON) };
        memory.removals.insert(InstanceId::from(*id), removal);
    }
    memory
}

#[test]
fn good_plans_pass() {
    let mut scene = Scene::of(8, 6);
    let memory = scene.memory.clone();
    for target in [1, 7, 9, 20] {
        let action = set(&mut scene, target);
        assert_eq!(broken(&scene, &memory, vec![action]), [], "{target}");
    }
    scene.view().target = 7;
    scene.memory = with_removals(&memory, RemovalStep::Lowering, &["i-0007"]);
    let after = with_removals(&memory, RemovalStep::Terminating, &["i-0007"]);
    let action = terminate(&mut scene, &["i-0007"]);
    assert_eq!(broken(&scene, &after, vec![action]), []);
}

#[test]
fn cap_keeps_the_target_within_its_bounds() {
    let mut scene = Scene::of(8, 6);
    scene.policy.capacity.min = 2;
    let memory = scene.memory.clone();
    for target in [0, 1, 21] {
        let action = set(&mut scene, target);
        assert_eq!(broken(&scene, &memory, vec![action]), [Invariant::Cap], "{target}");
    }
    let fleet = scene.view().fleet_ref();
    let change = Change { target: 9, on_demand_target: 10 };
    let action = Action::Modify { fleet, from: 8, change };
    assert_eq!(broken(&scene, &memory, vec![action]), [Invariant::Cap]);
}

#[test]
fn data_forbids_a_smaller_fleet_on_what_is_missing_stale_or_contradictory() {
    let spoil: [fn(&mut Scene); 6] = [
        |s| s.seen.latest = None,
        |s| s.seen.latest.as_mut().expect("a sample").end = NOON - seconds(91),
        |s| s.seen.latest.as_mut().expect("a sample").end = NOON + seconds(91),
        |s| s.seen.members = None,
        |s| s.seen.members.as_mut().expect("members").at = NOON - seconds(31),
        |s| s.view().fulfilled = CapacityUnits::new(9.0),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut scene = Scene::of(8, 6);
        let memory = scene.memory.clone();
        spoil(&mut scene);
        let smaller = set(&mut scene, 7);
        assert_eq!(broken(&scene, &memory, vec![smaller]), [Invariant::Data], "{index}");
        let larger = set(&mut scene, 9);
        assert_eq!(broken(&scene, &memory, vec![larger]), [], "{index}: more is bought on what is known");
    }
    let mut scene = Scene::of(8, 6);
    scene.seen.latest = None;
    scene.policy.capacity.max = 6;
    let memory = scene.memory.clone();
    let action = set(&mut scene, 6);
    assert_eq!(broken(&scene, &memory, vec![action]), [], "down to a lowered max is no scale-in");
}

#[test]
fn own_and_drain_protect_who_is_not_ours_to_take() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 6;
    scene.members()[6].protected = true;
    scene.members()[7].phase = Phase::Draining;
    for (id, invariant) in
        [("i-0099", Invariant::Own), ("i-0006", Invariant::Own), ("i-0007", Invariant::Drain)]
    {
        let before = scene.memory.clone();
        scene.memory = with_removals(&before, RemovalStep::Lowering, &[id]);
        let after = with_removals(&before, RemovalStep::Terminating, &[id]);
        let action = terminate(&mut scene, &[id]);
        assert_eq!(broken(&scene, &after, vec![action]), [invariant], "{id}");
        scene.memory = before;
    }
}

#[test]
fn once_keeps_removals_from_being_bought_back_or_forgotten() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 7;
    let before = scene.memory.clone();
    let begun = |step, ids: &[&str]| with_removals(&before, step, ids);
    // Two go where the target has room for one.
    scene.memory = begun(RemovalStep::Lowering, &["i-0006", "i-0007"]);
    let after = begun(RemovalStep::Terminating, &["i-0006", "i-0007"]);
    let both = terminate(&mut scene, &["i-0006", "i-0007"]);
    assert_eq!(broken(&scene, &after, vec![both]), [Invariant::Once]);
    // One has been told already: with another the fleet would be one short.
    scene.memory = begun(RemovalStep::Terminating, &["i-0006"]);
    let other = terminate(&mut scene, &["i-0007"]);
    assert_eq!(broken(&scene, &after, vec![other]), [Invariant::Once]);
    // Not in the ledger.
    scene.memory = begun(RemovalStep::Lowering, &["i-0007"]);
    let forgotten = terminate(&mut scene, &["i-0007"]);
    assert_eq!(broken(&scene, &before, vec![forgotten]), [Invariant::Once]);
    // Twice in one plan, and beside a change of the target.
    let after = begun(RemovalStep::Terminating, &["i-0007"]);
    let twice = terminate(&mut scene, &["i-0007", "i-0007"]);
    assert_eq!(broken(&scene, &after, vec![twice]), [Invariant::Once]);
    let actions = vec![set(&mut scene, 9), terminate(&mut scene, &["i-0007"])];
    assert_eq!(broken(&scene, &after, actions), [Invariant::Once]);
}

#[test]
fn modify_allows_one_modification_at_a_time() {
    let mut scene = Scene::of(8, 6);
    let memory = scene.memory.clone();
    let two = vec![set(&mut scene, 9), set(&mut scene, 10)];
    assert_eq!(broken(&scene, &memory, two), [Invariant::Modify]);
    let mut busy = Scene::of(8, 6);
    busy.view().state = FleetState::Modifying;
    let action = set(&mut busy, 9);
    assert_eq!(broken(&busy, &memory, vec![action]), [Invariant::Modify]);
    let mut unseen = Scene::of(8, 6);
    let action = set(&mut unseen, 9);
    unseen.seen.fleet = None;
    assert_eq!(broken(&unseen, &memory, vec![action]), [Invariant::Modify]);
    let mut other = Scene::of(8, 6);
    let action = set(&mut other, 9);
    other.view().target = 5;
    assert_eq!(broken(&other, &memory, vec![action]), [Invariant::Modify]);
    let mut written = Scene::of(8, 6);
    let under_way = Expected {
        target: 10,
        on_demand_target: 0,
        written: Some(NOON - seconds(60)),
        shown: false,
        before: Some(Change { target: 8, on_demand_target: 0 }),
    };
    written.memory.expected = Some(under_way);
    let action = set(&mut written, 9);
    assert_eq!(broken(&written, &memory, vec![action.clone()]), [Invariant::Modify]);
    written.memory.expected = Some(Expected { written: Some(NOON - seconds(90)), ..under_way });
    assert_eq!(
        broken(&written, &memory, vec![action]),
        [],
        "a write that never showed blocks nothing for ever"
    );
}

#[test]
fn spread_refuses_a_worse_choice_where_there_is_a_better_one() {
    let mut scene = Scene::of(8, 6);
    // One c5 among m5.
    for (n, place) in scene.members().iter_mut().enumerate() {
        place.pool = member(n, POOLS[if n == 0 { 1 } else { 2 * (n % 2) }], NOON).pool;
    }
    let memory = scene.memory.clone();
    let action = set(&mut scene, 7);
    let last_of_its_family = with_removals(&memory, RemovalStep::Lowering, &["i-0000"]);
    assert_eq!(broken(&scene, &last_of_its_family, vec![action.clone()]), [Invariant::Spread]);
    let one_of_many = with_removals(&memory, RemovalStep::Lowering, &["i-0001"]);
    assert_eq!(broken(&scene, &one_of_many, vec![action.clone()]), []);
    for place in scene.members().iter_mut().skip(1) {
        place.protected = true;
    }
    assert_eq!(broken(&scene, &last_of_its_family, vec![action]), [], "there is no other choice");
}

#[test]
fn pace_counts_the_writes_of_the_last_minute() {
    let mut scene = Scene::of(8, 6);
    let plan = Plan { actions: vec![set(&mut scene, 9)] };
    let with = |writes_last_minute| {
        let budget = Budget { writes_last_minute, writes_per_minute: 3 };
        let (before, after) = (&scene.memory, &scene.memory);
        check(&scene.policy, &scene.seen, before, after, &plan, budget, scene.now).len()
    };
    assert_eq!((with(2), with(3)), (0, 1));
}
