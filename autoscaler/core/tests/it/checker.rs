//! The checker refuses what breaks an invariant, by whomever it was planned.

use crate::support::nodes::{node, service};
use crate::support::scene::{NOON, POOLS, Scene, member, seconds};
use autoscaler_core::{
    Action, Budget, DrainBy, DrainCause, Expected, Invariant, Memory, Observed, Phase, Plan, Removal,
    RemovalStep, Replacement, ReplacementCause, ReplacementStep, check,
};
use fleet::ports::Change;
use fleet::{CapacityUnits, FleetState, InstanceId, Market, NoticeKind, Weight};

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
    let change = Change::of_target(target, 0);
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
fn own_lets_one_go_that_an_earlier_leader_entered_and_nobody_has_looked_for_since() {
    let scene = Scene::of(8, 6);
    let id = InstanceId::from("i-0099");
    let drain = |change: &dyn Fn(&mut Scene)| {
        let mut scene = scene.clone();
        let cause = DrainCause::Replaced(ReplacementCause::Notice(NoticeKind::SpotInterruption));
        let deadline = Some(scene.now + seconds(120));
        let removal = Removal { deadline, ..Removal::of(&member(99, POOLS[0], NOON), cause, scene.now) };
        scene.memory.removals.insert(id.clone(), removal);
        scene.seen.unseen = vec![id.clone()];
        change(&mut scene);
        let action = Action::Drain { instance: id.clone(), deadline: scene.now + seconds(60), cause };
        broken(&scene, &scene.memory.clone(), vec![action])
    };
    assert_eq!(drain(&|_| {}), []);
    let own = [Invariant::Own];
    assert_eq!(drain(&|scene| scene.seen.unseen.clear()), own, "a look would have shown it");
    let stays = |scene: &mut Scene| scene.memory.removals.get_mut(&id).expect("it goes").deadline = None;
    assert_eq!(drain(&stays), own, "nothing presses");
    assert_eq!(drain(&|scene| _ = scene.memory.protected.insert(id.clone())), own, "it was protected");
    assert_eq!(drain(&|scene| _ = scene.policy.protect.instances.insert(id.clone())), own, "it is protected");
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
    let change = Change::of_target(9, 10);
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
        before: Some(Change::of_target(8, 0)),
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
fn spread_refuses_what_leaves_a_zone_too_much_where_there_is_a_better_choice() {
    let mut scene = Scene::of(8, 6);
    // Two of eight in the other zone, in pools none of which holds too much.
    let pools = [("m5.large", "eu-west-1a"), ("c5.large", "eu-west-1a"), ("r5.large", "eu-west-1a")];
    for (n, place) in scene.members().iter_mut().enumerate() {
        let pool = if n < 2 { ("m5.large", "eu-west-1b") } else { pools[n % 3] };
        place.pool = member(n, pool, NOON).pool;
    }
    let memory = scene.memory.clone();
    let action = set(&mut scene, 7);
    let of_the_smaller_zone = with_removals(&memory, RemovalStep::Lowering, &["i-0000"]);
    assert_eq!(broken(&scene, &of_the_smaller_zone, vec![action.clone()]), [Invariant::Spread]);
    let of_the_larger_zone = with_removals(&memory, RemovalStep::Lowering, &["i-0002"]);
    assert_eq!(broken(&scene, &of_the_larger_zone, vec![action.clone()]), []);
    scene.policy.diversification.max_zone_share = 0.9;
    assert_eq!(broken(&scene, &of_the_smaller_zone, vec![action]), [], "as much may lie in one zone");
}

#[test]
fn spread_allows_replacements_within_their_budget_and_for_a_reason() {
    let mut scene = Scene::of(8, 6);
    let repairing = |memory: &Memory| {
        let mut after = with_replacements(memory, ReplacementStep::Waiting, &["i-0001"]);
        for replacement in after.replacements.values_mut() {
            replacement.cause = ReplacementCause::Spread;
        }
        after
    };
    scene.policy.diversification.repairs_per_hour = 2;
    assert_eq!(broken(&scene, &repairing(&scene.memory), vec![]), [Invariant::Spread], "nothing is amiss");
    for place in scene.members() {
        place.pool.zone = "eu-west-1a".into();
    }
    scene.memory.repairs = vec![NOON - seconds(3601), NOON - seconds(60)];
    assert_eq!(broken(&scene, &repairing(&scene.memory), vec![]), []);
    scene.memory.repairs = vec![NOON - seconds(3599), NOON - seconds(60)];
    assert_eq!(
        broken(&scene, &repairing(&scene.memory), vec![]),
        [Invariant::Spread],
        "the third in an hour"
    );
}

#[test]
fn spread_asks_for_no_exchange_that_takes_the_room_of_what_moves() {
    let mut scene = Scene::of(8, 6);
    scene.policy.drain.by = DrainBy::Nomad;
    // One c5 among m5, so young that no look has shown its node. Of the nodes only that of i-0001 has room.
    for (n, place) in scene.members().iter_mut().enumerate() {
        place.pool = member(n, POOLS[if n == 0 { 1 } else { 2 * (n % 2) }], NOON).pool;
    }
    let full = |n: usize| vec![service(); if n == 1 { 0 } else { 10 }];
    let shown = scene.members().iter().enumerate().skip(1);
    let nodes: Vec<_> = shown.map(|(n, m)| node(&m.id, full(n))).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what: nodes.clone() });
    let action = set(&mut scene, 6);
    let after = with_removals(&scene.memory, RemovalStep::Lowering, &["i-0000", "i-0003"]);
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [], "i-0001 holds the room of i-0003's work");
    let empty = |mut node: fleet::NodeView| {
        if node.instance.as_str() == "i-0005" {
            node.work = Vec::new().into();
        }
        node
    };
    let what = nodes.into_iter().map(empty).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what });
    assert_eq!(broken(&scene, &after, vec![action]), [Invariant::Spread], "there is room on another");
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

/// A ledger with replacements at a step.
fn with_replacements(memory: &Memory, step: ReplacementStep, ids: &[&str]) -> Memory {
    let mut memory = memory.clone();
    for id in ids {
        let replacement = Replacement {
            cause: ReplacementCause::Notice(NoticeKind::SpotInterruption),
            step,
            since: NOON,
            weight: Weight::new(1.0),
            market: Market::Spot,
            drain_until: None,
            deadline: Some(NOON + seconds(120)),
        };
        memory.replacements.insert(InstanceId::from(*id), replacement);
    }
    memory
}

#[test]
fn cap_is_passed_only_as_far_as_replacements_explain_it_and_surge_allows() {
    let mut scene = Scene::of(20, 15);
    let memory = scene.memory.clone();
    let raising = |ids: &[&str]| with_replacements(&memory, ReplacementStep::Raising, ids);
    let one_more = set(&mut scene, 21);
    assert_eq!(broken(&scene, &raising(&["i-0001"]), vec![one_more.clone()]), []);
    assert_eq!(broken(&scene, &memory, vec![one_more]), [Invariant::Cap], "an operator's is no surge");
    let two_more = set(&mut scene, 22);
    assert_eq!(broken(&scene, &raising(&["i-0001"]), vec![two_more]), [Invariant::Cap]);
    let three_more = set(&mut scene, 23);
    let three = raising(&["i-0001", "i-0002", "i-0003"]);
    assert_eq!(broken(&scene, &three, vec![three_more]), [Invariant::Cap], "surge is 2");
}

#[test]
fn drain_forbids_to_terminate_what_still_works() {
    let mut scene = Scene::of(8, 6);
    scene.policy.drain.by = DrainBy::Nomad;
    scene.view().target = 7;
    let nodes = scene.members().iter().map(|m| node(&m.id, vec![service()])).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what: nodes });
    let before = scene.memory.clone();
    scene.memory = with_removals(&before, RemovalStep::Lowered, &["i-0007"]);
    let mut after = with_removals(&before, RemovalStep::Terminating, &["i-0007"]);
    let action = terminate(&mut scene, &["i-0007"]);
    let drain_until = |after: &mut Memory, until| {
        after.removals.values_mut().for_each(|r| r.drain_until = Some(until));
    };
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain]);
    drain_until(&mut after, NOON - seconds(4));
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain], "its grace runs");
    drain_until(&mut after, NOON - seconds(5));
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain], "nobody has asked it");
    let last = scene.seen.nodes.as_mut().expect("nodes").what.last_mut().expect("a node");
    (last.eligible, last.draining) = (false, true);
    assert_eq!(broken(&scene, &after, vec![action.clone()]), []);
    drain_until(&mut after, NOON + seconds(60));
    let last = scene.seen.nodes.as_mut().expect("nodes").what.last_mut().expect("a node");
    (last.eligible, last.draining) = (true, false);
    last.work.clear();
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain], "work may still come");
    let last = scene.seen.nodes.as_mut().expect("nodes").what.last_mut().expect("a node");
    (last.eligible, last.draining) = (false, true);
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain], "the drain is not over");
    let last = scene.seen.nodes.as_mut().expect("nodes").what.last_mut().expect("a node");
    last.draining = false;
    assert_eq!(broken(&scene, &after, vec![action.clone()]), []);
    scene.seen.nodes.as_mut().expect("nodes").what.pop();
    assert_eq!(
        broken(&scene, &after, vec![action.clone()]),
        [Invariant::Drain],
        "it serves on a hidden node"
    );
    scene.seen.nodes = None;
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain], "nobody knows");
    scene.policy.drain.by = DrainBy::Hook;
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Drain]);
    scene.seen.emptied = vec!["i-0007".into()];
    assert_eq!(broken(&scene, &after, vec![action]), []);
}

#[test]
fn drain_asks_for_room_for_what_moves() {
    let mut scene = Scene::of(8, 6);
    scene.policy.drain.by = DrainBy::Nomad;
    let nodes = scene.members().iter().map(|m| node(&m.id, vec![service(); 9])).collect();
    scene.seen.nodes = Some(Observed { at: NOON, what: nodes });
    let after = with_removals(&scene.memory, RemovalStep::Draining, &["i-0007"]);
    let drain = Action::Drain { instance: "i-0007".into(), deadline: NOON, cause: DrainCause::ScaleIn };
    assert_eq!(broken(&scene, &after, vec![drain]), [Invariant::Drain], "nine pieces, seven places");
}

#[test]
fn own_protects_nodes_that_are_not_about_to_go() {
    let mut scene = Scene::of(8, 6);
    scene.members()[6].protected = true;
    let memory = scene.memory.clone();
    let known = with_replacements(&memory, ReplacementStep::Waiting, &["i-0005", "i-0006", "i-0099"]);
    let cause = DrainCause::ScaleIn;
    for (id, fine) in [("i-0005", true), ("i-0006", false), ("i-0099", false), ("i-0003", false)] {
        let instance = InstanceId::from(id);
        let drain = Action::Drain { instance: instance.clone(), deadline: NOON, cause };
        for action in [drain, Action::Cordon { instance }] {
            let expected: &[Invariant] = if fine { &[] } else { &[Invariant::Own] };
            assert_eq!(broken(&scene, &known, vec![action.clone()]), expected, "{action:?}");
        }
    }
    let restore = Action::Restore { instance: "i-0005".into() };
    assert_eq!(broken(&scene, &known, vec![restore]), [Invariant::Once]);
}

#[test]
fn once_forbids_to_replace_twice_or_without_raising() {
    let mut scene = Scene::of(8, 6);
    let memory = scene.memory.clone();
    let after = with_replacements(&memory, ReplacementStep::Raising, &["i-0001"]);
    let action = set(&mut scene, 9);
    assert_eq!(broken(&scene, &after, vec![action.clone()]), []);
    assert_eq!(broken(&scene, &after, Vec::new()), [Invariant::Once], "nothing is raised");
    scene.memory.replaced.insert("i-0001".into(), NOON - seconds(60));
    assert_eq!(broken(&scene, &after, vec![action.clone()]), [Invariant::Once], "a second time");
    scene.memory.replaced.clear();
    let both = with_removals(&after, RemovalStep::Lowered, &["i-0001"]);
    assert_eq!(broken(&scene, &both, vec![action])[0], Invariant::Once, "in two books");
}

#[test]
fn data_is_not_asked_for_where_a_raise_is_taken_back() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 9;
    scene.seen.latest = None;
    let memory = scene.memory.clone();
    scene.memory = with_replacements(&memory, ReplacementStep::Raised, &["i-0001"]);
    let mut back = with_removals(&memory, RemovalStep::Lowering, &["i-0001"]);
    let cause = ReplacementCause::Notice(NoticeKind::SpotInterruption);
    back.removals.values_mut().for_each(|r| r.cause = DrainCause::Replaced(cause));
    let action = set(&mut scene, 8);
    assert_eq!(broken(&scene, &back, vec![action]), []);
    let too_much = set(&mut scene, 7);
    assert_eq!(broken(&scene, &back, vec![too_much]), [Invariant::Data]);
}

#[test]
fn a_lowering_that_was_lost_may_be_tried_again_whatever_is_known_of_load() {
    let mut scene = Scene::of(8, 6);
    let memory = with_removals(&scene.memory, RemovalStep::Lowering, &["i-0007"]);
    scene.seen.latest = None;
    let action = set(&mut scene, 7);
    let written = Some(NOON - seconds(100));
    let before = Some(Change::of_target(8, 0));
    for (before, found) in [(before, vec![]), (None, vec![Invariant::Data])] {
        let expected = Expected { target: 7, on_demand_target: 0, written, shown: false, before };
        scene.memory = Memory { expected: Some(expected), ..memory.clone() };
        assert_eq!(broken(&scene, &memory, vec![action.clone()]), found, "{before:?}");
    }
}
