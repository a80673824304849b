//! Whose write was it? Ours that lags, ours that was lost, or somebody else's.

use crate::support::scene::{NOON, Scene, seconds};
use autoscaler_core::{Decision, Hold, Memory, Remark};
use fleet::ExcessCapacity;

/// A scene whose scale-out from 4 to 16 was sent, unseen yet.
fn written() -> Scene {
    let mut scene = Scene::of(4, 12);
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 4, to: 16 });
    scene.remember(&planned);
    scene
}

fn foreign_writes(scene: &Scene) -> u32 {
    scene.plan().memory.foreign_writes
}

#[test]
fn a_fleet_is_taken_over_as_it_is_found() {
    let mut scene = Scene::of(8, 6);
    scene.memory = Memory::default();
    let planned = scene.plan();
    assert!(planned.report.remarks.contains(&Remark::Adopted { target: 8 }));
    assert_eq!(planned.memory.expected.map(|e| (e.target, e.shown, e.written)), Some((8, true, None)));
}

#[test]
fn nothing_more_is_written_until_our_write_shows() {
    let scene = written();
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::WriteNotShown { written: NOON }));
    let scene = scene.later(60);
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::WriteNotShown { written: NOON }), "describes may lag");
}

#[test]
fn our_write_settles_when_a_later_describe_shows_it() {
    let mut scene = written();
    scene.view().target = 16;
    assert!(!scene.plan().memory.expected.expect("remembered").shown, "that describe was begun before");
    let scene = scene.later(10);
    let planned = scene.plan();
    let expected = planned.memory.expected.expect("remembered");
    assert!(expected.shown && expected.before.is_none());
    assert_eq!(planned.memory.foreign_writes, 0);
}

#[test]
fn a_write_that_never_shows_is_taken_as_lost_and_sent_again() {
    let scene = written().later(91);
    let planned = scene.plan();
    assert!(planned.report.remarks.contains(&Remark::WriteLost { written: NOON, target: 16 }));
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 4, to: 16 });
    assert_eq!(planned.memory.foreign_writes, 0);
}

#[test]
fn a_write_that_was_refused_is_forgotten_at_once() {
    let mut scene = written();
    scene.memory.modify_refused();
    let scene = scene.later(10);
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 4, to: 16 });
    assert_eq!(planned.memory.foreign_writes, 0);
}

#[test]
fn a_lost_write_that_comes_true_later_is_still_ours() {
    let mut scene = written().later(91);
    scene.policy.observe_only = false;
    // It is given up as lost, but demand has gone, so that it is not sent again.
    scene.learned = Scene::of(4, 3).learned;
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, []);
    scene.remember(&planned);
    let mut scene = scene.later(10);
    scene.view().target = 16;
    let planned = scene.plan();
    assert_eq!(planned.memory.foreign_writes, 0, "{}", planned.report);
}

#[test]
fn somebody_elses_write_is_taken_over_once_and_ceded_to_the_second_time() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 9;
    let planned = scene.plan();
    assert!(planned.report.remarks.contains(&Remark::ForeignWrite { was: 8, found: 9, count: 1 }));
    assert_eq!(planned.memory.expected.map(|e| e.target), Some(9));
    assert!(!planned.memory.ceded);
    let until = NOON + seconds(900);
    assert!(planned.report.holds.contains(&Hold::ForeignWrite { until }), "{}", planned.report);
    scene.remember(&planned);
    // The same view again is no second write.
    assert_eq!(foreign_writes(&scene.clone().later(10)), 1);
    let mut scene = scene.later(200);
    scene.view().target = 5;
    let planned = scene.plan();
    assert!(planned.memory.ceded);
    assert_eq!(planned.plan.actions, []);
    assert!(planned.report.holds.contains(&Hold::Ceded { foreign_writes: 2 }));
    scene.remember(&planned);
    let mut scene = scene.later(200);
    scene.learned = Scene::of(4, 12).learned;
    assert_eq!(scene.plan().plan.actions, [], "hands off until an operator resumes");
    scene.memory.resume();
    let planned = scene.plan();
    assert_eq!(planned.report.decision, Decision::ScaleOut { from: 5, to: 16 });
}

#[test]
fn what_somebody_else_raised_is_not_taken_back_at_once() {
    let mut scene = Scene::of(8, 6);
    scene.view().target = 10;
    let planned = scene.plan();
    assert_eq!(planned.plan.actions, []);
    scene.remember(&planned);
    let scene = scene.later(900);
    assert_eq!(scene.plan().report.decision, Decision::ScaleIn { from: 10, to: 8 });
}

#[test]
fn a_value_from_before_our_write_may_be_lag_for_a_while() {
    let mut scene = written();
    scene.view().target = 16;
    let mut scene = scene.later(10);
    let planned = scene.plan();
    scene.remember(&planned);
    let mut scene = scene.later(10);
    scene.view().target = 4;
    let planned = scene.plan();
    assert!(planned.report.holds.contains(&Hold::Unsettled { found: 4 }), "{}", planned.report);
    assert_eq!(planned.memory.foreign_writes, 0);
    assert_eq!(foreign_writes(&scene.later(90)), 1, "but not for ever");
}

#[test]
fn an_excess_policy_that_we_did_not_set_is_a_foreign_write() {
    let mut scene = written();
    scene.view().target = 16;
    let mut scene = scene.later(10);
    let planned = scene.plan();
    scene.remember(&planned);
    let mut scene = scene.later(200);
    scene.view().excess = ExcessCapacity::Termination;
    assert_eq!(foreign_writes(&scene), 1);
}

#[test]
fn what_an_operator_does_during_a_pause_is_no_foreign_write() {
    let mut scene = Scene::of(8, 6);
    let until = NOON + seconds(600);
    let pause = autoscaler_core::Pause { until, by: "me".to_owned(), reason: "by hand".to_owned() };
    scene.seen.pause = Some(pause);
    let planned = scene.plan();
    scene.remember(&planned);
    let mut scene = scene.later(600);
    scene.view().target = 9;
    scene.seen.pause = None;
    assert_eq!(foreign_writes(&scene), 0);
}

#[test]
fn a_clock_that_jumps_back_blocks_nothing_for_long() {
    let scene = written();
    let mut scene = Scene { now: NOON - seconds(3600), ..scene }.later(0);
    let planned = scene.plan();
    scene.remember(&planned);
    let mut scene = scene.later(10);
    scene.view().target = 16;
    let planned = scene.plan();
    assert!(planned.memory.expected.expect("remembered").shown, "{}", planned.report);
}
