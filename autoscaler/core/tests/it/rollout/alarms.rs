//! Alarms of CloudWatch that a roll-out watches.

use super::{all_of, begun, course, ended, judge, under_way};
use crate::support::ec2::{Ec2, Fate};
use autoscaler_core::{Halt, Observed, Remark, RolloutTrouble, Stage, WatchedAlarm};
use fleet::AlarmState::{self, Alarm, InsufficientData, Ok as Fine};

const NAME: &str = "web-5xx";

/// A roll-out without a canary that watches an alarm which nobody has read yet.
fn watching() -> Ec2 {
    let mut ec2 = begun();
    ec2.scene.policy.rollout.canary = 0.0;
    ec2.scene.policy.rollout.alarms = vec![NAME.to_owned()];
    ec2
}

/// CloudWatch says now how the alarm is; `None`: there is none.
fn says(ec2: &mut Ec2, state: Option<AlarmState>) {
    let alarm = WatchedAlarm { name: NAME.to_owned(), state, since: Some(ec2.scene.now) };
    ec2.scene.seen.alarms = Some(Observed { at: ec2.scene.now, what: vec![alarm] });
}

/// Ticks with the alarm read before each, until it is there.
fn read_until(ec2: &mut Ec2, state: Option<AlarmState>, there: impl Fn(&Ec2) -> bool) {
    for _ in 0..2000 {
        if there(ec2) {
            return;
        }
        says(ec2, state);
        ec2.ticks(1);
        judge(ec2, "watched");
    }
    panic!("never there: {:?}", course(ec2));
}

fn remarks(ec2: &mut Ec2) -> Vec<Remark> {
    ec2.tick(&mut |_| Fate::Works).report.remarks
}

#[test]
fn nobody_is_replaced_before_the_alarm_was_read_and_then_all_are() {
    for state in [Fine, InsufficientData] {
        let mut ec2 = watching();
        ec2.ticks(30);
        assert_eq!((under_way(&ec2), course(&ec2).entered, ec2.alive.len()), (0, 0, 10));
        assert!(remarks(&mut ec2).contains(&Remark::AlarmsUnread { since: None }));
        read_until(&mut ec2, Some(state), ended);
        all_of(&ec2, 2, "read");
    }
}

#[test]
fn an_alarm_that_goes_off_halts_it_and_the_old_version_is_launched_again() {
    let mut ec2 = watching();
    read_until(&mut ec2, Some(Fine), |ec2| ec2.running(2) >= 3 && under_way(ec2) > 0);
    says(&mut ec2, Some(Alarm));
    let since = Some(ec2.scene.now);
    ec2.ticks(1);
    let halted = course(&ec2).halted.clone().expect("it is halted");
    assert_eq!(halted.why, Halt::Alarm { name: NAME.to_owned(), since });
    assert_eq!(halted.why.label(), "alarm");
    assert!(halted.why.to_string().starts_with("alarm web-5xx is off since "), "{}", halted.why);
    let entered = course(&ec2).entered;
    ec2.ticks(60);
    assert_eq!((ec2.launches, under_way(&ec2), course(&ec2).entered), (1, 0, entered));
    assert_eq!((ec2.alive.len(), ec2.target, ec2.serving()), (10, 10, 10));
}

#[test]
fn resumed_it_waits_for_what_the_alarm_says_now() {
    let mut ec2 = watching();
    read_until(&mut ec2, Some(Fine), |ec2| ec2.running(2) >= 3);
    read_until(&mut ec2, Some(Alarm), |ec2| course(ec2).halted.is_some());
    ec2.ticks(30);
    let entered = course(&ec2).entered;
    let resume = |ec2: &mut Ec2| {
        let now = ec2.scene.now;
        ec2.scene.memory.rollout.as_mut().expect("a roll-out").resume(now);
    };
    resume(&mut ec2);
    ec2.ticks(12);
    assert!(course(&ec2).halted.is_none(), "what was read before is why it was halted");
    assert_eq!(course(&ec2).entered, entered, "and nobody goes on it");
    read_until(&mut ec2, Some(Alarm), |ec2| course(ec2).halted.is_some());
    assert_eq!(course(&ec2).entered, entered, "off still: nobody was replaced in between");
    resume(&mut ec2);
    read_until(&mut ec2, Some(Fine), ended);
    all_of(&ec2, 2, "resumed");
}

#[test]
fn what_cannot_be_read_for_a_while_is_not_taken_for_well() {
    let mut ec2 = watching();
    read_until(&mut ec2, Some(Fine), |ec2| ec2.running(2) >= 3 && under_way(ec2) > 0);
    let last = ec2.scene.seen.alarms.as_ref().map(|seen| seen.at);
    ec2.ticks(60);
    let entered = course(&ec2).entered;
    assert_eq!((under_way(&ec2), ec2.alive.len(), ec2.launches), (0, 10, 2), "what was begun has ended");
    assert!(course(&ec2).halted.is_none(), "nobody says that anything is wrong");
    assert!(remarks(&mut ec2).contains(&Remark::AlarmsUnread { since: last }));
    ec2.ticks(60);
    assert_eq!(course(&ec2).entered, entered);
    read_until(&mut ec2, Some(Fine), ended);
    all_of(&ec2, 2, "read again");
}

#[test]
fn an_alarm_that_is_not_there_holds_it_and_is_named() {
    let mut ec2 = watching();
    for _ in 0..30 {
        says(&mut ec2, None);
        ec2.ticks(1);
    }
    assert_eq!((course(&ec2).entered, course(&ec2).halted.is_none()), (0, true));
    says(&mut ec2, None);
    let found = remarks(&mut ec2);
    let missing = Remark::AlarmsMissing { names: vec![NAME.to_owned()] };
    assert!(found.contains(&missing), "{found:?}");
    assert_eq!(missing.to_string(), "nobody more is replaced: no alarm of CloudWatch is called web-5xx");
    // A policy that names another one since the last reading.
    ec2.scene.policy.rollout.alarms = vec!["web-late".to_owned()];
    says(&mut ec2, Some(Fine));
    assert!(remarks(&mut ec2).iter().any(|remark| matches!(remark, Remark::AlarmsUnread { .. })));
}

#[test]
fn the_canary_is_not_watched_to_its_end_while_nobody_reads_the_alarm() {
    let mut ec2 = watching();
    ec2.scene.policy.rollout.canary = 0.1;
    read_until(&mut ec2, Some(Fine), |ec2| matches!(course(ec2).stage, Stage::Watched { .. }));
    ec2.ticks(120);
    assert!(matches!(course(&ec2).stage, Stage::Watched { .. }), "{:?}", course(&ec2).stage);
    read_until(&mut ec2, Some(Fine), |ec2| course(ec2).stage == Stage::Rest);
}

#[test]
fn an_alarm_that_would_halt_nothing_is_not_watched() {
    let mut ec2 = watching();
    ec2.scene.policy.rollout.pause_on = vec![RolloutTrouble::NotReady];
    read_until(&mut ec2, Some(Alarm), ended);
    all_of(&ec2, 2, "not watched");
}
