//! Another version of the launch template reaches a fleet node by node, or is taken back; whatever happens meanwhile.

mod alarms;

use crate::support::ec2::{Ec2, Fate, runs};
use crate::support::scene::{Scene, seconds};
use autoscaler_core::{
    Action, Asked, Course, Expected, Halt, Hold, Phase, PoolTrouble, Rebalance, Remark, Replacement,
    ReplacementCause, Rollout, Stage, TroubleKind,
};
use fleet::ports::Change;
use fleet::{CapacityUnits, Health, InstanceId, LaunchTemplate, NoticeKind, Weight};
use std::cmp::Ordering::{Equal, Greater, Less};

/// A roll-out from version 1 to version 2.
fn rollout(scene: &Scene) -> Rollout {
    let who = ("ops".to_owned(), "new image".to_owned());
    Rollout::begin("lt-1".to_owned(), (1, 2), None, who, scene.now)
}

/// A fleet of ten with work on its nodes, of which eight are needed and none is given back, as a roll-out begins.
fn begun() -> Ec2 {
    let mut ec2 = Ec2::with_nomad(10, 6, 4);
    ec2.scene.policy.scale_in.enabled = true;
    ec2.scene.policy.capacity.min = 10;
    ec2.ticks(3);
    ec2.scene.memory.rollout = Some(rollout(&ec2.scene));
    ec2
}

fn course(ec2: &Ec2) -> &Rollout {
    ec2.scene.memory.rollout.as_ref().expect("a roll-out")
}

/// How many are on their way out for the roll-out.
fn under_way(ec2: &Ec2) -> usize {
    let memory = &ec2.scene.memory;
    let ours = autoscaler_core::DrainCause::Replaced(ReplacementCause::Rollout);
    let replaced = memory.replacements.values().filter(|r| r.cause == ReplacementCause::Rollout).count();
    replaced + memory.removals.values().filter(|r| r.cause == ours).count()
}

/// Ticks until the roll-out is where it should be, and judges it at each.
fn until(ec2: &mut Ec2, what: &str, fate: &mut dyn FnMut(&Action) -> Fate, there: impl Fn(&Ec2) -> bool) {
    for _ in 0..2000 {
        if there(ec2) {
            return;
        }
        let _ = ec2.tick(fate);
        judge(ec2, what);
    }
    panic!("{what}: never there: {:?}\n{:?}", course(ec2), ec2.scene.memory);
}

/// What holds at every moment.
fn judge(ec2: &Ec2, what: &str) {
    let surge = ec2.scene.policy.rollout.surge as usize;
    assert!(under_way(ec2) <= surge, "{what}: {} at once", under_way(ec2));
    let capacity = ec2.scene.policy.capacity;
    assert!(ec2.target <= capacity.max.max(capacity.min) + capacity.surge, "{what}: target {}", ec2.target);
    assert!(ec2.undrained.is_empty(), "{what}: {:?} went with work on them", ec2.undrained);
}

fn ended(ec2: &Ec2) -> bool {
    course(ec2).is_over()
}

fn works(_: &Action) -> Fate {
    Fate::Works
}

/// Everything is of a version, at the size that it was.
fn all_of(ec2: &Ec2, version: u64, what: &str) {
    assert_eq!(ec2.running(version), ec2.alive.len(), "{what}: {:?}", ec2.alive);
    assert_eq!((ec2.alive.len(), ec2.target), (10, 10), "{what}");
    assert_eq!(ec2.launches, version, "{what}");
    assert!(ec2.scene.memory.removals.is_empty() && ec2.scene.memory.replacements.is_empty(), "{what}");
    assert_eq!(ec2.nodes.work(), 40, "{what}: work was lost");
}

#[test]
fn what_is_called_at_risk_before_any_work_could_come_to_it_is_as_ready_as_any() {
    let mut ec2 = begun();
    ec2.scene.policy.interruption.rebalance = Rebalance::Cordon;
    ec2.nodes.early = true;
    let mut told: Vec<InstanceId> = Vec::new();
    for _ in 0..2000 {
        if ended(&ec2) {
            break;
        }
        let new = ec2.alive.iter().filter(|member| runs(member, 2) && !told.contains(&member.id));
        for id in new.map(|member| member.id.clone()).collect::<Vec<_>>() {
            // Somewhere work has to go.
            if told.len().is_multiple_of(3) {
                ec2.hear(&id, NoticeKind::RebalanceRecommendation, None);
            }
            told.push(id);
        }
        ec2.ticks(1);
        judge(&ec2, "at risk");
    }
    all_of(&ec2, 2, "at risk");
}

#[test]
fn every_node_is_replaced_once_and_none_serves_less_meanwhile() {
    let mut ec2 = begun();
    let mut least = usize::MAX;
    for _ in 0..2000 {
        if ended(&ec2) {
            break;
        }
        ec2.ticks(1);
        judge(&ec2, "all works");
        least = least.min(ec2.serving());
    }
    all_of(&ec2, 2, "all works");
    assert_eq!((ec2.launched, ec2.terminated.len(), least), (20, 10, 10));
}

#[test]
fn the_fleet_launches_the_new_version_before_anybody_is_replaced() {
    let mut ec2 = begun();
    let mut order = Vec::new();
    for _ in 0..30 {
        let _ = ec2.tick(&mut |action| {
            order.push(match action {
                Action::Modify { from, change, .. } => (change.launch, change.target.cmp(from)),
                _ => return Fate::Works,
            });
            Fate::Works
        });
    }
    assert_eq!(order[..3], [(Some(2), Equal), (None, Greater), (None, Less)]);
}

#[test]
fn the_canary_is_watched_before_the_others_follow() {
    let mut ec2 = begun();
    ec2.scene.policy.rollout.canary = 0.2;
    until(&mut ec2, "canary", &mut works, |ec2| matches!(course(ec2).stage, Stage::Watched { .. }));
    assert_eq!((ec2.running(2), under_way(&ec2)), (2, 0));
    let from = ec2.scene.now;
    until(&mut ec2, "watched", &mut works, |ec2| ec2.running(2) > 2);
    assert!(ec2.scene.now.since(from) >= ec2.scene.policy.rollout.canary_for);
    until(&mut ec2, "rest", &mut works, ended);
    all_of(&ec2, 2, "canary");
}

#[test]
fn a_larger_budget_replaces_more_at_once() {
    let mut ec2 = begun();
    (ec2.scene.policy.rollout.surge, ec2.scene.policy.rollout.canary) = (3, 0.0);
    let mut most = 0;
    for _ in 0..2000 {
        if ended(&ec2) {
            break;
        }
        ec2.ticks(1);
        judge(&ec2, "three");
        most = most.max(under_way(&ec2));
    }
    all_of(&ec2, 2, "three");
    assert_eq!(most, 3);
}

/// What serves less is what the budget allows, and never more of it than is replaced at once.
#[test]
fn as_many_units_may_be_missing_as_the_budget_says_and_no_more() {
    for (surge, unavailable, least_serving) in [(2, 0, 10), (2, 1, 9), (2, 2, 8), (1, 5, 9), (3, 2, 8)] {
        let mut ec2 = begun();
        let pace = &mut ec2.scene.policy.rollout;
        (pace.surge, pace.unavailable, pace.canary) = (surge, unavailable, 0.0);
        let what = format!("{surge} at once, {unavailable} missing");
        let mut least = usize::MAX;
        for _ in 0..2000 {
            if ended(&ec2) {
                break;
            }
            ec2.ticks(1);
            judge(&ec2, &what);
            least = least.min(ec2.serving());
        }
        all_of(&ec2, 2, &what);
        assert_eq!(least, least_serving, "{what}");
        assert_eq!((ec2.launched, ec2.terminated.len()), (20, 10), "{what}: each is replaced once");
    }
}

#[test]
fn a_new_node_that_never_gets_ready_halts_it_and_the_old_ones_stay() {
    for drains in [true, false] {
        let mut ec2 = begun();
        if !drains {
            ec2.scene.policy.drain.by = autoscaler_core::DrainBy::Nobody;
        }
        ec2.broken = Some(2);
        until(&mut ec2, "halt", &mut works, |ec2| course(ec2).halted.is_some());
        let halted = course(&ec2).halted.clone().expect("halted");
        assert!(matches!(halted.why, Halt::NotReady { .. }), "{halted:?}");
        assert_eq!(ec2.terminated.len(), 0, "nobody went for it");
        // What is broken goes, and what is launched meanwhile is of the old version.
        ec2.ticks(60);
        assert_eq!((ec2.running(1), ec2.running(2), ec2.launches), (10, 0, 1), "{:?}", ec2.scene.memory);
        assert_eq!(ec2.serving(), 10);
        assert_eq!(ec2.target, 10);
    }
}

#[test]
fn resumed_it_goes_on_and_taken_back_it_goes_back() {
    let mut ec2 = begun();
    ec2.broken = Some(2);
    until(&mut ec2, "halt", &mut works, |ec2| course(ec2).halted.is_some());
    ec2.ticks(30);
    ec2.broken = None;
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").resume(now);
    until(&mut ec2, "half", &mut works, |ec2| ec2.running(2) >= 5);
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").take_back(now);
    until(&mut ec2, "back", &mut works, ended);
    assert_eq!(course(&ec2).course, Course::Back);
    all_of(&ec2, 1, "back");
}

#[test]
fn what_was_never_ready_goes_on_the_way_back_where_nobody_tells_of_load() {
    let mut ec2 = begun();
    ec2.broken = Some(2);
    until(&mut ec2, "told", &mut works, |ec2| ec2.launches == 2);
    ec2.scene.policy.capacity.min = 20;
    until(&mut ec2, "grown", &mut works, |ec2| ec2.running(2) >= 10);
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").take_back(now);
    // Most of it serves nobody, and those few that do are too few to tell.
    ec2.silent = true;
    until(&mut ec2, "back", &mut works, ended);
    assert_eq!((ec2.running(1), ec2.alive.len(), ec2.launches), (20, 20, 1));
    assert_eq!(ec2.nodes.work(), 40, "work was lost");
}

/// Whoever works waits for load to be known, and does not stand in the place of those that never did.
#[test]
fn one_that_works_holds_up_nobody_that_was_never_ready_however_little_it_is_worth() {
    let mut ec2 = begun();
    ec2.scene.policy.rollout.surge = 1;
    until(&mut ec2, "one", &mut works, |ec2| ec2.running(2) == 1 && under_way(ec2) == 0);
    ec2.broken = Some(2);
    ec2.scene.policy.capacity.min = 20;
    until(&mut ec2, "grown", &mut works, |ec2| ec2.running(2) == 11);
    let works_on = ec2.alive.iter_mut().find(|m| m.launch.as_ref().is_some_and(|l| l.version == Some(2)));
    works_on.expect("it is there").health = Health::Unhealthy;
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").take_back(now);
    ec2.silent = true;
    until(&mut ec2, "the others", &mut works, |ec2| ec2.running(2) == 1 && under_way(ec2) == 0);
    ec2.silent = false;
    until(&mut ec2, "back", &mut works, ended);
}

#[test]
fn who_still_works_waits_on_the_way_back_until_load_is_known() {
    let mut ec2 = begun();
    until(&mut ec2, "half", &mut works, |ec2| ec2.running(2) >= 5 && under_way(ec2) == 0);
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").take_back(now);
    ec2.silent = true;
    for _ in 0..60 {
        ec2.ticks(1);
        assert_eq!(under_way(&ec2), 0);
    }
    ec2.silent = false;
    until(&mut ec2, "back", &mut works, ended);
    all_of(&ec2, 1, "back");
}

/// What shows right after the write is from before: the fleet is told again once it shows what it was told.
#[test]
fn taken_back_right_after_the_fleet_was_told_it_is_told_again() {
    for (lag, fate) in [(0, Fate::Works), (20, Fate::Works), (20, Fate::WorksUnheard), (20, Fate::Lost)] {
        let what = format!("{fate:?}, {lag} s late");
        let mut ec2 = begun();
        ec2.lag = lag;
        let mut told = false;
        while !told {
            let _ = ec2.tick(&mut |action| {
                told |= matches!(action, Action::Modify { .. });
                fate
            });
        }
        let now = ec2.scene.now;
        ec2.scene.memory.rollout.as_mut().expect("a roll-out").take_back(now);
        until(&mut ec2, &what, &mut works, ended);
        all_of(&ec2, 1, &what);
    }
}

#[test]
fn paused_what_was_begun_ends_and_nothing_more_is_begun() {
    let mut ec2 = begun();
    ec2.scene.policy.rollout.canary = 0.0;
    until(&mut ec2, "some", &mut works, |ec2| ec2.running(2) >= 3 && under_way(ec2) > 0);
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").pause("ops".into(), "lunch".into(), now);
    ec2.ticks(60);
    let new = ec2.running(2);
    assert_eq!((under_way(&ec2), ec2.alive.len(), ec2.launches), (0, 10, 2));
    ec2.ticks(200);
    assert_eq!(ec2.running(2), new, "it rests");
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").resume(now);
    until(&mut ec2, "resumed", &mut works, ended);
    all_of(&ec2, 2, "resumed");
}

#[test]
fn a_version_that_cannot_be_launched_halts_it() {
    let mut ec2 = begun();
    ec2.capacity = false;
    until(&mut ec2, "asked", &mut works, |ec2| ec2.target > 10);
    let pool = ec2.alive[0].pool.clone();
    let at = ec2.scene.now;
    let trouble = PoolTrouble { pool, at, kind: TroubleKind::LaunchFailed, instance: None };
    ec2.scene.seen.troubles = vec![trouble];
    ec2.ticks(1);
    ec2.scene.seen.troubles.clear();
    assert!(matches!(course(&ec2).halted.as_ref().map(|h| &h.why), Some(Halt::LaunchFailed { .. })));
    ec2.ticks(30);
    assert_eq!((ec2.target, ec2.launches, ec2.alive.len()), (10, 1, 10), "as if nothing had been");
}

#[test]
fn one_that_fails_its_status_checks_halts_it() {
    let mut ec2 = begun();
    until(&mut ec2, "one", &mut works, |ec2| matches!(course(ec2).stage, Stage::Watched { .. }));
    for member in ec2.alive.iter_mut().filter(|m| runs(m, 2)) {
        member.health = Health::Unhealthy;
    }
    until(&mut ec2, "halt", &mut works, |ec2| course(ec2).halted.is_some());
    until(&mut ec2, "back", &mut works, |ec2| ec2.running(2) == 0 && under_way(ec2) == 0);
    ec2.ticks(30);
    assert_eq!((ec2.running(1), ec2.target), (10, 10));
}

#[test]
fn what_somebody_else_sets_is_left_alone_until_resumed() {
    let mut ec2 = begun();
    until(&mut ec2, "some", &mut works, |ec2| ec2.running(2) >= 2);
    ec2.launches = 7;
    until(&mut ec2, "halt", &mut works, |ec2| course(ec2).halted.is_some());
    assert_eq!(course(&ec2).halted.as_ref().map(|h| &h.why), Some(&Halt::Foreign { found: Some(7) }));
    ec2.ticks(60);
    assert_eq!(ec2.launches, 7);
    let now = ec2.scene.now;
    ec2.scene.memory.rollout.as_mut().expect("a roll-out").resume(now);
    until(&mut ec2, "resumed", &mut works, ended);
    all_of(&ec2, 2, "resumed");
}

#[test]
fn every_fate_of_every_call_ends_in_the_same_fleet() {
    let fates = [Fate::Refused, Fate::WorksUnheard, Fate::Lost];
    for fate in fates {
        for unlucky in 0..12 {
            for lag in [0, 30] {
                let mut ec2 = begun();
                ec2.lag = lag;
                (ec2.scene.policy.rollout.surge, ec2.scene.policy.rollout.canary) = (2, 0.0);
                let mut call = 0;
                let what = format!("{fate:?} at call {unlucky}, lag {lag}");
                let mut fates = |_: &Action| {
                    call += 1;
                    if call == unlucky + 1 { fate } else { Fate::Works }
                };
                until(&mut ec2, &what, &mut fates, ended);
                all_of(&ec2, 2, &what);
                assert_eq!(ec2.launched, 20, "{what}: each is replaced exactly once");
            }
        }
    }
}

#[test]
fn interruptions_in_the_middle_are_replaced_and_the_rest_follows() {
    for victim in 0..10 {
        let mut ec2 = begun();
        ec2.scene.policy.rollout.canary = 0.0;
        until(&mut ec2, "some", &mut works, |ec2| ec2.running(2) >= 3 && under_way(ec2) > 0);
        let id: InstanceId = ec2.ids()[victim % ec2.alive.len()].clone();
        ec2.interrupt(&id);
        until(&mut ec2, "interrupted", &mut works, ended);
        all_of(&ec2, 2, "interrupted");
    }
}

#[test]
fn a_fleet_that_grows_or_shrinks_in_the_middle_ends_of_one_version() {
    for (demand, size) in [(9.0, 12..=14), (6.0, 8..=9)] {
        let mut ec2 = Ec2::with_nomad(10, 7, 4);
        ec2.scene.policy.rollout.canary = 0.0;
        ec2.ticks(3);
        ec2.scene.memory.rollout = Some(rollout(&ec2.scene));
        until(&mut ec2, "some", &mut works, |ec2| ec2.running(2) >= 2 && under_way(ec2) > 0);
        ec2.demand = demand;
        until(&mut ec2, "resized", &mut works, ended);
        ec2.ticks(120);
        assert_eq!(ec2.running(2), ec2.alive.len(), "{demand}");
        assert!(size.contains(&ec2.alive.len()), "{demand}: {}", ec2.alive.len());
        assert_eq!(ec2.nodes.work(), 40);
    }
}

#[test]
fn a_write_of_what_is_launched_alone_is_waited_for_until_that_shows() {
    let mut scene = Scene::of(8, 6);
    let written = scene.now - seconds(5);
    let launches = |version| Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(version) });
    let mut ordered = rollout(&scene);
    ordered.asked = Some(Asked { version: 2, at: written, shown: false });
    scene.memory.rollout = Some(ordered);
    scene.memory.expected = Some(Expected {
        target: 8,
        on_demand_target: 0,
        written: Some(written),
        shown: false,
        before: Some(Change::of_target(8, 0)),
    });
    scene.view().launch = launches(1);
    let shown = |scene: &Scene| scene.plan().memory.expected.is_some_and(|expected| expected.shown);
    assert!(!shown(&scene), "describes lag: the size is as it was before");
    scene.view().launch = launches(2);
    assert!(shown(&scene));
    scene.view().launch = launches(1);
    let long_ago = written - seconds(120);
    if let Some(asked) = scene.memory.rollout.as_mut().and_then(|rollout| rollout.asked.as_mut()) {
        asked.at = long_ago;
    }
    if let Some(expected) = &mut scene.memory.expected {
        expected.written = Some(long_ago);
    }
    let tells = |action: &Action| matches!(action, Action::Modify { change, .. } if change.launch == Some(2));
    assert!(scene.plan().plan.actions.iter().any(tells), "it was lost, and is told again");
}

#[test]
fn an_instance_that_was_ordered_before_and_comes_after_the_end_is_replaced() {
    let mut ec2 = begun();
    until(&mut ec2, "first", &mut works, ended);
    ec2.alive[4].launch = Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(1) });
    let _ = ec2.tick(&mut works);
    assert!(!course(&ec2).is_over(), "it goes on");
    until(&mut ec2, "again", &mut works, ended);
    all_of(&ec2, 2, "again");
}

#[test]
fn a_fleet_that_is_too_large_and_has_no_room_to_shrink_is_rolled_out_all_the_same() {
    let mut ec2 = Ec2::with_nomad(10, 4, 10);
    ec2.ticks(3);
    ec2.scene.memory.rollout = Some(rollout(&ec2.scene));
    until(&mut ec2, "full", &mut works, ended);
    assert_eq!((ec2.running(2), ec2.alive.len(), ec2.target), (10, 10, 10));
    assert_eq!(ec2.nodes.work(), 100, "nothing was lost");
}

#[test]
fn protected_nodes_stay_and_are_told_of() {
    let mut ec2 = begun();
    ec2.alive[3].protected = true;
    until(&mut ec2, "protected", &mut works, ended);
    assert_eq!((ec2.running(1), ec2.running(2)), (1, 9));
}

#[test]
fn at_the_upper_bound_it_goes_on_within_the_surge() {
    let mut ec2 = begun();
    (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (10, 1);
    (ec2.scene.policy.rollout.surge, ec2.scene.policy.rollout.canary) = (3, 0.0);
    until(&mut ec2, "at max", &mut works, ended);
    all_of(&ec2, 2, "at max");
    assert_eq!(ec2.highest, 11);
}

/// A fleet at its most, of eight with ten units, of which two instances weigh more than there is room for beside them.
fn heavy() -> (Scene, [InstanceId; 2]) {
    let mut scene = Scene::of(8, 6);
    (scene.policy.capacity.min, scene.policy.capacity.max, scene.policy.capacity.surge) = (10, 10, 1);
    (scene.policy.rollout.surge, scene.policy.rollout.canary) = (2, 0.0);
    let asked = Some(Asked { version: 2, at: scene.now - seconds(600), shown: true });
    scene.memory.rollout = Some(Rollout { asked, stage: Stage::Rest, ..rollout(&scene) });
    let launched = |version| Some(LaunchTemplate { id: "lt-1".to_owned(), version: Some(version) });
    let heavy = [0, 1].map(|number| scene.members()[number].id.clone());
    for member in scene.members() {
        member.launch = launched(1);
        member.weight = Weight::new(if heavy.contains(&member.id) { 2.0 } else { 1.0 });
    }
    let view = scene.view();
    (view.target, view.fulfilled, view.launch) = (10, CapacityUnits::new(10.0), launched(2));
    let expected = scene.memory.expected.as_mut().expect("it is held");
    expected.target = 10;
    (scene, heavy)
}

#[test]
fn one_that_has_no_place_beside_what_is_wanted_keeps_nobody_from_being_replaced() {
    let (scene, heavy) = heavy();
    let first = scene.plan();
    let entered: Vec<&InstanceId> = first.memory.replacements.keys().collect();
    assert!(entered.len() == 2 && entered.iter().all(|id| !heavy.contains(id)), "{entered:?}");

    // Chosen while less was wanted.
    let mut chosen = scene.clone();
    let entry = first.memory.replacements.values().next().expect("there is one").clone();
    let entry = Replacement { weight: Weight::new(2.0), since: scene.now - seconds(60), ..entry };
    chosen.memory.replacements.insert(heavy[0].clone(), entry.clone());
    chosen.memory.rollout.as_mut().expect("a roll-out").entered = 1;
    let planned = chosen.plan();
    let entered: Vec<&InstanceId> = planned.memory.replacements.keys().collect();
    assert!(entered.len() == 2 && entered.iter().all(|id| !heavy.contains(id)), "{entered:?}");
    assert_eq!(planned.memory.rollout.expect("a roll-out").entered, 2);

    // Neither does one that waits for another reason.
    let mut risky = scene.clone();
    let cause = ReplacementCause::Notice(NoticeKind::RebalanceRecommendation);
    let waits = Replacement { cause, weight: Weight::new(2.0), since: scene.now - seconds(60), ..entry };
    risky.memory.replacements.insert(heavy[0].clone(), waits);
    let planned = risky.plan();
    assert!(planned.memory.replacements.contains_key(&heavy[0]));
    assert_eq!(planned.memory.replacements.len(), 3, "{:?}", planned.memory.replacements);

    // All others are of the new version.
    let mut left = scene;
    for member in left.members() {
        let version = if heavy.contains(&member.id) { 1 } else { 2 };
        member.launch.as_mut().expect("one").version = Some(version);
    }
    let ready = left.members().iter().map(|member| member.id.clone()).collect();
    left.memory.rollout.as_mut().expect("a roll-out").ready = ready;
    let planned = left.plan();
    assert!(planned.memory.replacements.is_empty(), "{:?}", planned.memory.replacements);
    assert!(planned.report.holds.contains(&Hold::SurgeFull { waiting: 2 }), "{}", planned.report);
}

/// Nothing can be asked for beyond `max`, and what is there of the new version serves nobody.
#[test]
fn where_nothing_has_room_beside_it_what_was_never_ready_goes_first_and_is_bought_again() {
    for silent in [false, true] {
        let mut ec2 = begun();
        let what = format!("silent: {silent}");
        (ec2.broken, ec2.learning) = (Some(2), false);
        until(&mut ec2, &what, &mut works, |ec2| ec2.launches == 2);
        ec2.scene.policy.capacity.min = 5;
        (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (13, 0);
        ec2.scene.policy.rollout.surge = 2;
        (ec2.demand, ec2.scene.learned) = (10.0, Ec2::of(13, 10).scene.learned);
        until(&mut ec2, &what, &mut works, |ec2| course(ec2).halted.is_some());
        assert_eq!((ec2.running(1), ec2.running(2), ec2.target), (10, 3, 13), "{what}");
        ec2.silent = silent;
        until(&mut ec2, &what, &mut works, |ec2| {
            let serves = ec2.alive.iter().filter(|m| m.phase == Phase::InService).count();
            assert!(serves >= 10, "{what}: {serves} serve");
            ec2.running(2) == 0 && ec2.serving() == 13
        });
        assert_eq!((ec2.alive.len(), ec2.target, ec2.highest), (13, 13, 13), "{what}");
    }
}

/// A version that fails, and few of the other one left, which serve all load: nobody of the failed one tells of any.
#[test]
fn who_was_never_ready_is_not_missed_among_those_that_tell_of_load() {
    let mut scene = Scene::of(12, 3);
    let few = Hold::FewReport { reporting: 4, serving: 12 };
    if let Some(latest) = &mut scene.seen.latest {
        latest.instances = 4;
    }
    let mut ordered = rollout(&scene);
    (ordered.started, ordered.since) = (scene.now - seconds(5000), scene.now - seconds(5000));
    let started = ordered.started;
    for member in scene.members().iter_mut().skip(4) {
        member.launched = started + seconds(60);
    }
    ordered.ready = scene.members().iter().map(|m| m.id.clone()).collect();
    scene.memory.rollout = Some(ordered.clone());
    assert!(scene.plan().report.holds.contains(&few), "they serve, and may be busy");
    ordered.ready.clear();
    scene.memory.rollout = Some(ordered.clone());
    let holds = scene.plan().report.holds;
    assert!(!holds.iter().any(|hold| matches!(hold, Hold::FewReport { .. })), "{holds:?}");
    // Once it is over, those that were launched since are the fleet.
    ordered.stage = Stage::Ended { at: scene.now };
    scene.memory.rollout = Some(ordered);
    assert!(scene.plan().report.holds.contains(&few), "whoever is silent may be busy");
}

#[test]
fn the_report_says_how_far_it_is() {
    let mut ec2 = begun();
    until(&mut ec2, "some", &mut works, |ec2| ec2.running(2) >= 1);
    let planned = ec2.tick(&mut works);
    let told = planned.report.remarks.iter().find(|remark| matches!(remark, Remark::RollsOut { .. }));
    let Some(Remark::RollsOut { version: 2, done: 1, of: 11, halted: None, .. }) = told else {
        panic!("{}", planned.report)
    };
    let text = planned.report.to_string();
    assert!(
        text.contains("rolls out to version 2: 1 of 11 instances run it, the first are replaced"),
        "{text}"
    );
}

#[test]
fn a_rebalance_recommendation_of_one_that_is_replaced_changes_nothing() {
    let mut ec2 = begun();
    until(&mut ec2, "some", &mut works, |ec2| under_way(ec2) > 0);
    for id in ec2.ids() {
        ec2.hear(&id, NoticeKind::RebalanceRecommendation, None);
    }
    until(&mut ec2, "heard", &mut works, ended);
    all_of(&ec2, 2, "heard");
}

/// It seemed to be bought by the fleet, which describes that lag did not bear out: its work left before its turn had come. The one that
/// is rolled out waits for as much to serve as is wanted, so it does not wait for that one.
#[test]
fn one_that_was_emptied_before_its_turn_is_replaced_and_holds_nobody_up() {
    let mut ec2 = begun();
    (ec2.scene.policy.capacity.max, ec2.scene.policy.capacity.surge) = (10, 1);
    (ec2.scene.policy.rollout.surge, ec2.scene.policy.rollout.canary) = (1, 0.0);
    ec2.scene.policy.interruption.rebalance = Rebalance::Replace;
    let first = |ec2: &Ec2| ec2.scene.memory.replacements.keys().next().cloned();
    until(&mut ec2, "raised", &mut works, |ec2| ec2.alive.len() == 11 && under_way(ec2) == 1);
    let rolled_out = first(&ec2).expect("one is rolled out");
    let id = ec2.ids().into_iter().find(|id| *id != rolled_out).expect("there are others");
    ec2.hear(&id, NoticeKind::RebalanceRecommendation, None);
    ec2.ticks(1);
    let until_then = ec2.scene.now + seconds(300);
    let entry = ec2.scene.memory.replacements.get_mut(&id).expect("it is entered");
    entry.drain_until = Some(until_then);
    until(&mut ec2, "the other was emptied", &mut works, ended);
    all_of(&ec2, 2, "the other was emptied");
    assert!(!ec2.ids().contains(&id));
}

#[test]
fn nodes_whose_batch_work_is_waited_for_are_replaced_when_it_has_ended() {
    let mut ec2 = begun();
    ec2.scene.policy.drain.interrupt_batch = false;
    let old = ec2.ids();
    for id in &old {
        ec2.nodes.of(id).work[0].kind = fleet::WorkKind::Batch;
    }
    ec2.ticks(100);
    assert_eq!((ec2.running(1), under_way(&ec2)), (10, 0), "their end is waited for");
    for id in &old {
        ec2.nodes.of(id).work[0].kind = fleet::WorkKind::Service;
    }
    until(&mut ec2, "batch work that ended", &mut works, ended);
    all_of(&ec2, 2, "batch work that ended");
}

#[test]
fn one_that_is_interrupted_while_it_waits_for_its_successor_takes_no_new_work() {
    let mut ec2 = begun();
    let waits = |ec2: &Ec2| {
        let removals = ec2.scene.memory.removals.iter();
        removals.filter(|(_, r)| r.drain_until.is_none()).map(|(id, _)| id.clone()).next()
    };
    until(&mut ec2, "one that waits", &mut works, |ec2| waits(ec2).is_some());
    let victim = waits(&ec2).expect("one");
    assert!(ec2.nodes.of(&victim).eligible, "it works on");
    ec2.interrupt(&victim);
    ec2.ticks(1);
    assert!(!ec2.nodes.of(&victim).eligible);
    until(&mut ec2, "an interruption", &mut works, ended);
    all_of(&ec2, 2, "an interruption");
}
